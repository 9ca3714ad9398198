"""What a comparison would select and train, and how long the trainings would take."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.budget import Budget
from elfs.config import CompareConfig
from elfs.evaluation.comparison import WHOLE_POOL
from elfs.evaluation.comparison_plan import checked
from elfs.evaluation.recorded import COMPARE, Journal, published
from elfs.evaluation.training_time import seconds_by_images
from elfs.evaluation.trainings import missing_labels
from elfs.parallel.runtime import Runtime
from elfs.workspace.manifest import PARTIAL_NAME
from elfs.workspace.workspace import Workspace

__all__ = ["planned_cells"]

_Rows = NDArray[np.int64]


def planned_cells(path: Path, config: CompareConfig, runtime: Runtime, *, force: bool = False) -> list[dict[str, Any]]:
    """Return what a comparison would select and train; does nothing.

    Parameters
    ----------
    path : Path
        The workspace.
    config : CompareConfig
        Methods, budgets, seeds, protocol.
    runtime : Runtime
        Device.
    force : bool
        Whether recorded trainings would be trained again.

    Returns
    -------
    list of dict
        ``method``, ``budget``, ``seed``, ``selection``, ``images`` that the network learns from, ``action`` ("select
        and train", "train" or "recorded"), ``seconds`` that a training takes, None where it is recorded or nobody
        knows, and ``accuracy`` in ``[0, 1]``, None where it is not recorded.

    Raises
    ------
    ElfsError
        What `compare` refuses before it selects anything.
    """
    setting = checked(Workspace.open(path), config)
    trainer = setting.trainer(config, runtime)
    known = {} if force else published(setting.workspace)
    journals = [Journal(draft) for draft in (path / PARTIAL_NAME / COMPARE).glob("*")]
    pool = np.flatnonzero(setting.table.eligible())
    seconds = seconds_by_images(trainer)

    def progress(rows: _Rows | None, seed: int, images: int) -> dict[str, Any]:
        if rows is None:
            return {"images": images, "action": "select and train", "seconds": seconds(images), "accuracy": None}
        digest = trainer.digest(rows, seed)
        results = (known.get(digest), *(journal.get(digest) for journal in journals))
        found = next((result for result in results if result is not None), None)
        if found is None:
            return {"images": len(rows), "action": "train", "seconds": seconds(len(rows)), "accuracy": None}
        return {"images": len(rows), "action": "recorded", "seconds": None, "accuracy": found.share}

    cells = []
    for plan in setting.plans:
        name = setting.selected(plan) if config.rounds is None else None
        cell = {"method": plan.entry.label, "budget": plan.budget, "seed": plan.seed}
        cell |= {"selection": name or (plan.selection if config.rounds is None else None)}
        rows = None if name is None else setting.rows(name)
        cells.append(cell | progress(rows, plan.seed, _num_images(plan.budget, len(pool))))
    if config.reference and missing_labels(setting, pool) is None:
        cell = {"method": WHOLE_POOL, "budget": "1.0", "selection": None}
        seeds = dict.fromkeys(plan.seed for plan in setting.plans)
        cells += [cell | {"seed": seed} | progress(pool, seed, len(pool)) for seed in seeds]
    return cells


def _num_images(budget: str, num_eligible: int) -> int:
    """Return how many images a budget stands for, or all rounds up to one (``3 x 2%``), at most the pool."""
    rounds, _, batch = budget.rpartition(" x ")
    asked = Budget.parse(batch)
    return min(num_eligible, int(rounds or 1) * (asked.count or asked.resolve(num_eligible)))

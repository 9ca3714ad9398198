"""The tables of a comparison: its cells, and one line for each training."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from elfs.evaluation.comparison import WHOLE_POOL, Comparison
from elfs.evaluation.comparison_plan import Planned, Setting
from elfs.evaluation.comparison_selections import Selections
from elfs.evaluation.training import Accuracy
from elfs.evaluation.trainings import Results, Training, missing_labels
from elfs.pipeline.comparison_facts import Cell

__all__ = ["cells_csv", "tabulate"]

_CELL_COLUMNS = ("method", "budget", "seed", "selection", "images", "correct", "test_images", "accuracy", "digest")


def tabulate(
    setting: Setting,
    selections: Selections,
    trainings: Sequence[Training],
    results: Results,
    protocol: dict[str, Any],
    *,
    reference: bool,
) -> Comparison:
    """Return the cells of a comparison.

    Parameters
    ----------
    setting : Setting
        What is compared.
    selections : Selections
        What was selected.
    trainings : sequence of Training
        All that were needed.
    results : Results
        What they came to.
    protocol : dict
        How every network was trained and tested.
    reference : bool
        Whether networks on the whole pool were asked for.

    Returns
    -------
    Comparison
        A cell for each method and budget, in the order of the plans.
    """
    accuracy = {
        (training.plan, training.seed): results.known[digest]
        for training, digest in zip(trainings, results.digests, strict=True)
    }
    seeds = tuple(dict.fromkeys(plan.seed for plan in setting.plans))
    plans: dict[tuple[str, str], list[Planned]] = {}
    for plan in setting.plans:
        plans.setdefault(plan.cell, []).append(plan)
    cells = []
    for cell, members in plans.items():
        if cell in selections.reasons:
            cells.append(Cell(*cell, None, (), selections.reasons[cell]))
        else:
            shares = tuple(_share(accuracy[plan, plan.seed]) for plan in members)
            cells.append(Cell(*cell, len(selections.rows[members[0]]), shares))
    whole = None
    if reference:
        pool = np.flatnonzero(setting.table.eligible())
        reason = missing_labels(setting, pool)
        shares = () if reason else tuple(_share(accuracy[None, seed]) for seed in seeds)
        whole = Cell(WHOLE_POOL, "1.0", len(pool), shares, reason)
    return Comparison(protocol, seeds, tuple(cells), whole)


def _share(result: Accuracy) -> float:
    return result.share or 0.0


def cells_csv(selections: Selections, trainings: Sequence[Training], results: Results) -> bytes:
    """Return one line for each training of a comparison.

    Parameters
    ----------
    selections : Selections
        What was selected.
    trainings : sequence of Training
        All that were needed.
    results : Results
        What they came to.

    Returns
    -------
    bytes
        A CSV file.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CELL_COLUMNS)
    for work, digest in zip(trainings, results.digests, strict=True):
        result = results.known[digest]
        name, budget = (WHOLE_POOL, "1.0") if work.plan is None else work.plan.cell
        selection = None if work.plan is None else selections.names[work.plan]
        hits = (result.correct, result.total, f"{result.share:.6f}")
        writer.writerow([name, budget, work.seed, selection, len(work.rows), *hits, digest])
    return text.getvalue().encode("utf-8", "surrogateescape")

"""The selections of a comparison: made, or found, before anything is trained."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs.errors import UsageError
from elfs.evaluation.comparison_plan import Planned, Setting
from elfs.evaluation.training import labelled_rows
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute

__all__ = ["Selections", "select_all"]


@dataclass(frozen=True)
class Selections:
    """What was selected for a comparison.

    Attributes
    ----------
    names : mapping of Planned to str
        Name of every selection.
    rows : mapping of Planned to ndarray of shape (n,), int64
        Sorted rows of those that a network can learn from.
    reasons : mapping of tuple of (str, str) to str
        Why a method at a budget is left out.
    """

    names: Mapping[Planned, str]
    rows: Mapping[Planned, NDArray[np.int64]]
    reasons: Mapping[tuple[str, str], str]


def select_all(setting: Setting, runtime: Runtime, *, smoke: bool) -> Selections:
    """Make every selection of a comparison; the first rank makes them, all ranks get them.

    Parameters
    ----------
    setting : Setting
        What is compared.
    runtime : Runtime
        Devices, ranks, progress.
    smoke : bool
        Record that these are smoke settings.

    Returns
    -------
    Selections
        The same on every rank.

    Raises
    ------
    UsageError
        If nothing at all can be selected.
    InputDataError
        If a selected image has no label.
    """
    ranks = runtime.ranks
    ranks.wait()  # until all have read what is there
    made = _select(setting, runtime.by_itself(), smoke=smoke) if ranks.is_first else None
    told, refused = ranks.broadcast(None if made is None else [made[0], list(made[1].items())])
    names = dict(zip(setting.plans, told, strict=True))
    reasons = {(method, budget): reason for (method, budget), reason in refused}
    setting.workspace.reload()
    rows = _rows(setting, names, reasons)
    if not rows:
        (method, budget), reason = next(iter(reasons.items()))
        raise UsageError(f"nothing to compare: {method} at {budget}: {reason}")
    needed = np.unique(np.concatenate(list(rows.values())))
    labelled_rows(setting.table, setting.truth, needed, len(needed))
    return Selections(names, rows, reasons)


def _rows(
    setting: Setting, names: Mapping[Planned, str], reasons: dict[tuple[str, str], str]
) -> dict[Planned, NDArray[np.int64]]:
    """Return the sorted rows of every selection that fits; adds a reason for each that is too small."""
    rows: dict[Planned, NDArray[np.int64]] = {}
    for plan, name in names.items():
        found = None if plan.cell in reasons else setting.rows(name)
        if found is not None and len(found) < 2:
            reasons[plan.cell] = "the selection has one image: a network needs at least 2 to learn from."
        elif found is not None:
            rows[plan] = np.sort(found)
    return {plan: found for plan, found in rows.items() if plan.cell not in reasons}


def _select(setting: Setting, runtime: Runtime, *, smoke: bool) -> tuple[list[str], dict[tuple[str, str], str]]:
    """Make every selection; return the name of each, and for each method and budget that do not fit the reason."""
    names: list[str] = []
    reasons: dict[tuple[str, str], str] = {}
    with runtime.progress.task("compare: select", len(setting.plans), "selections") as task:
        for plan in setting.plans:
            name = plan.selection
            if plan.cell not in reasons:
                try:
                    outcome = execute("select", setting.workspace.path, plan.config, runtime, smoke=smoke)
                    name = outcome.record.partition("/")[2]
                except UsageError as error:
                    reasons[plan.cell] = error.message
            names.append(name)
            task.advance()
    return names, reasons

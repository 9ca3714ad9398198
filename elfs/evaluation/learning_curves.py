"""What the learning curves of a comparison in rounds come to: areas, and labels needed for what random reaches."""

import statistics
from typing import Any

from elfs.evaluation.comparison import BASELINE, Cell, Comparison, paired_difference

__all__ = ["areas", "curve_facts", "curve_table", "labels_needed"]


def areas(comparison: Comparison, method: str) -> list[float]:
    """Return the area under a method's curve with each seed.

    Parameters
    ----------
    comparison : Comparison
        At least two rounds, none of them empty.
    method : str
        One of its methods.

    Returns
    -------
    list of float
        Mean accuracy between the first and the last round, by trapezia over the annotated images, in [0, 1].
    """
    cells = _curve(comparison, method)
    images = [cell.images or 0 for cell in cells]
    found = []
    for place in range(len(comparison.seeds)):
        values = [cell.accuracies[place] for cell in cells]
        parts = zip(values, values[1:], images, images[1:], strict=False)
        total = sum((here + there) / 2 * (after - before) for here, there, before, after in parts)
        found.append(total / (images[-1] - images[0]))
    return found


def labels_needed(comparison: Comparison, method: str) -> float | None:
    """Return how many labels a method needs for what random reaches in the last round.

    Parameters
    ----------
    comparison : Comparison
        With random among its methods.
    method : str
        One of its methods.

    Returns
    -------
    float or None
        By the mean over the seeds, linear between two rounds; None where it does not get there.
    """
    goal = _curve(comparison, BASELINE)[-1].mean or 0.0
    cells = _curve(comparison, method)
    for before, cell in zip([None, *cells], cells, strict=False):
        mean, images = cell.mean or 0.0, cell.images or 0
        if mean < goal:
            continue
        if before is None or before.images is None or before.mean is None:
            return float(images)
        return before.images + (images - before.images) * (goal - before.mean) / (mean - before.mean)
    return None


def _curve(comparison: Comparison, method: str) -> list[Cell]:
    return [comparison.cell(method, budget) for budget in comparison.budgets]


def curve_facts(comparison: Comparison) -> list[dict[str, Any]]:
    """Return plain JSON values for each method.

    Parameters
    ----------
    comparison : Comparison
        At least two rounds, none of them empty.

    Returns
    -------
    list of dict
        ``method``; ``area``, the mean over the seeds, and its ``deviation``; ``labels_needed`` and ``against_random``,
        the difference of the areas and whether it exceeds the spread, None without random.
    """
    has_baseline = BASELINE in comparison.methods
    found: list[dict[str, Any]] = []
    for method in comparison.methods:
        own = areas(comparison, method)
        line: dict[str, Any] = {"method": method, "area": statistics.fmean(own)}
        line["deviation"] = statistics.stdev(own) if len(own) > 1 else None
        line["labels_needed"] = labels_needed(comparison, method) if has_baseline else None
        line["against_random"] = None
        if has_baseline and method != BASELINE:
            num_test = comparison.protocol["test_images"]
            line["against_random"] = paired_difference(own, areas(comparison, BASELINE), num_test).text
        found.append(line)
    return found


def curve_table(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the table for people.

    Parameters
    ----------
    comparison : Comparison
        At least two rounds, none of them empty.

    Returns
    -------
    list of tuple of str
        A line for each method: area in percent, its difference from that of random, labels needed.
    """
    rows: list[tuple[str, ...]] = [("over all rounds", "area (%)", "minus random", "labels for random's last")]
    for line in curve_facts(comparison):
        spread = "" if line["deviation"] is None else f" +- {100 * line['deviation']:.1f}"
        needed = "-" if line["labels_needed"] is None else f"{line['labels_needed']:,.0f}"
        rows.append((line["method"], f"{100 * line['area']:.1f}{spread}", line["against_random"] or "-", needed))
    return rows

"""What the learning curves of a comparison come to: areas, labels needed for what random reaches, what more bring."""

import math
import statistics
from dataclasses import asdict
from typing import Any

from elfs.evaluation.comparison import BASELINE, Comparison, Difference, paired_difference
from elfs.ops.learning_curve import Gain, expected_gain
from elfs.pipeline.comparison_facts import Cell
from elfs.train.seeding import generator

__all__ = ["MORE", "areas", "curve_facts", "curve_table", "gain_facts", "gain_line", "gains", "labels_needed"]

MORE = 100
"""Labels beyond the largest budget of which it is said what they are expected to bring."""


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
        a `Difference` of the areas, None without random.
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
            num_test = comparison.training.test_images
            line["against_random"] = asdict(paired_difference(own, areas(comparison, BASELINE), num_test))
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
        against = "-" if line["against_random"] is None else Difference(**line["against_random"]).text
        spread = "" if line["deviation"] is None else f" +- {100 * line['deviation']:.1f}"
        needed = "-" if line["labels_needed"] is None else f"{line['labels_needed']:,.0f}"
        rows.append((line["method"], f"{100 * line['area']:.1f}{spread}", against, needed))
    return rows


def gains(comparison: Comparison) -> dict[str, Gain]:
    """Return what 100 more labels are expected to bring each method, by the curve that fits its budgets.

    Parameters
    ----------
    comparison : Comparison
        Any.

    Returns
    -------
    dict of str to Gain
        In accuracy, by method. A method with fewer than four different budgets is left out: its curve cannot tell. The
        error of a mean is the larger of its standard error over the seeds and that of so many test images.
    """
    found = {}
    for method in comparison.methods:
        cells = [cell for cell in _curve(comparison, method) if cell.accuracies]
        images = [cell.images or 0 for cell in cells]
        means = [statistics.fmean(cell.accuracies) for cell in cells]
        errors = [_error(cell, comparison.training.test_images) for cell in cells]
        gain = expected_gain(images, means, errors, MORE, generator(0, "learning curve"))
        if gain is not None:
            found[method] = gain
    return found


def _error(cell: Cell, num_test: int) -> float:
    mean, number = statistics.fmean(cell.accuracies), len(cell.accuracies)
    inside = min(max(mean, 0.5 / num_test), 1 - 0.5 / num_test)  # all right or all wrong is not known for certain
    by_tests = math.sqrt(inside * (1 - inside) / (number * num_test))
    return max(by_tests, (cell.deviation or 0.0) / math.sqrt(number))


def gain_facts(comparison: Comparison) -> dict[str, Any]:
    """Return plain JSON values.

    Parameters
    ----------
    comparison : Comparison
        Any.

    Returns
    -------
    dict
        ``more``, the labels; ``gains``, for each method that `gains` names ``estimate``, ``low`` and ``high``.
    """
    return {"more": MORE, "gains": {method: gain._asdict() for method, gain in gains(comparison).items()}}


def gain_line(comparison: Comparison) -> str | None:
    """Return what stands under the table.

    Parameters
    ----------
    comparison : Comparison
        Any.

    Returns
    -------
    str or None
        Points, and between which nine of ten curves lie; None where no curve can tell.
    """
    parts = [
        f"{method} {100 * gain.estimate:+.1f} ({100 * gain.low:.1f} to {100 * gain.high:.1f})"
        for method, gain in gains(comparison).items()
    ]
    return f"{'more':<11} {MORE} more labels are expected to bring {', '.join(parts)} points" if parts else None

"""What accuracies of methods x budgets x seeds say: means, spreads, differences from random. No files, no training."""

import csv
import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from elfs.pipeline.comparison_facts import Cell, ComparisonFacts

__all__ = ["BASELINE", "WHOLE_POOL", "Comparison", "Difference", "paired_difference"]

BASELINE = "random"
"""Method that every other one is held against."""

WHOLE_POOL = "all images"
"""Name of the row that is trained on the whole pool."""

_CONFIDENCE = 0.95
_COLUMNS = (
    "method",
    "budget",
    "images",
    "seeds",
    "mean",
    "deviation",
    "best",
    "difference",
    "standard_error",
    "against_random",
    "test_images",
    "protocol",
    "reason",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one cell is than another, seed by seed.

    Attributes
    ----------
    mean : float
        Mean difference of the accuracies, in ``[-1, 1]``, higher = better than the baseline.
    standard_error : float or None
        Of that mean; None where there is one seed.
    verdict : {"above", "below", "within"} or None
        Whether the 95 % interval of the mean (Student's t) lies above 0, below 0, or around it; None with one seed.
    """

    mean: float
    standard_error: float | None
    verdict: str | None

    @property
    def text(self) -> str:
        """``+1.9 (0.3) above``: percentage points, standard error, verdict."""
        error = "" if self.standard_error is None else f" ({100 * self.standard_error:.1f}) {self.verdict}"
        return f"{100 * self.mean:+.1f}{error}"


def paired_difference(accuracies: Sequence[float], baseline: Sequence[float], num_test: int) -> Difference:
    """Return the mean difference over seeds, and whether it exceeds the spread.

    Parameters
    ----------
    accuracies, baseline : sequence of float
        One for each seed, in the order of the same seeds; at least one.
    num_test : int
        Test images that they were measured on.

    Returns
    -------
    Difference
        The standard error is ``s / sqrt(n)`` with the sample standard deviation `s` of the n differences, which counts
        as at least ``1 / (sqrt(6) num_test)``; the interval is that error times the 97.5 % point of Student's t with
        n - 1 degrees of freedom on either side.

    Raises
    ------
    ValueError
        If the two differ in length.

    Notes
    -----
    Pairing by seed takes out what a seed does to both, such as the order of the batches [1]_. With few seeds the
    interval is wide (4.3 standard errors for three): that is what three seeds can tell. The bound on `s` is what the
    rounding of two accuracies to whole test images contributes (variance 1/12 of a step each, Sheppard): without it,
    two seeds that happen to differ by the same one image would pass for certainty.

    References
    ----------
    .. [1] Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    from scipy.stats import t as student

    differences = [ours - theirs for ours, theirs in zip(accuracies, baseline, strict=True)]
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return Difference(mean, None, None)
    deviation = max(statistics.stdev(differences), 1 / (math.sqrt(6) * num_test))
    error = deviation / math.sqrt(len(differences))
    reach = error * float(student.ppf((1 + _CONFIDENCE) / 2, len(differences) - 1))
    return Difference(mean, error, "above" if mean > reach else "below" if mean < -reach else "within")


class Comparison(ComparisonFacts):
    """All cells of a comparison, and what follows from them."""

    def cell(self, method: str, budget: str) -> Cell:
        """Return one cell.

        Parameters
        ----------
        method, budget : str
            Of those that were compared.

        Returns
        -------
        Cell
            It may be empty.
        """
        return next(cell for cell in self.cells if (cell.method, cell.budget) == (method, budget))

    def is_best(self, cell: Cell) -> bool:
        """Return whether no method does better at the cell's budget, and some other one does as well or worse.

        Parameters
        ----------
        cell : Cell
            One of the comparison.

        Returns
        -------
        bool
            By the mean; False for an empty cell and for one that is alone.
        """
        means = [other.mean for other in self.cells if other.budget == cell.budget and other.mean is not None]
        return cell.mean is not None and len(means) > 1 and cell.mean == max(means)

    def difference(self, cell: Cell) -> Difference | None:
        """Return how a cell does against random at its budget.

        Parameters
        ----------
        cell : Cell
            One of the comparison.

        Returns
        -------
        Difference or None
            None for random itself, and where one of the two is missing.
        """
        if cell.method == BASELINE or BASELINE not in self.methods:
            return None
        baseline = self.cell(BASELINE, cell.budget)
        if not cell.accuracies or not baseline.accuracies:
            return None
        return paired_difference(cell.accuracies, baseline.accuracies, self.training.test_images)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table for people: accuracies in percent, then the differences from random.

        Returns
        -------
        list of tuple of str
            One column for each budget after the methods; the best of each is marked ``*``.
        """
        head = []
        for budget in self.budgets:
            images = next((cell.images for cell in self.cells if cell.budget == budget and cell.images), None)
            head.append(budget if images is None else f"{budget} ({images:,})")
        found = [("accuracy (%)", *head)]
        for method in self.methods:
            cells = [self.cell(method, budget) for budget in self.budgets]
            found.append((method, *(cell.text + (" *" if self.is_best(cell) else "") for cell in cells)))
        others = [method for method in self.methods if method != BASELINE]
        if BASELINE in self.methods and others:
            found += [("",) * len(found[0]), ("minus random", *[""] * len(head))]
            for method in others:
                differences = [self.difference(self.cell(method, budget)) for budget in self.budgets]
                found.append((method, *("-" if value is None else value.text for value in differences)))
        return found

    def lines(self) -> list[str]:
        """Return what stands under the table: protocol, seeds, what beats random, what could not be selected.

        Returns
        -------
        list of str
            Nothing beyond what the numbers say.
        """
        seeds = ", ".join(str(seed) for seed in self.seeds)
        found = [
            f"protocol    {self.training.text} (recipe {self.training.name}), "
            f"{self.training.test_images:,} test images",
            f"seeds       {seeds}, for the selection and the training"
            + ("; +- is the sample standard deviation over them" if len(self.seeds) > 1 else ""),
            *(["*           the best mean at its budget"] if any(map(self.is_best, self.cells)) else []),
        ]
        if self.reference is not None and self.reference.mean is not None:
            found.append(f"whole pool  {self.reference.text} on {self.reference.images or 0:,} images")
        found += self._against_random()
        empty = [cell for cell in (*self.cells, self.reference) if cell is not None and cell.reason is not None]
        return [*found, *(f"not there   {cell.method} at {cell.budget}: {cell.reason}" for cell in empty)]

    def _against_random(self) -> list[str]:
        """Return which methods beat random beyond the spread at which budgets, and which lose."""
        differences = {cell: self.difference(cell) for cell in self.cells}
        if all(difference is None for difference in differences.values()):
            return []
        if len(self.seeds) == 1:
            return ["random      one seed has no spread, so no difference can be judged; use --seeds 3 or more"]
        found = []
        for verdict, words in (("above", "is beaten beyond the spread by"), ("below", "beats beyond the spread")):
            by_method: dict[str, list[str]] = {}
            for cell, difference in differences.items():
                if difference is not None and difference.verdict == verdict:
                    by_method.setdefault(cell.method, []).append(cell.budget)
            listing = "; ".join(f"{method} at {', '.join(budgets)}" for method, budgets in by_method.items())
            found.append(f"random      {words}: {listing or 'none'}")
        spread = f"the 95 % interval of the mean difference, paired over {len(self.seeds)} seeds (Student's t)"
        return [*found, f"spread      {spread}, each cell by itself; its standard error in brackets"]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values, with what follows from them; accuracies and differences in ``[-1, 1]``."""
        cells = []
        for cell in self.cells:
            difference = self.difference(cell)
            against = None if difference is None else asdict(difference)
            cells.append(_cell_json(cell) | {"best": self.is_best(cell), "against_random": against})
        return {
            "protocol": self.protocol,
            "seeds": list(self.seeds),
            "cells": cells,
            "reference": None if self.reference is None else _cell_json(self.reference),
        }

    def table_csv(self) -> bytes:
        """Return the table for programs: one line for each cell, the whole pool last.

        Returns
        -------
        bytes
            A CSV file; accuracies and differences in ``[-1, 1]``, empty where there is none.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for cell in self.cells:
            against = self.difference(cell)
            values = [] if against is None else [against.mean, against.standard_error, against.verdict]
            writer.writerow(self._line(cell, "yes" if self.is_best(cell) else "no", values or [None] * 3))
        if self.reference is not None:
            writer.writerow(self._line(self.reference, "no", [None] * 3))
        return text.getvalue().encode("utf-8", "surrogateescape")

    def _line(self, cell: Cell, best: str, against: Sequence[object]) -> list[object]:
        values = (cell.mean, cell.deviation, best, *against)
        written = [f"{value:.6f}" if isinstance(value, float) else value for value in values]
        protocol = (self.training.test_images, self.training.text, cell.reason)
        return [cell.method, cell.budget, cell.images, len(cell.accuracies), *written, *protocol]


def _cell_json(cell: Cell) -> dict[str, Any]:
    return cell.as_json() | {"reason": cell.reason, "mean": cell.mean, "deviation": cell.deviation}

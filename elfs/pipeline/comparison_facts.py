"""What compare and train report, for whoever reads it later. Importing this costs no torch."""

import statistics
from dataclasses import dataclass
from typing import Any

from elfs.workspace.parsing import Facts

__all__ = ["Cell", "ComparisonFacts", "TrainingFacts"]


@dataclass(frozen=True)
class Cell(Facts):
    """One method at one budget.

    Attributes
    ----------
    method, budget : str
        As typed.
    images : int or None
        Size of the selection; None where there is none.
    accuracies : tuple of float
        One for each seed, in ``[0, 1]``, higher = better; empty where nothing could be trained.
    reason : str or None
        Why it is empty.
    """

    method: str
    budget: str
    images: int | None
    accuracies: tuple[float, ...]
    reason: str | None = None

    @property
    def mean(self) -> float | None:
        """Mean over the seeds; None where the cell is empty."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None below two of them."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def text(self) -> str:
        """``95.8 +- 0.9`` in percent; ``-`` where the cell is empty."""
        if self.mean is None:
            return "-"
        spread = "" if self.deviation is None else f" +- {100 * self.deviation:.1f}"
        return f"{100 * self.mean:.1f}{spread}"


@dataclass(frozen=True)
class TrainingFacts(Facts):
    """How networks are trained, of all that a protocol says.

    Attributes
    ----------
    name, network : str
        Of the recipe, and of the network.
    iterations, test_images : int
        Steps, and images that it is tested on.
    """

    name: str
    network: str
    iterations: int
    test_images: int

    @property
    def text(self) -> str:
        """In a few words: network, steps, which iterate."""
        if self.network == "linear":
            return f"linear, to the minimum of the loss in at most {self.iterations:,} iterations of L-BFGS"
        return f"{self.network}, {self.iterations:,} iterations whatever the budget, last iterate"


@dataclass(frozen=True)
class ComparisonFacts(Facts):
    """What compare reports.

    Attributes
    ----------
    protocol : dict
        How every network was trained: the recipe, ``iterations``, ``test_images``.
    seeds : tuple of int
        Seeds of the selections and the trainings.
    cells : tuple of Cell
        Method by method, and each method's in the order of the budgets; all methods have the same budgets.
    reference : Cell or None
        The whole pool, if it was asked for.
    """

    protocol: dict[str, Any]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    reference: Cell | None

    @property
    def training(self) -> TrainingFacts:
        """What people are told of the protocol."""
        return TrainingFacts.of(self.protocol, "summary.protocol")

    @property
    def methods(self) -> list[str]:
        """Methods in order."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    @property
    def budgets(self) -> list[str]:
        """Budgets in order."""
        return list(dict.fromkeys(cell.budget for cell in self.cells))

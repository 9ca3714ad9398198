"""What plan reports in the summary of its record, for whoever reads it later. Importing this costs no torch."""

from dataclasses import dataclass

from elfs.workspace.parsing import Facts

__all__ = ["BudgetFacts", "CurvePoint", "GainFacts", "LeftOut", "MoreFacts", "PlanFacts"]


@dataclass(frozen=True)
class BudgetFacts(Facts):
    """What a budget would buy; figures of coverage are in [0, 1], higher = better.

    Attributes
    ----------
    budget : str
        As typed.
    images : int
        Images that it pays for.
    coverage, random, random_lowest, random_highest : float
        Of the selection; mean, least and most of random draws of the same size.
    as_many_random : int or None
        How many random images cover as well; None where more would be needed than the largest budget pays for.
    clusters, clusters_with_1, clusters_with_5 : int or None
        Clusters of the pool, and how many have so many picks or more; None where there are no pseudo-labels.
    """

    budget: str
    images: int
    coverage: float
    random: float
    random_lowest: float
    random_highest: float
    as_many_random: int | None
    clusters: int | None
    clusters_with_1: int | None
    clusters_with_5: int | None


@dataclass(frozen=True)
class LeftOut(Facts):
    """A budget that is in no plan.

    Attributes
    ----------
    budget, reason : str
        As typed, and why.
    """

    budget: str
    reason: str


@dataclass(frozen=True)
class GainFacts(Facts):
    """What more annotations are expected to bring, in accuracy.

    Attributes
    ----------
    estimate, low, high : float
        As `elfs.ops.learning_curve.expected_gain` gives them.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class CurvePoint(Facts):
    """How well a linear classifier does with some of the annotations.

    Attributes
    ----------
    annotations : int
        How many.
    accuracy, error : float
        In [0, 1], and its standard error.
    """

    annotations: int
    accuracy: float
    error: float


@dataclass(frozen=True)
class MoreFacts(Facts):
    """What a linear classifier makes of the annotations, and what more of them are expected to bring.

    Attributes
    ----------
    annotated, classes : int
        Images that are learned from, of so many classes.
    more : int
        How many more the gain is of.
    judged_by : str
        ``test set`` where enough images of one are annotated, else ``cross-validation``.
    gain : GainFacts or None
        None where there are too few points.
    points : tuple of CurvePoint
        With ever more of the annotations.
    """

    annotated: int
    classes: int
    more: int
    judged_by: str
    gain: GainFacts | None
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class PlanFacts(Facts):
    """What plan reports.

    Attributes
    ----------
    method, key : str
        How the budgets are spent.
    eligible, copies_left_out : int
        Images that can be selected, and copies of them that cannot.
    budgets : tuple of BudgetFacts
        The smallest first.
    left_out : tuple of LeftOut
        Budgets that do not fit.
    bend : str or None
        The budget beyond which coverage grows slowly.
    annotations : MoreFacts or None
        Where there are any.
    """

    method: str
    key: str
    eligible: int
    copies_left_out: int
    budgets: tuple[BudgetFacts, ...]
    left_out: tuple[LeftOut, ...]
    bend: str | None
    annotations: MoreFacts | None = None

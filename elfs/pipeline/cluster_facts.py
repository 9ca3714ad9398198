"""What cluster reports, for whoever reads it later. Importing this costs no torch."""

from dataclasses import dataclass

from elfs.workspace.parsing import Facts

__all__ = ["ClusterFacts", "ClustersFacts", "CountFacts", "HeadFacts"]


@dataclass(frozen=True)
class CountFacts(Facts):
    """How many clusters there are, and what that rests on.

    Attributes
    ----------
    best : int
        The number that is taken.
    as_good : tuple of int
        Least and greatest number that would do as well.
    candidates : tuple of int
        Numbers that were tried, ascending.
    groups : tuple of float
        Into how many groups a graph of neighbours falls apart that supposes so many clusters; none where an older
        version scored the candidates instead.
    """

    best: int
    as_good: tuple[int, ...]
    candidates: tuple[int, ...]
    groups: tuple[float, ...] = ()


@dataclass(frozen=True)
class ClusterFacts(Facts):
    """What others read of what cluster reports in the summary of its record.

    Attributes
    ----------
    estimate : CountFacts or None
        Where the number of clusters was not known.
    clusters : int or None
        How many there are.
    """

    estimate: CountFacts | None
    clusters: int | None


@dataclass(frozen=True)
class HeadFacts(Facts):
    """What others read of a head.

    Attributes
    ----------
    used_clusters : int
        Clusters that have an image.
    assignment_entropy : float
        How evenly they are used: 0 one of them, 1 all alike.
    trust : float or None
        How far its clusters are to be believed, in [0, 1]; None where an older version did not say.
    agreement : float or None
        Share of the images on which another clustering agrees, in [0, 1].
    confidence_power : float or None
        What its probabilities are raised to; None where they stay as they are.
    """

    used_clusters: int
    assignment_entropy: float
    trust: float | None
    agreement: float | None
    confidence_power: float | None


@dataclass(frozen=True)
class ClustersFacts(Facts):
    """What label reads of ``clusters.json``.

    Attributes
    ----------
    clusters, chosen : int
        Number of clusters, and of the best head.
    consensus : HeadFacts or None
        Of all heads together, where they label the images; else the chosen one does.
    temperature : float or None
        Divides the logits of the heads; None where there is none.
    heads : tuple of HeadFacts
        All of them, in order.
    """

    clusters: int
    chosen: int
    consensus: HeadFacts | None
    temperature: float | None
    heads: tuple[HeadFacts, ...]

    @property
    def labelling(self) -> HeadFacts:
        """What labels the images."""
        return self.heads[self.chosen] if self.consensus is None else self.consensus

"""What stages report in the summaries of their records, for whoever reads them later. Importing this costs no torch."""

from dataclasses import dataclass, field

from elfs.workspace.parsing import Facts

__all__ = ["ColumnFacts", "Coverage", "EmbedFacts", "GroupFacts", "ScoreFacts", "SelectionFacts", "TrustFacts"]


@dataclass(frozen=True)
class EmbedFacts(Facts):
    """What others read of what embed reports.

    Attributes
    ----------
    train : int or None
        Images that can be selected.
    encoder : str or None
        What made the embeddings.
    """

    train: int | None
    encoder: str | None


@dataclass(frozen=True)
class TrustFacts(Facts):
    """What label and dynamics report of how far the pseudo-labels are to be believed, each share in [0, 1].

    Attributes
    ----------
    confident : float or None
        Share of the pool with a confident one.
    trust : float or None
        How far the clusterings agree, higher = more to be believed.
    estimated_wrong : float or None
        Share that is wrong by people's annotations, or by proxies that were not trained on them.
    """

    confident: float | None
    trust: float | None
    estimated_wrong: float | None


@dataclass(frozen=True)
class ScoreFacts(Facts):
    """What score reports.

    Attributes
    ----------
    keys : tuple of str
        Scores that there are.
    samples, epochs : int
        Images that have one, and epochs of the dynamics.
    left_out : dict of str to str or None
        Scores that there are not, with the reason.
    """

    keys: tuple[str, ...]
    samples: int
    epochs: int
    left_out: dict[str, str] | None

    def why_not(self, key: str) -> str | None:
        """Return why there is no such score; None where score did not know it."""
        return (self.left_out or {}).get(key)


@dataclass(frozen=True)
class Coverage(Facts):
    """How well a selection covers the pool: mean cosine of an image to the nearest pick, in [0, 1], higher = better.

    Attributes
    ----------
    selected : float
        Of the selection.
    random, lowest, highest : float
        Mean, least and most of selections of the same size that are drawn at random.
    beaten, draws : int
        How many of those draws cover less, and how many there are.
    """

    selected: float
    random: float
    lowest: float
    highest: float
    beaten: int
    draws: int


@dataclass(frozen=True)
class GroupFacts(Facts):
    """How a selection goes about images that belong together.

    Attributes
    ----------
    said_by : str
        File that says so.
    groups, alone : int
        Groups of the pool, and images of it without one.
    picked, most : int
        Groups, and images without one, that are in; the most images of one.
    per_group : int or None
        The most that were to be, where there was a limit.
    whole : bool
        Whether each group is in with all its images or with none.
    """

    said_by: str
    groups: int
    alone: int
    picked: int
    most: int
    per_group: int | None
    whole: bool


@dataclass(frozen=True)
class ColumnFacts(Facts):
    """How many images of each value of a column are selected.

    Attributes
    ----------
    name : str
        The column.
    images : dict of str to int
        Value to number of images.
    """

    name: str
    images: dict[str, int]


@dataclass(frozen=True)
class SelectionFacts(Facts):
    """What select reports.

    Name, method, count, eligible and share every version of it wrote, and without one of them nothing is read. What may
    be None some version did not write yet; what has a default is unknown, or does not concern the selection, there.

    Attributes
    ----------
    name, method : str
        Of the selection.
    count, eligible : int
        Images that are in, and of the pool, less those that were left out as copies.
    share : float
        The first over the second.
    copies_left_out : int
        Images that were left out as copies of others.
    balance, encoder : str or None
        As it was asked for; what made the embeddings.
    holdout : bool
        Whether it is a test set.
    included, excluded : int or None
        Images that are in because an earlier selection has them; that were not to be chosen.
    annotated : int
        Images that were left out because people have annotated them.
    key : str or None
        Score that it goes by.
    without_score : int or None
        Images that were left out because they have none.
    clusters, clusters_covered, fewest_per_cluster, most_per_cluster : int or None
        Clusters of the pool, how many have a pick, and how many picks the clusters have; all known or none.
    clusters_missed : int or None
        Clusters without a pick and without an image that is included, excluded or annotated, where some images are.
    coverage : Coverage or None
        Against chance.
    confident : float or None
        Share of the pool with a confident pseudo-label.
    groups : GroupFacts or None
        Where images belong together.
    column : ColumnFacts or None
        Where one was balanced.
    trust : float or None
        How far the pseudo-labels are to be believed, in [0, 1].
    trust_by : dict of str to float
        The same by each who knows.
    same_with_other_proxies : float or None
        Share of the picks, in [0, 1].
    hard_rate : float or None
        Share that was pruned from the hard end.
    hard_rate_chosen : str or None
        How it was found.
    hard_rate_curve : tuple of tuple of float
        Shares that were tried, each with what was found of it.
    """

    name: str
    method: str
    count: int
    eligible: int
    share: float
    copies_left_out: int | None
    balance: str | None
    encoder: str | None = None
    holdout: bool = False
    included: int | None = None
    excluded: int | None = None
    annotated: int = 0
    key: str | None = None
    without_score: int | None = None
    clusters: int | None = None
    clusters_covered: int | None = None
    fewest_per_cluster: int | None = None
    most_per_cluster: int | None = None
    clusters_missed: int | None = None
    coverage: Coverage | None = None
    confident: float | None = None
    groups: GroupFacts | None = None
    column: ColumnFacts | None = None
    trust: float | None = None
    trust_by: dict[str, float] = field(default_factory=dict)
    same_with_other_proxies: float | None = None
    hard_rate: float | None = None
    hard_rate_chosen: str | None = None
    hard_rate_curve: tuple[tuple[float, float], ...] | None = None

    @property
    def picks_per_cluster(self) -> str:
        """How many picks each cluster has, such as ``10 to 18``, or ``20`` where all have equally many."""
        fewest, most = self.fewest_per_cluster, self.most_per_cluster
        return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"

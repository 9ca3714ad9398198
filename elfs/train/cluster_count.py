"""How many clusters does an unlabelled pool have? An educated guess for users who cannot say."""

import math
from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from torch import Tensor

from elfs.ops.cluster_number import compression, modularity, neighbor_graph, spectral_axes, spectral_rows
from elfs.ops.kmeans import kmeans
from elfs.ops.neighbors import cosine_neighbors
from elfs.pipeline.cluster_facts import CountFacts
from elfs.train.features import Features
from elfs.train.seeding import derived_seed, generator

__all__ = ["CANDIDATES", "ClusterCount", "estimate_num_clusters"]

CANDIDATES = (
    *range(2, 17),
    18,
    20,
    22,
    24,
    27,
    30,
    33,
    36,
    40,
    45,
    50,
    55,
    60,
    67,
    75,
    82,
    90,
    100,
    110,
    120,
    135,
    150,
)
"""Numbers of clusters that are tried: steps of at most a ninth beyond 9."""

_SAMPLES, _STARTS = 3, 2
"""Samples of the pool, and starts of k-means on each."""

_SAMPLE_SHARE = 0.9
_FEWEST_NEIGHBORS = 10
_FEWEST_ROWS, _ROWS_PER_RATIO = 1_600, 50
"""Rows of a sample where the pool has as many: the second times the ratio of rows to neighbours."""

_RATIOS = (8, 24, 48, 96, 192)
"""Rows of a sample to neighbours of a row, the coarsest graph first."""

_USUAL = 24
"""Coarser graphs count only where clusters are separated."""

_DOUBTFUL = 2
"""Where the next finer graph has more than so many times the clusters, the coarser one has merged them."""


_SEPARATED = 0.5
"""Clusters are separated where the score is at least this share of that of clusters without any link."""

_ENOUGH = 0.5
"""Where the best number is more than this share of rows to neighbours, the graph is too coarse to tell."""

_ROWS_PER_CLUSTER = 10
_AS_GOOD = 0.97
"""Numbers whose score is at least this share of the best are said to be as good."""


@dataclass(frozen=True)
class ClusterCount:
    """An estimate and what it rests on.

    Attributes
    ----------
    best : int
        The number of clusters with the highest score.
    fewest, most : int
        Ends of the run of candidates around `best` that are as good: whose scores are at least 97 % of the highest.
    scores : dict of int to float
        Score of each candidate, in ascending order of the candidates; higher = better, below 1.
    """

    best: int
    fewest: int
    most: int
    scores: dict[int, float]

    def facts(self) -> CountFacts:
        """Return the estimate as it is reported: candidates and scores, which are rounded to six digits."""
        scores = tuple(round(score, 6) for score in self.scores.values())
        return CountFacts(self.best, (self.fewest, self.most), tuple(self.scores), scores)


def estimate_num_clusters(features: Features, seed: int) -> ClusterCount:
    """Return the number of clusters into which graphs of neighbours fall apart best.

    Three samples of the pool are drawn. In the graph of nearest neighbours (by cosine) of each, spectral clustering
    finds groups, for every candidate; the score is the mean over the samples of modularity times compression by the map
    equation. The first alone finds too few clusters, the second too many.

    Parameters
    ----------
    features : Features
        Embeddings of the pool, not standardised. At most 1,600 rows of it are looked at three times, each with
        as many neighbours as a 24th of them. Where it falls apart cleanly into a few clusters, a coarser graph says so;
        where there seem to be more than 12, finer and finer graphs of up to 9,600 rows.
    seed : int
        Seed of the samples and of k-means.

    Returns
    -------
    ClusterCount
        Of ``CANDIDATES`` that leave at least 10 rows of a sample a cluster, at least 2.

    Notes
    -----
    What other criteria find, and where this one misses: benchmarks/RESULTS.md.
    """
    samples = _Samples(features, seed)
    for ratio, finer in zip(_RATIOS, (*_RATIOS[1:], None), strict=True):
        scores = samples.scores(ratio)
        best = _highest(scores)
        if finer is None or samples.size(finer) < finer * _FEWEST_NEIGHBORS:
            break
        if best <= _ENOUGH * ratio:
            if scores[best] >= _SEPARATED * _ideal(best, samples.size(ratio)):
                break
            if ratio >= _USUAL and _highest(samples.scores(finer)) <= _DOUBTFUL * best:
                break
    return ClusterCount(best, *_as_good(scores, best), scores)


def _highest(scores: dict[int, float]) -> int:
    return max(scores, key=lambda candidate: scores[candidate])


def _ideal(num_clusters: int, num_rows: int) -> float:
    """Return the score of equal clusters without any link between them."""
    return (1 - 1 / num_clusters) * math.log(num_clusters) / math.log(num_rows)


def _as_good(scores: dict[int, float], best: int) -> tuple[int, int]:
    """Return the ends of the run of candidates around the best whose scores are close to its own."""
    candidates, least = list(scores), _AS_GOOD * scores[best]
    low = high = candidates.index(best)
    while low > 0 and scores[candidates[low - 1]] >= least:
        low -= 1
    while high + 1 < len(candidates) and scores[candidates[high + 1]] >= least:
        high += 1
    return candidates[low], candidates[high]


class _Samples:
    """Samples of the pool, with the widest neighbourhoods that were asked for so far."""

    def __init__(self, features: Features, seed: int) -> None:
        self._features, self._seed = features, seed
        self._neighbors: dict[tuple[int, int], Tensor] = {}
        self._scores: dict[int, dict[int, float]] = {}

    def size(self, ratio: int) -> int:
        """Return how many rows a sample has: small pools are looked at almost whole, so that the samples differ."""
        wanted = max(_FEWEST_ROWS, _ROWS_PER_RATIO * ratio)
        return max(min(2, len(self._features)), min(int(_SAMPLE_SHARE * len(self._features)), wanted))

    def scores(self, ratio: int) -> dict[int, float]:
        """Return the mean score of each candidate."""
        if ratio not in self._scores:
            self._scores[ratio] = self._computed(ratio)
        return self._scores[ratio]

    def _computed(self, ratio: int) -> dict[int, float]:
        size = self.size(ratio)
        most = max(min(size // _ROWS_PER_CLUSTER, ratio + ratio // 4), CANDIDATES[0])
        candidates = [candidate for candidate in CANDIDATES if candidate <= most]
        total = dict.fromkeys(candidates, 0.0)
        for sample in range(_SAMPLES):
            graph = neighbor_graph(self._nearest(sample, size, min(max(_FEWEST_NEIGHBORS, size // ratio), size - 1)))
            for candidate, score in _scores(graph, candidates, derived_seed(self._seed, "groups")).items():
                total[candidate] += score / _SAMPLES
        return total

    def _nearest(self, sample: int, size: int, num_neighbors: int) -> Tensor:
        if (sample, size) not in self._neighbors:  # from coarse to fine: later graphs want fewer of them
            order = torch.randperm(len(self._features), generator=generator(self._seed, "sample", sample))
            rows = self._features.take(order[:size]).cpu().numpy()
            self._neighbors[sample, size] = cosine_neighbors(rows, num_neighbors, device="cpu")[0]
        return self._neighbors[sample, size][:, :num_neighbors]


def _scores(graph: csr_array, candidates: list[int], seed: int) -> dict[int, float]:
    axes = spectral_axes(graph, min(candidates[-1], graph.shape[0]))
    return {candidate: _score(graph, axes, candidate, seed) for candidate in candidates}


def _score(graph: csr_array, axes: Tensor, num_clusters: int, seed: int) -> float:
    # FAISS starts from random rows, which misses clusters that are far apart; torch spreads its starts.
    labels = kmeans(
        spectral_rows(axes, num_clusters), num_clusters, seed=seed, restarts=_STARTS, engine="torch"
    ).assignment
    return max(0.0, modularity(graph, labels)) * max(0.0, compression(graph, labels))

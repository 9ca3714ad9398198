"""How many clusters does an unlabelled pool have? An educated guess for users who cannot say."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.ops.cluster_number import merge_closeness, number_of_groups
from elfs.ops.kmeans import kmeans
from elfs.ops.neighbor_information import neighbor_joint, refined, smoothed
from elfs.ops.neighbors import cosine_neighbors
from elfs.pipeline.cluster_facts import CountFacts
from elfs.train.features import Features
from elfs.train.seeding import derived_seed, generator

__all__ = ["CANDIDATES", "ClusterCount", "estimate_num_clusters"]

CANDIDATES = (
    *range(1, 17),
    *(18, 20, 22, 24, 27, 30, 33, 36, 40, 45, 50, 55, 60, 67, 75, 82, 90, 100, 110, 120, 135, 150),
)
"""Numbers of clusters that are supposed: steps of at most a ninth beyond 9. One finds itself or more, so it begins with
one; the answer is at least two."""

_LEAST = 2

_SAMPLES = 3
_SAMPLE_SHARE = 0.9
"""Samples of the pool; small pools are looked at almost whole, but so that the samples differ."""

_FEWEST_ROWS, _ROWS_PER_CLUSTER = 1_600, 80
"""Rows of a sample where the pool has as many; it is doubled for as long as it has fewer rows a cluster."""

_LEAST_ROWS_PER_CLUSTER = 10
_ROWS_PER_PIECE, _FEWEST_PIECES = 13, 20
_NEIGHBORS, _SMOOTHING_NEIGHBORS, _SMOOTHING_STEPS, _REFINING_STEPS = 25, 15, 3, 5

_NEIGHBOR_SHARE = 0.5
"""Neighbours of a row, as a share of the rows of a mean cluster."""

_CLOSE = 0.07
"""Groups at least as close are one."""
_CLOSE_FOR_FEWEST, _CLOSE_FOR_MOST = 0.05, 0.09
"""What would do as well: the range of numbers that is said to be as good."""


@dataclass(frozen=True)
class ClusterCount:
    """An estimate and what it rests on.

    Attributes
    ----------
    best : int
        The number of clusters that finds itself.
    fewest, most : int
        The same where groups count as one sooner, and later.
    groups : dict of int to float
        Into how many groups the graph of each candidate fell apart, mean over the samples, ascending by candidate.
    """

    best: int
    fewest: int
    most: int
    groups: dict[int, float]

    def facts(self) -> CountFacts:
        """Return the estimate as it is reported."""
        groups = tuple(round(number, 6) for number in self.groups.values())
        return CountFacts(self.best, (self.fewest, self.most), tuple(self.groups), groups)


def estimate_num_clusters(features: Features, seed: int) -> ClusterCount:
    """Return the number of clusters that finds itself among nearest neighbours.

    Three samples of the pool are cut into many small pieces (k-means of rows averaged with their neighbours). Whoever
    supposes k clusters links every row to half as many neighbours as a mean cluster has rows, and merges pieces for as
    long as they are close (`elfs.ops.cluster_number.merge_closeness`). Too few neighbours leave more groups than
    supposed, too many fewer; the answer is where as many are left as were supposed.

    Parameters
    ----------
    features : Features
        Embeddings of the pool, not standardised. At most 1,600 rows of it are looked at three times, and 80 for each
        cluster where there seem to be more than 20.
    seed : int
        Seed of the samples and of k-means.

    Returns
    -------
    ClusterCount
        Of 2 to 150, and of at most a tenth of the rows of a sample, at least 2.

    Notes
    -----
    What it was chosen on, what other criteria find, and where this one misses: benchmarks/RESULTS.md.
    """
    samples = _Samples(features, seed)
    bounds = (_CLOSE, _CLOSE_FOR_FEWEST, _CLOSE_FOR_MOST)
    found: dict[int, tuple[float, ...]] = {}
    for candidate in CANDIDATES:
        if candidate > max(_LEAST, samples.most_clusters):
            break
        each = samples.closeness(candidate)
        found[candidate] = tuple(float(np.mean([number_of_groups(one, bound) for one in each])) for bound in bounds)
        if max(found[candidate]) < candidate:
            break
    curves = [{candidate: values[number] for candidate, values in found.items()} for number in range(len(bounds))]
    best, fewest, most = (max(_LEAST, round(_own_number(curve))) for curve in curves)
    return ClusterCount(best, min(fewest, best), max(most, best), curves[0])


def _own_number(curve: dict[int, float]) -> float:
    """Return the first candidate, in between on a logarithmic scale, that finds itself; the last where none does."""
    excess = {candidate: math.log(groups / candidate) for candidate, groups in curve.items()}
    candidates = list(curve)
    for low, high in itertools.pairwise(candidates):
        if excess[low] >= 0 > excess[high]:
            share = excess[low] / (excess[low] - excess[high])
            return math.exp(math.log(low) + share * math.log(high / low))
    return float(candidates[-1])


class _Sample:
    """Rows of the pool, cut into small pieces [N], and their neighbours [N, K]."""

    def __init__(self, rows: Tensor, num_neighbors: int, seed: int) -> None:
        centred = rows - rows.mean(dim=0)
        near, _ = cosine_neighbors(centred.numpy(), min(num_neighbors, len(rows) - 1), device="cpu")
        self.neighbors = near.long()
        self.pieces = self._cut(centred, seed)

    def _cut(self, rows: Tensor, seed: int) -> Tensor:
        num = min(len(rows), max(_FEWEST_PIECES, len(rows) // _ROWS_PER_PIECE))
        averaged = smoothed(rows, self.neighbors[:, :_SMOOTHING_NEIGHBORS], _SMOOTHING_STEPS)
        pieces = kmeans(averaged, num, seed=derived_seed(seed, "groups")).assignment
        near = self.neighbors[:, :_NEIGHBORS]
        return refined(pieces, near, num, penalty=0.0, max_steps=_REFINING_STEPS)[0]

    def closeness(self, num_neighbors: int) -> NDArray[np.float64]:
        """Return how close the pieces are that are merged, with so many neighbours of a row."""
        near = self.neighbors[:, :num_neighbors]
        joint_CC = neighbor_joint(self.pieces, near, int(self.pieces.max()) + 1).numpy()
        used_C = joint_CC.sum(axis=1) > 0
        return merge_closeness(joint_CC[used_C][:, used_C])


class _Samples:
    """Samples of the pool, larger ones where more clusters are supposed."""

    def __init__(self, features: Features, seed: int) -> None:
        self._features, self._seed = features, seed
        self._drawn: dict[int, list[_Sample]] = {}
        self._most_rows = max(min(2, len(features)), int(_SAMPLE_SHARE * len(features)))

    @property
    def most_clusters(self) -> int:
        """So many that each has a few rows of a sample."""
        return self._most_rows // _LEAST_ROWS_PER_CLUSTER

    def closeness(self, num_clusters: int) -> list[NDArray[np.float64]]:
        """Return how close the pieces of each sample are that are merged, where so many clusters are supposed."""
        doublings = max(0, math.ceil(math.log2(_ROWS_PER_CLUSTER * num_clusters / _FEWEST_ROWS)))
        size = min(self._most_rows, _FEWEST_ROWS << doublings)
        num_neighbors = max(1, round(_NEIGHBOR_SHARE * size / num_clusters))
        if size not in self._drawn:  # candidates ascend: no later one wants more neighbours
            self._drawn = {size: [self._sample(size, num_neighbors, number) for number in range(_SAMPLES)]}
        return [sample.closeness(num_neighbors) for sample in self._drawn[size]]

    def _sample(self, size: int, num_neighbors: int, number: int) -> _Sample:
        order = torch.randperm(len(self._features), generator=generator(self._seed, "sample", number))
        rows = self._features.take(order[:size]).cpu().float()
        return _Sample(rows, max(num_neighbors, _NEIGHBORS), self._seed)

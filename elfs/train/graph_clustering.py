"""Clusters from many starts, refined on the neighbour graph, put together and learned by a head.

Shape suffixes: S clusterings, M rows of the pool, K neighbours, C clusters, D dimensions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from elfs.models.heads import ClusterHeads
from elfs.ops.consensus import aligned, consensus
from elfs.ops.kmeans import kmeans
from elfs.ops.neighbor_information import Linkage, merged, refined, smoothed
from elfs.ops.optimizers import eager
from elfs.parallel.runtime import Task
from elfs.train.features import Features
from elfs.train.seeding import derived_seed, generator

__all__ = ["PENALTY", "GraphClusters", "distilled_head", "graph_clusters", "num_starts"]

PENALTY = 0.4
"""What evenly used clusters cost: with 0 the sizes are evened out, which splits the large classes of a long tail."""

_LEAST_USED, _LEAST_EFFECTIVE = 0.75, 0.45
"""Where fewer of the clusters are used, or the effective number of them (the exponential of the entropy of their sizes)
is smaller, as a share of all, the penalty was too high for few or mixed neighbours, and half of it is taken. Pools in
which each class has half the images of the one before keep 0.65 and more (benchmarks/RESULTS.md)."""

NEIGHBORS = 25
"""Neighbours whose clusters are looked at."""

_SMOOTHING_NEIGHBORS = 15
_SMOOTHING_STEPS = (0, 3, 10, 30)
_SEEDS = 3
_LINKAGES: tuple[Linkage, ...] = ("information", "lift", "cut")
_OVER = 2
_KEPT = 8
"""Clusterings in the consensus."""
_SHARPNESS = 50.0
"""How fast a clustering's weight falls with the information that it lacks, per nat."""

_DISTILL_STEPS = 600
_DISTILL_BATCH = 256
_DISTILL_RATE = 2e-3


@dataclass(frozen=True)
class GraphClusters:
    """Clusters of a pool.

    Attributes
    ----------
    probabilities : Tensor of shape (n_rows, n_clusters), float32
        The consensus; every row sums to 1.
    clusterings : Tensor of shape (n_clusterings, n_rows), int64
        What it was made of, most informative first, under the names of the first.
    information : list of float
        Information of each, in nats, higher = better.
    penalty : float
        What evenly used clusters cost.
    """

    probabilities: Tensor
    clusterings: Tensor
    information: list[float]
    penalty: float


def num_starts() -> int:
    """Return how often `graph_clusters` advances its task.

    Returns
    -------
    int
        Number of clusterings that are refined.
    """
    return len(_SMOOTHING_STEPS) * _SEEDS * (1 + len(_LINKAGES))


def _starts(inputs_MD: Tensor, neighbors_MK: Tensor, clusters: int, seed: int) -> Iterator[Tensor]:
    """Yield k-means of rows smoothed more and more; of twice as many clusters, merged in three ways; several seeds."""
    done, over = 0, min(_OVER * clusters, len(inputs_MD))
    for steps in _SMOOTHING_STEPS:
        inputs_MD, done = smoothed(inputs_MD, neighbors_MK[:, :_SMOOTHING_NEIGHBORS], steps - done), steps
        for number in range(_SEEDS):
            yield kmeans(inputs_MD, clusters, seed=derived_seed(seed, "start", steps, number)).assignment
            fine = kmeans(inputs_MD, over, seed=derived_seed(seed, "fine", steps, number)).assignment
            fine, _ = refined(fine, neighbors_MK, over, penalty=0.0, max_steps=5)
            for linkage in _LINKAGES:
                yield merged(fine, neighbors_MK, over, clusters, linkage)


def graph_clusters(inputs: Tensor, neighbors: Tensor, clusters: int, *, seed: int, task: Task) -> GraphClusters:
    """Cluster a pool by what clusters say about the clusters of neighbours.

    Parameters
    ----------
    inputs : Tensor of shape (n_rows, n_dims), float32
        Embeddings; only their direction counts.
    neighbors : Tensor of shape (n_rows, n_neighbors), int64
        Rows next to each row, most similar first; 25 at most are looked at.
    clusters : int
        Number of clusters, at most ``n_rows``.
    seed : int
        Seed of the starts.
    task : Task
        Advanced `num_starts` times.

    Returns
    -------
    GraphClusters
        The eight most informative clusterings and their consensus, on the device of `inputs`. Where few of the clusters
        hold nearly all rows, though more than one does, once more with half the penalty.
    """
    neighbors = neighbors[:, :NEIGHBORS]
    found = _consensus(inputs, neighbors, clusters, PENALTY, seed, task.advance)
    if _is_collapsed(torch.bincount(found.probabilities.argmax(dim=1), minlength=clusters)):
        found = _consensus(inputs, neighbors, clusters, PENALTY / 2, seed, lambda: None)
    return found


def _is_collapsed(sizes_C: Tensor) -> bool:
    """Whether few clusters hold nearly all rows; a pool of one cluster is not meant."""
    share_C = sizes_C.double() / sizes_C.sum()
    effective = float(torch.special.entr(share_C).sum().exp())
    used = int((sizes_C > 0).sum())
    return used > 1 and (used < _LEAST_USED * len(sizes_C) or effective < _LEAST_EFFECTIVE * len(sizes_C))


def _consensus(
    inputs: Tensor, neighbors: Tensor, clusters: int, penalty: float, seed: int, advance: Callable[[], None]
) -> GraphClusters:
    """Refine every start under one penalty, and put the most informative ones together."""
    found: list[tuple[Tensor, float]] = []
    for start in _starts(inputs, neighbors, clusters, seed):
        found.append(refined(start, neighbors, clusters, penalty=penalty))
        found = sorted(found, key=lambda pair: -pair[1])[:_KEPT]
        advance()
    information = [value for _, value in found]
    clusterings_SM = torch.stack([aligned(labels, found[0][0], clusters) for labels, _ in found])
    weights_S = (_SHARPNESS * torch.tensor(information)).softmax(dim=0)
    together = consensus(clusterings_SM, weights_S, neighbors, clusters)
    return GraphClusters(together, clusterings_SM, information, penalty)


def distilled_head(
    features: Features, probabilities: Tensor, *, hidden: int, bottleneck: int, temperature: float, seed: int
) -> ClusterHeads:
    """Train a head that says for every embedding, also of images that were not clustered, what the consensus says.

    Parameters
    ----------
    features : Features
        Embeddings of the pool, on any scale near 1.
    probabilities : Tensor of shape (n_rows, n_clusters), float32
        What it is to learn.
    hidden, bottleneck : int
        Widths of the head.
    temperature : float
        Divides the logits before the softmax.
    seed : int
        Seed of the initial weights and the batches.

    Returns
    -------
    ClusterHeads
        One head, in evaluation mode.
    """
    head = ClusterHeads(
        1, features.dim, hidden, bottleneck, probabilities.shape[1], generator(seed, "distilled head")
    ).to(features.device)
    optimizer = eager(torch.optim.AdamW)(head.parameters(), lr=_DISTILL_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _DISTILL_STEPS)
    draws = generator(seed, "distilled batches")
    for _ in range(_DISTILL_STEPS):
        rows_B = torch.randint(len(features), (_DISTILL_BATCH,), generator=draws)
        logits_BC = head(features.take(rows_B))[0].float() / temperature
        loss = F.cross_entropy(logits_BC, probabilities[rows_B.to(probabilities.device)].to(features.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()

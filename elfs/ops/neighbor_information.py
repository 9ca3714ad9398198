"""Clusters that say as much as possible about the clusters of an image's neighbours, on the graph alone.

Draw a random image and a random one of its neighbours; L and L' are their clusters. The information of a clustering is
``I(L; L') - penalty * H(L)``: high where neighbours share a cluster and many clusters are used. A penalty of 0 prefers
clusters of equal size, 1 prefers a single cluster. Everything here costs time and memory linear in the number of rows.

Shape suffixes: N rows, B rows of a block, K neighbours, C clusters, D dimensions.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Linkage",
    "information",
    "merged",
    "mutual",
    "neighbor_joint",
    "neighbor_votes",
    "pair_joint",
    "refined",
    "smoothed",
]

Linkage = Literal["information", "lift", "cut"]
"""Which two clusters are merged first: see `merged`."""

BLOCK_NUMBERS = 1 << 20
"""Numbers of a block that are in memory together: few enough for a cache, and for an allocator to keep."""

SMOOTHING = 1e-4
"""Weight of the uniform distribution in a joint distribution before its logarithm is taken."""


def _blocks(num_rows: int, width: int) -> list[slice]:
    size = max(1, BLOCK_NUMBERS // max(1, width))
    return [slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]


def mutual(neighbors: Tensor) -> Tensor:
    """Return the neighbours that have the row among their own, and the row itself in the place of the others.

    Where classes overlap, a neighbour that looks elsewhere is of the same class less often, and a few rows are
    neighbours of many.

    Parameters
    ----------
    neighbors : Tensor of shape (n_rows, n_neighbors), int64
        Rows next to each row.

    Returns
    -------
    Tensor of shape (n_rows, n_neighbors), int64
        In the same places.

    Examples
    --------
    >>> mutual(torch.tensor([[1], [0], [0]])).tolist()
    [[1], [0], [2]]
    """
    kept_NK = torch.empty_like(neighbors)
    rows_N = torch.arange(len(neighbors), device=neighbors.device)
    for block in _blocks(len(neighbors), neighbors.shape[1] ** 2):
        own_B1 = rows_N[block].unsqueeze(1)
        back_BK = (neighbors[neighbors[block]] == own_B1.unsqueeze(2)).any(dim=2)
        kept_NK[block] = torch.where(back_BK, neighbors[block], own_B1)
    return kept_NK


def smoothed(x: Tensor, neighbors: Tensor, steps: int) -> Tensor:
    """Return rows averaged along the graph: each step takes the mean of a row and its neighbours, at length 1.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_dims), floating
        Embeddings.
    neighbors : Tensor of shape (n_rows, n_neighbors), int64
        Rows next to each row.
    steps : int
        At least 0; none leaves the rows as they are but for their length.

    Returns
    -------
    Tensor of shape (n_rows, n_dims), float32
        Rows of length 1 (0 where a mean is 0); no gradient.
    """
    rows_ND = F.normalize(x.detach().float())
    blocks = _blocks(len(x), x.shape[1])
    for _ in range(steps):
        total_ND = torch.empty_like(rows_ND)
        for block in blocks:
            total_BD = rows_ND[block].clone()
            for column_B in neighbors[block].unbind(dim=1):
                total_BD += rows_ND[column_B]
            total_ND[block] = F.normalize(total_BD)
        rows_ND = total_ND
    return rows_ND


def neighbor_votes(labels: Tensor, neighbors: Tensor, num_clusters: int) -> Tensor:
    """Return which share of a row's neighbours is in each cluster.

    Parameters
    ----------
    labels : Tensor of shape (n_rows,), int64
        Cluster of every row, in ``[0, num_clusters)``.
    neighbors : Tensor of shape (n_some, n_neighbors), int64
        Neighbours of all rows, or of some.
    num_clusters : int
        Number of clusters.

    Returns
    -------
    Tensor of shape (n_some, n_clusters), float32
        Each row sums to 1.
    """
    votes_BC = torch.zeros(len(neighbors), num_clusters, device=labels.device)
    ones_BK = torch.ones(1, 1, device=labels.device).expand(neighbors.shape)
    return votes_BC.scatter_add_(1, labels[neighbors], ones_BK) / neighbors.shape[1]


def neighbor_joint(labels: Tensor, neighbors: Tensor, num_clusters: int) -> Tensor:
    """Return how often an image of one cluster has a neighbour of another.

    Parameters
    ----------
    labels : Tensor of shape (n_rows,), int64
        Cluster of every row, in ``[0, num_clusters)``.
    neighbors : Tensor of shape (n_rows, n_neighbors), int64
        Rows next to each row.
    num_clusters : int
        Number of clusters.

    Returns
    -------
    Tensor of shape (n_clusters, n_clusters), float64
        Joint distribution of the clusters of a row and of one of its neighbours, both ways round: symmetric, sums to 1.
        On the device of `labels`.
    """
    counts_CC = torch.zeros(num_clusters, num_clusters, dtype=torch.int64, device=labels.device)
    for block in _blocks(len(labels), neighbors.shape[1]):
        counts_CC += _pair_counts(labels[block], labels[neighbors[block]], num_clusters)
    return _symmetric(counts_CC, neighbors.numel())


def pair_joint(labels: Tensor, neighbor_labels: Tensor, num_clusters: int) -> Tensor:
    """Return `neighbor_joint` of some rows, from their own clusters and their neighbours'.

    Parameters
    ----------
    labels : Tensor of shape (n_rows,), int64
        Cluster of each row, in ``[0, num_clusters)``.
    neighbor_labels : Tensor of shape (n_rows, n_neighbors), int64
        Clusters of its neighbours.
    num_clusters : int
        Number of clusters.

    Returns
    -------
    Tensor of shape (n_clusters, n_clusters), float64
        Symmetric, sums to 1.
    """
    return _symmetric(_pair_counts(labels, neighbor_labels, num_clusters), neighbor_labels.numel())


def _pair_counts(labels_B: Tensor, near_BK: Tensor, num_clusters: int) -> Tensor:
    """Return how often a row of one cluster has a neighbour of another, int64 [C, C]."""
    pairs_BK = labels_B.unsqueeze(1) * num_clusters + near_BK
    return torch.bincount(pairs_BK.flatten(), minlength=num_clusters**2).view(num_clusters, num_clusters)


def _symmetric(counts_CC: Tensor, num_pairs: int) -> Tensor:
    """Return a joint distribution, float64, both ways round."""
    wide_CC = counts_CC.double()
    return (wide_CC + wide_CC.T) / (2 * num_pairs)


def information(joint: Tensor, penalty: float) -> float:
    """Return how much the clusters say about the neighbours' clusters.

    Parameters
    ----------
    joint : Tensor of shape (n_clusters, n_clusters), float64
        Result of `neighbor_joint`.
    penalty : float
        What an evenly used cluster costs, in [0, 1].

    Returns
    -------
    float
        ``I(L; L') - penalty * H(L)`` in nats, higher = better, in ``[-penalty, 1 - penalty] * log(n_clusters)``.
    """
    share_C = joint.sum(dim=1)
    entropy = float(torch.special.entr(share_C).sum())
    return (2 - penalty) * entropy - float(torch.special.entr(joint).sum())


def refined(
    labels: Tensor, neighbors: Tensor, num_clusters: int, *, penalty: float, max_steps: int = 20
) -> tuple[Tensor, float]:
    """Move rows between clusters for as long as the information grows.

    A step gives every row the cluster in which its neighbours' clusters are likeliest: the argmax over c of the mean
    over the neighbours of ``log P(L' = their cluster | L = c)``, plus ``penalty / 2 * log P(L = c)``: the direction in
    which the information grows fastest.

    Parameters
    ----------
    labels : Tensor of shape (n_rows,), int64
        Clusters to begin with. Left as it is.
    neighbors : Tensor of shape (n_rows, n_neighbors), int64
        Rows next to each row.
    num_clusters : int
        Number of clusters.
    penalty : float
        As in `information`.
    max_steps : int, default 20
        Steps at most.

    Returns
    -------
    labels : Tensor of shape (n_rows,), int64
        The clusters with the highest information on the way; a cluster may have become empty.
    information : float
        Theirs: never below that of the clusters at the beginning.
    """
    joint_CC = neighbor_joint(labels, neighbors, num_clusters)
    best, best_information = labels, information(joint_CC, penalty)
    for _ in range(max_steps):
        smooth_CC = (1 - SMOOTHING) * joint_CC + SMOOTHING / num_clusters**2
        share_C = smooth_CC.sum(dim=1)
        conditional_CC = (smooth_CC / share_C.unsqueeze(1)).log().float()
        prior_C = (penalty / 2 * share_C.log()).float()
        moved = torch.cat(
            [
                (neighbor_votes(best, neighbors[block], num_clusters) @ conditional_CC.T + prior_C).argmax(dim=1)
                for block in _blocks(len(labels), num_clusters)
            ]
        )
        joint_CC = neighbor_joint(moved, neighbors, num_clusters)
        found = information(joint_CC, penalty)
        if found <= best_information:
            break
        best, best_information = moved, found
    return best, best_information


def merged(labels: Tensor, neighbors: Tensor, num_clusters: int, num_wanted: int, linkage: Linkage) -> Tensor:
    """Merge clusters two at a time until as many are left as are wanted.

    Parameters
    ----------
    labels : Tensor of shape (n_rows,), int64
        Clusters, in ``[0, num_clusters)``.
    neighbors : Tensor of shape (n_rows, n_neighbors), int64
        Rows next to each row.
    num_clusters, num_wanted : int
        Number of clusters before and after; empty ones are dropped first.
    linkage : {"information", "lift", "cut"}
        What is merged first. ``information``: the pair that loses least information about the neighbours (evens out
        the sizes; the agglomerative information bottleneck [1]_). ``lift``: the pair whose images are neighbours most
        often above chance, ``J_ab / (p_a p_b)`` (whatever the sizes). ``cut``: ``J_ab / sqrt(p_a p_b)``, in between.

    Returns
    -------
    Tensor of shape (n_rows,), int64
        In ``[0, num_wanted)``.

    References
    ----------
    .. [1] Slonim and Tishby, NeurIPS 1999.
    """
    joint_CC = neighbor_joint(labels, neighbors, num_clusters)
    kept = (joint_CC.sum(dim=1) > 0).nonzero().flatten()
    target_C = torch.zeros(num_clusters, dtype=torch.int64, device=labels.device)
    target_C[kept] = torch.arange(len(kept), device=labels.device)
    joint_CC = joint_CC[kept][:, kept]
    lost = _LostInformation(joint_CC) if linkage == "information" and len(kept) > num_wanted else None
    while len(joint_CC) > num_wanted:
        near_CC = _above_chance(joint_CC, linkage) if lost is None else -lost.pairs_CC
        pairs_CC = torch.ones_like(near_CC, dtype=torch.bool).triu(diagonal=1)
        first, second = divmod(int(near_CC.masked_fill(~pairs_CC, -torch.inf).argmax()), len(near_CC))
        target_C[target_C == second] = first
        target_C[target_C > second] -= 1
        joint_CC = _joined(_joined(joint_CC, first, second).T, first, second)
        if lost is not None:
            lost.join(first, second)
    return target_C[labels]


def _without(x_CC: Tensor, row: int) -> Tensor:
    return torch.cat([x_CC[:row], x_CC[row + 1 :]])


def _joined(x_CC: Tensor, first: int, second: int) -> Tensor:
    x_CC = x_CC.clone()
    x_CC[first] += x_CC[second]
    return _without(x_CC, second)


def _above_chance(joint_CC: Tensor, linkage: Linkage) -> Tensor:
    """Return how much more often than by chance images of each two clusters are neighbours."""
    share_C = joint_CC.sum(dim=1)
    product_CC = share_C.unsqueeze(0) * share_C.unsqueeze(1)
    return joint_CC / (product_CC if linkage == "lift" else product_CC.sqrt())


def _paid(rows: Tensor) -> Tensor:
    """Return the sum over x of p(x) log(p(x) / p) of rows p(x), with p their sum over x."""
    paid: Tensor = torch.special.entr(rows.sum(dim=-1)) - torch.special.entr(rows).sum(dim=-1)
    return paid


class _LostInformation:
    """What merging each two clusters costs, in nats; after a merge only what the merged one takes part in is anew."""

    def __init__(self, joint_CC: Tensor) -> None:
        self._rows_CC = joint_CC  # merged along the rows alone: what the merged clusters say about the fine ones
        self._own_C = _paid(joint_CC)
        both_CC = torch.stack([_paid(joint_CC + row) for row in joint_CC])
        self.pairs_CC = self._own_C.unsqueeze(0) + self._own_C.unsqueeze(1) - both_CC

    def join(self, first: int, second: int) -> None:
        """Merge the second cluster into the first."""
        self._rows_CC = _joined(self._rows_CC, first, second)
        self._own_C = _without(self._own_C, second)
        self._own_C[first] = _paid(self._rows_CC[first])
        self.pairs_CC = _without(_without(self.pairs_CC, second).T, second)
        lost_C = self._own_C + self._own_C[first] - _paid(self._rows_CC + self._rows_CC[first])
        self.pairs_CC[first], self.pairs_CC[:, first] = lost_C, lost_C

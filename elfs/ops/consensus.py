"""Several clusterings of the same rows put together, and how far they are believed.

Shape suffixes: S clusterings, N rows, B rows of a block, K neighbours, C clusters.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from elfs.ops.neighbor_information import neighbor_votes

__all__ = ["aligned", "consensus", "matched_names", "trust"]

_BLOCK_ROWS = 65_536


def matched_names(labels: Tensor, reference: Tensor, num_clusters: int) -> Tensor:
    """Return what the clusters of one clustering are called after those of another.

    Parameters
    ----------
    labels, reference : Tensor of shape (n_rows,), int64
        Clusters, in ``[0, num_clusters)``.
    num_clusters : int
        Number of clusters.

    Returns
    -------
    Tensor of shape (n_clusters,), int64
        One-to-one: the names with which both agree on most rows (Hungarian method).

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    if labels.shape != reference.shape:
        raise ValueError(f"labels has the shape {tuple(labels.shape)}, reference {tuple(reference.shape)}.")
    pairs = torch.bincount(labels * num_clusters + reference, minlength=num_clusters**2)
    _, names = linear_sum_assignment(pairs.view(num_clusters, num_clusters).cpu().numpy(), maximize=True)
    return torch.from_numpy(names).to(labels)


def aligned(labels: Tensor, reference: Tensor, num_clusters: int) -> Tensor:
    """Return a clustering with its clusters renamed after those of another.

    Parameters
    ----------
    labels, reference : Tensor of shape (n_rows,), int64
        Clusters, as `matched_names` takes them.
    num_clusters : int
        Number of clusters.

    Returns
    -------
    Tensor of shape (n_rows,), int64
        The same groups of rows under their `matched_names`.
    """
    return matched_names(labels, reference, num_clusters)[labels]


def consensus(labels: Tensor, weights: Tensor, neighbors: Tensor, num_clusters: int) -> Tensor:
    """Return how much of what clusterings say about a row and its neighbours speaks for each cluster.

    Parameters
    ----------
    labels : Tensor of shape (n_clusterings, n_rows), int64
        Clusterings, aligned to one another.
    weights : Tensor of shape (n_clusterings,), floating
        What each counts, at least 0, summing to 1.
    neighbors : Tensor of shape (n_rows, n_neighbors), int64
        Rows next to each row.
    num_clusters : int
        Number of clusters.

    Returns
    -------
    Tensor of shape (n_rows, n_clusters), float32
        Mean over the clusterings of one-hot label and neighbours' shares, half each; every row sums to 1. Higher = more
        of them agree.
    """
    parts = []
    for start in range(0, labels.shape[1], _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        total_BC = torch.zeros(len(neighbors[block]), num_clusters, device=labels.device)
        for label_N, weight in zip(labels, weights.tolist(), strict=True):
            total_BC += weight / 2 * neighbor_votes(label_N, neighbors[block], num_clusters)
            total_BC.scatter_add_(1, label_N[block].unsqueeze(1), torch.full_like(total_BC[:, :1], weight / 2))
        parts.append(total_BC)
    return torch.cat(parts)


def trust(labels: Tensor, neighbor_labels: Tensor, others: Tensor, num_clusters: int) -> float:
    """Return how far pseudo-labels are to be believed, seen without true labels.

    Parameters
    ----------
    labels : Tensor of shape (n_rows,), int64
        Pseudo-labels of the pool, or of a sample of it, in ``[0, num_clusters)``.
    neighbor_labels : Tensor of shape (n_rows, n_neighbors), int64
        Pseudo-labels of each row's neighbours.
    others : Tensor of shape (n_clusterings, n_rows), int64
        What clusterings from other starts say, under names of their own; there may be none.
    num_clusters : int
        Number of clusters.

    Returns
    -------
    float
        In [0, 1], higher = better: how often a row's neighbour has its pseudo-label, times how often another clustering
        agrees on a row. Both are means, corrected for chance: 0 is what random labels of the same sizes reach.
    """
    share_C = torch.bincount(labels, minlength=num_clusters).double() / len(labels)
    nearby_C = torch.bincount(neighbor_labels.flatten(), minlength=num_clusters).double() / neighbor_labels.numel()
    same = float((labels.unsqueeze(1) == neighbor_labels).double().mean())
    value = _above_chance(same, float(share_C @ nearby_C))
    agreements = []
    for other in others:
        named = aligned(other, labels, num_clusters)
        others_C = torch.bincount(named, minlength=num_clusters).double() / len(labels)
        agreements.append(_above_chance(float((named == labels).double().mean()), float(share_C @ others_C)))
    return value * (sum(agreements) / len(agreements) if agreements else 1.0)


def _above_chance(share: float, chance: float) -> float:
    return min(1.0, max(0.0, (share - chance) / (1 - chance))) if chance < 1 else 0.0

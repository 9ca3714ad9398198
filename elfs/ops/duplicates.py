"""Which samples of a pool are copies of one another, from the lists of nearest neighbours.

Shape suffixes: M rows of the pool, K neighbours, P pairs.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

__all__ = ["EXACT_DISTANCE", "close_pairs", "kept_rows", "near_distance", "rounding_distance"]

EXACT_DISTANCE = 0.02
"""Distance of unit vectors below which two rows are looked at as possible copies."""

_NEAR_SHARE = 0.25
_HALF_ROUNDING = 2e-3
_ROUNDING = 1e-5
_MAX_LEADERS = 100
_BLOCK_ROWS = 65_536


def near_distance(similarity: Tensor) -> float:
    """Return the distance below which two samples count as near duplicates.

    Parameters
    ----------
    similarity : Tensor of shape (n_rows,), float32
        Cosine of each row to its nearest neighbour; NaN where there is none.

    Returns
    -------
    float
        A quarter of the median Euclidean distance between the unit vectors of a row and its nearest neighbour, over the
        rows that have no exact copy. It goes with the encoder: what is close is told by how far apart images usually
        are. 0 where no row is left.
    """
    distance = (2 - 2 * similarity[similarity.isfinite()].double()).clamp_min(0).sqrt()
    apart = distance[distance > EXACT_DISTANCE]
    return _NEAR_SHARE * float(apart.median()) if len(apart) else 0.0


def close_pairs(neighbors: Tensor, similarity: Tensor, distance: float) -> Tensor:
    """Return the pairs of rows that are nearer than a distance.

    Parameters
    ----------
    neighbors : Tensor of shape (n_rows, n_neighbors), int32 or int64
        Positions of the nearest neighbours; -1 for none.
    similarity : Tensor of shape (n_rows, n_neighbors), float32
        Cosine to each.
    distance : float
        Largest Euclidean distance between unit vectors, in [0, 2].

    Returns
    -------
    Tensor of shape (n_pairs, 2), int64
        Positions, the lower one first; pairs of which each is a neighbour of the other may appear twice.
    """
    smallest = 1 - distance**2 / 2
    found = []
    for start in range(0, len(neighbors), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        row_P, column_P = torch.nonzero((similarity[rows] >= smallest) & (neighbors[rows] >= 0), as_tuple=True)
        found.append(torch.stack([row_P + start, neighbors[rows][row_P, column_P].long()], dim=1).sort(dim=1).values)
    return torch.cat(found)


def rounding_distance(embeddings: Tensor) -> float:
    """Return the distance up to which two embeddings are taken for those of the same picture.

    Parameters
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), floating
        A sample of the pool, as the encoder made them.

    Returns
    -------
    float
        Euclidean: a share of the root mean square distance to the mean, 0.2 % where they are stored as float16, else
        0.001 %. The same picture gives slightly different numbers in another batch.
    """
    share = _HALF_ROUNDING if embeddings.dtype == torch.float16 else _ROUNDING
    wide = embeddings.double()
    return share * float((wide - wide.mean(dim=0)).square().sum(dim=1).mean().sqrt())


def kept_rows(
    pairs: Tensor, settled: Tensor, is_copy: Callable[[Tensor, Tensor], Tensor], *, block_rows: int = 65_536
) -> Tensor:
    """Return which rows stay when of all copies of an image only one is kept.

    Parameters
    ----------
    pairs : Tensor of shape (n_pairs, 2), int64
        Positions of rows that may be copies.
    settled : Tensor of shape (n_rows,), bool
        Rows that are annotated already or not wanted; they all stay, and none of their copies does.
    is_copy : callable
        From two tensors of positions, each of shape (n,), to a bool tensor: whether the second is a copy of the first.
    block_rows : int, default 65536
        How many it is asked at once at most.

    Returns
    -------
    Tensor of shape (n_rows,), bool
        Every row but those that are a copy of a row that stays. A copy of a copy need not be one: of a row of images
        that change step by step, all stay that differ from each one that is kept.

    Notes
    -----
    Rows that pairs connect are looked at together: all are compared with the first of them (settled ones first), then
    what is left with the first of that, at most 100 times; whatever is left then stays.
    """
    num_rows = len(settled)
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0].numpy(), pairs[:, 1].numpy())), shape=(num_rows, num_rows))
    group_M = torch.from_numpy(connected_components(graph, directed=False)[1]).long()
    kept_M = torch.ones(num_rows, dtype=torch.bool)
    turn_M = torch.arange(num_rows) + num_rows * ~settled  # settled rows lead
    waiting = torch.nonzero(torch.bincount(group_M)[group_M] > 1).flatten()
    for _ in range(_MAX_LEADERS):
        if not len(waiting):
            break
        first_G = torch.full((int(group_M.max()) + 1,), 2 * num_rows)
        first_G.scatter_reduce_(0, group_M[waiting], turn_M[waiting], "amin")
        leader = first_G[group_M[waiting]] % num_rows
        followers = waiting != leader
        waiting, leader = waiting[followers], leader[followers]
        copies = [is_copy(a, b) for a, b in zip(leader.split(block_rows), waiting.split(block_rows), strict=True)]
        copied = torch.cat(copies) if copies else torch.zeros(0, dtype=torch.bool)
        kept_M[waiting[copied & ~settled[waiting]]] = False
        waiting = waiting[~copied | settled[waiting]]
    return kept_M

"""Which samples of a pool are copies of one another, from the lists of nearest neighbours.

Shape suffixes: M rows of the pool, K neighbours, P pairs.
"""

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

__all__ = ["EXACT_DISTANCE", "close_pairs", "equal_pairs", "kept_rows", "near_distance"]

EXACT_DISTANCE = 0.02
"""Distance of unit vectors below which two rows are looked at as possible copies."""

_NEAR_SHARE = 0.25
_ROUNDING = 2e-3  # of float16, relative, with some room
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
        Positions; pairs of which each is a neighbour of the other appear twice.
    """
    smallest = 1 - distance**2 / 2
    found = []
    for start in range(0, len(neighbors), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        row_P, column_P = torch.nonzero((similarity[rows] >= smallest) & (neighbors[rows] >= 0), as_tuple=True)
        found.append(torch.stack([row_P + start, neighbors[rows][row_P, column_P].long()], dim=1))
    return torch.cat(found)


def equal_pairs(first: Tensor, second: Tensor) -> Tensor:
    """Return which embeddings are equal, but for rounding to float16.

    Parameters
    ----------
    first, second : Tensor of shape (n_pairs, n_dims), floating
        Embeddings as the encoder made them, not normalised.

    Returns
    -------
    Tensor of shape (n_pairs,), bool
        True where they differ by at most 0.2 % of their length: the same picture gives slightly different numbers in
        another batch.
    """
    difference_P = (first.float() - second.float()).norm(dim=1)
    equal_P: Tensor = difference_P <= _ROUNDING * torch.maximum(first.float().norm(dim=1), second.float().norm(dim=1))
    return equal_P


def kept_rows(num_rows: int, pairs: Tensor, settled: Tensor) -> Tensor:
    """Return which rows stay when of all copies of an image only one is kept.

    Parameters
    ----------
    num_rows : int
        Rows of the pool.
    pairs : Tensor of shape (n_pairs, 2), int64
        Positions of copies; a copy of a copy is a copy.
    settled : Tensor of shape (n_rows,), bool
        Rows that are annotated already or not wanted; they all stay, and then none of their copies does.

    Returns
    -------
    Tensor of shape (n_rows,), bool
        One row of each group, its first; every row without copies.
    """
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0].numpy(), pairs[:, 1].numpy())), shape=(num_rows, num_rows))
    group_M = torch.from_numpy(connected_components(graph, directed=False)[1]).long()
    first_M = torch.full((num_rows,), num_rows)
    first_M.scatter_reduce_(0, group_M, torch.arange(num_rows), "amin")
    has_settled_M = torch.zeros(num_rows, dtype=torch.bool)
    has_settled_M[group_M[settled]] = True
    is_first_M = first_M[group_M] == torch.arange(num_rows)
    return settled | (is_first_M & ~has_settled_M[group_M])

"""Which samples of a pool are copies of one another.

Shape suffixes: M rows of the pool, S of them that share their content, K neighbours, P pairs.
"""

import math

import numpy as np
import torch
from torch import Tensor

__all__ = ["kept_of_equal", "kept_of_near", "near_distances", "near_pairs"]

_NEAR_SHARE = 0.25
_CHANCE = 0.01
_MIN_DIMS, _MAX_DIMS = 1.0, 64.0
_BLOCK_ROWS = 65_536


def kept_of_equal(content: Tensor, settled: Tensor) -> Tensor:
    """Return which rows stay when of all that are equal only the first is kept.

    Parameters
    ----------
    content : Tensor of shape (n_rows,), int64
        A number that equal rows share; 0 for a row that is equal to none.
    settled : Tensor of shape (n_rows,), bool
        Rows that are annotated already or not wanted; they all stay, and none that is equal to one of them does.

    Returns
    -------
    Tensor of shape (n_rows,), bool
        True for every settled row, and for the first of equal ones of which none is settled.
    """
    shared_M = _is_shared(content)
    order = torch.cat([torch.nonzero(shared_M & part).flatten() for part in (settled, ~settled)])  # settled rows first
    by_content = order[torch.argsort(content[order], stable=True)]
    sorted_S = content[by_content]
    kept = settled | ~shared_M
    kept[by_content[:1]] = True
    kept[by_content[1:][sorted_S[1:] != sorted_S[:-1]]] = True
    return kept


def _is_shared(content_M: Tensor) -> Tensor:
    """Return which rows have a content other than 0 that another row has too, bool [M]."""
    sorted_M = np.sort(content_M.numpy())  # a tenth of the time of a sort that says where each was
    repeated = np.unique(sorted_M[1:][sorted_M[1:] == sorted_M[:-1]])
    repeated = repeated[repeated != 0]
    if not len(repeated):
        return torch.zeros(len(content_M), dtype=torch.bool)
    place_M = np.searchsorted(repeated[:-1], content_M.numpy())
    return torch.from_numpy(repeated[place_M] == content_M.numpy())


def near_distances(similarity: Tensor) -> Tensor:
    """Return how near to each row another one has to be to count as its near copy.

    Parameters
    ----------
    similarity : Tensor of shape (n_rows, n_neighbors), float32
        Cosine of each row to its nearest neighbours, the most similar first; NaN where there is none.

    Returns
    -------
    Tensor of shape (n_rows,), float64
        A Euclidean distance of unit vectors each: a quarter of the median distance to the row's own neighbours, or
        less where even at that distance unrelated rows would lie. 0 for a row without neighbours.

    Notes
    -----
    Where rows lie evenly in d dimensions, the number of neighbours grows with the d-th power of the distance. If half
    of K neighbours lie within r, an unrelated one lies within ``r (0.01 / (K / 2)) ** (1 / d)`` with a chance of 1 %.
    d is told by how far the last neighbour is, compared with the median one, over all rows. Cosines in
    float32 tell distances above 0.0005 apart from 0; a pool in which all rows are closer has near copies alone.
    """
    distance_MK = (2 - 2 * similarity.double()).clamp_min(0).sqrt()
    middle_M = distance_MK.nanmedian(dim=1).values
    last_M = distance_MK.nan_to_num(nan=-1.0).max(dim=1).values
    growth_M = (last_M / middle_M).log()
    growth_M = growth_M[growth_M.isfinite() & (growth_M > 0)]
    dims = math.log(2) / float(growth_M.median()) if len(growth_M) else _MAX_DIMS
    dims = min(max(dims, _MIN_DIMS), _MAX_DIMS)
    within = max(1.0, similarity.shape[1] / 2)
    distances: Tensor = middle_M.nan_to_num(nan=0.0) * min(_NEAR_SHARE, (_CHANCE / within) ** (1 / dims))
    return distances


def near_pairs(neighbors: Tensor, similarity: Tensor, distance: Tensor) -> Tensor:
    """Return the pairs of rows that are near copies for both.

    Parameters
    ----------
    neighbors : Tensor of shape (n_rows, n_neighbors), int32 or int64
        Positions of the nearest neighbours; -1 for none.
    similarity : Tensor of shape (n_rows, n_neighbors), float32
        Cosine to each.
    distance : Tensor of shape (n_rows,), float64
        As `near_distances` gives it.

    Returns
    -------
    Tensor of shape (n_pairs, 2), int64
        Positions, the lower one first; pairs of which each is a neighbour of the other may appear twice.
    """
    found = [torch.empty(0, 2, dtype=torch.int64)]
    for start in range(0, len(neighbors), _BLOCK_ROWS):
        near_BK, similarity_BK = (part[start : start + _BLOCK_ROWS] for part in (neighbors, similarity))
        allowed_BK = torch.minimum(distance[start : start + _BLOCK_ROWS, None], distance[near_BK.clamp_min(0).long()])
        is_near_BK = (2 - 2 * similarity_BK.double()).clamp_min(0).sqrt() <= allowed_BK
        row_P, column_P = torch.nonzero(is_near_BK & (near_BK >= 0), as_tuple=True)
        found.append(torch.stack([row_P + start, near_BK[row_P, column_P].long()], dim=1).sort(dim=1).values)
    return torch.cat(found)


def kept_of_near(pairs: Tensor, settled: Tensor) -> Tensor:
    """Return which rows stay when rows are looked at one by one, and each that is near one that stays is left out.

    Parameters
    ----------
    pairs : Tensor of shape (n_pairs, 2), int64
        Positions of rows that are near copies.
    settled : Tensor of shape (n_rows,), bool
        Rows that are annotated already or not wanted; they all stay and are looked at first, the others in their order.

    Returns
    -------
    Tensor of shape (n_rows,), bool
        Each row that is left out is near one that stays, and no two that stay are near each other unless both are
        settled. A copy of a copy need not be one: of images that change step by step, some stay.
    """
    turn = torch.arange(len(settled)) + len(settled) * ~settled
    is_swapped = turn[pairs[:, 0]] > turn[pairs[:, 1]]
    ordered = torch.where(is_swapped[:, None], pairs.flip(1), pairs)
    ordered = ordered[torch.argsort(turn[ordered[:, 1]], stable=True)]  # a row is decided before any that it may drop
    is_kept = bytearray(b"\1") * len(settled)
    is_settled = settled.tolist()
    for earlier, later in ordered.tolist():
        if is_kept[earlier] and not is_settled[later]:
            is_kept[later] = 0
    return torch.frombuffer(is_kept, dtype=torch.bool) if len(settled) else settled.clone()

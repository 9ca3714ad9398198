"""Groups of images that are near copies of one another, as ``elfs select --dedup near`` sees them."""

import numpy as np
from numpy.typing import NDArray

from elfs.delivery.chosen import Selection
from elfs.delivery.pool import Pool, read_column

__all__ = ["near_copies"]

_MOST_ROWS = 200_000
"""Larger pools are not looked through: a page is not worth the gigabytes."""


def near_copies(selection: Selection, pool: Pool) -> list[NDArray[np.int64]]:
    """Return the groups of near copies.

    Parameters
    ----------
    selection : Selection
        Names the workspace.
    pool : Pool
        Whose images are compared.

    Returns
    -------
    list of ndarray of int64
        Positions in the pool, ascending, at least two in a group and the largest group first. Copies of copies are in
        one group. Empty without neighbours, and for pools of more than 200,000 images.
    """
    if not 1 < len(pool) <= _MOST_ROWS:
        return []
    rows = read_column(selection, "neighbors", "indices", pool.rows)
    similarity = read_column(selection, "neighbors", "similarity", pool.rows)
    if rows is None or similarity is None or not rows.shape[1]:
        return []
    position = np.full(len(selection.table) + 1, -1, np.int64)  # the last entry stands for the neighbour -1
    position[pool.rows] = np.arange(len(pool))
    return _groups(_pairs(position[rows], similarity), len(pool))


def _pairs(neighbors: NDArray[np.int64], similarity: NDArray[np.float32]) -> NDArray[np.int64]:
    import torch

    from elfs.ops.duplicates import near_distances, near_pairs

    cosines = torch.from_numpy(similarity)
    pairs: NDArray[np.int64] = near_pairs(torch.from_numpy(neighbors), cosines, near_distances(cosines)).numpy()
    return pairs


def _groups(pairs: NDArray[np.int64], num_rows: int) -> list[NDArray[np.int64]]:
    if not len(pairs):
        return []
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(num_rows, num_rows))
    group = connected_components(graph, directed=False)[1]
    members = np.unique(pairs)
    order = members[np.argsort(group[members], kind="stable")]
    starts = np.flatnonzero(np.diff(group[order])) + 1
    return sorted(np.split(order, starts), key=len, reverse=True)

"""Embeddings scaled to length 1, their k-means clusters, distances to centres.

Shape suffixes: N rows, B rows of a block, C centres, D dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from elfs.ops.database import widened
from elfs.ops.kmeans import kmeans, nearest_centroid

__all__ = ["UnitClusters", "centre_distance", "check_finite", "unit_clusters", "unit_rows"]

_BLOCK_ROWS = 65_536
# Of a block that is scaled or compared with its centres: 2 MB of float64 stay in the cache, in half to a third of the
# time of 65,536 rows.
_BLOCK_NUMBERS = 262_144
# Rows that k-means is fitted to where there are more: 131 for each of 500 clusters, where FAISS warns below 39.
_FITTED_ROWS = 65_536


class UnitClusters(NamedTuple):
    """A k-means clustering of embeddings scaled to length 1.

    Attributes
    ----------
    centroids : Tensor of shape (n_clusters, n_dims), float32
        Centre of each cluster, of length at most 1.
    assignment : Tensor of shape (n_rows,), int64
        Cluster of each row: the one with the nearest centre.
    """

    centroids: Tensor
    assignment: Tensor


def check_finite(embeddings: Tensor) -> None:
    """Check that no embedding holds a NaN or an infinity.

    Parameters
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), floating
        Embeddings.

    Raises
    ------
    ValueError
        If one does; the message names the first row.
    """
    for number, block_BD in enumerate(torch.split(embeddings, _BLOCK_ROWS)):
        finite_B = block_BD.isfinite().all(dim=1)
        if not bool(finite_B.all()):
            row = number * _BLOCK_ROWS + int(finite_B.logical_not().nonzero()[0])
            raise ValueError(f"embeddings are not finite: row {row:,} holds a NaN or an infinity.")


def _rows_in_cache(x_ND: Tensor) -> int:
    return max(1, _BLOCK_NUMBERS // max(1, x_ND.shape[1]))


def unit_rows(embeddings: Tensor) -> Tensor:
    """Return embeddings scaled to length 1.

    Parameters
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), floating
        Embeddings, finite.

    Returns
    -------
    Tensor of shape (n_rows, n_dims), float32
        A copy; a row of zeros stays one. Scaled in float64, a block at a time.

    Examples
    --------
    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    unit_ND = torch.empty(embeddings.shape, dtype=torch.float32, device=embeddings.device)
    num_rows = _rows_in_cache(embeddings)
    buffer_BD = torch.empty_like(embeddings[:num_rows], dtype=torch.float64)
    for block_BD, unit_BD in zip(torch.split(embeddings, num_rows), torch.split(unit_ND, num_rows), strict=True):
        wide_BD = widened(block_BD, out=buffer_BD[: len(block_BD)])
        norm_B1 = torch.linalg.vector_norm(wide_BD, dim=1, keepdim=True)
        unit_BD.copy_(wide_BD.div_(torch.where(norm_B1 > 0, norm_B1, 1.0)))
    return unit_ND


def centre_distance(x: Tensor, centres: Tensor, assignment: Tensor) -> Tensor:
    """Return the Euclidean distance from each row to its own centre.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_dims), floating
        Rows; computed with in float32, a block at a time.
    centres : Tensor of shape (n_centres, n_dims), float32
        Centres.
    assignment : Tensor of shape (n_rows,), int64
        Number of each row's centre.

    Returns
    -------
    Tensor of shape (n_rows,), float32
        At least 0; at most 2 where rows have length 1, and centres are means of such rows.

    Examples
    --------
    >>> centre_distance(torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.arange(2))
    tensor([5., 0.])
    """
    distance_N = torch.empty(len(x))
    num_rows = _rows_in_cache(x)
    for start in range(0, len(x), num_rows):
        block = slice(start, start + num_rows)
        distance_N[block] = torch.linalg.vector_norm(x[block].float() - centres[assignment[block]], dim=1)
    return distance_N


def unit_clusters(
    embeddings: Tensor, num_clusters: int, generator: torch.Generator, *, num_iterations: int = 50
) -> UnitClusters:
    """Cluster embeddings, scaled to length 1, by k-means.

    Parameters
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), floating
        Embeddings on the CPU, finite, of any length; a row of zeros stays one.
    num_clusters : int
        Number of clusters, from 1 to the number of rows.
    generator : torch.Generator
        On the CPU; gives the seed of k-means, and the sample that it is fitted to.
    num_iterations : int, default 50
        Of k-means.

    Returns
    -------
    UnitClusters
        Centres, and the cluster of each row. Up to 65,536 rows every cluster has at least one.

    Raises
    ------
    ValueError
        If `embeddings` are not finite, or there are fewer rows than clusters.

    Notes
    -----
    Of more than 65,536 rows a random sample of that many (or one row for each cluster, if that is more) is clustered,
    and all rows then go to their nearest centre, block by block: a float32 copy of all rows is never made.
    """
    check_finite(embeddings)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    num_fitted = max(_FITTED_ROWS, num_clusters)
    if len(embeddings) <= num_fitted:
        clustering = kmeans(unit_rows(embeddings), num_clusters, seed=seed, num_iterations=num_iterations)
        return UnitClusters(clustering.centroids, clustering.assignment)
    sample = torch.randperm(len(embeddings), generator=generator)[:num_fitted].sort().values
    fitted_ND = unit_rows(embeddings[sample])
    centroids = kmeans(fitted_ND, num_clusters, seed=seed, num_iterations=num_iterations).centroids
    blocks = torch.split(embeddings, _BLOCK_ROWS)
    assignment_N = torch.cat([nearest_centroid(unit_rows(block_BD), centroids)[0] for block_BD in blocks])
    return UnitClusters(centroids, assignment_N)

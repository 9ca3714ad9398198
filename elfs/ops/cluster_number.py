"""How well a graph of nearest neighbours falls apart into groups: what tells the number of clusters.

Shape suffixes: N rows, K neighbours, C groups. Graphs are symmetric sparse matrices with weights of at least 0.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import eigsh
from torch import Tensor

__all__ = ["compression", "modularity", "neighbor_graph", "spectral_axes", "spectral_rows"]

_DENSE_ROWS = 256
"""Up to this many rows all eigenvectors are computed: the iteration wants far fewer than there are."""


def neighbor_graph(neighbors: Tensor) -> csr_array:
    """Return the graph in which rows are linked to their neighbours: weight 1 where both name each other, else 1/2.

    Parameters
    ----------
    neighbors : Tensor of shape (n_rows, n_neighbors), integer
        Neighbours of each row, itself excluded, on the CPU.

    Returns
    -------
    csr_array of shape (n_rows, n_rows), float64
        Symmetric.
    """
    num_rows, num_neighbors = neighbors.shape
    starts = np.repeat(np.arange(num_rows), num_neighbors)
    directed = csr_array((np.ones(len(starts)), (starts, neighbors.numpy().ravel())), shape=(num_rows, num_rows))
    return csr_array((directed + directed.T) / 2)


def spectral_axes(graph: csr_array, num_axes: int) -> Tensor:
    """Return the slowest modes of a random walk on the graph, slowest first.

    Eigenvectors of the normalised Laplacian ``I - D^-1/2 A D^-1/2`` with the least eigenvalues, times ``D^-1/2``.

    Parameters
    ----------
    graph : csr_array of shape (n_rows, n_rows)
        Symmetric; every row has a neighbour.
    num_axes : int
        How many, at most ``n_rows``.

    Returns
    -------
    Tensor of shape (n_rows, num_axes), float32
        The first axis is constant where the graph hangs together. Equal graphs give equal axes.
    """
    inverse_N = 1 / np.sqrt(_degrees(graph))
    walk = diags_array(inverse_N) @ graph @ diags_array(inverse_N)
    if len(inverse_N) <= max(_DENSE_ROWS, 2 * num_axes):
        axes = np.linalg.eigh(walk.toarray())[1][:, -num_axes:]
    else:
        # To full precision: where the graph falls apart the first eigenvalues are equal, and a loose one misses some.
        start = np.random.default_rng(0).normal(size=len(inverse_N))
        values, axes = eigsh(walk, k=num_axes, which="LA", v0=start)
        axes = axes[:, np.argsort(values)]
    return torch.from_numpy(np.ascontiguousarray(axes[:, ::-1] * inverse_N[:, None], dtype=np.float32))


def spectral_rows(axes: Tensor, num_axes: int) -> Tensor:
    """Return rows in the space of the first axes, scaled to length 1: what spectral clustering gives to k-means.

    Parameters
    ----------
    axes : Tensor of shape (n_rows, n_axes), float32
        Result of `spectral_axes`.
    num_axes : int
        How many of them; the number of clusters.

    Returns
    -------
    Tensor of shape (n_rows, num_axes), float32
        Rows of length 1.

    References
    ----------
    .. [1] Ng, Jordan and Weiss, NeurIPS 2001, "On Spectral Clustering: Analysis and an algorithm".
    """
    return torch.nn.functional.normalize(axes[:, :num_axes], dim=1)


def modularity(graph: csr_array, labels: Tensor) -> float:
    """Return the share of the links that stay within groups, less what it would be if they were drawn at random.

    Parameters
    ----------
    graph : csr_array of shape (n_rows, n_rows)
        Symmetric.
    labels : Tensor of shape (n_rows,), int64
        Group of each row, from 0.

    Returns
    -------
    float
        In [-1/2, 1); higher = better separated. 0 for a single group. Small groups weigh little: it prefers too few.

    References
    ----------
    .. [1] Newman and Girvan, Physical Review E 69 (2004), 026113.
    """
    inside_C, total_C = _flows(graph, labels)
    return float(inside_C.sum() - np.square(total_C).sum())


def compression(graph: csr_array, labels: Tensor) -> float:
    """Return how much shorter the groups make the description of a random walk on the graph: the map equation.

    A walk is described by the name of each row that it visits, names being unique in a group only, and by the name of
    the group where it enters one and a sign where it leaves one.

    Parameters
    ----------
    graph : csr_array of shape (n_rows, n_rows)
        Symmetric.
    labels : Tensor of shape (n_rows,), int64
        Group of each row, from 0.

    Returns
    -------
    float
        Bits a step saved over a single group, as a share of those: at most 1, higher = better; 0 for a single group,
        below 0 where the groups make it longer. It sees small groups and prefers too many.

    References
    ----------
    .. [1] Rosvall and Bergstrom, PNAS 105 (2008), 1118-1123.
    """
    inside_C, total_C = _flows(graph, labels)
    degrees_N = _degrees(graph)
    single = -_plogp(degrees_N / degrees_N.sum())
    exit_C = np.maximum(total_C - inside_C, 0)
    length = _plogp(exit_C.sum(keepdims=True)) - 2 * _plogp(exit_C) + single + _plogp(exit_C + total_C)
    return (single - length) / single if single > 0 else 0.0


def _degrees(graph: csr_array) -> NDArray[np.float64]:
    return np.asarray(graph.sum(axis=1), dtype=np.float64).ravel()


def _flows(graph: csr_array, labels: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of all links that is inside each group, and that has an end in it [C]."""
    groups_N = labels.numpy()
    links: Any = graph.tocoo()
    same = groups_N[links.row] == groups_N[links.col]
    total = float(links.data.sum())
    inside_C = np.bincount(groups_N[links.row[same]], weights=links.data[same], minlength=groups_N.max() + 1)
    return inside_C / total, np.bincount(groups_N, weights=_degrees(graph)) / total


def _plogp(shares: NDArray[np.float64]) -> float:
    """Return the sum of ``p log2 p``, 0 where p is 0."""
    positive = shares[shares > 0]
    return float((positive * np.log2(positive)).sum())

"""Classes of a few annotated rows, carried over a graph of neighbours to all others.

Shape suffixes: N rows, K neighbours, B classes of a block.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

__all__ = ["propagate_labels"]

_SPREAD = 0.99
_TOLERANCE = 1e-6
"""Of the residual's length, against that of Y."""
_MOST_STEPS = 1_000
# Numbers of one of the solver's arrays at most: 128 MiB.
_BLOCK_NUMBERS = 1 << 24


def propagate_labels(indices: Tensor, weights: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return the class of every row that follows from those of the annotated rows.

    Parameters
    ----------
    indices : Tensor of shape (n_rows, n_neighbors), int32 or int64
        Each row's neighbours; -1 for none.
    weights : Tensor of shape (n_rows, n_neighbors), floating
        How similar each of them is, such as a cosine; what is not above 0 counts as no neighbour.
    labels : Tensor of shape (n_rows,), int64
        Class of each annotated row, in ``[0, num_classes)``; -1 for the others.
    num_classes : int
        Number of classes, at least 1.

    Returns
    -------
    classes : Tensor of shape (n_rows,), int64
        Annotated rows keep theirs; -1 where no path leads to an annotated row.
    confidence : Tensor of shape (n_rows,), float32
        Share of the class among all that arrives, in [0, 1], higher = surer; 1 for annotated rows, 0 without a class.

    Raises
    ------
    ValueError
        If a label is outside its range.

    Notes
    -----
    ``F = (I - 0.99 S)^-1 Y`` of [1]_, with ``S = D^-1/2 (A + A^T) D^-1/2`` for the graph A and its degrees D, solved by
    conjugate gradients over blocks of classes: no array is larger than the graph and 16,777,216 numbers.

    References
    ----------
    .. [1] Zhou et al., NeurIPS 2003 (learning with local and global consistency); Iscen et al., CVPR 2019.
    """
    if len(labels) and (int(labels.min()) < -1 or int(labels.max()) >= num_classes):
        low, high = int(labels.min()), int(labels.max())
        raise ValueError(f"labels go from {low} to {high}, expected -1 to {num_classes - 1}.")
    graph = _normalized_graph(indices, weights)
    labels_N: NDArray[np.int64] = labels.numpy()
    block = max(1, _BLOCK_NUMBERS // max(1, len(labels_N)))
    best_N, total_N = np.zeros(len(labels_N)), np.zeros(len(labels_N))
    class_N = np.full(len(labels_N), -1, dtype=np.int64)
    for start in range(0, num_classes, block):
        members = np.arange(start, min(start + block, num_classes))
        arrived_NB = _solved(graph, (labels_N[:, None] == members).astype(np.float64)).clip(min=0)
        total_N += arrived_NB.sum(axis=1)
        value_N = arrived_NB.max(axis=1, initial=0)
        better_N = (value_N > best_N) | (class_N < 0)
        class_N[better_N] = members[arrived_NB.argmax(axis=1)[better_N]]
        best_N = np.maximum(best_N, value_N)
    confidence_N = np.where(total_N > 0, best_N / np.maximum(total_N, np.finfo(np.float64).tiny), 0.0)
    part_N = connected_components(graph, directed=False)[1]
    lost_N = ~np.isin(part_N, part_N[labels_N >= 0])
    class_N[lost_N], confidence_N[lost_N] = -1, 0.0
    class_N = np.where(labels_N >= 0, labels_N, class_N)
    confidence_N[labels_N >= 0] = 1.0
    return torch.from_numpy(class_N), torch.from_numpy(confidence_N.astype(np.float32))


def _normalized_graph(indices: Tensor, weights: Tensor) -> Any:
    """Return S as a sparse matrix."""
    num_rows = len(indices)
    real_NK = ((indices >= 0) & (weights > 0)).numpy()
    starts = np.concatenate([[0], real_NK.sum(axis=1).cumsum()])
    columns = indices.numpy()[real_NK].astype(np.int32)
    values = weights.numpy()[real_NK].astype(np.float64)
    directed = csr_array((values, columns, starts.astype(np.int32)), shape=(num_rows, num_rows))
    graph = (directed + directed.T).tocsr()
    degree_N = graph.sum(axis=1)
    scaling = diags_array(1 / np.sqrt(np.maximum(degree_N, np.finfo(np.float64).tiny)))  # of nothing where it is 0
    return (scaling @ graph @ scaling).tocsr()


def _solved(graph: Any, target_NB: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (I - 0.99 S)^-1 Y by conjugate gradients, every column by itself."""
    solution_NB, residual_NB, direction_NB = np.zeros_like(target_NB), target_NB.copy(), target_NB.copy()
    squared_B = _products(residual_NB, residual_NB)
    enough_B = _TOLERANCE**2 * squared_B
    for _ in range(_MOST_STEPS):
        if (squared_B <= enough_B).all():
            break
        product_NB = graph @ direction_NB
        product_NB *= -_SPREAD
        product_NB += direction_NB
        step_B = _ratio(squared_B, _products(direction_NB, product_NB))
        solution_NB += step_B * direction_NB
        product_NB *= step_B
        residual_NB -= product_NB
        before_B, squared_B = squared_B, _products(residual_NB, residual_NB)
        direction_NB *= _ratio(squared_B, before_B)
        direction_NB += residual_NB
    return solution_NB


def _products(left_NB: NDArray[np.float64], right_NB: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nb,nb->b", left_NB, right_NB))


def _ratio(above_B: NDArray[np.float64], below_B: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; 0 for a column that is solved already."""
    return np.divide(above_B, below_B, out=np.zeros_like(above_B), where=below_B > 0)

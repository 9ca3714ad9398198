"""How much structure the neighbours of some features have, compared with features that have none.

Shape suffixes: N rows, D dimensions, K neighbours.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["MAX_ROWS", "neighbor_structure"]

MAX_ROWS = 1_000
"""Rows that are looked at, at most: the graph of all pairs is formed."""

_NEIGHBORS = 10
_MODES = 9
_LEAST_GAP = 1e-3


def _gap(features_ND: Tensor) -> float:
    """Return how far the slowest modes of the neighbour graph are from perfect separation; lower = groups."""
    unit_ND = normalize(features_ND, dim=1)
    similarity_NN = (unit_ND @ unit_ND.T).fill_diagonal_(-2)
    nearest_NK = similarity_NN.topk(min(_NEIGHBORS, len(features_ND) - 1), dim=1).indices
    graph_NN = torch.zeros_like(similarity_NN).scatter_(1, nearest_NK, 1.0)
    graph_NN = torch.maximum(graph_NN, graph_NN.T)
    scale_N = graph_NN.sum(dim=1).rsqrt()
    eigenvalues_N = torch.linalg.eigvalsh(graph_NN * scale_N[:, None] * scale_N).flip(0)
    return 1.0 - float(eigenvalues_N[1 : 1 + _MODES].mean())


def neighbor_structure(features: Tensor, generator: torch.Generator) -> float:
    """Return how well rows fall into groups of neighbours.

    The symmetric graph of the 10 nearest neighbours by cosine has as many eigenvalues near 1 as it has groups. The gap
    between 1 and the mean of the 9 largest (without the first) is compared with that of normally distributed rows with
    the same deviation in each column, which have no groups.

    Parameters
    ----------
    features : Tensor of shape (n_rows, n_dims), float32
        Rows with uncorrelated columns; of more than 1,000 the first 1,000 count. They are centred first.
    generator : torch.Generator
        Of the normal rows, on the CPU.

    Returns
    -------
    float
        Gap of the normal rows over the gap of the features: 1 = no structure, higher = clearer groups. 1 where
        there are fewer than 12 rows or the features are all equal.
    """
    rows_ND = features[:MAX_ROWS].float().cpu()
    if len(rows_ND) < _NEIGHBORS + 2:
        return 1.0
    rows_ND = rows_ND - rows_ND.mean(dim=0)
    normal_ND = torch.randn(rows_ND.shape, generator=generator) * rows_ND.std(dim=0)
    return max(_gap(normal_ND), _LEAST_GAP) / max(_gap(rows_ND), _LEAST_GAP)

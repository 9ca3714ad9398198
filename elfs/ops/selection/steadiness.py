"""How far a selection hangs on which proxies were drawn. Shape suffix: M rows of the pool."""

import math

import torch
from torch import Tensor

__all__ = ["in_place_of", "share_in_common"]


def in_place_of(hardness: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
    """Return two scores that as many other proxies could have given, where a score is a mean over proxies.

    Parameters
    ----------
    hardness : Tensor of shape (n_rows,), float32
        Mean over all proxies.
    difference : Tensor of shape (n_rows,), float32
        Mean over one half of them without that over the other; NaN, where it is not known, counts as 0.

    Returns
    -------
    tuple of two Tensors of shape (n_rows,), float32
        The score and ``difference / sqrt(2)``, added and taken off.

    Notes
    -----
    With P proxies that vary by sigma around what endlessly many would say, the mean over P others is a draw from around
    the mean over these with a variance of 2 sigma^2 / P, and the difference of the halves has twice that, 4 sigma^2 / P
    [1]_. What the errors of two rows have to do with each other is kept. There are just two such scores, opposites of
    each other: what is made of them is a rough figure.

    References
    ----------
    .. [1] Kish and Frankel, Inference from complex samples, JRSS B 36, 1974: half samples.

    Examples
    --------
    >>> in_place_of(torch.tensor([3.0]), torch.tensor([2.0]))[0]
    tensor([4.4142])
    """
    shift_M = difference.nan_to_num(nan=0.0) / math.sqrt(2)
    return hardness + shift_M, hardness - shift_M


def share_in_common(picked: Tensor, other: Tensor) -> float:
    """Return how many of some picks are among others.

    Parameters
    ----------
    picked : Tensor of shape (n_picked,), int64
        Different positions, at least 1.
    other : Tensor of shape (n_others,), int64
        Different positions.

    Returns
    -------
    float
        Share of `picked`, in [0, 1].
    """
    return float(torch.isin(picked, other).double().mean())

"""Rows that stand for a whole pool where it is large."""

import torch
from torch import Tensor

__all__ = ["some_rows"]


def some_rows(num_rows: int, most: int, generator: torch.Generator) -> Tensor:
    """Draw rows of a pool without replacement where it has more than are wanted.

    Parameters
    ----------
    num_rows : int
        Rows of the pool.
    most : int
        How many are wanted.
    generator : torch.Generator
        On the CPU; not used where the pool has no more.

    Returns
    -------
    Tensor of shape (min(num_rows, most),), int64
        Positions, ascending.

    Examples
    --------
    >>> some_rows(3, 5, torch.Generator())
    tensor([0, 1, 2])
    """
    if num_rows <= most:
        return torch.arange(num_rows)
    order = torch.randperm(num_rows, generator=generator, dtype=torch.int32)  # as int64 gives, in half of the memory
    return order[:most].long().sort().values

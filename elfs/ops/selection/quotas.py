"""How a budget is shared out over groups of the pool."""

import torch
from torch import Tensor

from elfs.errors import UsageError

__all__ = ["even_quotas", "proportional_quotas"]


def even_quotas(available: Tensor, budget: int, *, held: Tensor | None = None) -> Tensor:
    """Share a budget out so that all groups end up equally large, as far as they have rows.

    Parameters
    ----------
    available : Tensor of shape (n_groups,), int64
        Rows of each group that may be selected.
    budget : int
        Rows to select, from 0 to the sum of `available`.
    held : Tensor of shape (n_groups,), int64, or None
        Rows of each group that are annotated already: they count towards its size. None: none.

    Returns
    -------
    Tensor of shape (n_groups,), int64
        How many to select of each group: at most `available`, in sum `budget`. What does not divide evenly goes to
        the groups with the lowest numbers.

    Raises
    ------
    UsageError
        If the budget is negative or larger than the sum of `available`.

    Examples
    --------
    >>> even_quotas(torch.tensor([10, 2, 10]), 9).tolist()
    [4, 2, 3]
    """
    _check_sum(available, budget)
    held_G = torch.zeros_like(available) if held is None else held
    full_G = held_G + available
    low, high = 0, int(full_G.max()) + 1  # the largest level that the budget reaches
    while high - low > 1:
        level = (low + high) // 2
        if int((full_G.clamp_max(level) - held_G).clamp_min(0).sum()) <= budget:
            low = level
        else:
            high = level
    quotas_G = (full_G.clamp_max(low) - held_G).clamp_min(0)
    growing_G = torch.nonzero((held_G + quotas_G <= low) & (quotas_G < available)).flatten()
    quotas_G[growing_G[: budget - int(quotas_G.sum())]] += 1
    return quotas_G


def proportional_quotas(available: Tensor, budget: int) -> Tensor:
    """Share a budget out in proportion to the groups' sizes, by largest remainder.

    Parameters
    ----------
    available : Tensor of shape (n_groups,), int64
        Rows of each group that may be selected.
    budget : int
        Rows to select, from 0 to the sum of `available`.

    Returns
    -------
    Tensor of shape (n_groups,), int64
        How many to select of each group: at most `available`, in sum `budget`; within 1 of the exact share. Equal
        remainders go to the groups with the lowest numbers.

    Raises
    ------
    UsageError
        If the budget is negative or larger than the sum of `available`.

    Examples
    --------
    >>> proportional_quotas(torch.tensor([10, 10, 80]), 12).tolist()
    [1, 1, 10]
    """
    _check_sum(available, budget)
    total = max(1, int(available.sum()))
    quotas_G = available * budget // total
    remainder_G = available * budget % total
    order_G = torch.sort(remainder_G, descending=True, stable=True).indices
    quotas_G[order_G[: budget - int(quotas_G.sum())]] += 1
    return quotas_G


def _check_sum(available: Tensor, budget: int) -> None:
    if not 0 <= budget <= int(available.sum()):
        raise UsageError(
            f"the budget is {budget:,} images, expected 0 to {int(available.sum()):,}: that many are eligible."
        )

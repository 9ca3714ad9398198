"""Selectors that cut a window out of the order by difficulty, and the random baseline.

Shape suffixes: M rows, L of them in order.
"""

import math
from fractions import Fraction

import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required

__all__ = ["double_end", "easiest", "hardest", "num_hardest", "num_pruned", "uniform"]


def _ranked(pool: Pool, budget: int, *, hard_first: bool) -> Tensor:
    """Return the positions with finite hardness in order of hardness, settled ones too; `budget` are not settled."""
    hardness_M = required(pool, "hardness")
    check_budget(budget, pool.candidates() & hardness_M.isfinite())
    if hard_first:
        return pool.hardest_first
    order_M = torch.nonzero(hardness_M.isfinite()).flatten()
    return order_M[torch.sort(hardness_M[order_M], stable=True).indices]


def _first_candidates(pool: Pool, order: Tensor, budget: int) -> Tensor:
    """Return the first `budget` positions of an order that are not settled."""
    return order[torch.nonzero(pool.candidates()[order]).flatten()[:budget]]


def num_hardest(num_rows: int, hard_rate: float) -> int:
    """Return how many rows a share of them is.

    Parameters
    ----------
    num_rows : int
        Rows that have a score.
    hard_rate : float
        Share to prune, in [0, 1]; read as the decimal number that it prints as: 0.29 of 100 is 29.

    Returns
    -------
    int
        ``floor(hard_rate * num_rows)``.
    """
    return math.floor(Fraction(repr(hard_rate)) * num_rows)


def num_pruned(open_rows: Tensor, budget: int, hard_rate: float) -> int:
    """Return how many of the hardest rows are left out: ``floor(hard_rate * m)`` of m rows.

    Parameters
    ----------
    open_rows : Tensor of shape (m,), bool
        From hard to easy, whether a row can be selected. Settled rows count as any other: a second round prunes the
        same rows as the first.
    budget : int
        Rows that must be left among the others.
    hard_rate : float
        Share to prune, in [0, 1].

    Returns
    -------
    int
        In [0, m], see `num_hardest`.

    Raises
    ------
    UsageError
        If fewer than `budget` rows that can be selected are left; the message names the largest rate that fits.
    """
    count = num_hardest(len(open_rows), hard_rate)
    num_left = int(open_rows[count:].sum())
    if num_left >= budget:
        return count
    fits = int(torch.nonzero(open_rows).flatten()[-budget])  # rows before the budget-th open one from the easy end
    largest = fits * 10_000 // len(open_rows) / 10_000
    raise UsageError(
        f"a hard rate of {hard_rate:g} leaves {num_left:,} of {int(open_rows.sum()):,} images "
        f"for a budget of {budget:,}. The largest hard rate that fits is {largest:g}."
    )


def double_end(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Drop the hardest ``floor(hard_rate * m)`` of the m scored rows, and take the next hardest.

    Needs ``hardness``; of the options ``hard_rate`` counts. From hard to easy. Where pruning leaves fewer rows than the
    budget, the error names the largest rate that fits. Nothing is random.

    Notes
    -----
    Two defects of the reference [2]_ are not followed: it sorts by AUM whatever key is asked for, and selects nothing
    at all where the hard rate and the budget add up to the whole pool.

    References
    ----------
    .. [1] Zheng et al., ICLR 2025, https://arxiv.org/abs/2406.04273, section 4.
    .. [2] github.com/eltsai/elfs@089444b, ``core/data/Coreset.py``, ``direct_selection`` (MIT).
    """
    order, open_L = _ranked(pool, budget, hard_first=True), pool.hardest_open
    count = num_pruned(open_L, budget, options.hard_rate)
    return order[count + torch.nonzero(open_L[count:]).flatten()[:budget]]


def hardest(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the hardest rows.

    Needs ``hardness``. From hard to easy. Nothing is random.
    """
    return _first_candidates(pool, _ranked(pool, budget, hard_first=True), budget)


def easiest(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the easiest rows.

    Needs ``hardness``. From easy to hard. Nothing is random.
    """
    return _first_candidates(pool, _ranked(pool, budget, hard_first=False), budget)


def uniform(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take rows at random, each as likely as any other, with or without a score.

    Needs nothing but ``tie_breaker``. In the order of one random permutation of the pool: the first n are what a budget
    of n selects from the same generator state.
    """
    candidates_M = pool.candidates()
    check_budget(budget, candidates_M)
    order = torch.randperm(len(pool), generator=generator, dtype=torch.int32)  # as int64 gives, in half of the memory
    return order[candidates_M.index_select(0, order)][:budget].long()

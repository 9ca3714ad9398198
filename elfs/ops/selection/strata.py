"""Coverage of all difficulties: equal-width strata of a score. Shape suffixes: M rows, L rows left, S strata."""

import torch
from torch import Tensor

from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required
from elfs.ops.selection.quotas import even_quotas
from elfs.ops.selection.windows import num_pruned

__all__ = ["NUM_STRATA", "ccs", "equal_width_strata", "stratum_quotas"]

NUM_STRATA = 50
"""Strata of ``ccs``, as in the paper."""


def equal_width_strata(values: Tensor) -> Tensor:
    """Return which of 50 equal parts of their range each value lies in.

    Parameters
    ----------
    values : Tensor of shape (n,), floating
        Finite, at least one.

    Returns
    -------
    Tensor of shape (n,), int64
        In [0, 50), rising with the value. A value on a border belongs to the upper part, the largest value to the last.
        Where all are equal, 0.
    """
    wide = values.double()
    low, high = wide.min(), wide.max()
    if bool(low == high):
        return torch.zeros(len(values), dtype=torch.int64)
    return ((wide - low) / (high - low) * NUM_STRATA).long().clamp_max(NUM_STRATA - 1)


def stratum_quotas(available: Tensor, budget: int, *, held: Tensor) -> Tensor:
    """Share a budget out over strata, filling them evenly from the smallest up.

    Parameters
    ----------
    available : Tensor of shape (n_strata,), int64
        Rows of each stratum that may be selected.
    budget : int
        Rows to select, from 0 to the sum of `available`.
    held : Tensor of shape (n_strata,), int64
        Rows of each stratum that are settled: they count towards its share.

    Returns
    -------
    Tensor of shape (n_strata,), int64
        How many to select of each stratum: at most `available`, in sum `budget`. What does not divide evenly goes to
        the largest strata, of equal ones to the lowest numbers.
    """
    largest_first = torch.sort(available + held, descending=True, stable=True).indices
    quotas_S = torch.empty_like(available)
    quotas_S[largest_first] = even_quotas(available[largest_first], budget, held=held[largest_first])
    return quotas_S


def ccs(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Drop the hardest rows by AUM, and draw from equal-width strata of the key as evenly as they allow.

    Needs ``hardness`` and the score ``aum``; of the options ``hard_rate`` counts: the share of the rows with both that
    is dropped. Where that leaves fewer than the budget, the error names the largest rate that fits. Ranked are the
    strata in turn, from hard to easy, each at random inside, by one permutation of the rows that are left. So every
    beginning covers the difficulties, too.

    Notes
    -----
    Settled rows count when rows are pruned, strata are laid, and shares are worked out: a stratum that holds some gets
    fewer new ones. The reference [2]_ stretches the range to 1.0001 times the largest value, so that the last stratum
    includes it; it loses that row where the value is 0 or below, and shifts borders a little elsewhere. Here the last
    stratum includes its upper end.

    References
    ----------
    .. [1] Zheng et al., ICLR 2023, https://arxiv.org/abs/2210.15809, algorithm 1.
    .. [2] github.com/eltsai/elfs@089444b, ``core/data/Coreset.py``, ``stratified_sampling``.
    """
    hardness_M, aum_M = required(pool, "hardness"), required(pool, "aum")
    scored_M = hardness_M.isfinite() & aum_M.isfinite()
    check_budget(budget, pool.candidates() & scored_M)
    scored = torch.nonzero(scored_M).flatten()
    order = scored[torch.sort(aum_M[scored], stable=True).indices]  # low AUM = hard
    left_L = order[num_pruned(pool.candidates()[order], budget, options.hard_rate) :].sort().values
    stratum_L, open_L = equal_width_strata(hardness_M[left_L]), pool.candidates()[left_L]
    available_S = torch.bincount(stratum_L[open_L], minlength=NUM_STRATA)
    held_S = torch.bincount(stratum_L[pool.held()[left_L]], minlength=NUM_STRATA)
    quotas_S = stratum_quotas(available_S, budget, held=held_S)
    return left_L[open_L][_drawn_in_turn(stratum_L[open_L], quotas_S, generator)]


def _drawn_in_turn(stratum_L: Tensor, quotas_S: Tensor, generator: torch.Generator) -> Tensor:
    """Return random positions, as many of each stratum as its quota: the first of each from high to low, the second."""
    shuffled = torch.randperm(len(stratum_L), generator=generator)
    by_stratum = shuffled[torch.sort(stratum_L[shuffled], stable=True).indices]
    sorted_L = stratum_L[by_stratum]
    sizes_S = torch.bincount(sorted_L, minlength=NUM_STRATA)
    turn_L = torch.arange(len(sorted_L)) - (sizes_S.cumsum(dim=0) - sizes_S)[sorted_L]
    drawn = turn_L < quotas_S[sorted_L]
    rank = torch.sort(turn_L[drawn] * NUM_STRATA - sorted_L[drawn]).indices  # no two are equal
    return by_stratum[drawn][rank]

"""Selectors: which rows of the pool to annotate.

All have one signature, so a new one is a function and a line in ``SELECTORS`` (and in ``elfs.catalog.SELECTORS``). Laws
that hold for each: exactly `budget` different positions, best first; the same for the same generator state; and the
same samples in the same order whatever order the pool's rows come in. Shape suffixes: M rows of the pool.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from elfs.errors import UsageError

__all__ = [
    "SELECTORS",
    "Pool",
    "Selector",
    "SelectorOptions",
    "default_hard_rate",
    "double_end",
    "easiest",
    "hardest",
    "uniform",
]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pool:
    """What selectors look at: one row for each sample that may be selected.

    A selector raises ``ValueError`` where a field that it needs is None. All tensors are on the CPU.

    Attributes
    ----------
    tie_breaker : Tensor of shape (n_rows,), int64
        A number that belongs to the sample and not to its row, such as a seeded hash of its id. Equal scores are
        ordered by it (lower first), and random draws are made in its order; equal ones fall back on the position.
    hardness : Tensor of shape (n_rows,), float32, or None
        Difficulty, higher = harder (``elfs.ops.scores.hardness``). Rows that are not finite are never selected by it.
    pseudo_labels : Tensor of shape (n_rows,), int64, or None
        Cluster of each row, at least 0.
    embeddings : Tensor of shape (n_rows, n_dims), floating, or None
        Embeddings as the encoder made them.
    neighbors : Tensor of shape (n_rows, n_neighbors), int64, or None
        Positions in the pool of each row's nearest neighbours, most similar first; -1 for one that is not in the pool.
    """

    tie_breaker: Tensor
    hardness: Tensor | None = None
    pseudo_labels: Tensor | None = None
    embeddings: Tensor | None = None
    neighbors: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("hardness", "pseudo_labels", "embeddings", "neighbors"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self):
                raise ValueError(f"{name} has {len(value):,} rows, expected {len(self):,} as in tie_breaker.")

    def __len__(self) -> int:
        return len(self.tie_breaker)


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectorOptions:
    """What a person can set about a selector; each selector reads the fields that concern it.

    Attributes
    ----------
    hard_rate : float
        Share of the pool pruned from the hard end, in [0, 1] (the paper's beta). Read by ``elfs``.
    """

    hard_rate: float = 0.0


Selector = Callable[[Pool, int, SelectorOptions, torch.Generator], Tensor]
"""From pool, budget, options and a CPU generator to positions in the pool, in rank order: shape (budget,), int64.

Raises ``UsageError`` where the options or the budget do not fit the pool.
"""

# Pairs (share of the pool, share pruned from the hard end), see default_hard_rate.
_HARD_RATES = ((0.05, 0.4), (0.1, 0.2), (0.3, 0.1), (0.7, 0.0))


def default_hard_rate(share: float) -> float:
    """Return the share to prune from the hard end for a budget, where nothing else is known.

    Parameters
    ----------
    share : float
        Budget as a share of the pool, in (0, 1].

    Returns
    -------
    float
        In [0, 0.4], rounded to 4 decimals, and small enough to leave room for the budget: linear between 0.4 at a share
        of 0.05, 0.2 at 0.1, 0.1 at 0.3 and 0 at 0.7, constant outside.

    Raises
    ------
    ValueError
        If `share` is not in (0, 1].

    Notes
    -----
    The smaller the budget, the more is pruned, as in the paper [1]_; the figures are those that did best on the bundled
    digits, where 5 % of the pseudo-labels are wrong (``benchmarks/RESULTS.md``). The best value depends on that share:
    the paper's authors prune 0 / 0.1 / 0.3 / 0.4 / 0.5 at shares of 0.7 / 0.5 / 0.3 / 0.2 / 0.1 on CIFAR-like sets, and
    run CIFAR10 with 0.4 and ImageNet with 0.3 at 0.1 [2]_.

    References
    ----------
    .. [1] Zheng et al., ICLR 2025, https://arxiv.org/abs/2406.04273, appendix.
    .. [2] github.com/eltsai/elfs@089444b (MIT).

    Examples
    --------
    >>> [default_hard_rate(share) for share in (0.01, 0.2, 0.9)]
    [0.4, 0.15, 0.0]
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected above 0 and at most 1.")
    if share <= _HARD_RATES[0][0]:
        return _HARD_RATES[0][1]
    for (left, rate_left), (right, rate_right) in itertools.pairwise(_HARD_RATES):
        if share <= right:
            return round(rate_left + (rate_right - rate_left) * (share - left) / (right - left), 4)
    return _HARD_RATES[-1][1]


def _canonical_order(pool: Pool) -> Tensor:
    """Return all positions in the order of the tie-breaker: the same samples first, whatever their rows."""
    return torch.sort(pool.tie_breaker, stable=True).indices


def _ranked(pool: Pool, budget: int, *, hard_first: bool) -> Tensor:
    """Return the positions with finite hardness in order of hardness, at least `budget` of them."""
    if pool.hardness is None:
        raise ValueError("this selector needs the pool's hardness, got None.")
    order_M = _canonical_order(pool)
    order_M = order_M[pool.hardness[order_M].isfinite()]
    _check_budget(budget, len(order_M), len(pool))
    return order_M[torch.sort(pool.hardness[order_M], descending=hard_first, stable=True).indices]


def _check_budget(budget: int, num_eligible: int, num_rows: int) -> None:
    if 1 <= budget <= num_eligible:
        return
    without = num_rows - num_eligible
    reason = f" ({without:,} of {num_rows:,} have no score)" if without else ""
    raise UsageError(
        f"the budget is {budget:,} images, expected 1 to {num_eligible:,}: that many are eligible{reason}."
    )


def double_end(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Drop the hardest ``floor(hard_rate * m)`` of the m scored rows, and take the next hardest.

    Parameters
    ----------
    pool : Pool
        Needs ``hardness``.
    budget : int
        Number of rows to select, from 1 to the number of rows with finite hardness.
    options : SelectorOptions
        ``hard_rate`` counts. It is read as the decimal number that it prints as: 0.29 of 100 is 29.
    generator : torch.Generator
        Not used.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions in the pool, from hard to easy.

    Raises
    ------
    UsageError
        If fewer than `budget` rows have finite hardness, or the rows left after pruning are fewer than `budget`; the
        message then names the largest rate that fits.
    ValueError
        If the pool has no hardness.

    Notes
    -----
    Two defects of the reference [2]_ are not followed: it sorts by AUM whatever key is asked for, and selects nothing
    at all where the hard rate and the budget add up to the whole pool.

    References
    ----------
    .. [1] Zheng et al., ICLR 2025, https://arxiv.org/abs/2406.04273, section 4.
    .. [2] github.com/eltsai/elfs@089444b, ``core/data/Coreset.py``, ``direct_selection`` (MIT).
    """
    order = _ranked(pool, budget, hard_first=True)
    num_pruned = math.floor(Fraction(repr(options.hard_rate)) * len(order))
    if num_pruned + budget > len(order):
        largest = (len(order) - budget) * 10_000 // len(order) / 10_000
        raise UsageError(
            f"--hard-rate is {options.hard_rate:g}, which leaves {len(order) - num_pruned:,} of {len(order):,} images "
            f"for a budget of {budget:,}. The largest --hard-rate that fits is {largest:g}."
        )
    return order[num_pruned : num_pruned + budget]


def hardest(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the hardest rows.

    Parameters
    ----------
    pool : Pool
        Needs ``hardness``.
    budget : int
        Number of rows to select, from 1 to the number of rows with finite hardness.
    options : SelectorOptions
        Not used.
    generator : torch.Generator
        Not used.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions in the pool, from hard to easy.

    Raises
    ------
    UsageError
        If fewer than `budget` rows have finite hardness.
    ValueError
        If the pool has no hardness.
    """
    return _ranked(pool, budget, hard_first=True)[:budget]


def easiest(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the easiest rows.

    Parameters
    ----------
    pool : Pool
        Needs ``hardness``.
    budget : int
        Number of rows to select, from 1 to the number of rows with finite hardness.
    options : SelectorOptions
        Not used.
    generator : torch.Generator
        Not used.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions in the pool, from easy to hard.

    Raises
    ------
    UsageError
        If fewer than `budget` rows have finite hardness.
    ValueError
        If the pool has no hardness.
    """
    return _ranked(pool, budget, hard_first=False)[:budget]


def uniform(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take rows at random, each as likely as any other, with or without a score.

    Parameters
    ----------
    pool : Pool
        Needs nothing but ``tie_breaker``.
    budget : int
        Number of rows to select, from 1 to the number of rows.
    options : SelectorOptions
        Not used.
    generator : torch.Generator
        On the CPU; advanced by one permutation of the pool.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions in the pool, in random order: the first n are what a budget of n selects from the same generator
        state.

    Raises
    ------
    UsageError
        If the pool has fewer than `budget` rows.
    """
    _check_budget(budget, len(pool), len(pool))
    return _canonical_order(pool)[torch.randperm(len(pool), generator=generator)[:budget]]


SELECTORS: dict[str, Selector] = {"elfs": double_end, "easiest": easiest, "hardest": hardest, "random": uniform}
"""Every selector by its name; the names are those of ``elfs.catalog.SELECTORS``."""

"""Selectors that cover the pool: k-center, herding, facility location.

Shape suffixes: M rows of the pool, D dimensions.
"""

import torch
from torch import Tensor

from elfs.ops.distances import check_finite, unit_rows
from elfs.ops.selection.covering import greedy_coverage, largest_cosine
from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required

__all__ = ["facility_location", "herding", "k_center"]

# Rows whose sum is taken at once.
_BLOCK_ROWS = 16_384
# Float32 products of unit vectors that differ by less are equal.
_ROUNDING = 1e-6


def _unit_embeddings(pool: Pool) -> Tensor:
    embeddings = required(pool, "embeddings")
    check_finite(embeddings)
    return unit_rows(embeddings)


def _mean(unit_MD: Tensor) -> Tensor:
    """Return the mean of all rows, float64 [D]."""
    sums = [block.sum(dim=0, dtype=torch.float64) for block in torch.split(unit_MD, _BLOCK_ROWS)]
    return torch.stack(sums).sum(dim=0) / len(unit_MD)


def _first_largest(value_M: Tensor) -> int:
    """Return the first position whose value is the largest but for rounding."""
    return int((value_M >= value_M.max() - _ROUNDING).to(torch.uint8).argmax())


def k_center(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take, again and again, the row that is farthest from all rows taken so far.

    Needs ``embeddings``. Settled rows count as taken. The first n are what a budget of n selects. Nothing is random.

    Notes
    -----
    Farthest by cosine, which on vectors of length 1 is farthest by Euclidean distance. The largest distance from a row
    to the selection is at most twice the least possible [1]_; in active learning [2]_ starts from the labelled rows.
    Without settled rows the first is the one nearest to the mean of the pool, where the papers take any. Distances that
    differ by less than 1e-6 are equal, and the lower position goes first. Time grows with budget times pool; a float32
    copy of the embeddings is held.

    References
    ----------
    .. [1] Gonzalez, Theoretical Computer Science 38, 1985.
    .. [2] Sener and Savarese, ICLR 2018, https://arxiv.org/abs/1708.00489.
    """
    candidates_M = pool.candidates()
    check_budget(budget, candidates_M)
    unit_MD = _unit_embeddings(pool)
    blocked_M = torch.where(candidates_M, 0.0, -torch.inf)
    if not bool(pool.held().any()):
        row = _first_largest(unit_MD @ _mean(unit_MD).float() + blocked_M)
        distance_M = torch.where(candidates_M, torch.inf, -torch.inf)
    else:
        distance_M = 1 - largest_cosine(unit_MD, unit_MD[pool.held()]) + blocked_M
        row = _first_largest(distance_M)
    picked = torch.empty(budget, dtype=torch.int64)
    for number in range(budget):
        picked[number] = row
        torch.minimum(distance_M, 1 - unit_MD @ unit_MD[row], out=distance_M)
        distance_M[row] = -torch.inf
        row = _first_largest(distance_M)
    return picked


def herding(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take, again and again, the row that brings the mean of those taken nearest to the mean of the pool.

    Needs ``embeddings``. Settled rows count as taken. The first n are what a budget of n selects. Nothing is random.

    Notes
    -----
    Means are of embeddings scaled to length 1, of the whole pool, and no row is taken twice, as in [2]_. The mean of k
    taken rows and x is nearest to the mean m where ``x . ((k + 1) m - sum of the taken)``, less half the square of x,
    is largest. Values that differ by less than 1e-6 are equal, and the lower position goes first. Time grows with
    budget times pool; a float32 copy of the embeddings is held.

    References
    ----------
    .. [1] Welling, ICML 2009 (herding).
    .. [2] Rebuffi et al., CVPR 2017, https://arxiv.org/abs/1611.07725, algorithm 4 (iCaRL).
    """
    candidates_M = pool.candidates()
    check_budget(budget, candidates_M)
    unit_MD = _unit_embeddings(pool)
    mean_D = _mean(unit_MD)
    settled_MD = unit_MD[pool.held()]
    wanted_D = (len(settled_MD) + 1) * mean_D - settled_MD.sum(dim=0, dtype=torch.float64)
    offset_M = torch.where(candidates_M, -0.5 * unit_MD.any(dim=1), -torch.inf)
    picked = torch.empty(budget, dtype=torch.int64)
    for number in range(budget):
        row = _first_largest(torch.addmv(offset_M, unit_MD, wanted_D.float()))
        picked[number] = row
        offset_M[row] = -torch.inf
        wanted_D += mean_D - unit_MD[row]
    return picked


def facility_location(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the rows that cover the pool best: each of its rows has one among them that is similar.

    Parameters
    ----------
    pool : Pool
        Needs ``embeddings``. What settled rows cover is covered from the start.
    budget : int
        Number of rows to select, from 1 to the number of rows that are not settled.
    options : SelectorOptions
        Not used.
    generator : torch.Generator
        On the CPU; for pools of more than 16,384 rows.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions in the pool, largest gain first. Up to 16,384 rows the first n are what a budget of n selects.

    Raises
    ------
    UsageError
        If the budget does not fit the pool.
    ValueError
        If the pool has no embeddings, or they are not finite.

    See Also
    --------
    greedy_coverage : What is maximised, and how.
    """
    return greedy_coverage(required(pool, "embeddings"), pool.candidates(), pool.settled, budget, generator=generator)

"""Selectors for the rounds after the first: what a classifier trained on the annotations is unsure of.

Shape suffixes: M rows of the pool, C classes.
"""

import torch
from torch import Tensor

from elfs.ops.distances import centre_distance, unit_clusters, unit_rows
from elfs.ops.selection.covering import Emphasis, greedy_coverage
from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required

__all__ = ["dropquery", "entropy", "least_distance", "margin", "uherding", "unsureness"]

_DOUBTED = 0.5
"""Rows are doubtful whose class changes in more than this share of the passes with dropout."""

_BLOCK_ROWS = 4096
_ROUNDING = 1e-6
"""Squared distances of float32 vectors of length 1 that are no larger are 0."""


def unsureness(probabilities: Tensor) -> Tensor:
    """Return how close the second class comes to the first.

    Parameters
    ----------
    probabilities : Tensor of shape (n_rows, n_classes), floating
        In [0, 1], each row summing to 1.

    Returns
    -------
    Tensor of shape (n_rows,), float32
        One less the difference of the two largest, in [0, 1], higher = less sure; 0 where there is one class.

    Examples
    --------
    >>> unsureness(torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]))
    tensor([0.7500, 0.0000])
    """
    if probabilities.shape[1] < 2:
        return torch.zeros(len(probabilities))
    first_two = probabilities.float().topk(2, dim=1).values
    return (1 - (first_two[:, 0] - first_two[:, 1])).clamp(0, 1)


def _highest(value_M: Tensor, pool: Pool, budget: int) -> Tensor:
    eligible_M = pool.candidates()
    check_budget(budget, eligible_M)
    order = torch.sort(value_M, descending=True, stable=True).indices
    return order[eligible_M[order]][:budget]


def margin(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the rows whose two likeliest classes are closest.

    Needs ``probabilities``. Least sure first, the first of equals. Nothing is random.

    References
    ----------
    .. [1] Scheffer, Decomain and Wrobel, IDA 2001 (margin sampling).
    """
    return _highest(unsureness(required(pool, "probabilities")), pool, budget)


def entropy(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the rows whose class probabilities have the highest entropy.

    Needs ``probabilities``. Least sure first, the first of equals. Nothing is random.

    References
    ----------
    .. [1] Settles, "Active learning literature survey", Wisconsin 2009, section 3.1.
    """
    probabilities_MC = required(pool, "probabilities").float()
    return _highest(torch.special.entr(probabilities_MC).sum(dim=1), pool, budget)


def dropquery(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take one row from each part of those whose class changes when most features are dropped.

    Needs ``disagreement`` and ``embeddings``. The parts are k-means clusters, as many as rows to select; of each the
    row nearest to the centre, those of larger parts first. Where too few rows change their class, all of them are
    taken, and the others share what is left in the same way. The generator seeds k-means.

    Notes
    -----
    k-means looks at embeddings scaled to length 1.

    References
    ----------
    .. [1] Gupte et al., TMLR 2024, https://arxiv.org/abs/2401.14555.
    """
    eligible_M = pool.candidates()
    check_budget(budget, eligible_M)
    doubted_M = eligible_M & (required(pool, "disagreement") > _DOUBTED)
    embeddings = required(pool, "embeddings")
    doubted = torch.nonzero(doubted_M).flatten()
    if len(doubted) >= budget:
        return _central(embeddings, doubted, budget, generator)
    others = torch.nonzero(eligible_M & ~doubted_M).flatten()
    taken = _central(embeddings, doubted, len(doubted), generator)
    return torch.cat([taken, _central(embeddings, others, budget - len(doubted), generator)])


def _central(embeddings: Tensor, rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the row nearest to the centre of each of so many clusters of some rows, large clusters first."""
    if count == 0:
        return rows[:0]
    own_RD = embeddings[rows]
    centres_CD, cluster_R = unit_clusters(own_RD, count, generator)
    distance_R = centre_distance(unit_rows(own_RD), centres_CD, cluster_R)
    size_C = torch.bincount(cluster_R, minlength=count)
    order = torch.sort(distance_R, stable=True).indices
    order = order[torch.sort(cluster_R[order], stable=True).indices]
    is_first_R = torch.ones(len(order), dtype=torch.bool)
    is_first_R[1:] = cluster_R[order][1:] != cluster_R[order][:-1]
    firsts, others = order[is_first_R], order[~is_first_R]
    firsts = firsts[torch.sort(size_C[cluster_R[firsts]], descending=True, stable=True).indices]
    # Beyond 65,536 rows k-means is fitted to a sample, and a centre may be nobody's nearest.
    others = others[torch.sort(distance_R[others], stable=True).indices]
    return rows[torch.cat([firsts, others])[:count]]


def least_distance(unit: Tensor) -> float | None:
    """Return the smallest distance between two rows that are not equal.

    Parameters
    ----------
    unit : Tensor of shape (n_rows, n_dims), float32
        Rows of length 1.

    Returns
    -------
    float or None
        Above 0, at most 2; None where there are no two different rows.
    """
    if not len(unit):
        return None
    least = torch.inf
    for block_BD in unit.split(_BLOCK_ROWS):
        for other_BD in unit.split(_BLOCK_ROWS):
            squared = 2 - 2 * (block_BD @ other_BD.T)
            least = min(least, float(torch.where(squared > _ROUNDING, squared, torch.inf).min()))
    return None if least == torch.inf else least**0.5


def uherding(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the rows that cover best what the classifier is unsure of.

    Needs ``probabilities`` and ``embeddings``; what settled rows cover is covered from the start. Ranks by gain: up to
    16,384 rows the first n are what a budget of n selects.

    Notes
    -----
    Each pick raises most the sum over all rows of ``U max of k(row, selected)``: U is `unsureness`, the probabilities
    are calibrated, and ``k = exp(-d^2 / s^2)`` for the distance d of embeddings scaled to length 1. The fewer rows are
    settled, the farther apart they are, and the farther each one covers: s is the smallest distance between two of
    them (not of equal ones), 1 where there are no two.

    References
    ----------
    .. [1] Bae et al., ICLR 2025 (uncertainty herding), https://arxiv.org/abs/2412.20644.
    """
    embeddings, unsure_M = required(pool, "embeddings"), unsureness(required(pool, "probabilities"))
    eligible_M = pool.candidates()
    width = least_distance(unit_rows(embeddings[pool.held()]))
    emphasis = Emphasis(unsure_M, kernel_width=1.0 if width is None else width)
    return greedy_coverage(embeddings, eligible_M, pool.settled, budget, emphasis=emphasis, generator=generator)

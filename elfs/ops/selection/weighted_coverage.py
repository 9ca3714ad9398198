"""The project's own selector: cover the pool, hard images first. Shape suffix: M rows of the pool."""

import torch
from torch import Tensor

from elfs.ops.selection.coverage import greedy_coverage
from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required

__all__ = ["hardness_share", "weighted_coverage"]


def hardness_share(hardness: Tensor) -> Tensor:
    """Return the share of the pool that is easier than each row.

    Parameters
    ----------
    hardness : Tensor of shape (n_rows,), float32
        Higher = harder; not finite for a row without a score.

    Returns
    -------
    Tensor of shape (n_rows,), float64
        In [0, 1], higher = harder: the middle of its rank among equals, over the number of rows with a score. 0.5 for
        all where all are equal; 0 without a score.
    """
    scored_M = hardness.isfinite()
    values = hardness[scored_M]
    ordered = values.sort().values
    below = torch.searchsorted(ordered, values, right=False)
    upto = torch.searchsorted(ordered, values, right=True)
    share_M = torch.zeros(len(hardness), dtype=torch.float64)
    share_M[scored_M] = (below + upto).double() / (2 * max(1, len(values)))
    return share_M


def weighted_coverage(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the rows that cover the pool best, where covering a hard row counts more than covering an easy one.

    Parameters
    ----------
    pool : Pool
        Needs ``embeddings`` and ``hardness``. What settled rows cover is covered from the start.
    budget : int
        Number of rows to select, from 1 to the number of rows with finite hardness that are not settled.
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
        If the pool lacks a field, or the embeddings are not finite.

    Notes
    -----
    Facility location over the embeddings (`greedy_coverage`), in which a row counts by the share of the pool that is
    easier (`hardness_share`). A small budget goes to what is typical, as it does without weights; where the easy part
    is covered, what is left goes to the hard part. A mislabelled or strange row counts, but is similar to few others,
    so nothing has to be pruned, and no share has to be guessed.
    """
    hardness_M = required(pool, "hardness")
    embeddings = required(pool, "embeddings")
    eligible_M = pool.candidates() & hardness_M.isfinite()
    check_budget(budget, eligible_M)
    weights_M = hardness_share(hardness_M)
    return greedy_coverage(embeddings, eligible_M, pool.settled, budget, weights=weights_M, generator=generator)

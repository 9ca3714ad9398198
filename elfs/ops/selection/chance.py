"""How well a selection covers the pool, compared with chance. Shape suffixes: M rows of the pool, J judged rows."""

from typing import NamedTuple

import torch
from torch import Tensor

from elfs.ops.distances import unit_rows
from elfs.ops.selection.covering import largest_cosine
from elfs.ops.selection.judged import some_rows
from elfs.ops.threads import in_threads

__all__ = ["Chance", "coverage_and_chance"]

# Pairs of a judged row and a selected one that are compared for each draw: about a second for all of them.
_MOST_PAIRS = 40_000_000
_FEWEST_JUDGED, _MOST_JUDGED = 256, 4096
# Selected rows that are read at once.
_BLOCK_ROWS = 16_384


class Chance(NamedTuple):
    """How well a selection covers the pool, and how well random ones of its size do.

    Attributes
    ----------
    selected : float
        Mean over the judged rows of the largest cosine to a selected one, negative ones as 0; in [0, 1], higher =
        better.
    draws : list of float
        The same for each random selection, in the order of the draws.
    """

    selected: float
    draws: list[float]


def coverage_and_chance(
    embeddings: Tensor, picked: Tensor, candidates: Tensor, generator: torch.Generator, num_draws: int = 20
) -> Chance:
    """Compare the coverage of a pool by a selection with that by random ones of the same size.

    Parameters
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), floating
        Of the pool, finite, of any length.
    picked : Tensor of shape (n_picked,), int64
        Positions that were selected, at least 1, all of them candidates.
    candidates : Tensor of shape (n_rows,), bool
        Rows that could be selected. The others, such as those that are annotated already, cover the pool in any case.
    generator : torch.Generator
        On the CPU; draws the selections, and the rows that are judged where the pool is large.
    num_draws : int, default 20
        Number of random selections, each without replacement from the candidates.

    Returns
    -------
    Chance
        Of all on the same judged rows: as many as make 40,000,000 pairs with the selected ones, from 256 to 4,096, all
        where the pool has no more.

    Raises
    ------
    ValueError
        If nothing is picked, or what is picked is no candidate.

    Notes
    -----
    The value is what facility location maximises; no label is seen. All is computed in blocks: memory is that of the
    judged rows, and time grows with the number of draws times 40,000,000 pairs at most, up to 156,250 picks.

    Examples
    --------
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> chance = coverage_and_chance(embeddings, torch.tensor([0, 3]), torch.ones(4) > 0, torch.Generator())
    >>> chance.selected, sorted(set(chance.draws))
    (1.0, [0.75, 1.0])
    """
    if not len(picked) or not bool(candidates[picked].all()):
        raise ValueError(f"picked has {len(picked):,} rows, expected at least 1, all of them candidates.")
    open_C = torch.nonzero(candidates).flatten().int()
    num_covering = len(picked) + len(candidates) - len(open_C)
    num_judged = max(_FEWEST_JUDGED, min(_MOST_JUDGED, _MOST_PAIRS // num_covering))
    rows_J = some_rows(len(embeddings), num_judged, generator)
    judged_JD = unit_rows(embeddings[rows_J])
    held_J = largest_cosine(judged_JD, unit_rows(embeddings[~candidates])).clamp_min_(0)

    def coverage(rows: Tensor) -> float:
        """Of rows in their order, which are read in a third of the time."""
        nearest_J = held_J
        for block in rows.split(_BLOCK_ROWS):
            nearest_J = nearest_J.maximum(largest_cosine(judged_JD, unit_rows(embeddings.index_select(0, block))))
        return float(nearest_J.double().clamp_max(1).mean())

    def of_draw(drawn: Tensor) -> float:
        is_in_C = torch.zeros(len(open_C), dtype=torch.bool)
        is_in_C[drawn.long()] = True
        return coverage(open_C[is_in_C].long())

    # int32 gives the permutations that int64 gives, in half of the memory
    orders = (torch.randperm(len(open_C), generator=generator, dtype=torch.int32) for _ in range(num_draws))
    draws = in_threads(of_draw, (order[: len(picked)].clone() for order in orders))
    return Chance(coverage(picked.sort().values), list(draws))

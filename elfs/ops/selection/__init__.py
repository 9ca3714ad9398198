"""Selectors: which rows of the pool to annotate.

A selector is a function of one signature (`Selector`) and a line in ``SELECTORS`` and in ``elfs.catalog.SELECTORS``. It
is called through `select`. Laws that hold for each: exactly `budget` different positions of rows that are not settled,
best first; the same for the same generator state; and the same samples in the same order whatever order the pool's rows
come in.
"""

import torch
from torch import Tensor

from elfs.catalog import SELECTORS as METHODS
from elfs.catalog import choose
from elfs.ops.selection.beta_sampling import dual_beta
from elfs.ops.selection.clusters import moderate, prototypicality, typiclust
from elfs.ops.selection.coverage import facility_location, herding, k_center
from elfs.ops.selection.gradients import badge
from elfs.ops.selection.graph_pruning import d2
from elfs.ops.selection.pool import Pool, Selector, SelectorOptions, check_budget, required, take
from elfs.ops.selection.quotas import even_quotas, proportional_quotas
from elfs.ops.selection.strata import ccs
from elfs.ops.selection.weighted_coverage import weighted_coverage
from elfs.ops.selection.windows import double_end, easiest, hardest, uniform

__all__ = ["SELECTORS", "Pool", "Selector", "SelectorOptions", "select"]

SELECTORS: dict[str, Selector] = {
    "auto": weighted_coverage,
    "badge": badge,
    "ccs": ccs,
    "d2": d2,
    "dual-beta": dual_beta,
    "elfs": double_end,
    "easiest": easiest,
    "facility-location": facility_location,
    "hardest": hardest,
    "herding": herding,
    "k-center": k_center,
    "moderate": moderate,
    "prototypicality": prototypicality,
    "random": uniform,
    "typiclust": typiclust,
}
"""Every selector by its name; the names are those of ``elfs.catalog.SELECTORS``."""


def select(
    name: str,
    pool: Pool,
    budget: int,
    options: SelectorOptions,
    generator: torch.Generator,
    *,
    balance: bool = False,
    num_blocks: int = 1,
) -> Tensor:
    """Select rows of a pool.

    Parameters
    ----------
    name : str
        A key of ``SELECTORS``.
    pool : Pool
        The pool, in any order, with the fields that the selector needs.
    budget : int
        Number of rows to select, from 1 to the number of eligible rows: not settled, of finite hardness where the pool
        has one, and with all scores that the selector looks at.
    options : SelectorOptions
        Of the selector.
    generator : torch.Generator
        On the CPU; the only source of randomness.
    balance : bool, default False
        Select inside every pseudo-label by itself, with quotas such that all end up with equally many rows, settled
        ones included, as far as they have rows.
    num_blocks : int, default 1
        Split the rows at random into this many blocks, and select inside each by itself in proportion to its eligible
        rows. For selectors whose time grows with budget times pool it divides that time.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions in `pool`, best first; of several groups or blocks in turn, in proportion to their quotas.

    Raises
    ------
    UsageError
        If there is no such selector, or the options or the budget do not fit the pool.
    ValueError
        If the pool lacks a field that is needed, or `num_blocks` is below 1.
    """
    selector = SELECTORS[choose("method", name, SELECTORS)]
    if num_blocks < 1:
        raise ValueError(f"num_blocks is {num_blocks}, expected at least 1.")
    order_M = torch.sort(pool.tie_breaker, stable=True).indices
    in_order = bool((order_M[1:] > order_M[:-1]).all())
    ordered = pool if in_order else take(pool, order_M)
    eligible_M = _eligible(ordered, METHODS[name].scores)
    check_budget(budget, eligible_M)
    labels_M = required(ordered, "pseudo_labels").long() if balance else torch.zeros(len(pool), dtype=torch.int64)
    num_groups = int(labels_M.max()) + 1
    held_G = torch.bincount(labels_M[~ordered.candidates()], minlength=num_groups)
    quotas_G = even_quotas(torch.bincount(labels_M[eligible_M], minlength=num_groups), budget, held=held_G)
    block_M = torch.zeros(len(pool), dtype=torch.int64)
    if num_blocks > 1:
        block_M[torch.randperm(len(pool), generator=generator)] = torch.arange(len(pool)) % num_blocks
    parts = []
    for group, quota in enumerate(quotas_G.tolist()):
        members = torch.nonzero(labels_M == group).flatten()
        counts = torch.bincount(block_M[members][eligible_M[members]], minlength=num_blocks)
        for block, share in enumerate(proportional_quotas(counts, quota).tolist()):
            if share:
                rows = members[block_M[members] == block]
                part = ordered if len(rows) == len(pool) else take(ordered, rows)
                parts.append(rows[selector(part, share, options, generator)])
    picked = _interleaved(parts)
    return picked if in_order else order_M[picked]


def _eligible(pool: Pool, keys: tuple[str, ...]) -> Tensor:
    """Return which rows may be selected, bool [M]: not settled, and no score that counts is missing."""
    eligible_M = pool.candidates()
    for score in (pool.hardness, *(pool.scores.get(key) for key in keys)):
        eligible_M &= True if score is None else score.isfinite()
    return eligible_M


def _interleaved(parts: list[Tensor]) -> Tensor:
    """Merge rankings in proportion to their lengths, each in its own order; the first of equals comes first."""
    if len(parts) == 1:
        return parts[0]
    place = torch.cat([(torch.arange(len(part), dtype=torch.float64) + 0.5) / len(part) for part in parts])
    return torch.cat(parts)[torch.sort(place, stable=True).indices]

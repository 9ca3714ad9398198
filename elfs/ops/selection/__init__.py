"""Selectors: which rows of the pool to annotate.

A selector is a function of one signature (`Selector`) and a line in ``SELECTORS`` and in ``elfs.catalog.SELECTORS``. It
is called through `select`. Laws that hold for each: exactly `budget` different positions of rows that are not settled,
best first; the same for the same generator state; and the same samples in the same order whatever order the pool's rows
come in. Under limits by group there are at most so many positions of each, or whole groups within the budget.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from elfs.catalog import SELECTORS as METHODS
from elfs.errors import UsageError
from elfs.ops.selection.beta_sampling import dual_beta
from elfs.ops.selection.clusters import moderate, prototypicality, typiclust
from elfs.ops.selection.coverage import facility_location, herding, k_center
from elfs.ops.selection.gradients import badge
from elfs.ops.selection.graph_pruning import d2
from elfs.ops.selection.groups import capped, whole_groups
from elfs.ops.selection.pool import Pool, Selector, SelectorOptions, check_budget, required, take
from elfs.ops.selection.quotas import even_quotas, proportional_quotas
from elfs.ops.selection.strata import ccs
from elfs.ops.selection.uncertainty import dropquery, entropy, margin, uherding
from elfs.ops.selection.weighted_coverage import weighted_coverage
from elfs.ops.selection.windows import double_end, easiest, hardest, num_hardest, uniform
from elfs.suggestions import choose

__all__ = ["SELECTORS", "Pool", "Selector", "SelectorOptions", "eligible_rows", "select"]

SELECTORS: dict[str, Selector] = {
    "auto": weighted_coverage,
    "badge": badge,
    "ccs": ccs,
    "d2": d2,
    "dropquery": dropquery,
    "dual-beta": dual_beta,
    "elfs": double_end,
    "easiest": easiest,
    "entropy": entropy,
    "facility-location": facility_location,
    "hardest": hardest,
    "herding": herding,
    "k-center": k_center,
    "margin": margin,
    "moderate": moderate,
    "prototypicality": prototypicality,
    "random": uniform,
    "typiclust": typiclust,
    "uherding": uherding,
}
"""Every selector by its name; the names are those of ``elfs.catalog.SELECTORS``."""


def select(
    name: str,
    pool: Pool,
    budget: int,
    options: SelectorOptions,
    generator: torch.Generator,
    *,
    balance: str | None = None,
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
        Of the selector, and limits by group.
    generator : torch.Generator
        On the CPU; the only source of randomness.
    balance : {"pseudo_labels", "column"} or None
        Select inside every value of this field of the pool by itself, with quotas such that all end up with equally
        many rows, settled ones included, as far as they have rows that are not pruned.
    num_blocks : int, default 1
        Split the rows at random into this many blocks, and select inside each by itself in proportion to its eligible
        rows. For selectors whose time grows with budget times pool it divides that time. At most one block for a row.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions in `pool`, best first; of several parts or blocks in turn, in proportion to their quotas. Fewer where
        limits by group allow no more.

    Raises
    ------
    UsageError
        If there is no such selector, or the options or the budget do not fit the pool.
    ValueError
        If the pool lacks a field that is needed, or `num_blocks` is below 1.
    """
    choose("method", name, SELECTORS)
    if num_blocks < 1:
        raise ValueError(f"num_blocks is {num_blocks}, expected at least 1.")
    order_M = None if pool.is_in_order else torch.sort(pool.tie_breaker, stable=True).indices
    ordered = pool if order_M is None else take(pool, order_M)
    check_budget(budget, eligible_rows(name, ordered))
    go = _Go(name, options, generator, balance, num_blocks)
    if options.per_group is None and not options.whole_groups:
        picked = go(ordered, budget)
    else:
        picked = _limited(go, ordered, budget)
    return picked if order_M is None else order_M[picked]


@dataclass(frozen=True)
class _Go:
    """One go of a selector at a pool, in all of its parts."""

    name: str
    options: SelectorOptions
    generator: torch.Generator
    balance: str | None
    num_blocks: int

    def __call__(self, pool: Pool, budget: int) -> Tensor:
        selector = SELECTORS[self.name]
        if self.balance is None and self.num_blocks == 1:
            return selector(pool, budget, self.options, self.generator)
        parts = self._parts(pool, num_blocks=self.num_blocks)
        if len(parts) == 1:
            return selector(pool, budget, self.options, self.generator)
        shares = _shares(self.name, pool, parts, budget, self.options)
        return _interleaved(
            [
                rows[selector(take(pool, rows), share, self.options, self.generator)]
                for (_, rows), share in zip(parts, shares, strict=True)
                if share
            ]
        )

    def num_open(self, pool: Pool) -> int:
        """Return how many rows can be picked in one go."""
        parts = [rows for _, rows in self._parts(pool, num_blocks=1)]
        return int(_num_open(self.name, pool, parts, self.options).sum())

    def at_most(self, pool: Pool, budget: int) -> Tensor:
        """Pick fewer where there are no more."""
        num_open = self.num_open(pool)
        return self(pool, min(budget, num_open)) if num_open else torch.empty(0, dtype=torch.int64)

    def _parts(self, pool: Pool, *, num_blocks: int) -> list[tuple[int, Tensor]]:
        return _parts(pool, self.balance, min(num_blocks, len(pool)), self.generator)


def _limited(go: _Go, pool: Pool, budget: int) -> Tensor:
    """Pick within the limits by group."""
    if go.options.per_group is None:
        return whole_groups(go.at_most, pool, budget, alike=not METHODS[go.name].reads)
    if go.num_open(pool) < budget:
        go(pool, budget)  # refuses it, whatever the limits: a hard rate leaves too few
    return capped(go.at_most, pool, budget, go.options.per_group)


def eligible_rows(name: str, pool: Pool) -> Tensor:
    """Return which rows a method may select.

    Parameters
    ----------
    name : str
        A key of ``SELECTORS``.
    pool : Pool
        The pool.

    Returns
    -------
    Tensor of shape (n_rows,), bool
        Not settled, and no score that counts is missing.
    """
    eligible_M = pool.candidates()
    for score in (pool.hardness, *(pool.scores.get(key) for key in METHODS[name].scores)):
        eligible_M &= True if score is None else score.isfinite()
    return eligible_M


def _parts(pool: Pool, balance: str | None, num_blocks: int, generator: torch.Generator) -> list[tuple[int, Tensor]]:
    """Return the parts that are selected in by themselves: the number of their cluster, and positions."""
    if balance is None and num_blocks == 1:
        return [(0, torch.arange(len(pool)))]
    labels_M = torch.zeros(len(pool), dtype=torch.int64) if balance is None else required(pool, balance).long()
    block_M = torch.zeros(len(pool), dtype=torch.int64)
    if num_blocks > 1:
        block_M[torch.randperm(len(pool), generator=generator)] = torch.arange(len(pool)) % num_blocks
    part_M = labels_M * num_blocks + block_M
    rows = torch.sort(part_M, stable=True).indices
    numbers, sizes = torch.unique_consecutive(part_M[rows], return_counts=True)
    found = zip(numbers.tolist(), rows.split(sizes.tolist()), strict=True)
    return [(number // num_blocks, members) for number, members in found]


def _shares(name: str, pool: Pool, parts: list[tuple[int, Tensor]], budget: int, options: SelectorOptions) -> list[int]:
    """Return how many rows to select of each part: groups evenly, the parts of a group in proportion."""
    open_P = _num_open(name, pool, [rows for _, rows in parts], options)
    held_M = pool.held()
    held_P = torch.tensor([int(held_M[rows].sum()) for _, rows in parts])
    if budget > int(open_P.sum()):
        raise UsageError(
            f"a hard rate of {options.hard_rate:g} leaves {int(open_P.sum()):,} images for a budget of "
            f"{budget:,}: in every cluster and block the hardest are pruned. Take a lower one."
        )
    group_P = torch.tensor([group for group, _ in parts])
    num_groups = int(group_P.max()) + 1
    open_G = torch.zeros(num_groups, dtype=torch.int64).index_add_(0, group_P, open_P)
    held_G = torch.zeros(num_groups, dtype=torch.int64).index_add_(0, group_P, held_P)
    shares_P = torch.zeros_like(open_P)
    for group, quota in enumerate(even_quotas(open_G, budget, held=held_G).tolist()):
        mine = group_P == group
        shares_P[mine] = proportional_quotas(open_P[mine], quota)
    return [int(share) for share in shares_P]


def _num_open(name: str, pool: Pool, parts: list[Tensor], options: SelectorOptions) -> Tensor:
    """Return how many rows of each part can be selected once its hardest are pruned, int64."""
    eligible_M = eligible_rows(name, pool)
    if not METHODS[name].prunes:
        return torch.stack([eligible_M[rows].sum() for rows in parts])
    hardness_M = -required(pool, "aum") if "aum" in METHODS[name].scores else required(pool, "hardness")
    scored_M = eligible_M | (~pool.candidates() & hardness_M.isfinite())
    found = []
    for rows in parts:
        scored = rows[scored_M[rows]]
        order = scored[torch.sort(hardness_M[scored], descending=True, stable=True).indices]
        found.append(eligible_M[order][num_hardest(len(order), options.hard_rate) :].sum())
    return torch.stack(found)


def _interleaved(parts: list[Tensor]) -> Tensor:
    """Merge rankings in proportion to their lengths, each in its own order; the first of equals comes first."""
    place = torch.cat([(torch.arange(len(part), dtype=torch.float64) + 0.5) / len(part) for part in parts])
    return torch.cat(parts)[torch.sort(place, stable=True).indices]

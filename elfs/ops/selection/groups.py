"""Limits by group, such as the film that a frame is of: at most so many of each, or all of it or nothing.

A selector knows nothing of groups. What it picks is taken as far as it is within the limits, as settled rows; groups
that are full are barred; and it is asked again for the rest. Shape suffixes: M rows of the pool, P picks, G groups.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from elfs.ops.selection.pool import Pool, required

__all__ = ["Pick", "capped", "rank_in_group", "whole_groups"]

Pick = Callable[[Pool, int], Tensor]
"""From a pool and a number to that many positions in it, best first; fewer where there are no more."""


def rank_in_group(groups: Tensor) -> Tensor:
    """Return how many of the rows before each one are of its group.

    Parameters
    ----------
    groups : Tensor of shape (n,), int64
        Number of each row's group, at least 0.

    Returns
    -------
    Tensor of shape (n,), int64
        0 for the first of each group.

    Examples
    --------
    >>> rank_in_group(torch.tensor([5, 2, 5, 5, 2])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = torch.sort(groups, stable=True).indices
    sizes = torch.unique_consecutive(groups[order], return_counts=True)[1]
    starts = (sizes.cumsum(dim=0) - sizes).repeat_interleave(sizes)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(groups)) - starts
    return rank


def capped(pick: Pick, pool: Pool, budget: int, most: int) -> Tensor:
    """Pick rows, at most so many of each group.

    Parameters
    ----------
    pick : Pick
        Picks without a limit.
    pool : Pool
        With ``groups``; settled rows count towards their group's number.
    budget : int
        How many rows are wanted, at least 1.
    most : int
        Rows of a group, settled ones included, at least 1.

    Returns
    -------
    Tensor of shape (n,), int64
        Different positions, best first. Fewer than `budget` where the groups have no more room.

    Raises
    ------
    ValueError
        If the pool has no groups.

    Notes
    -----
    Where fewer than half of the picks are within the limit, four times as many are asked for the next time. So a
    selector that goes down a ranking is called a logarithmic number of times, and what comes out is the walk down that
    ranking that leaves out what its group has no room for.
    """
    groups_M = required(pool, "groups")
    room_G = (most - torch.bincount(groups_M[pool.held()], minlength=int(groups_M.max()) + 1)).clamp_min(0)
    settled_M, taken, missing, factor = pool.held().clone(), [groups_M[:0]], budget, 1
    while missing:
        now = dataclasses.replace(pool, settled=settled_M, barred=_barred(pool, room_G[groups_M] == 0))
        picks = pick(now, missing * factor)
        fitting = picks[rank_in_group(groups_M[picks]) < room_G[groups_M[picks]]][:missing]
        if not len(picks):
            break
        factor *= 4 if 2 * len(fitting) < missing else 1
        room_G -= torch.bincount(groups_M[fitting], minlength=len(room_G))
        settled_M[fitting] = True
        taken.append(fitting)
        missing -= len(fitting)
    return torch.cat(taken)


def whole_groups(pick: Pick, pool: Pool, budget: int, *, alike: bool) -> Tensor:
    """Pick groups, and take all rows of each that may be selected.

    Parameters
    ----------
    pick : Pick
        Picks rows: groups come in the order in which it picks the first row of each.
    pool : Pool
        With ``groups``.
    budget : int
        How many rows are wanted at most, at least 1.
    alike : bool
        Whether only the first row of each group can be picked, so that its size does not matter: by chance each group
        is then as likely as any other.

    Returns
    -------
    Tensor of shape (n,), int64
        Different positions, group by group, the best group first, each group's in the order of the pool. At most
        `budget`: groups that are larger than what is left are passed over. None where all are.

    Raises
    ------
    ValueError
        If the pool has no groups.
    """
    groups_M = required(pool, "groups")
    settled_M, taken, missing, factor = pool.held().clone(), [groups_M[:0]], budget, 1
    while missing:
        now = dataclasses.replace(pool, settled=settled_M)
        rows = torch.nonzero(now.candidates()).flatten()
        size_G = torch.bincount(groups_M[rows], minlength=int(groups_M.max()) + 1)
        fits_G = (size_G > 0) & (size_G <= missing)
        if not bool(fits_G.any()):
            break
        barred_M = ~fits_G[groups_M]
        if alike:
            barred_M[rows[rank_in_group(groups_M[rows]) > 0]] = True
        wanted = -(-missing * int(fits_G.sum()) // int(size_G[fits_G].sum()))  # of the average size
        picks = pick(dataclasses.replace(now, barred=_barred(pool, barred_M)), wanted * factor)
        groups_P = groups_M[picks]
        order_P = groups_P[rank_in_group(groups_P) == 0]
        fitting = _fitting(order_P.tolist(), size_G.tolist(), missing)
        if not fitting:
            break
        factor *= 4 if 2 * len(order_P) < wanted else 1
        place_G = torch.full((len(size_G),), len(fitting))
        place_G[torch.tensor(fitting)] = torch.arange(len(fitting))
        place_R = place_G[groups_M[rows]]
        members = rows[torch.sort(place_R, stable=True).indices][: int((place_R < len(fitting)).sum())]
        settled_M[members] = True
        taken.append(members)
        missing -= len(members)
    return torch.cat(taken)


def _barred(pool: Pool, more_M: Tensor) -> Tensor:
    return more_M if pool.barred is None else pool.barred | more_M


def _fitting(groups: list[int], sizes: list[int], budget: int) -> list[int]:
    """Return the groups that are taken one after the other, those passed over that are larger than what is left."""
    found = []
    for group in groups:
        if sizes[group] <= budget:
            budget -= sizes[group]
            found.append(group)
    return found

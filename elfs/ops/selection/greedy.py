"""Greedy picks within a block, on a grid on which sums are exact.

Shape suffixes: C candidates, T rows that are to be covered, R rows that are both, B of them, D dimensions.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["GRID", "Weights", "lazy_greedy", "nearness", "similarity", "updated_greedy"]

GRID = 2.0**14
"""Cosines are whole multiples of one over this where gains are summed: sums are exact, and equal gains are equal."""

# Candidates whose gains are computed at once.
_LOOKED_AT = 8
# Rows whose part in all gains is computed at once: float32 holds sums of so many whole numbers up to GRID exactly.
_ADDED_ROWS = 128
# What rows count less is a multiple of one over this where all gains are kept: float64 holds its sums exactly.
_FINE_GRID = 2.0**24
# Rows of a product whose result is reduced at once.
_PRODUCT_ROWS = 256

_Array = NDArray[np.float32]
_Sums = tuple[NDArray[np.float64], NDArray[np.float64] | None]


@dataclass(frozen=True, eq=False)
class Weights:
    """What rows count: 1, less as much of `less` as there is strength after some picks.

    Attributes
    ----------
    num_rows : int
        How many there are.
    less : ndarray of shape (num_rows,), float64, or None
        In [0, 1]. None: all count 1 for ever.
    strength : callable
        From the number of picks to a number in [0, 1] that never falls.
    """

    num_rows: int
    less: NDArray[np.float64] | None
    strength: Callable[[int], float]

    def after(self, num_picks: int) -> NDArray[np.float64]:
        """Return what each row counts after some picks, float64."""
        return np.ones(self.num_rows) if self.less is None else 1 - self.strength(num_picks) * self.less


def nearness(scaled_cosine: Tensor, width: float | None) -> Tensor:
    """Return how well rows cover one another.

    Parameters
    ----------
    scaled_cosine : Tensor, float32
        Cosines times ``GRID``; overwritten.
    width : float or None
        Of the kernel, see `elfs.ops.selection.covering.Emphasis`; None: the cosine itself.

    Returns
    -------
    Tensor of the same shape, float32
        Whole numbers from 0 to ``GRID``, higher = nearer.
    """
    if width is not None:
        scaled_cosine.div_(GRID).clamp_(-1, 1).sub_(1).mul_(2 / width**2).exp_().mul_(GRID)
    return scaled_cosine.round_().clamp_(0, GRID)


def similarity(unit_CD: Tensor, unit_TD: Tensor, width: float | None, buffer: Tensor) -> Tensor:
    """Return how well candidates cover rows.

    Parameters
    ----------
    unit_CD : Tensor of shape (n_candidates, n_dims), float32
        Unit vectors. Where it is `unit_TD` itself, half of the result is computed, and mirrored.
    unit_TD : Tensor of shape (n_to_cover, n_dims), float32
        Unit vectors.
    width : float or None
        See `nearness`.
    buffer : Tensor of shape (n,), float32
        Where the result goes; large enough.

    Returns
    -------
    Tensor of shape (n_candidates, n_to_cover), float32
        Nearness, in the buffer.
    """
    near_CT = buffer[: len(unit_CD) * len(unit_TD)].view(len(unit_CD), len(unit_TD))
    for start in range(0, len(unit_CD), _PRODUCT_ROWS):
        block, first = slice(start, start + _PRODUCT_ROWS), start if unit_CD is unit_TD else 0
        part = nearness(torch.mm(GRID * unit_CD[block], unit_TD[first:].T), width)
        near_CT[block, first:] = part
        if unit_CD is unit_TD:
            near_CT[start + len(part) :, block] = part[:, len(part) :].T
    return near_CT


def lazy_greedy(nearness_CT: Tensor, covered: Tensor, weights: Weights, budget: int) -> tuple[Tensor, Tensor]:
    """Return the greedy picks and their gains, best first.

    Parameters
    ----------
    nearness_CT : Tensor of shape (n_candidates, n_to_cover), float32
        As `similarity` gives it.
    covered : Tensor of shape (n_to_cover,), float32
        How well each row is covered, on the grid; changes.
    weights : Weights
        What each counts.
    budget : int
        Number of picks.

    Returns
    -------
    picks : Tensor of shape (budget,), int64
        Candidates; of equal gains the lower one first.
    gains : Tensor of shape (budget,), float64
        What each adds, on the grid, rounded to float32: weighted sums may differ in their last digits.

    Notes
    -----
    Gains never grow, since weights do not, so the candidates whose last known gains are the largest are computed anew,
    a few at once, until the first of all is new. NumPy, since a call costs a tenth of what it costs in torch.
    """
    weight_T, near_CT, covered_T = weights.after(0), nearness_CT.numpy(), covered.numpy()
    bounds = _bounds(nearness_CT, covered, torch.from_numpy(weight_T).float())
    heap = [(-bound, row) for row, bound in enumerate(bounds)]
    heapq.heapify(heap)
    known_at = [-1] * len(bounds)  # the number of picks before which a row's gain was computed
    picks: list[int] = []
    gains: list[float] = []
    rise_AT = np.empty((_LOOKED_AT, len(covered_T)), dtype=np.float32)
    wide_AT = np.empty(rise_AT.shape)
    while len(picks) < budget:
        negated, row = heap[0]
        if known_at[row] == len(picks) or negated == 0:
            heapq.heappop(heap)
            picks.append(row)
            gains.append(-negated)
            np.maximum(covered_T, near_CT[row], out=covered_T)
            weight_T = weights.after(len(picks))
            continue
        rows: list[int] = []
        while heap and len(rows) < _LOOKED_AT and known_at[heap[0][1]] < len(picks) and heap[0][0] != 0:
            rows.append(heapq.heappop(heap)[1])
        num = len(rows)
        rise = np.take(near_CT, rows, axis=0, out=rise_AT[:num], mode="clip")  # any other mode makes a copy
        np.maximum(rise, covered_T, out=rise)
        np.subtract(rise, covered_T, out=rise)
        wide_AT[:num] = rise
        for row, gain in zip(rows, (wide_AT[:num] @ weight_T).astype(np.float32).tolist(), strict=True):
            known_at[row] = len(picks)
            heapq.heappush(heap, (-gain, row))  # float32: weighted sums may differ in their last digits
    return torch.tensor(picks, dtype=torch.int64), torch.tensor(gains, dtype=torch.float64)


def _bounds(near_CT: Tensor, covered_T: Tensor, weight_T: Tensor) -> list[float]:
    """Return of each candidate what its first gain does not exceed."""
    bound_C = torch.empty(len(near_CT))
    for block_BT, bound_B in zip(near_CT.split(_PRODUCT_ROWS), bound_C.split(_PRODUCT_ROWS), strict=True):
        torch.mv((block_BT - covered_T).clamp_min_(0), weight_T, out=bound_B)
    # A float32 sum of that many terms, in whatever order, falls short by less than this.
    return bound_C.mul_(1 + (len(covered_T) + 2) * 2.0**-23).tolist()


def updated_greedy(near_RR: _Array, covered_R: _Array, weights: Weights, budget: int) -> tuple[Tensor, Tensor]:
    """Return what `lazy_greedy` does, where all rows are both candidates and to be covered.

    Parameters
    ----------
    near_RR : ndarray of shape (n_rows, n_rows), float32
        As `similarity` gives it, symmetric.
    covered_R : ndarray of shape (n_rows,), float32
        How well each row is covered, on the grid; changes.
    weights : Weights
        What each counts, here to 2**-24.
    budget : int
        Number of picks.

    Returns
    -------
    picks : Tensor of shape (budget,), int64
        Rows; of equal gains the lower one first.
    gains : Tensor of shape (budget,), float64
        What each adds, on the grid.

    Notes
    -----
    A pick covers few rows better than those before it, 1 % on average, so what these no longer add is taken off all
    gains. In blocks of 2,048 rows that is faster than `lazy_greedy`, in one of 16,384 slower.
    """
    less_R = None if weights.less is None else np.round(weights.less * _FINE_GRID) / _FINE_GRID
    every_row, full_R = np.arange(len(covered_R)), np.full_like(covered_R, GRID)
    gain_R, loss_R = _added(near_RR, every_row, covered_R, full_R, less_R)
    picks, gains = [], []
    for num_picks in range(budget):
        now_R = (gain_R if loss_R is None else gain_R - weights.strength(num_picks) * loss_R).astype(np.float32)
        row = int(now_R.argmax())
        picks.append(row)
        gains.append(float(now_R[row]))
        better = np.flatnonzero(near_RR[row] > covered_R)
        added_R, added_loss_R = _added(near_RR, better, covered_R[better], near_RR[row, better], less_R)
        covered_R[better] = near_RR[row, better]
        gain_R -= added_R
        gain_R[row] = -np.inf
        if loss_R is not None and added_loss_R is not None:
            loss_R -= added_loss_R
    return torch.tensor(picks, dtype=torch.int64), torch.tensor(gains, dtype=torch.float64)


def _added(
    near_RR: _Array, rows: NDArray[np.int64], low: _Array, high: _Array, less_R: NDArray[np.float64] | None
) -> _Sums:
    """Return what each candidate adds to some rows between two bounds, and the same times what they count less.

    Sums are exact, so that nothing is left of a gain of 0.
    """
    added_R, loss_R = np.zeros(len(near_RR)), None if less_R is None else np.zeros(len(near_RR))
    buffer = np.empty((min(_ADDED_ROWS, len(rows)), len(near_RR)), dtype=np.float32)
    for start in range(0, len(rows), _ADDED_ROWS):
        block = slice(start, start + _ADDED_ROWS)
        part_BR = buffer[: len(rows[block])]
        np.take(near_RR, rows[block], axis=0, out=part_BR, mode="clip")  # symmetric: columns are candidates too
        np.maximum(part_BR, low[block, None], out=part_BR)
        np.minimum(part_BR, high[block, None], out=part_BR)
        np.subtract(part_BR, low[block, None], out=part_BR)
        added_R += np.ones(len(part_BR), np.float32) @ part_BR
        if loss_R is not None and less_R is not None:
            loss_R += less_R[rows[block]] @ part_BR.astype(np.float64)
    return added_R, loss_R

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
_ONES = np.ones(_ADDED_ROWS, dtype=np.float32)
_FEW_ROWS = 6
# A pick that covers a larger share of the rows better: gains are summed anew.
_MANY = 0.6
# What rows count less is a multiple of one over this where all gains are kept: float64 holds its sums exactly.
_FINE_GRID = 2.0**24
# Rows of a product whose result is reduced at once.
_PRODUCT_ROWS = 128

_Array = NDArray[np.float32]


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
            near_CT[first:, block] = part.T.contiguous()  # without that the copy takes three times as long
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
    gains; the first picks cover nearly all, and gains are summed anew after them. In blocks of 2,048 rows that is
    faster than `lazy_greedy`, in one of 16,384 slower.
    """
    less_R = None if weights.less is None else np.round(weights.less * _FINE_GRID) / _FINE_GRID
    kept = _KeptGains(near_RR, covered_R, less_R)
    picks, gains = [], []
    for num_picks in range(budget):
        now_R = kept.now(0.0 if less_R is None else weights.strength(num_picks))
        row = int(now_R.argmax())
        picks.append(row)
        gains.append(float(now_R[row]))
        kept.pick(row)
    return torch.tensor(picks, dtype=torch.int64), torch.tensor(gains, dtype=torch.float64)


def _clamp(part_BR: _Array, low_B: _Array, high_B: _Array) -> None:
    """Clamp each row between two numbers of its own, in place."""
    if len(part_BR) < _FEW_ROWS:  # a call costs less in numpy
        np.maximum(part_BR, low_B[:, None], out=part_BR)
        np.minimum(part_BR, high_B[:, None], out=part_BR)
    else:  # twice as fast in torch
        part = torch.from_numpy(part_BR)
        torch.maximum(part, torch.from_numpy(low_B).unsqueeze(1), out=part)
        torch.minimum(part, torch.from_numpy(high_B).unsqueeze(1), out=part)


class _KeptGains:
    """What each row adds, kept from pick to pick.

    Sums are exact, so that nothing is left of a gain of 0.
    """

    def __init__(self, near_RR: _Array, covered_R: _Array, less_R: NDArray[np.float64] | None) -> None:
        self._near_RR, self._covered_R, self._less_R = near_RR, covered_R, less_R
        self._part_BR = np.empty((_ADDED_ROWS, len(near_RR)), dtype=np.float32)
        self._wide_BR = np.empty((0 if less_R is None else _ADDED_ROWS, len(near_RR)))
        self._picked: list[int] = []
        self._gain_R = self._anew(None)
        self._loss_R: NDArray[np.float64] | None = None  # of the gains, at full strength; None: not known

    def now(self, strength: float) -> _Array:
        """Return the gains, -inf of what is picked."""
        if strength == 0 or self._less_R is None:
            return self._gain_R.astype(np.float32)
        if self._loss_R is None:
            self._loss_R = self._anew(self._less_R)
        return (self._gain_R - strength * self._loss_R).astype(np.float32)

    def pick(self, row: int) -> None:
        """Take a row."""
        own_R = self._near_RR[row]
        better = (own_R > self._covered_R).nonzero()[0]
        low, high = self._covered_R[better], own_R[better]
        self._covered_R[better] = high
        self._picked.append(row)
        if len(better) > _MANY * len(own_R):
            self._gain_R, self._loss_R = self._anew(None), None
            self._gain_R[self._picked] = -np.inf
        else:
            self._take_off(better, low, high)
            self._gain_R[row] = -np.inf

    def _anew(self, weight_R: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return what candidates raise all rows by, these counting 1 or what they weigh."""
        total_R, is_covered = np.zeros(len(self._near_RR)), bool(self._covered_R.any())
        for start in range(0, len(self._near_RR), _ADDED_ROWS):
            rows = slice(start, start + _ADDED_ROWS)
            part_BR, low_B = self._near_RR[rows], self._covered_R[rows]
            if is_covered:
                part_BR = np.maximum(part_BR, low_B[:, None], out=self._part_BR[: len(low_B)])
            total_R += self._added(part_BR, low_B, None if weight_R is None else weight_R[rows])
        return total_R

    def _take_off(self, rows: NDArray[np.int64], low: _Array, high: _Array) -> None:
        """Take off all gains what candidates raised some rows by between two bounds: they are covered now."""
        for start in range(0, len(rows), _ADDED_ROWS):
            block = slice(start, start + _ADDED_ROWS)
            rows_B, low_B = rows[block], low[block]
            part_BR = self._part_BR[: len(rows_B)]
            self._near_RR.take(rows_B, 0, part_BR, "clip")  # symmetric: columns are candidates; other modes make a copy
            _clamp(part_BR, low_B, high[block])
            self._gain_R -= self._added(part_BR, low_B, None)
            if self._loss_R is not None and self._less_R is not None:
                self._loss_R -= self._added(part_BR, low_B, self._less_R[rows_B])

    def _added(self, part_BR: _Array, low_B: _Array, weight_B: NDArray[np.float64] | None) -> NDArray[np.floating]:
        """Return what candidates raise some rows by from what these were covered by; that is one number for all."""
        if weight_B is None:
            one_B = _ONES[: len(low_B)]
            return one_B @ part_BR - one_B @ low_B
        wide_BR = self._wide_BR[: len(low_B)]
        wide_BR[...] = part_BR
        return weight_B @ wide_BR - weight_B @ low_B

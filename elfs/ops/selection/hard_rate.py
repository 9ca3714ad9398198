"""How far to prune from the hard end, found without true labels. Shape suffixes: M rows of the pool, J judged rows."""

import statistics
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.distances import unit_rows
from elfs.ops.selection.judged import some_rows
from elfs.ops.selection.pool import Pool, required
from elfs.ops.selection.weighted_coverage import hardness_share

__all__ = ["HARD_RATES", "CoverageJudge", "best_hard_rate", "num_windows", "usual_hard_rate"]

HARD_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""The shares that are tried."""

# Pairs (share of the pool, share pruned from the hard end), see usual_hard_rate.
_USUAL = ((0.05, 0.3), (0.1, 0.25), (0.3, 0.15), (0.7, 0.0))
_STIFFNESS = 0.1  # how many standard deviations of the judgement a step of 0.1 from the usual rate costs
_EVENNESS = 0.2  # how much a selection that leaves no cluster out is worth beside one that covers the pool
_STEP = 0.1
_NUM_JUDGED = 4096
_MOST_COVERING = 16_384
_BLOCK_ROWS = 512


def usual_hard_rate(share: float) -> float:
    """Return the share to prune from the hard end for a budget, as far as it is known without a look at any window.

    Parameters
    ----------
    share : float
        Budget as a share of the pool, in (0, 1].

    Returns
    -------
    float
        Linear between 0.3 at a share of 0.05, 0.25 at 0.1, 0.15 at 0.3 and 0 at 0.7, constant outside.

    Raises
    ------
    ValueError
        If `share` is not in (0, 1].

    Notes
    -----
    The smaller the budget, the more is pruned. The paper's authors [1]_ prune 0 / 0.1 /
    0.3 / 0.4 / 0.5 at shares of 0.7 / 0.5 / 0.3 / 0.2 / 0.1 on CIFAR-like sets; the figures here did well on smaller
    pools (``benchmarks/RESULTS.md``).

    References
    ----------
    .. [1] Zheng et al., ICLR 2025, https://arxiv.org/abs/2406.04273, appendix.

    Examples
    --------
    >>> [usual_hard_rate(share) for share in (0.01, 0.2, 0.9)]
    [0.3, 0.2, 0.0]
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected above 0 and at most 1.")
    shares = [point[0] for point in _USUAL]
    if share <= shares[0]:
        return _USUAL[0][1]
    if share >= shares[-1]:
        return _USUAL[-1][1]
    right = bisect_left(shares, share)
    (low, rate_low), (high, rate_high) = _USUAL[right - 1], _USUAL[right]
    return round(rate_low + (rate_high - rate_low) * (share - low) / (high - low), 4)


@dataclass(frozen=True, eq=False)
class CoverageJudge:
    """Judges a selection by how well it covers the pool, hard rows most, and by how much of each cluster it takes.

    Windows at the hard end leave most of the pool uncovered, those at the easy end its hard part: with it, in a long
    tail, whole clusters. No true label is seen.

    Attributes
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), floating
        Of the pool.
    rows : Tensor of shape (n_judged,), int64
        Positions of the rows that are to be covered: all, or 4,096 at random.
    judged : Tensor of shape (n_judged, n_dims), float32
        Their unit vectors.
    weights : Tensor of shape (n_judged,), float32
        Share of the pool that is easier than each.
    clusters : Tensor of shape (n_rows,), int64, or None
        Pseudo-label of each row of the pool, at least 0.
    luck : Tensor of shape (n_rows,), float32, or None
        A random number in [0, 1) for each row of the pool: of a selection of more than 16,384 rows about as many, those
        with the least, count as covering others, whatever the window. None where the pool has no more.
    """

    embeddings: Tensor
    rows: Tensor
    judged: Tensor
    weights: Tensor
    clusters: Tensor | None = None
    luck: Tensor | None = None

    @classmethod
    def of(cls, pool: Pool, generator: torch.Generator) -> "CoverageJudge":
        """Prepare to judge selections of a pool.

        Parameters
        ----------
        pool : Pool
            Needs ``embeddings`` and ``hardness``; evenness counts where there are ``pseudo_labels``.
        generator : torch.Generator
            On the CPU; draws the rows that are judged where the pool has more than 4,096, and those that cover.

        Returns
        -------
        CoverageJudge
            Ready to judge.

        Raises
        ------
        ValueError
            If the pool lacks a field, or an embedding is not finite.
        """
        embeddings, hardness_M = required(pool, "embeddings"), required(pool, "hardness")
        rows = some_rows(len(pool), _NUM_JUDGED, generator)
        luck_M = torch.rand(len(pool), generator=generator) if len(pool) > _MOST_COVERING else None
        share_J = hardness_share(hardness_M, rows).float()
        return cls(embeddings, rows, unit_rows(embeddings[rows]), share_J, pool.pseudo_labels, luck_M)

    def coverage(self, positions: Tensor) -> float:
        """Return how well some rows cover the pool.

        Parameters
        ----------
        positions : Tensor of shape (n_selected,), int64
            Positions in the pool, at least 1.

        Returns
        -------
        float
            Weighted mean over the judged rows of the largest cosine to a selected one, negative ones as 0; in [0, 1],
            higher = better. 0 where all weights are 0.
        """
        nearest_J = torch.zeros(len(self.judged))
        if self.luck is not None and len(positions) > _MOST_COVERING:
            is_selected_M = torch.zeros(len(self.embeddings), dtype=torch.bool)
            is_selected_M[positions] = True
            nearest_J[is_selected_M[self.rows]] = 1.0  # by themselves
            positions = positions[self.luck[positions] < _MOST_COVERING / len(positions)]
        for block in positions.split(_BLOCK_ROWS):
            cosine = self.judged @ unit_rows(self.embeddings[block]).T
            nearest_J = torch.maximum(nearest_J, cosine.amax(dim=1))
        return float(nearest_J @ self.weights) / max(float(self.weights.sum()), 1e-12)

    @cached_property
    def _sizes(self) -> Tensor:
        """Rows of each cluster, int64 [C]; counted once for all windows."""
        assert self.clusters is not None
        return self.clusters.bincount()

    def evenness(self, positions: Tensor) -> float:
        """Return how much of each cluster some rows take, beside their share of the pool.

        Parameters
        ----------
        positions : Tensor of shape (n_selected,), int64
            Positions in the pool, at least 1.

        Returns
        -------
        float
            Mean over the clusters, large or small, of what is taken of them over the share of the pool that is
            selected, at most 1 each; in [0, 1], higher = more even. 1 without pseudo-labels.
        """
        if self.clusters is None:
            return 1.0
        sizes_C = self._sizes
        taken_C = self.clusters[positions].bincount(minlength=len(sizes_C))
        expected_C = sizes_C * (len(positions) / len(self.clusters))
        return float((taken_C / expected_C)[sizes_C > 0].clamp(max=1).mean())

    def worth(self, positions: Tensor) -> float:
        """Return what some rows are worth: their coverage and a fifth of their evenness.

        Parameters
        ----------
        positions : Tensor of shape (n_selected,), int64
            Positions in the pool, at least 1.

        Returns
        -------
        float
            In [0, 1], higher = better.
        """
        return (self.coverage(positions) + _EVENNESS * self.evenness(positions)) / (1 + _EVENNESS)


def num_windows(share: float) -> int:
    """Return how many hard rates leave enough rows.

    Parameters
    ----------
    share : float
        Of the pool that is selected, in (0, 1].

    Returns
    -------
    int
        From 1 to the number of `HARD_RATES`.
    """
    return max(1, sum(rate + share <= 1 for rate in HARD_RATES))


def best_hard_rate(
    pick: Callable[[float], Tensor], judge: Callable[[Tensor], float], usual: float | None = None
) -> tuple[float, list[tuple[float, float]]]:
    """Return the hard rate whose selection is judged best.

    Parameters
    ----------
    pick : callable
        From a hard rate to the positions that would be selected; raises ``UsageError`` where it leaves too few rows.
    judge : callable
        From positions to their value, higher = better.
    usual : float or None
        What the rate would be if nothing were known. The judgements are then standardised over the rates, and of each
        is taken off 0.1 times the square of its distance from the usual rate in steps of 0.1. None: the judgement
        alone counts.

    Returns
    -------
    rate : float
        One of `HARD_RATES`; the lower one of equally good ones.
    curve : list of (float, float)
        Each rate that leaves enough rows, and its judgement as it is.

    Raises
    ------
    UsageError
        If not even a rate of 0 leaves enough rows.
    """
    curve: list[tuple[float, float]] = []
    for rate in HARD_RATES:
        try:
            picked = pick(rate)
        except UsageError:
            if not curve:
                raise
            break
        curve.append((rate, judge(picked)))
    values = [value for _, value in curve]
    if usual is not None:
        mean, deviation = statistics.fmean(values), statistics.pstdev(values)
        values = [
            (value - mean) / (deviation or 1.0) - _STIFFNESS * ((rate - usual) / _STEP) ** 2 for rate, value in curve
        ]
    return curve[values.index(max(values))][0], curve

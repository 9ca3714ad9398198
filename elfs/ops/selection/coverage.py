"""Selectors that cover the pool: k-center, herding, facility location.

Shape suffixes: M rows of the pool, C candidates of a block, T rows of a block that are to be covered, D dimensions.
"""

import heapq
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elfs.ops.distances import check_finite, unit_clusters, unit_rows
from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required
from elfs.ops.selection.quotas import proportional_quotas

__all__ = ["facility_location", "greedy_coverage", "herding", "k_center"]

# Rows that are compared with one another at once: 1 GiB of float32.
_MOST_ROWS = 16_384
# Rows of a block, on average and half the most, where there are more rows than that.
_BLOCK_ROWS = 2048
# Of the k-means that makes the blocks: they need not be the best.
_NUM_ITERATIONS = 10
# Candidates looked at for each pick, where the budget is small.
_CANDIDATES_PER_PICK = 16
# Rows of a product whose result is reduced at once.
_PRODUCT_ROWS = 1024
# Float32 products of unit vectors that differ by less are equal.
_ROUNDING = 1e-6
# Cosines are whole multiples of 1 / _GRID where gains are summed: the sums are exact then, and equal gains are equal.
_GRID = 2.0**14

_Array = np.ndarray[Any, np.dtype[np.float32]]
_WideArray = np.ndarray[Any, np.dtype[np.float64]]


def _unit_embeddings(pool: Pool) -> Tensor:
    embeddings = required(pool, "embeddings")
    check_finite(embeddings)
    return unit_rows(embeddings)


def _mean(unit_MD: Tensor) -> Tensor:
    """Return the mean of all rows, float64 [D]."""
    sums = [block.sum(dim=0, dtype=torch.float64) for block in torch.split(unit_MD, _MOST_ROWS)]
    return torch.stack(sums).sum(dim=0) / len(unit_MD)


def _first_largest(value_M: Tensor) -> int:
    """Return the first position whose value is the largest but for rounding."""
    return int((value_M >= value_M.max() - _ROUNDING).to(torch.uint8).argmax())


def _largest_cosine(unit_TD: Tensor, others_MD: Tensor) -> Tensor:
    """Return each row's largest cosine to any of the others, float32 [T]; -1 where there are none."""
    largest_T = torch.full((len(unit_TD),), -1.0)
    if not len(others_MD):
        return largest_T
    for rows_BD, part_T in zip(torch.split(unit_TD, _MOST_ROWS), torch.split(largest_T, _MOST_ROWS), strict=True):
        for others_BD in torch.split(others_MD, _PRODUCT_ROWS):
            torch.maximum(part_T, (rows_BD @ others_BD.T).amax(dim=1), out=part_T)
    return largest_T


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
    if bool(candidates_M.all()):
        row = _first_largest(unit_MD @ _mean(unit_MD).float())
        distance_M = torch.full((len(pool),), torch.inf)
    else:
        distance_M = 1 - _largest_cosine(unit_MD, unit_MD[~candidates_M]) + blocked_M
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
    settled_MD = unit_MD[~candidates_M]
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


def greedy_coverage(
    embeddings: Tensor,
    candidates: Tensor,
    settled: Tensor | None,
    budget: int,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator,
) -> Tensor:
    """Return the candidates that cover all rows best, by the greedy algorithm.

    Maximised is the sum over all rows, candidates or not, of ``weight * max(0, largest cosine to a selected or settled
    row)``: higher = better covered.

    Parameters
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), float16 or float32
        Embeddings, finite, of any length; a row of zeros covers nothing and is never covered.
    candidates : Tensor of shape (n_rows,), bool
        Rows that may be selected.
    settled : Tensor of shape (n_rows,), bool, or None
        Rows that cover from the start and are never selected. None: no row is.
    budget : int
        Number of rows to select, from 1 to the number of candidates that are not settled.
    weights : Tensor of shape (n_rows,), floating, or None
        How much it counts that a row is covered, at least 0. None: 1 for each.
    generator : torch.Generator
        On the CPU; draws the sample and seeds k-means. Not used for up to 16,384 rows.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions of candidates, largest gain first; of equal gains, such as none, the lower position.

    Raises
    ------
    UsageError
        If the budget does not fit the candidates.
    ValueError
        If the embeddings are not finite, or a weight is negative or not finite.

    Notes
    -----
    The objective is that of facility location [1]_, used to select training data in [2]_. Greedy selection reaches at
    least 63 % of the best value. Gains only shrink as rows are selected, so a candidate is looked at again only when
    its last known gain is the largest [3]_: the same selection in a fraction of the time.

    Up to 16,384 rows all pairs are compared (1 GiB), and the selection is the greedy one, for cosines in steps of
    1 / 16,384: so equal gains are found equal. Above that it is an approximation whose time grows with the rows alone.
    A random sample of the candidates, and of the rows to be covered, is looked at: 16 for each pick, at least 16,384.
    Where these are more than 16,384, k-means puts similar ones together into blocks of 2,048 or so, each is selected in
    by itself, and of all picks those with the largest gains are returned. Random blocks would do worse where there are
    more clusters than picks in a block: each block picks from the same ones. On 8,000 rows in 20 to 1,000 clusters, 10
    to 2,000 picks and bounds of 2,048 and 256, the coverage is 95.2 to 100.0 % of that of the exact selection (random
    picks: 67 to 98 %; ``python benchmarks/selection.py --coverage``).

    References
    ----------
    .. [1] Mirchandani and Francis, Discrete Location Theory, Wiley 1990; Cornuejols et al., Management Science 1977.
    .. [2] Wei et al., ICML 2015 (submodular data subset selection).
    .. [3] Minoux, Optimization Techniques 1978 (accelerated greedy).
    """
    eligible_M = candidates if settled is None else candidates & ~settled
    check_budget(budget, eligible_M)
    check_finite(embeddings)
    weight_M = torch.ones(len(embeddings)) if weights is None else weights.float()
    if not bool(((weight_M >= 0) & weight_M.isfinite()).all()):
        row = int(((weight_M >= 0) & weight_M.isfinite()).logical_not().nonzero()[0])
        raise ValueError(f"the weight of row {row:,} is {float(weight_M[row]):g}, expected a number of at least 0.")
    masks = (eligible_M, weight_M > 0, torch.zeros_like(candidates) if settled is None else settled)
    picks, gains = [], []
    blocks = _blocks(embeddings, masks, budget, generator)
    quotas = proportional_quotas(torch.tensor([len(rows) for rows, _, _ in blocks]), budget)
    for (rows, to_cover, covering), quota in zip(blocks, quotas.tolist(), strict=True):
        unit_TD = unit_rows(embeddings[to_cover])
        covered_T = _on_grid(_GRID * _largest_cosine(unit_TD, unit_rows(embeddings[covering])))
        similarity_CT, bound_C = _similarity(unit_rows(embeddings[rows]), unit_TD, covered_T, weight_M[to_cover])
        arrays = similarity_CT.numpy(), covered_T.numpy(), weight_M[to_cover].double().numpy()
        # Half more than its share, so that blocks where more is to be gained get more.
        most = quota if len(blocks) == 1 else min(quota + quota // 2, len(rows))
        taken, gain = _lazy_greedy(*arrays, bound_C.tolist(), most)
        picks.append(rows[taken])
        gains.append(gain)
    best_first = torch.sort(torch.cat(gains), descending=True, stable=True).indices
    return torch.cat(picks)[best_first[:budget]]


_Block = tuple[Tensor, Tensor, Tensor]
"""Positions of candidates, of rows to be covered, and of settled rows, each in rising order."""


def _blocks(
    embeddings: Tensor, masks: tuple[Tensor, Tensor, Tensor], budget: int, generator: torch.Generator
) -> list[_Block]:
    """Return groups of similar rows to select in, each by itself; `masks` say which rows are what (`_Block`)."""
    eligible_M, wanted_M, settled_M = masks
    wanted_M = wanted_M & ~settled_M  # a settled row is covered already: by itself
    num_considered = min(int(eligible_M.sum()), max(_CANDIDATES_PER_PICK * budget, _MOST_ROWS))
    num_wanted = min(int(wanted_M.sum()), max(num_considered, _MOST_ROWS))
    if num_considered < int(eligible_M.sum()) or num_wanted < int(wanted_M.sum()):
        order_M = torch.randperm(len(embeddings), generator=generator)
        eligible_M = _first_of(order_M, eligible_M, num_considered)
        wanted_M = _first_of(order_M, wanted_M, num_wanted)
    used = torch.nonzero(eligible_M | wanted_M | settled_M).flatten()
    groups = [used]
    if max(num_considered, num_wanted) > _MOST_ROWS:
        num_groups = -(-max(num_considered, num_wanted) // _BLOCK_ROWS)
        part_MD = embeddings if len(used) == len(embeddings) else embeddings[used]
        groups = [used[members] for members in _similar_rows(part_MD, num_groups, generator)]
    blocks = [(rows[eligible_M[rows]], rows[wanted_M[rows]], rows[settled_M[rows]]) for rows in groups]
    return [block for block in blocks if len(block[0])]


def _similar_rows(embeddings: Tensor, num_groups: int, generator: torch.Generator) -> list[Tensor]:
    """Return the members of k-means clusters in rising order; of large clusters, of random parts of them."""
    assignment = unit_clusters(embeddings, num_groups, generator, num_iterations=_NUM_ITERATIONS).assignment
    by_group = torch.sort(assignment, stable=True).indices
    groups = []
    for members in by_group.split(torch.bincount(assignment).tolist()):
        num_parts = max(1, -(-len(members) // (2 * _BLOCK_ROWS)))
        part = torch.randperm(len(members), generator=generator) % num_parts
        groups += [members[part == number] for number in range(num_parts)]
    return groups


def _first_of(order_M: Tensor, mask_M: Tensor, num: int) -> Tensor:
    """Return a mask of the first `num` rows of a mask, in the given order."""
    first_M = torch.zeros_like(mask_M)
    first_M[order_M[mask_M[order_M]][:num]] = True
    return first_M


def _on_grid(scaled_cosine: Tensor) -> Tensor:
    """Round cosines times ``_GRID``, in place, negative ones to 0."""
    return scaled_cosine.round_().clamp_(0, _GRID)


def _similarity(unit_CD: Tensor, unit_TD: Tensor, covered_T: Tensor, weight_T: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines on the grid, and for each candidate a number that its first gain does not exceed."""
    similarity_CT = torch.empty(len(unit_CD), len(unit_TD))
    bound_C = torch.empty(len(unit_CD))
    for start in range(0, len(unit_CD), _PRODUCT_ROWS):
        block = slice(start, start + _PRODUCT_ROWS)
        _on_grid(torch.mm(_GRID * unit_CD[block], unit_TD.T, out=similarity_CT[block]))
        bound_C[block] = (similarity_CT[block] - covered_T).clamp_min_(0) @ weight_T
    # A float32 sum of that many terms, in whatever order, falls short by less than this.
    return similarity_CT, bound_C.mul_(1 + (len(unit_TD) + 2) * 2.0**-23)


def _lazy_greedy(
    similarity_CT: _Array, covered_T: _Array, weight_T: _WideArray, bounds: list[float], budget: int
) -> tuple[Tensor, Tensor]:
    """Return the greedy picks and their gains, best first; `covered_T` changes.

    Gains never grow, so the candidate whose last known gain is the largest is computed anew, until that one is new.
    NumPy, since a call costs a tenth of what it costs in torch.
    """
    heap = [(-bound, row) for row, bound in enumerate(bounds)]
    heapq.heapify(heap)
    known_at = [-1] * len(bounds)  # the number of picks before which a row's gain was computed
    picks: list[int] = []
    gains: list[float] = []
    rise_T, wide_T = np.empty_like(covered_T), np.empty_like(weight_T)
    while len(picks) < budget:
        negated, row = heap[0]
        if known_at[row] == len(picks) or negated == 0:
            heapq.heappop(heap)
            picks.append(row)
            gains.append(-negated)
            np.maximum(covered_T, similarity_CT[row], out=covered_T)
            continue
        np.maximum(similarity_CT[row], covered_T, out=rise_T)
        np.subtract(rise_T, covered_T, out=rise_T)
        wide_T[:] = rise_T
        known_at[row] = len(picks)
        gain = float(np.float32(wide_T.dot(weight_T)))  # float32: weighted sums may differ in their last digits
        heapq.heapreplace(heap, (-gain, row))
    return torch.tensor(picks, dtype=torch.int64), torch.tensor(gains, dtype=torch.float64)

"""Difficulty and diversity at once, by messages over the graph of nearest neighbours (D2 pruning).

Shape suffixes: M rows, K neighbours.
"""

import heapq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required

__all__ = ["d2", "graph_density", "graph_picks"]

_NUM_NEIGHBORS = 5
_REVERSE_GAMMA = 0.1
_BLOCK_ROWS = 65_536


def graph_density(importance: Tensor, neighbors: Tensor, distances: Tensor) -> Tensor:
    """Return each row's importance and what its neighbours send it: forward message passing.

    Parameters
    ----------
    importance : Tensor of shape (n_rows,), floating
        At least 0; higher = wanted more.
    neighbors : Tensor of shape (n_rows, n_neighbors), int32 or int64
        Rows; -1 for none.
    distances : Tensor of shape (n_rows, n_neighbors), floating
        Distance to each, at least 0.

    Returns
    -------
    Tensor of shape (n_rows,), float64
        Own importance plus that of each neighbour times ``exp(-distance)``; higher = an important region.

    References
    ----------
    .. [1] Maharana et al., ICLR 2024, https://arxiv.org/abs/2310.07931, section 3.
    """
    sender = torch.cat([importance.double(), torch.zeros(1, dtype=torch.float64)])  # the neighbour -1 sends nothing
    received = [
        (torch.exp(-distance_BK.double()) * sender[neighbors_BK.long()]).sum(dim=1)
        for distance_BK, neighbors_BK in zip(distances.split(_BLOCK_ROWS), neighbors.split(_BLOCK_ROWS), strict=True)
    ]
    return sender[:-1] + torch.cat(received)


def graph_picks(
    density: Tensor, neighbors: Tensor, messages: Tensor, budget: int, *, eligible: Tensor, settled: Tensor
) -> Tensor:
    """Pick the densest row again and again, each pick lowering its neighbours: reverse message passing.

    Parameters
    ----------
    density : Tensor of shape (n_rows,), float64
        As ``graph_density`` gives it.
    neighbors : Tensor of shape (n_rows, n_neighbors), int32 or int64
        Rows; -1 for none.
    messages : Tensor of shape (n_rows, n_neighbors), floating
        Share of a pick's density that each of its neighbours loses, in [0, 1].
    budget : int
        Rows to pick, at most as many as are eligible.
    eligible : Tensor of shape (n_rows,), bool
        Rows that may be picked.
    settled : Tensor of shape (n_rows,), bool
        Rows, none of them eligible, that are picked before all others and not returned.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions in the order in which they are picked; of equally dense rows the lower comes first.

    Notes
    -----
    What is lost is a share of the density that the pick has at that time, as in the authors' code [1]_. Where that has
    fallen below 0, the neighbours gain.

    References
    ----------
    .. [1] github.com/adymaharana/d2pruning, ``core/data/sampling.py``, ``GraphDensitySampler`` with a given graph.
    """
    current = np.append(density.numpy(), 0.0)  # the neighbour -1 is the last entry
    graph = (neighbors.numpy(), messages.numpy())
    _pick(current, graph, torch.nonzero(settled).flatten().numpy(), int(settled.sum()))
    picks = _pick(current, graph, torch.nonzero(eligible).flatten().numpy(), budget)
    return torch.tensor(picks, dtype=torch.int64)


def _pick(
    current: NDArray[np.float64],
    graph: tuple[NDArray[np.integer], NDArray[np.floating]],
    rows: NDArray[np.int64],
    num: int,
) -> list[int]:
    """Pick `num` of `rows`, and update the densities in place.

    Each row that is left has an entry in the heap that is at least its density: densities mostly fall, and nothing is
    done about that until the entry comes to the top. So the first entry that is exact is the maximum.
    """
    neighbors_MK, messages_MK = graph
    heap = list(zip((-current[rows]).tolist(), rows.tolist(), strict=True))
    heapq.heapify(heap)
    is_open = np.zeros(len(current), dtype=bool)
    is_open[rows] = True
    picks: list[int] = []
    while len(picks) < num:
        negative, row = heap[0]
        density = float(current[row])
        if not is_open[row] or density > -negative:  # picked already, or risen: it has an entry further up
            heapq.heappop(heap)
        elif density < -negative:
            heapq.heapreplace(heap, (-density, row))
        else:
            heapq.heappop(heap)
            picks.append(row)
            is_open[row] = False
            targets = neighbors_MK[row]
            current[targets] -= messages_MK[row].astype(np.float64) * density
            if density < 0:
                risen = targets[is_open[targets]]
                for entry in zip((-current[risen]).tolist(), risen.tolist(), strict=True):
                    heapq.heappush(heap, entry)
    return picks


def d2(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take hard rows of hard neighbourhoods, each pick making its neighbours less wanted.

    Needs ``hardness``, ``neighbors`` and ``similarity``. First picked first; of equally dense rows the lower. Nothing
    is random.

    Notes
    -----
    What the paper calls importance is the hardness, less its smallest value where that is negative, as it is by keys of
    which less is harder; a row without a score counts 0. Distances are those of unit vectors, ``sqrt(2 - 2 cosine)``. A
    neighbour at distance d loses ``exp(-0.1 d)`` of a pick's density. This 0.1 and the 5 nearest neighbours are those
    of the authors' command for CIFAR10 at a share of 0.1 [2]_, where distances are larger; that command also prunes
    the hardest and selects inside each class, which is not done here. Settled rows send their messages as if picked
    first, even where they have no score.

    References
    ----------
    .. [1] Maharana et al., ICLR 2024, https://arxiv.org/abs/2310.07931.
    .. [2] github.com/adymaharana/d2pruning, ``Readme.MD``.
    """
    hardness_M = required(pool, "hardness")
    neighbors_MK = required(pool, "neighbors")[:, :_NUM_NEIGHBORS]
    similarity_MK = required(pool, "similarity")[:, :_NUM_NEIGHBORS]
    scored_M = hardness_M.isfinite()
    eligible_M = pool.candidates() & scored_M
    check_budget(budget, eligible_M)
    shift = hardness_M[scored_M].double().min().clamp_max(0)
    importance_M = torch.where(scored_M, hardness_M.double() - shift, 0.0)
    distances_MK = (2 - 2 * similarity_MK.float()).clamp_min(0).sqrt()
    density_M = graph_density(importance_M, neighbors_MK, distances_MK)
    messages_MK = torch.exp(-_REVERSE_GAMMA * distances_MK)
    return graph_picks(density_M, neighbors_MK, messages_MK, budget, eligible=eligible_M, settled=pool.held())

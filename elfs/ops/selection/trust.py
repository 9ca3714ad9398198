"""How far pseudo-labels are to be believed, found without true labels.

Shape suffixes: N rows, B rows of a block, K neighbours, C clusters.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from elfs.ops.threads import in_threads

__all__ = ["neighbor_trust"]

_NUM_NEIGHBORS = 10


def neighbor_trust(pseudo_labels: Tensor, neighbors: Iterable[Tensor]) -> float:
    """Return the share of right pseudo-labels, as far as neighbours that should share one can tell.

    Parameters
    ----------
    pseudo_labels : Tensor of shape (n_rows,), int64
        Cluster of each row; -1 for one that does not count, nor does it as a neighbour.
    neighbors : iterable of Tensor of shape (n_block, n_neighbors), int32 or int64
        Rows of the nearest neighbours of each row, most similar first; -1 where there is none. Of some rows after the
        other, all of them in turn. The first 10 that count do, of a row whose cluster has at most 10 only as many as
        are in it besides the row, and one of a row alone in its cluster.

    Returns
    -------
    float
        In [0, 1], higher = more to be believed: the square root of ``(a - c) / (1 - c)``, with a the share of equal
        labels among all pairs of a row and a neighbour, and c what it would be if neighbours were dealt out anew. 0
        where a is below c, where all labels are equal, and where no row has a neighbour: nothing speaks for them then.

    Raises
    ------
    ValueError
        If the row counts differ.

    Notes
    -----
    That neighbours share their class is the ground of [1]_; here pseudo-labels are compared with one another, and no
    other is seen. Where a share r of them is what neighbours share, and the others are dealt out by chance, two of them
    agree in r squared of the pairs beyond chance: hence the root. It sees labels that do not follow the embeddings;
    those that follow them along the wrong lines it does not see, so more may be wrong than it says. More
    neighbours than a cluster has rows could not agree whatever the labels are: a small one is asked about what it has.

    References
    ----------
    .. [1] Van Gansbeke et al., ECCV 2020, https://arxiv.org/abs/2005.12320.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> neighbor_trust(labels, [torch.tensor([[1], [0], [3], [2]])]), neighbor_trust(labels, [torch.tensor([[2]] * 4)])
    (1.0, 0.0)
    """
    labels_N, counts_2, num_rows = pseudo_labels.int(), torch.zeros(2, dtype=torch.int64), 0
    sizes_C = torch.bincount(labels_N[labels_N >= 0])
    rooms_C = (sizes_C - 1).clamp(1, _NUM_NEIGHBORS)

    def agreement(block: tuple[int, Tensor]) -> tuple[Tensor, int]:
        start, near_BK = block
        return _agreement(labels_N, labels_N[start : start + len(near_BK)], near_BK, rooms_C), len(near_BK)

    for found_2, length in in_threads(agreement, _with_starts(neighbors)):
        counts_2 += found_2
        num_rows += length
    if num_rows != len(labels_N):
        raise ValueError(f"neighbors has {num_rows:,} rows, expected {len(labels_N):,} as in pseudo_labels.")
    share_C, pairs_C = sizes_C.double() / sizes_C.sum().clamp_min(1), (sizes_C * rooms_C).double()
    chance = float((pairs_C * share_C).sum() / pairs_C.sum().clamp_min(1))
    num_equal, num_pairs = counts_2.tolist()
    if num_pairs == 0 or chance >= 1:
        return 0.0
    return math.sqrt(max(0.0, (num_equal / num_pairs - chance) / (1 - chance)))


def _with_starts(blocks: Iterable[Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Yield each block behind the number of rows before it."""
    start = 0
    for block_BK in blocks:
        yield start, block_BK
        start += len(block_BK)


def _agreement(labels_N: Tensor, own_B: Tensor, near_BK: Tensor, rooms_C: Tensor) -> Tensor:
    """Return how many pairs of a row and a neighbour have equal labels, and how many pairs there are, int64 [2]."""
    near_BK, own_B = near_BK[own_B >= 0], own_B[own_B >= 0]
    first_BK = _labels_of(labels_N, near_BK[:, :_NUM_NEIGHBORS])
    rooms_B = rooms_C[own_B.long()]
    lacking_B = (first_BK < 0).any(dim=1) | (rooms_B < _NUM_NEIGHBORS)  # later neighbours may count, or fewer
    counts_2 = torch.zeros(2, dtype=torch.int64)
    for label_BK, mine_B, room_B in (
        (first_BK[~lacking_B], own_B[~lacking_B], rooms_B[~lacking_B]),
        (_labels_of(labels_N, near_BK[lacking_B]), own_B[lacking_B], rooms_B[lacking_B]),
    ):
        there_BK = label_BK >= 0
        there_BK &= there_BK.cumsum(dim=1) <= room_B[:, None]
        counts_2 += torch.stack([((label_BK == mine_B[:, None]) & there_BK).sum(), there_BK.sum()])
    return counts_2


def _labels_of(labels_N: Tensor, near_BK: Tensor) -> Tensor:
    """Return the label of each neighbour, -1 where there is none."""
    return torch.where(near_BK >= 0, labels_N[near_BK.clamp_min(0).long()], -1)

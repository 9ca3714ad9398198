"""How far pseudo-labels are to be believed, found without true labels. Shape suffixes: M rows, B rows of a block."""

import math

import torch
from torch import Tensor

__all__ = ["neighbor_trust"]

_NUM_NEIGHBORS = 10
_BLOCK_ROWS = 65_536


def neighbor_trust(pseudo_labels: Tensor, neighbors: Tensor) -> float:
    """Return the share of right pseudo-labels, as far as neighbours that should share one can tell.

    Parameters
    ----------
    pseudo_labels : Tensor of shape (n_rows,), int64
        Cluster of each row, at least 0.
    neighbors : Tensor of shape (n_rows, n_neighbors), int32 or int64
        Positions of each row's nearest neighbours, most similar first; -1, after all others, where there is none. The
        first 10 count.

    Returns
    -------
    float
        In [0, 1], higher = more to be believed: the square root of ``(a - c) / (1 - c)``, with a the share of equal
        labels among all pairs of a row and a neighbour, and c what it would be if the labels were dealt out anew. 0
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
    those that follow them along the wrong lines it does not see, so more may be wrong than it says.

    References
    ----------
    .. [1] Van Gansbeke et al., ECCV 2020, https://arxiv.org/abs/2005.12320.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> neighbor_trust(labels, torch.tensor([[1], [0], [3], [2]])), neighbor_trust(labels, torch.tensor([[2]] * 4))
    (1.0, 0.0)
    """
    if len(pseudo_labels) != len(neighbors):
        raise ValueError(f"neighbors has {len(neighbors):,} rows, expected {len(pseudo_labels):,} as in pseudo_labels.")
    num_equal = num_pairs = 0
    for start in range(0, len(neighbors), _BLOCK_ROWS):
        near_BK = neighbors[start : start + _BLOCK_ROWS, :_NUM_NEIGHBORS].long()
        there_BK = near_BK >= 0
        equal_BK = pseudo_labels[near_BK.clamp_min(0)] == pseudo_labels[start : start + _BLOCK_ROWS, None]
        num_pairs += int(there_BK.sum())
        num_equal += int((equal_BK & there_BK).sum())
    share = torch.bincount(pseudo_labels.long()).double() / max(1, len(pseudo_labels))
    chance = float(share.square().sum())
    if num_pairs == 0 or chance >= 1:
        return 0.0
    return math.sqrt(max(0.0, (num_equal / num_pairs - chance) / (1 - chance)))

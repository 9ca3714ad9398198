"""Into how many groups a graph of nearest neighbours falls apart. Shape suffix: C groups."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["merge_closeness", "number_of_groups"]

_LEAST_OWN = 1e-9
"""What a group is said to share with itself at least: one whose rows are not each other's neighbours shares nothing."""


def merge_closeness(joint: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how close the two groups were that are merged, step by step, until one is left.

    Merged first is the pair whose rows are neighbours most often above chance, whatever the sizes: that of the highest
    lift ``J_ab / (p_a p_b)``. How close it is says the correlation of being in one group and having a neighbour in the
    other, by the same of each group with itself: ``(J_ab - p_a p_b) / sqrt((J_aa - p_a^2) (J_bb - p_b^2))``.

    Parameters
    ----------
    joint : ndarray of shape (n_groups, n_groups), float64
        Joint distribution of the groups of a row and of one of its neighbours (``neighbor_joint``): symmetric, sums
        to 1, no group empty. At least one group.

    Returns
    -------
    ndarray of shape (n_groups - 1,), float64
        At ``k - 1`` that of the merge which left k groups: 0 where they are neighbours as often as by chance, 1 where
        the two are one group that was cut at random, below 0 where they avoid each other.
    """
    joint_CC = joint.copy()
    share_C = joint_CC.sum(axis=1)
    lift_CC = joint_CC / np.outer(share_C, share_C)
    np.fill_diagonal(lift_CC, -np.inf)
    closeness = np.empty(len(joint_CC) - 1)
    for left in range(len(joint_CC) - 1, 0, -1):
        kept, gone = divmod(int(lift_CC.argmax()), len(lift_CC))
        closeness[left - 1] = _closeness(joint_CC, share_C, kept, gone)
        for axis in (joint_CC, joint_CC.T):
            axis[kept] += axis[gone]
            axis[gone] = 0.0
        share_C[kept] += share_C[gone]
        row_C = np.divide(joint_CC[kept], share_C[kept] * share_C)
        row_C[np.isneginf(lift_CC[kept])] = -np.inf  # itself, and those that are gone
        lift_CC[kept], lift_CC[:, kept] = row_C, row_C
        lift_CC[gone], lift_CC[:, gone] = -np.inf, -np.inf
    return closeness


def _closeness(joint_CC: NDArray[np.float64], share_C: NDArray[np.float64], one: int, other: int) -> float:
    own, its = (max(joint_CC[c, c] - share_C[c] ** 2, _LEAST_OWN) for c in (one, other))
    return float((joint_CC[one, other] - share_C[one] * share_C[other]) / np.sqrt(own * its))


def number_of_groups(closeness: NDArray[np.float64], least: float) -> int:
    """Return how many groups are left where merging stops at the first two that are not close.

    Parameters
    ----------
    closeness : ndarray of shape (n_groups - 1,), float64
        Result of `merge_closeness`.
    least : float
        Groups at least as close as this are merged.

    Returns
    -------
    int
        From 1 to ``n_groups``.

    Examples
    --------
    >>> number_of_groups(np.array([0.0, 0.05, 0.3]), 0.1)
    3
    """
    apart = np.flatnonzero(closeness < least)
    return int(apart[-1]) + 2 if len(apart) else 1

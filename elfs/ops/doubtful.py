"""Annotations that classifiers contradict which have not seen them: confident learning.

Shape suffixes: N rows, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Doubtful", "doubtful_labels"]

_SLACK = 1e-6


class Doubtful(NamedTuple):
    """Rows whose label is to be looked at again, the most doubtful first.

    Attributes
    ----------
    rows : Tensor of shape (n_doubtful,), int64
        Positions.
    classes : Tensor of shape (n_doubtful,), int64
        What the classifiers take each for.
    support : Tensor of shape (n_doubtful,), float32
        Probability of the label that each has, in [0, 1], lower = more doubtful.
    """

    rows: Tensor
    classes: Tensor
    support: Tensor


def doubtful_labels(probabilities: Tensor, labels: Tensor) -> Doubtful:
    """Find the labels that are likely wrong.

    Parameters
    ----------
    probabilities : Tensor of shape (n_rows, n_classes), floating
        In [0, 1], of each row by a classifier that was not trained on it.
    labels : Tensor of shape (n_rows,), int64
        In ``[0, n_classes)``.

    Returns
    -------
    Doubtful
        Rows that a classifier takes for another class and whose probability of some other class is at least what it is
        on average among the rows that bear that class. By support, the lower row first of equals.

    Notes
    -----
    The off-diagonal part of the confident joint of [1]_, less the rows whose label is the most likely class, as
    ``find_label_issues(filter_by="confident_learning")`` of the authors' cleanlab has it.

    References
    ----------
    .. [1] Northcutt, Jiang and Chuang, JAIR 2021 (confident learning), https://arxiv.org/abs/1911.00068.
    """
    probabilities_NC = probabilities.double()
    num_rows, num_classes = probabilities_NC.shape
    own_N = probabilities_NC[torch.arange(num_rows), labels]
    counts_C = torch.bincount(labels, minlength=num_classes)
    sums_C = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, labels, own_N)
    # A class without a row has no average to reach.
    threshold_C = torch.where(counts_C > 0, sums_C / counts_C.clamp_min(1), torch.inf)
    confident_NC = probabilities_NC >= threshold_C - _SLACK
    joint_N = torch.where(confident_NC, probabilities_NC, -1.0).argmax(dim=1)
    named_N = probabilities_NC.argmax(dim=1)
    doubted_N = confident_NC.any(dim=1) & (joint_N != labels) & (named_N != labels)
    rows = torch.nonzero(doubted_N).flatten()
    rows = rows[torch.sort(own_N[rows], stable=True).indices]
    return Doubtful(rows, named_N[rows], own_N[rows].float())

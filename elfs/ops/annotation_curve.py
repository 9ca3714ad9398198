"""How well a classifier does by how many of the annotations it has learned from.

Shape suffixes: A annotated rows, D features, N rows that it is trained on, T rows that it is tested on.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from elfs.ops.linear_classifier import fit_linear_classifier

__all__ = ["CurvePoint", "accuracy_by_number", "part_sizes"]

_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
_LEAST_PER_CLASS = 2


class CurvePoint(NamedTuple):
    """What so many annotations bring.

    Attributes
    ----------
    number : int
        Annotations that each classifier learned from.
    accuracy : float
        Share of right answers, in [0, 1], over all tested rows.
    error : float
        Standard error of it, above 0.
    """

    number: int
    accuracy: float
    error: float


def part_sizes(num_rows: int, num_classes: int) -> list[int]:
    """Return of how many of some annotated rows it is worth to see what they bring.

    Parameters
    ----------
    num_rows : int
        Rows that there are to learn from.
    num_classes : int
        Classes of them.

    Returns
    -------
    list of int
        From a sixteenth to all, ascending, each at least two for each class: fewer lack whole classes.

    Examples
    --------
    >>> part_sizes(160, 10), part_sizes(19, 10)
    ([20, 40, 80, 120, 160], [])
    """
    sizes = dict.fromkeys(round(share * num_rows) for share in _SHARES)
    return [size for size in sizes if size >= _LEAST_PER_CLASS * num_classes]


def accuracy_by_number(
    features: Tensor,
    labels: Tensor,
    splits: Sequence[tuple[Tensor, Tensor]],
    penalty: float,
    generator: torch.Generator,
) -> list[CurvePoint]:
    """Train on ever more of some annotated rows, and see each time how many of others are named rightly.

    Parameters
    ----------
    features : Tensor of shape (n_annotated, n_features), floating
        Of standard deviation 1 or so.
    labels : Tensor of shape (n_annotated,), int64
        Class of each, from 0.
    splits : sequence of (Tensor of shape (n_trained,), Tensor of shape (n_tested,)), int64
        Positions to learn from and positions to judge, such as those of each fold; the parts of equal share count
        together.
    penalty : float
        As `fit_linear_classifier` takes it.
    generator : torch.Generator
        Of the order in which rows are added, on the CPU.

    Returns
    -------
    list of CurvePoint
        For each of `part_sizes` of the smallest split, ascending; empty without a split, or with a row for no test.

    Notes
    -----
    Each part is contained in the next. The errors are binomial (Agresti and Coull's, so that none is 0); what all
    points share, the tested rows, is in each of them, so a difference of two is known better than they say.
    """
    num_tested = sum(len(tested) for _, tested in splits)
    if not num_tested:
        return []
    num_classes = int(labels.max()) + 1
    sizes = part_sizes(min(len(trained) for trained, _ in splits), len(labels.unique()))
    right = dict.fromkeys(sizes, 0)
    for trained_N, tested_T in splits:
        order_N = trained_N[torch.randperm(len(trained_N), generator=generator)]
        for size in sizes:
            part = order_N[:size]
            found = fit_linear_classifier(features[part], labels[part], num_classes, penalty=penalty)
            named_T = found.probabilities(features[tested_T]).argmax(dim=1)
            right[size] += int((named_T == labels[tested_T]).sum())
    return [CurvePoint(size, count / num_tested, _error(count, num_tested)) for size, count in right.items()]


def _error(num_right: int, num_tested: int) -> float:
    share, number = (num_right + 2) / (num_tested + 4), num_tested + 4
    return math.sqrt(share * (1 - share) / number)

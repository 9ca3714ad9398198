"""What every image of a pool shows: class, style, kind, and which other image it is made from.

This is what annotators would say. Besides the drawing itself only ``elfs.evaluation`` may ask for it.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import Split
from elfs.data.synthetic.draws import Draws
from elfs.data.synthetic.spec import SyntheticSpec

__all__ = ["GROUP", "Kind", "Plan", "class_sizes", "make_plan"]

GROUP = 20
"""Redundant images that share a base image, on average and rounded: a class with few plain images has fewer bases."""

_PLAN = 1


class Kind(IntEnum):
    """What is special about an image."""

    PLAIN = 0
    REDUNDANT = 1
    AMBIGUOUS = 2
    OUTLIER = 3
    DUPLICATE = 4
    NEAR_DUPLICATE = 5


@dataclass(frozen=True, eq=False)
class Plan:
    """One row per image of a split.

    Attributes
    ----------
    classes : ndarray of shape (n,), int16
        Class of the label.
    styles : ndarray of shape (n,), int8
        Style of the concept; -1 for an outlier.
    kinds : ndarray of shape (n,), int8
        A `Kind` each.
    origins : ndarray of shape (n,), int32
        For a redundant image its base, for a duplicate the image that it copies, as a row of this split; else -1.
    others : ndarray of shape (n,), int16
        For an ambiguous image the class that it blends in; else -1.
    """

    classes: NDArray[np.int16]
    styles: NDArray[np.int8]
    kinds: NDArray[np.int8]
    origins: NDArray[np.int32]
    others: NDArray[np.int16]


def class_sizes(count: int, num_classes: int, imbalance: float) -> NDArray[np.int64]:
    """Share a number of images out among classes.

    Parameters
    ----------
    count : int
        Images.
    num_classes : int
        Classes, at least 2.
    imbalance : float
        First size over last size before rounding, at least 1.

    Returns
    -------
    ndarray of shape (num_classes,), int64
        Sizes that sum to `count`, descending: proportional to ``imbalance ** (-k / (num_classes - 1))``, rounded down,
        and what is left over goes to the largest remainders, lower classes first.
    """
    weights = [imbalance ** (-k / (num_classes - 1)) for k in range(num_classes)]
    exact = np.array([count * weight / sum(weights) for weight in weights])
    sizes = np.floor(exact).astype(np.int64)
    sizes[np.argsort(sizes - exact, kind="stable")[: count - int(sizes.sum())]] += 1
    return -np.sort(-sizes)


def make_plan(spec: SyntheticSpec, split: Split) -> Plan:
    """Decide what every image of a split shows.

    Parameters
    ----------
    spec : SyntheticSpec
        The pool.
    split : Split
        TRAIN, or TEST: balanced, every style equally often, plain images alone.

    Returns
    -------
    Plan
        The same for the same spec.
    """
    draws = Draws(spec.seed, _PLAN, split)
    is_train = split == Split.TRAIN
    count = spec.images if is_train else spec.test
    sizes = class_sizes(count, spec.classes, spec.imbalance if is_train else 1.0)
    order = draws.order(count)
    classes = np.empty(count, np.int16)
    classes[order] = np.repeat(np.arange(spec.classes, dtype=np.int16), sizes)
    styles = np.empty(count, np.int8)
    for rows in np.split(order, np.cumsum(sizes)[:-1]):
        styles[rows] = _styles(len(rows), spec.styles, halving=is_train)
    kinds = _kinds(spec, order, sizes, draws) if is_train else np.zeros(count, np.int8)
    origins, others = np.full(count, -1, np.int32), np.full(count, -1, np.int16)
    plan = Plan(classes, styles, kinds, origins, others)
    if is_train:
        _derive(spec, plan, draws)
    return plan


def _styles(count: int, num_styles: int, *, halving: bool) -> NDArray[np.int64]:
    """Return the style of each image of a class; every prefix of the result has about the same mixture."""
    shares = np.array([0.5**style if halving else 1.0 for style in range(num_styles)])
    ends = np.cumsum(shares) / shares.sum()
    position = (np.arange(count) * 0.6180339887498949 + 0.5) % 1.0  # the golden ratio spreads any prefix evenly
    return np.minimum(np.searchsorted(ends, position, side="right"), num_styles - 1)


def _kinds(spec: SyntheticSpec, order: NDArray[np.int64], sizes: NDArray[np.int64], draws: Draws) -> NDArray[np.int8]:
    """Return the kind of each image: exact counts, one plain image of every class kept, the rest at random."""
    num_copies = round(spec.duplicates * spec.images)
    counts = {
        Kind.REDUNDANT: round(spec.redundancy * spec.images),
        Kind.AMBIGUOUS: round(spec.ambiguity * spec.images),
        Kind.OUTLIER: round(spec.outliers * spec.images),
        Kind.DUPLICATE: num_copies - num_copies // 4,
        Kind.NEAR_DUPLICATE: num_copies // 4,
    }
    kept = order[np.cumsum(sizes) - sizes]
    free = np.setdiff1d(np.arange(spec.images), kept)
    free = free[draws.order(len(free))]
    kinds = np.zeros(spec.images, np.int8)
    special = np.repeat(np.array(list(counts), np.int8), list(counts.values()))
    kinds[free[: len(special)]] = special
    return kinds


def _derive(spec: SyntheticSpec, plan: Plan, draws: Draws) -> None:
    """Fill in what images are made from, and the styles that follow from it."""
    draw = draws.uniform(spec.images)
    by_class = np.argsort(plan.classes, kind="stable")
    bounds = np.searchsorted(plan.classes[by_class], np.arange(spec.classes + 1))
    for start, stop in pairwise(bounds.tolist()):
        rows = by_class[start:stop]
        kinds = plan.kinds[rows]
        plain, redundant = rows[kinds == Kind.PLAIN], rows[kinds == Kind.REDUNDANT]
        bases = plain[: -(-len(redundant) // GROUP)]
        copies = rows[kinds >= Kind.DUPLICATE]
        if len(redundant):
            plan.origins[redundant] = bases[(draw[redundant] * len(bases)).astype(np.int64)]
        plan.origins[copies] = plain[(draw[copies] * len(plain)).astype(np.int64)]
    derived = plan.origins >= 0
    plan.styles[derived] = plan.styles[plan.origins[derived]]
    plan.styles[plan.kinds == Kind.OUTLIER] = -1
    ambiguous = np.flatnonzero(plan.kinds == Kind.AMBIGUOUS)
    step = 1 + (draw[ambiguous] * (spec.classes - 1)).astype(np.int64)
    plan.others[ambiguous] = (plan.classes[ambiguous] + step) % spec.classes

"""What the images of a synthetic pool show: its plan, by sample id."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import SampleTable, Split
from elfs.data.sources.synthetic import SyntheticSource
from elfs.data.synthetic.plan import Kind, make_plan
from elfs.data.synthetic.spec import parse_source

__all__ = ["Kind", "SyntheticKinds", "synthetic_classes", "synthetic_kinds"]


@dataclass(frozen=True, eq=False)
class SyntheticKinds:
    """What is special about each sample of a table.

    Attributes
    ----------
    kinds : ndarray of shape (n,), int8
        A `Kind` each.
    styles : ndarray of shape (n,), int8
        Which variant of its class's concept it shows; -1 for an outlier.
    origins : ndarray of shape (n,), int64
        Row of the table that a duplicate copies, or that a redundant image is a variant of; -1 where there is none, and
        where the table does not have it.
    others : ndarray of shape (n,), int16
        The second class that an ambiguous image shows; else -1.
    """

    kinds: NDArray[np.int8]
    styles: NDArray[np.int8]
    origins: NDArray[np.int64]
    others: NDArray[np.int16]


def synthetic_classes(source: str) -> tuple[list[str], NDArray[np.int64], tuple[str, ...]]:
    """Return the true labels of a pool.

    Parameters
    ----------
    source : str
        ``synthetic:SPEC``.

    Returns
    -------
    ids : list of str
        Every image, train then test.
    values : ndarray of shape (n,), int64
        Class of each; class 0 is the largest.
    names : tuple of str
        ``"0"`` and so on.

    Raises
    ------
    UsageError
        If the spec cannot be read.
    """
    spec = parse_source(source)
    listing = SyntheticSource(spec).list()
    values = np.concatenate([make_plan(spec, split).classes for split in Split]).astype(np.int64)
    return listing.ids(np.arange(len(listing))), values, tuple(str(number) for number in range(spec.classes))


def synthetic_kinds(source: str, table: SampleTable) -> SyntheticKinds:
    """Return what is special about each sample, for measuring what a selection is made of.

    Parameters
    ----------
    source : str
        ``synthetic:SPEC``, as the workspace records it.
    table : SampleTable
        The samples of a workspace: all of the pool or some of them.

    Returns
    -------
    SyntheticKinds
        Row i belongs to row i of `table`.

    Raises
    ------
    UsageError
        If the spec cannot be read.
    InputDataError
        If the table has samples that are not of this pool.
    """
    spec = parse_source(source)
    plans = [make_plan(spec, split) for split in Split]
    rows = SyntheticSource(spec).list().rows_of(table.ids(np.arange(len(table))))
    place = np.full(spec.images + spec.test + 1, -1, dtype=np.int64)  # the last entry answers for "no origin"
    place[rows] = np.arange(len(rows))
    return SyntheticKinds(
        np.concatenate([plan.kinds for plan in plans])[rows],
        np.concatenate([plan.styles for plan in plans])[rows],
        place[np.concatenate([plan.origins for plan in plans])[rows]],  # only training images have origins
        np.concatenate([plan.others for plan in plans])[rows],
    )

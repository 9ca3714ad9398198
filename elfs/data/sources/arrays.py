"""Images that lie in memory as arrays."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.samples import SampleTable, Split
from elfs.errors import InputDataError

__all__ = ["ArrayReader", "array_reader", "array_table"]


@dataclass(frozen=True, slots=True)
class ArrayReader:
    """Reads images out of arrays that follow one another.

    Attributes
    ----------
    parts : tuple of ndarray
        Each of shape (n, height, width), gray, or (n, height, width, 3), RGB; uint8.
    positions : ndarray of shape (n_rows,), int64
        Number over all parts of the image of each row.
    """

    parts: tuple[NDArray[np.uint8], ...]
    positions: NDArray[np.int64]

    def read(self, row: int) -> Image.Image:
        """Return one image."""
        ends = list(accumulate(len(part) for part in self.parts))
        position = int(self.positions[row])
        part = bisect_right(ends, position)
        pixels = self.parts[part][position - ends[part] + len(self.parts[part])]
        return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def array_reader(listing: SampleTable, parts: tuple[NDArray[np.uint8], ...], table: SampleTable) -> ArrayReader:
    """Return what reads the images of a table, which may hold a part of the data set only.

    Parameters
    ----------
    listing : SampleTable
        The whole data set, in the order of `parts`.
    parts : tuple of ndarray of shape (n, ...), uint8
        Its images.
    table : SampleTable
        The rows that are read.

    Returns
    -------
    ArrayReader
        Row i is the image whose id `table` has in row i.

    Raises
    ------
    InputDataError
        If the table names ids that the data set does not have.
    """
    return ArrayReader(parts, listing.rows_of(table.names))


def array_table(name: str, parts: dict[Split, NDArray[Any]], width: int) -> SampleTable:
    """List the samples of a named data set that lies in memory.

    Parameters
    ----------
    name : str
        Of the data set.
    parts : dict of Split to ndarray of shape (n, ...), uint8
        Images of each split, in row order.
    width : int
        Digits of the number in an id; it counts from 0 within the split.

    Returns
    -------
    SampleTable
        Ids such as ``cifar10/train/00001``.

    Raises
    ------
    InputDataError
        If there is no image at all.
    """
    counts = [len(part) for part in parts.values()]
    if not sum(counts):
        raise InputDataError(f"{name} has no images.")
    ids = (f"{name}/{split.name.lower()}/{i:0{width}d}" for split, part in parts.items() for i in range(len(part)))
    splits = np.repeat(np.array(list(parts), np.uint8), counts)
    sizes = np.repeat([part[0].size if len(part) else 0 for part in parts.values()], counts)
    return SampleTable.from_ids(ids, splits, sizes)

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

__all__ = ["ArrayReader", "array_table"]


@dataclass(frozen=True, slots=True)
class ArrayReader:
    """Reads images out of arrays that follow one another.

    Attributes
    ----------
    parts : tuple of ndarray
        Each of shape (n, height, width), gray, or (n, height, width, 3), RGB; uint8.
    """

    parts: tuple[NDArray[np.uint8], ...]

    def read(self, row: int) -> Image.Image:
        """Return one image.

        Parameters
        ----------
        row : int
            In ``[0, n)`` over all parts.

        Returns
        -------
        PIL.Image.Image
            Mode RGB.
        """
        ends = list(accumulate(len(part) for part in self.parts))
        part = bisect_right(ends, row)
        pixels = self.parts[part][row - ends[part] + len(self.parts[part])]
        return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


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

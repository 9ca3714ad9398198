"""Images that are drawn when they are read: ``synthetic:SPEC``."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.samples import SampleTable, Split
from elfs.data.synthetic.drawing import Drawing
from elfs.data.synthetic.spec import SyntheticSpec

__all__ = ["SyntheticReader", "SyntheticSource"]


@dataclass(frozen=True)
class SyntheticReader:
    """Draws the image of a row.

    Attributes
    ----------
    drawing : Drawing
        The pool.
    splits : ndarray of shape (n_rows,), uint8
        A `Split` each.
    indices : ndarray of shape (n_rows,), int64
        Number of each row's image in its split.
    """

    drawing: Drawing
    splits: NDArray[np.uint8]
    indices: NDArray[np.int64]

    def read(self, row: int) -> Image.Image:
        """Draw one image."""
        return Image.fromarray(self.drawing.image(Split(int(self.splits[row])), int(self.indices[row])))


@dataclass(frozen=True)
class SyntheticSource:
    """A pool that is drawn from a seed.

    Attributes
    ----------
    spec : SyntheticSpec
        What to draw.
    """

    spec: SyntheticSpec
    channels = 3
    mirror = False
    has_images = True

    @property
    def name(self) -> str:
        """The one name of the pool."""
        return self.spec.name

    @property
    def num_classes(self) -> int:
        """How many concepts are drawn."""
        return self.spec.classes

    @cached_property
    def _drawing(self) -> Drawing:
        return Drawing(self.spec)

    def list(self) -> SampleTable:
        """List ``synthetic/train/00000`` and so on, then ``synthetic/test/00000``.

        The order says nothing about what an image shows.
        """
        counts = {Split.TRAIN: self.spec.images, Split.TEST: self.spec.test}
        ids = (f"synthetic/{split.name.lower()}/{i:05d}" for split, count in counts.items() for i in range(count))
        splits = np.repeat(np.array(list(counts), np.uint8), list(counts.values()))
        return SampleTable.from_ids(ids, splits, 3 * self.spec.size**2)

    def reader(self, table: SampleTable) -> SyntheticReader:
        """Return what draws the images of a table."""
        rows = self.list().rows_of(table.ids(np.arange(len(table))))
        is_test = rows >= self.spec.images
        return SyntheticReader(self._drawing, is_test.astype(np.uint8), rows - is_test * self.spec.images)

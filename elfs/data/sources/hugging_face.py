"""Data sets of the Hugging Face library: by name from the hub, or a folder that ``save_to_disk`` wrote.

The column of images is the one whose feature is an image; of several, the one named ``image``. A row's id is its split
and its number in it, such as ``train/00000017``. Splits called test, val, valid or validation are the test split where
there is a train split too (`elfs.data.sources.path_table.split_by_group`); a single split is the train split.
"""

import contextlib
import os
import shlex
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.decoding import BadImageError, decode
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources.folder import read_image
from elfs.data.sources.parquet import choose_column
from elfs.data.sources.path_table import split_by_group
from elfs.errors import InputDataError
from elfs.source_names import typed_source

__all__ = ["HuggingFaceReader", "HuggingFaceSource"]

_MAX_REASON = 300


@dataclass(frozen=True)
class HuggingFaceReader:
    """Reads rows of data sets that follow one another.

    Attributes
    ----------
    parts : tuple of datasets.Dataset
        One a split; the images are not decoded by it.
    column : str
        The images' column.
    rows : ndarray of shape (n,), int64
        Number over all splits of each row.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    parts: tuple[Any, ...]
    column: str
    rows: NDArray[np.int64]
    max_pixels: int

    def read(self, row: int) -> Image.Image:
        """Read and decode one image. MISSING where the row holds neither bytes nor a path."""
        ends = list(accumulate(len(part) for part in self.parts))
        position = int(self.rows[row])
        part = bisect_right(ends, position)
        value = self.parts[part][position - ends[part] + len(self.parts[part])][self.column] or {}
        if value.get("bytes") is not None:
            return decode(value["bytes"], self.max_pixels)
        if value.get("path"):
            return read_image(os.fsencode(value["path"]), self.max_pixels)
        raise BadImageError(Outcome.MISSING, "the row holds no image")


@dataclass(frozen=True)
class HuggingFaceSource:
    """A data set of the Hugging Face library.

    Attributes
    ----------
    name : str
        ``hf:NAME`` or ``hf:NAME:SPLIT``, where the name ``.`` stands for the folder `root`.
    root : Path or None
        The folder that ``save_to_disk`` wrote; for one of the hub where it is cached, None for the library's own cache.
    download : bool
        Whether one of the hub that is not cached may be fetched.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    name: str
    root: Path | None
    download: bool
    max_pixels: int

    channels = 3
    mirror = True
    num_classes = None
    has_images = True

    def list(self) -> SampleTable:
        """List the rows, split by split: ``train/00000017``.

        Sizes are those of the encoded images, 0 where a row has a path alone. Refused where the library is not
        installed.
        """
        counts = [len(part) for part in self._parts.values()]
        if not sum(counts):
            raise InputDataError(f"{self.name} has no rows.")
        groups = zip((name.lower().encode() for name in self._parts), accumulate([0, *counts]), strict=False)
        ids = (f"{name}/{row:08d}" for name, part in self._parts.items() for row in range(len(part)))
        sizes = np.concatenate([_sizes(part, self._column) for part in self._parts.values()])
        return SampleTable.from_ids(ids, split_by_group(list(groups), sum(counts)), sizes)

    def reader(self, table: SampleTable) -> HuggingFaceReader:
        """Return what reads the images."""
        rows = self.list().rows_of(table.names)
        return HuggingFaceReader(tuple(self._parts.values()), self._column, rows, self.max_pixels)

    @cached_property
    def _column(self) -> str:
        from datasets import Image as ImageFeature

        images = {
            split: [name for name, feature in part.features.items() if isinstance(feature, ImageFeature)]
            for split, part in self._parts.items()
        }
        column = choose_column(next((names for names in images.values() if names), []), self.name)
        without = [split for split, names in images.items() if column not in names]
        if without:
            other = next(split for split in images if split not in without)
            raise InputDataError(
                f"{self.name}: split '{without[0]}' has no image column '{column}', as '{other}' has.",
                hint=f"elfs embed {shlex.quote(str(typed_source(f'{self.name}:{other}', str(self.root))))}",
            )
        return column

    @cached_property
    def _parts(self) -> dict[str, Any]:
        """Return each split with its images undecoded."""
        try:
            import datasets
        except ImportError:
            message = f"{self.name} needs the package datasets, which is not installed."
            raise InputDataError(message, hint="pip install 'elfs[hf]'") from None
        _, name, *split = self.name.split(":", 2)
        try:
            loaded = self._load(name, split[0] if split else None)
        except Exception as error:  # the library raises a dozen types for what is "not there" to the user
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_REASON]
            place = self.root if name == "." else f"the cache{' or on the hub' if self.download else ''}"
            hint = None if name == "." else f"elfs embed {self.name} --download"
            raise InputDataError(f"{self.name} was not found in {place} ({reason}).", hint=hint) from error
        parts = loaded if isinstance(loaded, dict) else {split[0] if split else str(loaded.split or "train"): loaded}
        found = {}
        for split_name, part in parts.items():
            for column, feature in part.features.items():
                if isinstance(feature, datasets.Image):
                    part = part.cast_column(column, datasets.Image(decode=False))
            found[str(split_name)] = part
        return found

    def _load(self, name: str, split: str | None) -> Any:
        import datasets

        if name != ".":
            cache = None if self.root is None else str(self.root)
            with contextlib.nullcontext() if self.download else _offline():
                return datasets.load_dataset(name, split=split, cache_dir=cache)
        loaded = datasets.load_from_disk(str(self.root))
        if split is None or (not isinstance(loaded, dict) and split == str(loaded.split)):
            return loaded
        if isinstance(loaded, dict) and split in loaded:
            return loaded[split]
        known = ", ".join(loaded) if isinstance(loaded, dict) else loaded.split or "one without a name"
        raise InputDataError(f"there is no split '{split}', only {known}")


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Let the library look into its cache alone."""
    from datasets import config

    before, config.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _sizes(part: Any, column: str) -> NDArray[np.int64]:
    """Return the length of each encoded image, without reading them."""
    import pyarrow.compute

    sizes = [np.zeros(0, np.int64)]
    for batch in part.select_columns([column]).with_format("arrow").iter(batch_size=10_000):
        for chunk in batch[column].chunks:
            lengths = pyarrow.compute.binary_length(chunk.field("bytes")).fill_null(0)
            sizes.append(lengths.to_numpy(zero_copy_only=False).astype(np.int64))
    return np.concatenate(sizes)

"""Parquet files with a column of encoded images.

The column is the one that Hugging Face's metadata calls an image; without such metadata, the only one that holds bytes,
or a struct with a field ``bytes``; of several, the one named ``image``. A row's id is the file's name and its number in
it, such as ``train-00000-of-00002/00000017``; where the source is one file, ``row/00000017``. Splits follow the names
of the files (`elfs.data.sources.shards.shard_splits`).

Parquet is read by row groups: an image costs the reading of its group, and the last group is kept. Going through all
images in order is cheap, reading them in random order is not unless row groups are small.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.decoding import BadImageError, decode
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources.shards import find_shards, shard_splits
from elfs.errors import InputDataError

__all__ = ["ParquetReader", "ParquetSource", "choose_column"]


def choose_column(names: list[str], where: str) -> str:
    """Return the column of images.

    Parameters
    ----------
    names : list of str
        Columns that may be it.
    where : str
        The data set, for the message.

    Returns
    -------
    str
        The only one, or ``image``.

    Raises
    ------
    InputDataError
        If there is none, or several of which none is called so.
    """
    if len(names) == 1 or "image" in names:
        return "image" if "image" in names else names[0]
    found = f"the columns {', '.join(names)} all may hold images" if names else "no column holds encoded images"
    raise InputDataError(f"{where}: {found}; expected one, or one called 'image'.")


@dataclass
class ParquetReader:
    """Reads rows of Parquet files. What it keeps of a row group is left behind when it is pickled.

    Attributes
    ----------
    files : tuple of str
        Absolute paths.
    column : str
        The images' column; ``name.bytes`` for a struct.
    group_file, group_number : ndarray of shape (g,), int64
        File of each row group, and its number in the file.
    group_start : ndarray of shape (g,), int64
        Number over all files of the first row of each row group.
    rows : ndarray of shape (n,), int64
        Number over all files of each row.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    files: tuple[str, ...]
    column: str
    group_file: NDArray[np.int64]
    group_number: NDArray[np.int64]
    group_start: NDArray[np.int64]
    rows: NDArray[np.int64]
    max_pixels: int
    _kept: tuple[int, Any] = field(default=(-1, None), repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_kept": (-1, None)}

    def read(self, row: int) -> Image.Image:
        """Read and decode one image; MISSING where the row holds no bytes, BROKEN where its row group is damaged."""
        position = int(self.rows[row])
        group = int(np.searchsorted(self.group_start, position, side="right")) - 1
        if self._kept[0] != group:
            self._kept = (group, self._read_group(group))
        try:
            value = self._kept[1][position - int(self.group_start[group])].as_py()
        except IndexError:
            raise BadImageError(Outcome.BROKEN, "its row group holds fewer rows than it says") from None
        data = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            raise BadImageError(Outcome.MISSING, "the row holds no image")
        return decode(data, self.max_pixels)

    def _read_group(self, group: int) -> Any:
        from pyarrow import ArrowException, parquet

        try:
            path = self.files[self.group_file[group]]
            with parquet.ParquetFile(path, page_checksum_verification=True) as file:
                number = int(self.group_number[group])
                return file.read_row_group(number, columns=[self.column], use_threads=False).column(0)
        except (OSError, ArrowException, ValueError, OverflowError) as error:
            raise BadImageError(Outcome.BROKEN, f"its row group cannot be read ({type(error).__name__})") from None


@dataclass(frozen=True)
class ParquetSource:
    """Images in Parquet files.

    Attributes
    ----------
    root : Path
        A Parquet file, or a folder of them.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    root: Path
    max_pixels: int

    name = "parquet"
    channels = 3
    mirror = True
    num_classes = None
    has_images = True

    def list(self) -> SampleTable:
        """List the rows, file by file in ascending order of their names. Only the files' metadata is read.

        Sizes are the mean of the row group. Refused where pyarrow is not installed, a file is damaged, or it is not
        clear which column holds the images.
        """
        return self._index()[0]

    def reader(self, table: SampleTable) -> ParquetReader:
        """Return what reads the images."""
        listing, reader = self._index()
        reader.rows = listing.rows_of(table.names)
        return reader

    def _index(self) -> tuple[SampleTable, ParquetReader]:
        """Return the listing, and what reads all of it."""
        try:
            from pyarrow import ArrowException, parquet
        except ImportError:
            message = "Parquet files need the package pyarrow, which is not installed."
            raise InputDataError(message, hint="pip install 'elfs[hf]'") from None
        paths, names = find_shards(self.root, ".parquet")
        columns, counts, groups = set(), [], []
        for number, path in enumerate(paths):
            try:
                with parquet.ParquetFile(path) as file:
                    column, metadata = _column(file.schema_arrow, path), file.metadata
            except (OSError, ArrowException, ValueError, OverflowError) as error:
                if isinstance(error, InputDataError):
                    raise
                raise InputDataError(f"{path} is no Parquet file that can be read: {error}.") from None
            columns.add(column)
            counts.append(metadata.num_rows)
            sizes = [_size(metadata.row_group(index)) for index in range(metadata.num_row_groups)]
            if sum(rows for rows, _ in sizes) != metadata.num_rows or min((min(size) for size in sizes), default=0) < 0:
                raise InputDataError(f"{path} is no Parquet file that can be read: its row groups contradict it.")
            groups += [(number, index, *size) for index, size in enumerate(sizes)]
        if len(columns) > 1:
            raise InputDataError(
                f"the files of {self.root} have images in different columns: {', '.join(sorted(columns))}."
            )
        if not sum(counts):
            raise InputDataError(f"no row in the {len(paths):,} Parquet files of {self.root}.")
        table = np.array(groups, np.int64)
        starts = np.concatenate([[0], np.cumsum(table[:, 2])[:-1]])
        ids = (f"{name or 'row'}/{row:08d}" for name, count in zip(names, counts, strict=True) for row in range(count))
        listing = SampleTable.from_ids(ids, shard_splits(names, counts), np.repeat(table[:, 3], table[:, 2]))
        files = tuple(os.path.abspath(path) for path in paths)
        every = np.arange(len(listing))
        return listing, ParquetReader(files, columns.pop(), table[:, 0], table[:, 1], starts, every, self.max_pixels)


def _column(schema: Any, path: Path) -> str:
    """Return what to read of a file: the images' column, or the bytes inside it."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))

    def is_struct(kind: Any) -> bool:
        return bool(types.is_struct(kind)) and kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type)

    found = [item.name for item in schema if is_bytes(item.type) or is_struct(item.type)]
    described = _described_images((schema.metadata or {}).get(b"huggingface", b""))
    name = choose_column([name for name in found if name in described] or found, str(path))
    if len(schema.get_all_field_indices(name)) > 1:
        raise InputDataError(f"{path} has the column '{name}' twice, so it is not clear which one holds the images.")
    return f"{name}.bytes" if is_struct(schema.field(name).type) else name


def _described_images(metadata: bytes) -> set[str]:
    """Return the columns that the data set's own description calls images; none where it is not what it should be."""
    try:
        features = json.loads(metadata)["info"]["features"].items()
        return {name for name, feature in features if isinstance(feature, dict) and feature.get("_type") == "Image"}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return set()


def _size(group: Any) -> tuple[int, int]:
    """Return the rows of a row group and their mean size; asked for a damaged column, pyarrow ends the process."""
    return group.num_rows, group.total_byte_size // max(1, group.num_rows)

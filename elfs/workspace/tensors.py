"""Tensors in safetensors files: written atomically with equal bytes for equal values, read as memory maps.

The writer streams the arrays behind a header of its own making. The safetensors library orders the metadata of a file
at random and builds the whole file in memory first; the format is the same, and tests hold the two compatible.
"""

import json
import math
import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs.errors import CorruptArtifactError
from elfs.workspace.documents import parse_json
from elfs.workspace.files import atomic_write, storage_errors
from elfs.workspace.names import DTYPE_NAMES

__all__ = ["DTYPES", "MAX_HEADER_BYTES", "TENSOR_SUFFIX", "RowArray", "load_tensors", "save_tensors"]

TENSOR_SUFFIX = ".safetensors"

MAX_HEADER_BYTES = 100_000_000
"""No header may be larger than this (bytes)."""

DTYPES: dict[str, np.dtype[Any]] = {code: np.dtype(name).newbyteorder("<") for code, name in DTYPE_NAMES.items()}
"""The dtypes that a workspace may hold, by their name in a safetensors header. Always little-endian."""

_NAMES = {name: code for code, name in DTYPE_NAMES.items()}
_METADATA = "__metadata__"
_TAKEN_ROWS = 65_536


def _header(tensors: Mapping[str, np.ndarray], order: Sequence[str], metadata: Mapping[str, str] | None) -> bytes:
    """Lay the tensors out in `order`, without gaps; pad the header so that the data is aligned to 8 bytes."""
    entries: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    start = 0
    for name in order:
        tensor = tensors[name]
        stop = start + tensor.nbytes
        entries[name] = {"dtype": _NAMES[tensor.dtype.name], "shape": tensor.shape, "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    return text + b" " * (-len(text) % 8)


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, atomically; equal values give equal bytes.

    Parameters
    ----------
    path : Path
        The file; its directory exists. A file of that name is replaced.
    tensors : mapping of str to ndarray
        Any shapes; dtypes bool, or integers and floats of 8 to 64 bits.
    metadata : mapping of str to str, optional
        Facts for the header.

    Raises
    ------
    ValueError
        If a tensor has another dtype, or the reserved name ``__metadata__``.
    StorageError
        If the file cannot be written.
    """
    for name, tensor in tensors.items():
        if tensor.dtype.name not in _NAMES:
            raise ValueError(f"tensor '{name}' has dtype {tensor.dtype}, expected one of {', '.join(sorted(_NAMES))}.")
        if name == _METADATA:
            raise ValueError(f"a tensor cannot be called '{_METADATA}': the name is reserved.")
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # wide ones first keeps all aligned
    header = _header(tensors, order, metadata)
    with atomic_write(path) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name in order:
            dtype = tensors[name].dtype.newbyteorder("<")
            flat = np.ascontiguousarray(tensors[name], dtype=dtype).reshape(-1)
            file.write(flat.view(np.uint8).data)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the parsed header without its metadata, and the offset at which the data begins."""
    if not path.is_file():
        raise CorruptArtifactError(f"{path} is missing, or not a file.")
    with storage_errors("read", path), path.open("rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        size = int.from_bytes(file.read(8), "little")
        if num_bytes < 8:
            raise CorruptArtifactError(f"{path} is truncated: {num_bytes} bytes, expected a header length of 8.")
        if size > MAX_HEADER_BYTES:
            raise CorruptArtifactError(f"{path} has a header of {size:,} bytes, expected at most {MAX_HEADER_BYTES:,}.")
        if 8 + size > num_bytes:
            raise CorruptArtifactError(
                f"{path} is truncated: {num_bytes:,} bytes, its header alone needs {8 + size:,}."
            )
        data = file.read(size)
    header = parse_json(data, f"the header of {path}")
    if not isinstance(header, dict):
        raise CorruptArtifactError(f"the header of {path} is {reprlib.repr(header)}, expected an object.")
    header.pop(_METADATA, None)
    return header, 8 + size


def _is_sizes(value: Any) -> bool:
    """Return whether `value` is a short list of sizes that a 64-bit machine can have."""
    return (
        isinstance(value, list) and len(value) <= 64 and all(type(item) is int and 0 <= item < 2**63 for item in value)
    )


def _parse_entry(path: Path, name: str, entry: Any) -> tuple[int, int, str, np.dtype[Any], tuple[int, ...]]:
    """Return where a tensor begins and ends within the data, its name, dtype and shape."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CorruptArtifactError(
            f"{path}: tensor {reprlib.repr(name)} is {reprlib.repr(entry)}, expected dtype, shape and data_offsets."
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    where = f"{path}: tensor {reprlib.repr(name)}"
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise CorruptArtifactError(f"{where} has dtype {reprlib.repr(dtype)}, expected one of {', '.join(DTYPES)}.")
    if not _is_sizes(shape):
        raise CorruptArtifactError(f"{where} has shape {reprlib.repr(shape)}, expected a list of sizes.")
    if not _is_sizes(offsets) or len(offsets) != 2:
        raise CorruptArtifactError(f"{where} has offsets {reprlib.repr(offsets)}, expected two numbers.")
    start, stop = offsets
    if math.prod(shape) * DTYPES[dtype].itemsize != stop - start:
        raise CorruptArtifactError(f"{where} has {stop - start} bytes, too few or too many for {reprlib.repr(entry)}.")
    return start, stop, name, DTYPES[dtype], tuple(shape)


def load_tensors(path: Path) -> dict[str, np.ndarray]:
    """Map the tensors of a safetensors file into memory, after checking its header.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to ndarray
        Read-only views of one memory map, by name in sorted order; nothing is read before it is used.

    Raises
    ------
    CorruptArtifactError
        If the file is missing, truncated or too long; if the header is too large, is no JSON, names an unknown dtype
        or a wrong size; if tensors overlap or leave holes.
    StorageError
        If the file may not be read.
    """
    header, start = _read_header(path)
    entries = sorted((_parse_entry(path, name, entry) for name, entry in header.items()), key=lambda entry: entry[:3])
    with storage_errors("read", path):
        buffer = np.memmap(path, dtype=np.uint8, mode="r")
    tensors: dict[str, np.ndarray] = {}
    position = 0
    for begin, end, name, dtype, shape in entries:
        if begin != position:
            problem = "overlaps its neighbour" if begin < position else "leaves a hole before it"
            raise CorruptArtifactError(f"{path}: tensor {reprlib.repr(name)} {problem}: {begin}, expected {position}.")
        if start + end > buffer.size:
            raise CorruptArtifactError(f"{path} is truncated: {buffer.size:,} bytes, expected {start + end:,}.")
        try:
            tensors[name] = buffer[start + begin : start + end].view(dtype).reshape(shape)
        except ValueError as error:
            raise CorruptArtifactError(f"{path}: tensor {reprlib.repr(name)} has a wrong shape: {error}.") from None
        position = end
    if start + position != buffer.size:
        raise CorruptArtifactError(f"{path} has {buffer.size:,} bytes, expected {start + position:,}.")
    return dict(sorted(tensors.items()))


class RowArray:
    """Arrays laid end to end along their first axis, without a copy of the whole.

    Parameters
    ----------
    shards : sequence of ndarray
        At least one, of equal dtype and equal trailing shape, each with one dimension or more.

    Raises
    ------
    ValueError
        If there is no shard, or two of them do not fit together.
    """

    def __init__(self, shards: Sequence[np.ndarray]) -> None:
        if not shards:
            raise ValueError("a RowArray needs at least one shard.")
        first = shards[0]
        for shard in shards:
            if shard.ndim == 0 or shard.dtype != first.dtype or shard.shape[1:] != first.shape[1:]:
                raise ValueError(f"shards differ: {first.dtype} {first.shape} and {shard.dtype} {shard.shape}.")
        self._shards = tuple(shards)
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])

    @property
    def shards(self) -> tuple[np.ndarray, ...]:
        """The arrays themselves, in order."""
        return self._shards

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole."""
        return (len(self), *self._shards[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of every element."""
        return self._shards[0].dtype

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return a run of rows, in memory.

        Parameters
        ----------
        start : int
            First row, in ``[0, stop]``.
        stop : int
            One past the last row, at most ``len(self)``.

        Returns
        -------
        ndarray of shape (stop - start, ...)
            A copy of those rows.

        Raises
        ------
        IndexError
            If the bounds are out of range.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start} to {stop} are outside 0 to {len(self)}.")
        parts = [
            shard[max(start - first, 0) : max(stop - first, 0)]
            for first, shard in zip(self._starts[:-1].tolist(), self._shards, strict=True)
        ]
        return np.concatenate(parts)

    def columns(self, start: int, stop: int) -> np.ndarray:
        """Return a run of columns of all rows, in memory.

        Parameters
        ----------
        start : int
            First column, in ``[0, stop]``.
        stop : int
            One past the last column, at most ``shape[1]``.

        Returns
        -------
        ndarray of shape (len(self), stop - start, ...)
            A copy of those columns; nothing else is read.

        Raises
        ------
        IndexError
            If the bounds are out of range, or there are no columns.
        """
        if len(self.shape) < 2 or not 0 <= start <= stop <= self.shape[1]:
            raise IndexError(f"columns {start} to {stop} are outside those of shape {self.shape}.")
        return np.concatenate([shard[:, start:stop] for shard in self._shards])

    def take(self, rows: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """Return some rows, in memory, in the order asked for.

        Parameters
        ----------
        rows : array-like of shape (n_rows,), integer
            Rows in ``[0, len(self))``; any order, repeats allowed.
        out : ndarray of shape (n_rows, ...), optional
            Where to write them; of the same dtype. None: a new array.

        Returns
        -------
        ndarray of shape (n_rows, ...)
            A copy of those rows.

        Raises
        ------
        IndexError
            If a row is out of range.
        """
        wanted: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
        if wanted.size and not 0 <= int(wanted.min()) <= int(wanted.max()) < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} are outside 0 to {len(self) - 1}.")
        result = np.empty((len(wanted), *self.shape[1:]), dtype=self.dtype) if out is None else out
        if len(self._shards) == 1:
            return np.take(self._shards[0], wanted, axis=0, out=result, mode="clip")  # any other mode makes a copy
        for start in range(0, len(wanted), _TAKEN_ROWS):
            self._take(wanted[start : start + _TAKEN_ROWS], result[start : start + _TAKEN_ROWS])
        return result

    def _take(self, wanted: NDArray[np.int64], result: np.ndarray) -> None:
        """Write some rows, of each shard at once."""
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        order = np.argsort(owner.astype(np.min_scalar_type(len(self._shards))), kind="stable")  # a radix sort
        present, first = np.unique(owner[order], return_index=True)
        for index, mine in zip(present.tolist(), np.split(order, first[1:]), strict=True):
            result[mine] = np.take(self._shards[index], wanted[mine] - self._starts[index], axis=0)

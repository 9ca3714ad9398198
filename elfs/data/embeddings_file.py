"""Embeddings that a user brings along: one ``.npy`` or ``.safetensors`` file, and a text file with the ids."""

import json
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.data.text_column import TextColumn
from elfs.errors import InputDataError

__all__ = ["embeddings_shape", "finite_rows", "load_embeddings", "read_ids", "row_ids"]

_ARCHIVE = b"PK"
_BLOCK_VALUES = 2**24
_FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
"""What `.safetensors` calls the types that embeddings can have."""


@dataclass(frozen=True)
class _Matrix:
    """What a header says, and how to read what follows it."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


def load_embeddings(path: Path, ids_path: Path | None) -> tuple[TextColumn, NDArray[Any]]:
    """Open a file of embeddings and the ids of its rows.

    Parameters
    ----------
    path : Path
        ``.npy``, memory-mapped, without pickled objects; or ``.safetensors``, of which the tensor ``embeddings`` is
        taken, else the only floating one with two axes.
    ids_path : Path or None
        Text file with one id a line in row order, UTF-8 (other bytes are kept). None names the rows ``row/00000000``
        and so on.

    Returns
    -------
    ids : TextColumn of length n
        Unique ids; iterates over ``str``.
    embeddings : ndarray of shape (n, d), float16 or float32
        As in the file; float64 is cast to float32, where values too large for it become infinite.

    Raises
    ------
    InputDataError
        If the file cannot be read, is not a floating array with two axes and at least one row and column, or the ids
        are too few, too many, empty or repeated.

    Notes
    -----
    Values that are not finite are let through; `finite_rows` finds them.
    """
    array = _matrix(path).read()
    if array.dtype not in (np.float16, np.float32) or not array.dtype.isnative:
        with np.errstate(over="ignore"):
            array = array.astype(np.float16 if array.dtype.itemsize == 2 else np.float32)
    return read_ids(ids_path, len(array)), array


def embeddings_shape(path: Path) -> tuple[int, int]:
    """Return how many embeddings a file has, and how wide they are, by its header.

    Parameters
    ----------
    path : Path
        As `load_embeddings` takes it.

    Returns
    -------
    tuple of (int, int)
        Rows and columns, at least one of each.

    Raises
    ------
    InputDataError
        As `load_embeddings` does of the file.
    """
    rows, columns = _matrix(path).shape
    return rows, columns


def _matrix(path: Path) -> _Matrix:
    """Open a file of embeddings, whose numbers are not read yet; refuse what is none."""
    readers = {".npy": _npy, ".safetensors": _safetensors}
    if path.suffix.lower() not in readers:
        raise InputDataError(f"{path} has the extension '{path.suffix}', expected .npy or .safetensors.")
    try:
        matrix = readers[path.suffix.lower()](path)
    except OSError as error:
        raise InputDataError(f"cannot read {path}: {error.strerror or error}.") from None
    if len(matrix.shape) != 2 or matrix.dtype.kind != "f" or 0 in matrix.shape:
        expected = "expected float16, float32 or float64 of shape (rows, features)"
        raise InputDataError(f"{path} holds {matrix.dtype} of shape {matrix.shape}, {expected}.")
    return matrix


def row_ids(num_rows: int) -> TextColumn:
    """Return the ids of embeddings that have none.

    Parameters
    ----------
    num_rows : int
        How many there are.

    Returns
    -------
    TextColumn
        ``row/00000000`` and so on.
    """
    return TextColumn.from_strings(f"row/{row:08d}" for row in range(num_rows))


def finite_rows(embeddings: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows hold neither NaN nor infinity.

    Parameters
    ----------
    embeddings : ndarray of shape (n, d), floating
        Possibly a memory map; read block by block.

    Returns
    -------
    ndarray of shape (n,), bool
        True where every value is finite.
    """
    finite = np.empty(len(embeddings), bool)
    block = max(1, _BLOCK_VALUES // embeddings.shape[1])
    for start in range(0, len(embeddings), block):
        finite[start : start + block] = np.isfinite(embeddings[start : start + block]).all(axis=1)
    return finite


def _npy(path: Path) -> _Matrix:
    with open(path, "rb") as file:
        if file.read(len(_ARCHIVE)) == _ARCHIVE:  # numpy would leave one that is damaged open
            raise InputDataError(f"{path} is an .npz archive, expected a plain .npy array.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers by Python 2, and of shapes that it refuses next
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # the header is a Python literal: whatever the parser of Python says of a broken one
        raise InputDataError(f"{path} is no .npy file that can be used: {_first_line(error)}.") from None
    behind = path.stat().st_size - array.offset - array.nbytes if isinstance(array, np.memmap) else 0
    if behind:
        raise InputDataError(f"{path} has {behind:,} bytes behind the array of shape {array.shape} that it describes.")
    return _Matrix(array.dtype, array.shape, lambda: array)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def _safetensors(path: Path) -> _Matrix:
    from safetensors import SafetensorError, safe_open

    try:
        file: Any = safe_open(path, framework="np")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        shapes = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except SafetensorError as error:
        raise InputDataError(f"{path} is no .safetensors file that can be used: {str(error).rstrip('.')}.") from None
    matrices = [name for name, (dtype, shape) in shapes.items() if dtype.startswith("F") and len(shape) == 2]
    name = "embeddings" if "embeddings" in shapes else matrices[0] if len(matrices) == 1 else None
    if name is None:
        seen = ", ".join(f"{key}: {dtype} {shape}" for key, (dtype, shape) in shapes.items()) or "nothing"
        raise InputDataError(f"{path} holds {seen}; expected a floating tensor 'embeddings' with two axes.")
    _require_unique_names(path)
    dtype, shape = shapes[name]
    if dtype not in _FLOATS:
        raise InputDataError(f"{path}: '{name}' is {dtype} of shape {shape}, expected F16, F32 or F64.")
    return _Matrix(np.dtype(_FLOATS[dtype]), shape, lambda: file.get_tensor(name))


def _require_unique_names(path: Path) -> None:
    """Refuse a header that names a tensor, or a property of it, twice: readers take the last in silence."""

    def pairs(found: list[tuple[str, Any]]) -> None:
        if len(dict(found)) < len(found):
            raise InputDataError(f"{path} names a tensor twice.")

    with open(path, "rb") as file:
        json.loads(file.read(struct.unpack("<Q", file.read(8))[0]), object_pairs_hook=pairs)


def read_ids(path: Path | None, num_rows: int) -> TextColumn:
    """Return the ids of embeddings.

    Parameters
    ----------
    path : Path or None
        As `load_embeddings` takes it.
    num_rows : int
        How many embeddings there are.

    Returns
    -------
    TextColumn of length `num_rows`
        Unique.

    Raises
    ------
    InputDataError
        If the file cannot be read, or the ids are too few, too many, empty or repeated.
    """
    if path is None:
        return row_ids(num_rows)
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            ids = TextColumn.from_strings(line.removesuffix("\n").removesuffix("\r") for line in file)
        if not ids.blob.all():
            raise InputDataError(f"{path} holds NULs, as UTF-16 does; expected ids in UTF-8, one a line.")
    except OSError as error:
        raise InputDataError(f"cannot read {path}: {error.strerror or error}.") from None
    if len(ids) != num_rows:
        raise InputDataError(f"{path} has {len(ids):,} ids, but there are {num_rows:,} embeddings; expected one each.")
    empty = np.flatnonzero(ids.offsets[1:] == ids.offsets[:-1])
    if len(empty):
        raise InputDataError(f"{path} has an empty id on line {empty[0] + 1}.")
    if repeat := ids.first_duplicate():
        lines = " and ".join(str(row + 1) for row in repeat)
        raise InputDataError(f"{path} lists the id {ids[repeat[0]]!r} twice, on lines {lines}.")
    return ids

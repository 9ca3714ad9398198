"""The samples of a TIFF page as an array: strips or tiles, planes or pixels, of any number of bits."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.data.bad_image import broken, unsupported
from elfs.data.formats.tiff_pages import TiffPage
from elfs.data.formats.tiff_streams import REVERSED, unpacked

__all__ = ["PACKED", "pieces", "read_samples"]

_NONE = 1

PACKED = frozenset((_NONE, 5, 8, 32773, 32946, 34925, 50000))
"""Compressions that give bytes back, whatever they are: none, LZW, deflate, PackBits, LZMA, Zstandard."""

_LETTERS = {1: "u", 2: "i", 3: "f"}
_WHOLE_BYTES = (8, 16, 32, 64)
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3


def read_samples(data: bytes, page: TiffPage) -> NDArray[Any]:
    """Unpack a page.

    Parameters
    ----------
    data : bytes
        The whole file.
    page : TiffPage
        Compressed with one of `PACKED`; all samples alike.

    Returns
    -------
    ndarray of shape (height, width, num_samples)
        Unsigned, signed or float of 8, 16, 32 or 64 bits; samples of other sizes up to 16 bits as uint16.

    Raises
    ------
    BadImageError
        BROKEN if bytes are missing or damaged, UNSUPPORTED for sizes and predictors that are not known.
    """
    bits, kind = page.bits[0], next(iter(page.formats))
    if bits not in _WHOLE_BYTES and (bits > 16 or kind != 1):
        raise unsupported(f"a TIFF of {bits}-bit {'float ' if kind == 3 else ''}samples")
    if kind == 3 and bits == 8:
        raise unsupported("a TIFF of 8-bit float samples")
    width, height, is_tiled = page.width, page.height, 324 in page.directory
    if is_tiled:
        cell_width, cell_height = page.number(322, 0), page.number(323, 0)
    else:
        cell_width, cell_height = width, min(page.number(278, height) or height, height)
    if cell_width < 1 or cell_height < 1 or cell_width * cell_height > 4 * max(width * height, 2**20):
        raise broken(f"damaged tiff image (pieces of {cell_width} x {cell_height})")
    depth, num_planes = (1, page.num_samples) if page.is_planar else (page.num_samples, 1)
    packed = pieces(data, page)
    shape = (height, width, page.num_samples)
    samples: NDArray[Any] = np.empty(shape, _dtype(data, page).newbyteorder("="))
    for plane in range(num_planes):
        for top in range(0, height, cell_height):
            rows = min(cell_height, height - top)
            for left in range(0, width, cell_width):
                piece = next(packed, None)
                if piece is None:
                    raise broken("damaged tiff image (truncated: it has too few pieces)")
                cell = _cell(data, page, piece, (cell_height if is_tiled else rows, cell_width, depth))
                columns = min(cell_width, width - left)
                where = slice(plane, plane + 1) if page.is_planar else slice(None)
                samples[top : top + rows, left : left + columns, where] = cell[:rows, :columns]
    return samples


def pieces(data: bytes, page: TiffPage) -> Iterator[memoryview]:
    """Yield the strips or tiles of a page; without sizes, all to the end of the file.

    Parameters
    ----------
    data : bytes
        The whole file.
    page : TiffPage
        Whatever it is compressed with.

    Yields
    ------
    memoryview
        As long as what the file has of it.

    Raises
    ------
    BadImageError
        BROKEN if a tag of theirs holds no integers.
    """
    is_tiled = 324 in page.directory
    offsets = page.numbers(324 if is_tiled else 273)
    sizes = page.numbers(325 if is_tiled else 279, tuple(len(data) for _ in offsets))
    view = memoryview(data)
    for start, size in zip(offsets, sizes, strict=False):
        yield view[start : start + size]


def _dtype(data: bytes, page: TiffPage) -> np.dtype[Any]:
    bits = page.bits[0]
    if bits not in _WHOLE_BYTES:
        return np.dtype(np.uint16)
    order = "<" if data[:2] == b"II" else ">"
    return np.dtype(f"{order}{_LETTERS[next(iter(page.formats))]}{bits // 8}")


def _cell(data: bytes, page: TiffPage, piece: memoryview, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Unpack a strip or a tile of rows x columns x samples."""
    rows, columns, depth = shape
    bits = page.bits[0]
    row_bytes = (columns * depth * bits + 7) // 8
    num_bytes = rows * row_bytes
    if page.compression == _NONE:
        found = np.frombuffer(piece[:num_bytes], np.uint8)
        if page.number(266, 1) == 2:
            found = REVERSED[found]
    else:
        most = num_bytes if 324 in page.directory else min(page.number(278, rows), 2 * page.height) * row_bytes
        found = unpacked(page, bytes(piece), num_bytes, most)
    if len(found) < num_bytes:
        raise broken(f"damaged tiff image (truncated: {len(found):,} of {num_bytes:,} bytes of a piece)")
    predictor = _NO_PREDICTOR if page.compression in (_NONE, 32773) else page.number(317, _NO_PREDICTOR)
    found = found.reshape(rows, row_bytes)
    if bits not in _WHOLE_BYTES:
        if predictor != _NO_PREDICTOR:
            raise unsupported(f"a TIFF of differences of {bits}-bit samples")
        return _from_bits(found, columns * depth, bits).reshape(shape)
    dtype = _dtype(data, page)
    if predictor == _FLOAT_DIFFERENCES:
        return _from_float_differences(found, columns, depth, dtype)
    values = found.view(dtype).reshape(shape)
    if predictor == _DIFFERENCES:
        if dtype.kind == "f":
            whole = np.dtype(f"u{dtype.itemsize}")
            return np.cumsum(values.view(f"{dtype.byteorder}u{dtype.itemsize}"), axis=1, dtype=whole).view(
                dtype.newbyteorder("=")
            )
        return np.cumsum(values, axis=1, dtype=dtype.newbyteorder("="))
    if predictor != _NO_PREDICTOR:
        raise unsupported(f"a TIFF of predictor {predictor}")
    return values


def _from_bits(found: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint16]:
    """Unpack rows of numbers of any number of bits, the highest bit first."""
    flat = np.unpackbits(found, axis=1, count=count * bits).reshape(len(found), count, bits)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    numbers: NDArray[np.uint16] = (flat * weights).sum(axis=2, dtype=np.uint16)
    return numbers


def _from_float_differences(found: NDArray[np.uint8], columns: int, depth: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Undo Adobe's predictor of floats: bytes of equal weight together, the heaviest first, and differences of them."""
    if dtype.kind != "f":
        raise unsupported("a TIFF of float differences of integers")
    rows = len(found)
    bytewise = np.cumsum(found.reshape(rows, -1, depth), axis=1, dtype=np.uint8)
    planes = bytewise.reshape(rows, dtype.itemsize, columns * depth)
    whole = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">f{dtype.itemsize}")
    return whole.reshape(rows, columns, depth)

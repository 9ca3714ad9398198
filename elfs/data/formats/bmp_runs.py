"""Runs of a BMP file: places in its colour map, where pixels that are skipped have the first, as most programs show."""

import numpy as np
from numpy.typing import NDArray

from elfs.data.bad_image import broken

__all__ = ["read_runs"]

_LINE_END, _SKIP = 0, 2
"""1 ends the picture."""

_PAIRS = [bytes((value >> 4, value & 15)) for value in range(256)]


def read_runs(codes: bytes, bits: int, width: int, height: int) -> NDArray[np.uint8]:
    """Unpack runs.

    Parameters
    ----------
    codes : bytes
        From the first run on; what is behind the end does not matter.
    bits : int
        Of a place in the colour map: 4 or 8.
    width, height : int
        Of the picture.

    Returns
    -------
    ndarray of shape (height, width), uint8
        The lowest row first.

    Raises
    ------
    BadImageError
        BROKEN if they end without their end mark and before the last row, or go on above it.
    """
    places = bytearray(width * height)
    at = column = row = 0
    while at + 2 <= len(codes):
        count, value = codes[at], codes[at + 1]
        at += 2
        if count or value > _SKIP:
            if row >= height or column >= width:
                raise broken("damaged bmp image (runs beyond its rows)")
            if count:
                found = bytes((value,)) * count if bits == 8 else _PAIRS[value] * (count // 2 + 1)
            else:
                num_bytes = value if bits == 8 else (value + 1) // 2
                packed = codes[at : at + num_bytes]
                found = packed if bits == 8 else b"".join(_PAIRS[pair] for pair in packed)
                at += num_bytes + num_bytes % 2
            found = found[: min(count or value, width - column)]
            start = row * width + column
            places[start : start + len(found)] = found
            column += len(found)
        elif value == _SKIP:
            skipped = codes[at : at + 2]
            column, row = min(column + sum(skipped[:1]), width), row + sum(skipped[1:])
            at += 2
        elif value == _LINE_END:
            column, row = 0, row + 1
            if row > height:
                raise broken("damaged bmp image (ends of more rows than it has)")
        else:
            return _in_rows(places, width)
    if row < height - (column == width):
        raise broken(f"damaged bmp image (truncated: runs of {row:,} of {height:,} rows)")
    return _in_rows(places, width)


def _in_rows(places: bytearray, width: int) -> NDArray[np.uint8]:
    return np.frombuffer(places, np.uint8).reshape(-1, width)

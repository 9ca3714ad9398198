"""BMP files: colours in any bits of a pixel, alpha that is not used, and kinds that Pillow calls damaged."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.bad_image import broken, unsupported
from elfs.data.formats.bmp_runs import read_runs
from elfs.data.formats.levels import from_unsigned
from elfs.data.formats.opening import open_image, refuse_large

__all__ = ["read_bmp"]

_FILE_HEADER = 14
_PLAIN_HEADER, _ALPHA_HEADER, _OS2_HEADER = 40, 56, 64
_BIT_FIELDS = 3
_PACKINGS = {4: "JPEG", 5: "PNG", 6: "bit fields with alpha", 11: "CMYK", 12: "CMYK", 13: "CMYK"}
_RUNS = ((1, 8), (2, 4))
_MAX_LEVEL_BITS = 16


def read_bmp(data: bytes, max_pixels: int) -> Image.Image:
    """Read a BMP file; without alpha where that is 0 everywhere.

    Arguments, result and errors are those of `elfs.data.formats`.
    """
    size = data[_FILE_HEADER]
    bits, packing = _number(data, 28, 2), _number(data, 30) if size >= _PLAIN_HEADER else 0
    if size >= _PLAIN_HEADER and bits in (2, 64):
        raise unsupported(f"a {bits}-bit BMP")
    if packing in _PACKINGS or (size == _OS2_HEADER and packing == _BIT_FIELDS):
        raise unsupported(f"a BMP of {_PACKINGS.get(packing, 'fax codes')}")
    at = _FILE_HEADER + _PLAIN_HEADER
    masks = [_number(data, at + 4 * index) for index in range(3 if size < _ALPHA_HEADER else 4)]
    if packing == _BIT_FIELDS and bits in (16, 32) and any(masks):
        image = _from_fields(data, bits, masks, max_pixels)
    elif (packing, bits) in _RUNS:
        image = _from_runs(data, bits, max_pixels)
    else:
        image = open_image(data, "BMP", max_pixels)
        image.load()
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # programs that draw with GDI leave alpha at 0
    return image


def _number(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _from_fields(data: bytes, bits: int, masks: list[int], max_pixels: int) -> Image.Image:
    """Read pixels whose colours are wherever masks say."""
    width, height = _number(data, 18), int.from_bytes(data[22:26], "little", signed=True)
    refuse_large(width, abs(height), max_pixels)
    if not width or not height:
        raise broken(f"damaged bmp image ({width} x {abs(height)} pixels)")
    start, row_bytes = _number(data, 10), (width * bits + 31) // 32 * 4
    if len(data) < start + row_bytes * abs(height):
        raise broken("damaged bmp image (truncated)")
    rows = np.frombuffer(data, np.uint8, row_bytes * abs(height), start).reshape(abs(height), row_bytes)
    values = rows.view(f"<u{bits // 8}")[:, :width]
    levels = np.dstack([_levels(values, mask) for mask in masks[: 4 if any(masks[3:]) else 3]])
    return Image.fromarray(levels if height < 0 else np.ascontiguousarray(levels[::-1]))


def _from_runs(data: bytes, bits: int, max_pixels: int) -> Image.Image:
    """Read runs of places in a colour map."""
    width, height = _number(data, 18), _number(data, 22)
    refuse_large(width, height, max_pixels)
    if not width or not height:
        raise broken(f"damaged bmp image ({width} x {height} pixels)")
    first, start = _FILE_HEADER + data[_FILE_HEADER], _number(data, 10)
    count = min(_number(data, 46) or 2**bits, 2**bits, max(start - first, 0) // 4)
    colors = np.zeros((256, 3), np.uint8)
    found = np.frombuffer(data[first : first + 4 * count], np.uint8)
    if len(found) < 4 * count:
        raise broken("damaged bmp image (truncated)")
    colors[:count] = found.reshape(-1, 4)[:, 2::-1]
    return Image.fromarray(colors[read_runs(data[start:], bits, width, height)[::-1]])


def _levels(values: NDArray[Any], mask: int) -> NDArray[np.uint8]:
    low = (mask & -mask).bit_length() - 1
    num_bits = mask.bit_count()
    if not mask:
        return np.zeros(values.shape, np.uint8)
    if mask >> low != 2**num_bits - 1 or num_bits > _MAX_LEVEL_BITS:
        raise unsupported(f"a BMP with the bit field {mask:#x}")
    return from_unsigned(values >> low & (2**num_bits - 1), num_bits, is_color=True)

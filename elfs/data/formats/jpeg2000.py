"""JPEG 2000 files with more or less than 8 bits a colour, and with colour maps, which Pillow gets wrong.

More bits: it rounds to 8, and what rounds to 256 becomes 0. Where there is such a 0, the file is decoded once more as
if its samples had one bit more, which halves what is shown: the wrapped ones are the bright ones. Less: it shifts them
up, so that the white of 1 bit is 128, and places in a colour map are others; of equal colours in a map it keeps one.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.bad_image import broken, unsupported
from elfs.data.formats.boxes import boxes
from elfs.data.formats.jpeg2000_codes import require_codes
from elfs.data.formats.opening import open_image

__all__ = ["read_jpeg2000"]

_SIZES = b"\xff\x4f\xff\x51"
_CODING = b"\xff\x52"
_MAX_BITS = 16
_MAPPED_SPACES = (b"\0\0\0\x10", b"\0\0\0\x11")
"""sRGB and gray."""


def read_jpeg2000(data: bytes, max_pixels: int) -> Image.Image:
    """Read a JPEG 2000 file.

    Arguments, result and errors are those of `elfs.data.formats`.
    """
    start = data.find(_SIZES)
    count = int.from_bytes(data[start + 40 : start + 42], "big")
    places = range(start + 42, start + 42 + 3 * count, 3)
    if start < 0 or not count or places[-1] >= len(data):
        raise broken("damaged header of a jpeg2000 image")
    bits = [(data[place] & 0x7F) + 1 for place in places]
    if max(bits) > _MAX_BITS:
        raise unsupported(f"a JPEG 2000 of {max(bits)} bits")
    colors = _color_map(data)
    image = open_image(data if colors is None else data[start:], "JPEG2000", max_pixels)
    require_codes(data, start, count)
    mode = image.mode
    image.load()
    pixels = np.asarray(image)
    if colors is not None:
        return _mapped(pixels, bits, colors)
    if min(bits) < 8 and max(bits) <= 8:
        levels = np.arange(256)
        tables = [(levels >> (8 - size)) * 255 // (2**size - 1) for size in bits]
        return image.point(np.concatenate(tables).astype(np.uint8).tolist())
    if max(bits) <= 8 or (count == 1 and pixels.dtype != np.uint8):
        return image
    if pixels.dtype != np.uint8:
        raise unsupported(f"a JPEG 2000 of {count} components of {max(bits)} bits")
    if pixels.all():
        return image
    if not _is_lossless(data, start) or b"colr\1\0\0\0\0\0\x12" in data[:start] or mode == "YCbCr":
        raise unsupported(f"a lossy JPEG 2000 of {max(bits)} bits a colour")
    wider = bytearray(data)
    for place in places:
        wider[place] += 1
    halved = open_image(bytes(wider), "JPEG2000", max_pixels)
    halved.load()
    return Image.fromarray(np.where((pixels == 0) & (np.asarray(halved) >= 128), 255, pixels).astype(np.uint8), mode)


def _color_map(data: bytes) -> NDArray[np.uint8] | None:
    """Return the colours of a file that has a map, one a row."""
    if data[:2] == _SIZES[:2]:
        return None
    for name, start, stop in boxes(data, 0, len(data)):
        if name == b"jp2h":
            parts = {part: data[begin:end] for part, begin, end in boxes(data, start, stop)}
            break
    else:
        return None
    if b"pclr" not in parts:
        return None
    body = parts[b"pclr"]
    count, num_columns = int.from_bytes(body[:2], "big"), body[2]
    columns = b"".join(b"\0\0\1" + bytes([column]) for column in range(num_columns))
    is_usual = parts.get(b"cmap") == columns and parts.get(b"colr", b"")[3:7] in _MAPPED_SPACES
    if num_columns > 4 or body[3 : 3 + num_columns].strip(b"\7") or not is_usual:
        raise unsupported("a JPEG 2000 of an unusual colour map")
    found = np.frombuffer(body, np.uint8, count * num_columns, 3 + num_columns)
    return found.reshape(count, num_columns)


def _mapped(pixels: NDArray[np.uint8], bits: list[int], colors: NDArray[np.uint8]) -> Image.Image:
    """Look up the colours of places in a map, which Pillow has shifted to 8 bits."""
    if len(bits) != 1 or bits[0] > 8:
        raise unsupported(f"a JPEG 2000 of a colour map and {len(bits)} components of {max(bits)} bits")
    places = pixels >> (8 - bits[0])
    if places.max() >= len(colors):
        raise broken(f"damaged jpeg2000 image (place {places.max()} in a map of {len(colors)} colours)")
    found = colors[places]
    return Image.fromarray(found[..., 0] if found.shape[2] == 1 else found)


def _is_lossless(data: bytes, start: int) -> bool:
    """Return whether the wavelets are those of whole numbers, whose values do not hang on the bits of the samples."""
    coding = data.find(_CODING, start)
    return coding >= 0 and data[coding + 13 : coding + 14] == b"\1"

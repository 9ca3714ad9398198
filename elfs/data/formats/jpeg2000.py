"""JPEG 2000 files with more than 8 bits a colour, whose white Pillow wraps to black.

It rounds to 8 bits, and what rounds to 256 becomes 0. Where there is such a 0, the file is decoded once more as if its
samples had one bit more, which halves what is shown: the wrapped ones are the bright ones.
"""

import numpy as np
from PIL import Image

from elfs.data.bad_image import broken, unsupported
from elfs.data.formats.opening import open_image
from elfs.data.formats.tails import require_tail

__all__ = ["read_jpeg2000"]

_SIZES = b"\xff\x4f\xff\x51"
_CODING = b"\xff\x52"
_MAX_BITS = 16


def read_jpeg2000(data: bytes, max_pixels: int) -> Image.Image:
    """Read a JPEG 2000 file.

    Parameters
    ----------
    data : bytes
        A whole file.
    max_pixels : int
        Refuse an image whose header says more than this, width x height.

    Returns
    -------
    PIL.Image.Image
        Of any mode whose conversion to RGB is right.

    Raises
    ------
    BadImageError
        BROKEN, UNSUPPORTED or TOO_LARGE.
    """
    start = data.find(_SIZES)
    count = int.from_bytes(data[start + 40 : start + 42], "big")
    places = range(start + 42, start + 42 + 3 * count, 3)
    if start < 0 or not count or places[-1] >= len(data):
        raise broken("damaged header of a jpeg2000 image")
    bits = [(data[place] & 0x7F) + 1 for place in places]
    if max(bits) > _MAX_BITS:
        raise unsupported(f"a JPEG 2000 of {max(bits)} bits")
    image = open_image(data, "JPEG2000", max_pixels)
    require_tail(data, "jpeg2000", image.width * image.height)
    mode = image.mode
    image.load()
    pixels = np.asarray(image)
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


def _is_lossless(data: bytes, start: int) -> bool:
    """Return whether the wavelets are those of whole numbers, whose values do not hang on the bits of the samples."""
    coding = data.find(_CODING, start)
    return coding >= 0 and data[coding + 13 : coding + 14] == b"\1"

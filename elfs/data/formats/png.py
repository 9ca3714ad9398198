"""PNG files: the chunks that pixels come from, checked, and no others; a transparent colour at every depth.

Ancillary chunks such as text and colour profiles are left out before Pillow sees them: however large, strange or
damaged they are, the picture is what it is.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.bad_image import broken, unsupported
from elfs.data.formats.levels import from_unsigned
from elfs.data.formats.opening import open_image

__all__ = ["read_png"]

_SIGNATURE_BYTES = 8
_PIXEL_CHUNKS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"))
_GRAY, _RGB = 0, 2
_NUM_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of interlaced pixels: the first column and row, and how many of each lie between two."""

_PIECE = 1 << 20


def read_png(data: bytes, max_pixels: int) -> tuple[Image.Image, bool]:
    """Read a PNG file; of an animation its default image.

    BROKEN are those of which a chunk that pixels come from is damaged or missing.
    Arguments, result and errors are those of `elfs.data.formats`.
    """
    needed, has_several = _needed(data)
    image = open_image(needed, "PNG", max_pixels)
    image.load()
    _require_all_rows(needed, image)
    depth, color = needed[24], needed[25]
    clear = image.info.get("transparency")
    if clear is None or depth == 8 or color not in (_GRAY, _RGB):
        return image, has_several
    if color == _RGB:
        return _without_color(needed, image, clear), has_several
    if depth == 1:
        clear = needed[needed.index(b"tRNS") + 5]  # of which Pillow tells only whether it is 0
    if depth == 16:
        values = np.asarray(image)
        alpha = np.where(values == clear, 0, 255).astype(np.uint8)
        return Image.fromarray(np.dstack([from_unsigned(values, 16), alpha]), "LA"), has_several
    highest = 2**depth - 1  # bits above it do not count
    image.info["transparency"] = (clear & highest) * 255 // highest  # as Pillow scales the pixels
    return image, has_several


def _without_color(data: bytes, image: Image.Image, clear: tuple[int, int, int]) -> Image.Image:
    """Make a colour of 16 bits transparent; Pillow gives high bytes, or, asked for the other order, low ones."""
    low = open_image(data, "PNG", image.width * image.height)
    low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # type: ignore[attr-defined]
    low.load()
    high_bytes, low_bytes = np.asarray(image), np.asarray(low)
    values: NDArray[Any] = high_bytes.astype(np.uint16) << 8 | low_bytes
    alpha = np.where((values == np.array(clear)).all(axis=2), 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([high_bytes, alpha]))


def _require_all_rows(data: bytes, image: Image.Image) -> None:
    """Refuse pixels that end before their last row, which Pillow leaves at 0; they are counted only where it is 0."""
    width, height = image.size
    depth, color, is_interlaced = data[24], data[25], data[28] == 1
    if not is_interlaced and any(image.crop((0, height - 1, width, height)).tobytes()):
        return
    bits = depth * _NUM_SAMPLES[color]
    expected = 0
    for left, top, across, down in _PASSES if is_interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        expected += max(rows, 0) * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    unpacked, found = zlib.decompressobj(), 0
    for name, start, stop in _chunks(data):
        packed = data[start:stop] if name == b"IDAT" else b""
        while packed and found < expected:
            found += len(unpacked.decompress(packed, _PIECE))
            packed = unpacked.unconsumed_tail
    if found < expected:
        raise broken(f"damaged png image (truncated: {found:,} of {expected:,} bytes of its pixels)")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and stop of what each chunk of a file that is known to be whole holds."""
    start = _SIGNATURE_BYTES
    while start < len(data):
        stop = start + 8 + int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], start + 8, stop
        start = stop + 4


def _needed(data: bytes) -> tuple[bytes, bool]:
    """Return a file of the chunks that count, and whether others said that it is animated."""
    view, start, has_several, is_whole = memoryview(data), _SIGNATURE_BYTES, False, False
    parts = [view[:start]]
    while not is_whole:
        stop = start + 12 + int.from_bytes(view[start : start + 4], "big")
        name = data[start + 4 : start + 8]
        if stop > len(data):
            raise broken(f"damaged png image (truncated in the chunk {name!r})" if name else _TRUNCATED)
        is_needed = name in _PIXEL_CHUNKS
        if is_needed or name in (b"eXIf", b"acTL"):
            is_right = zlib.crc32(view[start + 4 : stop - 4]) == int.from_bytes(view[stop - 4 : stop], "big")
            if is_needed and not is_right:
                raise broken(f"damaged png image (bad checksum of the chunk {name.decode()})")
            has_several |= name == b"acTL" and is_right and int.from_bytes(view[start + 8 : start + 12], "big") > 1
            is_needed |= name == b"eXIf" and is_right
        elif not name.isalpha():
            raise broken("damaged png image (a chunk without a name)")
        elif name[:1].isupper():
            raise unsupported("an Apple CgBI PNG" if name == b"CgBI" else f"a PNG with the chunk {name.decode()}")
        if is_needed:
            parts.append(view[start:stop])
        is_whole, start = name == b"IEND", stop
    return b"".join(parts), has_several


_TRUNCATED = "damaged png image (truncated)"

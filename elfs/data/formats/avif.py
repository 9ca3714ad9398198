"""AVIF files: whole or not. Decoders do not look whether the last pixel used the last of the bytes.

As in WebP (`elfs.data.formats.webp`), codes that were lost or overwritten make the pixels after them take other numbers
of bytes. The last bytes of each picture in a file (its colours, its alpha, the parts of a grid) are taken away in
turn: they become a padding unit of AV1, which decoders skip. One that does not miss them has never come to them. Of
some 40,000 whole ones dav1d missed them in all but three, so that it is asked again with other numbers of them.
"""

from PIL import Image

from elfs.data.bad_image import broken
from elfs.data.formats.media_items import shown_items
from elfs.data.formats.opening import is_animated, open_image
from elfs.data.formats.tails import require_tail

__all__ = ["read_avif"]

_LEFT = (16, 19, 23, 28)
"""So many last bytes are taken away, each time less likely without damage."""

_MIN_BYTES = 64
"""Fewer are not looked at."""

_TILES, _FRAME, _HAS_SIZE = 4, 6, 2


def read_avif(data: bytes, max_pixels: int) -> tuple[Image.Image, bool]:
    """Read an AVIF file.

    BROKEN are those whose codes do not end where they should, too.
    Arguments, result and errors are those of `elfs.data.formats`.
    """
    image = open_image(data, "AVIF", max_pixels)
    require_tail(data, "avif", image.width * image.height)
    has_several = is_animated(image)
    image.load()
    for shown, _, begin, end in shown_items(data):
        tiles = _last_tiles(shown, begin, end)
        if tiles and all(_is_decoded(_shortened(shown, *tiles, left), max_pixels) for left in _LEFT):
            raise broken("damaged avif image (fewer pixels than its codes)")
    return image, has_several


def _is_decoded(data: bytes, max_pixels: int) -> bool:
    try:
        open_image(data, "AVIF", max_pixels).load()
    except Exception:  # Pillow answers missing bytes with several types
        return False
    return True


def _shortened(data: bytes, place: int, start: int, stop: int, left: int) -> bytes:
    """Return a file whose unit of pixels is shorter, and followed by padding."""
    size = _size(stop - start - left, start - place)
    padding = b"\x7a" + bytes([left - 2]) + bytes(left - 3) + b"\x80"
    return data[:place] + size + data[start : stop - left] + padding + data[stop:]


def _last_tiles(data: bytes, start: int, stop: int) -> tuple[int, int, int] | None:
    """Return where the size of the last unit of pixels stands, and where that unit starts and stops."""
    found = None
    while start < stop:
        head = data[start]
        if not head & _HAS_SIZE:
            return None
        start += 2 if head & 4 else 1
        place, size = start, 0
        for shift in range(0, 56, 7):
            byte = data[start] if start < stop else 0
            size |= (byte & 127) << shift
            start += 1
            if byte < 128:
                break
        if head >> 3 & 15 in (_TILES, _FRAME) and size >= _MIN_BYTES:
            found = place, start, start + size
        start += size
    return found if start == stop else None


def _size(value: int, num_bytes: int) -> bytes:
    """Write a number in 7 bits a byte, each but the last with its upper bit set."""
    return bytes(value >> 7 * index & 127 | 128 * (index < num_bytes - 1) for index in range(num_bytes))

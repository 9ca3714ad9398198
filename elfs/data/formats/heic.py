"""HEIC files, which a plugin of Pillow decodes: whole or not. Its decoder neither misses bytes nor those that are left.

The codes of a picture hang on all before them: where bytes were lost or overwritten, the pixels after these take other
numbers of bytes than they did. Of each part of the picture (a tile of a grid, its alpha) bytes are put behind the last
ones: whole codes end before them, others change. Then the last ones are changed: a decoder whose pixels stay the same
has never come to them. They may belong to what a picture has beyond its right and lower edge, since it is coded in
squares of up to 64 x 64; where its sides are no multiples of these, more of them are changed, and none of small ones.
"""

from collections import Counter

from PIL import Image

from elfs.data.bad_image import broken
from elfs.data.formats.media_items import packed_items, shown_items, with_pixels, within_picture
from elfs.data.formats.opening import is_animated, open_image
from elfs.data.formats.tails import require_tail

__all__ = ["read_heic"]

_SQUARE = 64
_MORE = 16 * b"\x55" + b"\x80"
_LEFT, _MIN_LEFT, _SHARE_LEFT, _MIN_SIDE = 16, 28, 8, 128
_CUT = b"clap"
"""Says that a picture is a part of what is coded."""

_OTHERS = (0x5A, 0xA3)
"""What the last bytes are combined with, in turn."""


def read_heic(data: bytes, max_pixels: int) -> tuple[Image.Image, bool]:
    """Read a HEIC file.

    BROKEN are those whose codes do not end where they should, too.
    Arguments, result and errors are those of `elfs.data.formats`.
    """
    image = open_image(data, "HEIF", max_pixels)
    require_tail(data, "heic", image.width * image.height)
    has_several = is_animated(image)
    image.load()
    parts = within_picture(data)
    extents = Counter(item for item, _, _ in packed_items(data))
    if any(end > len(data) for item, _, end in packed_items(data) if item in parts):
        raise broken("damaged heic image (truncated)")
    for shown, item, begin, end in shown_items(data):
        if item in parts and extents[item] == 1:
            part = image if len(parts) == 1 else _decoded(shown)
            if part is not None:
                _require_end(part, shown, item, (begin, end))
    return image, has_several


def _require_end(image: Image.Image, shown: bytes, item: int, place: tuple[int, int]) -> None:
    begin, end = place
    codes = shown[begin:end]
    last = _last_unit(codes)
    if last is None:
        return
    start, size = last
    longer = codes[:start] + (size + len(_MORE)).to_bytes(4, "big") + codes[start + 4 :] + _MORE
    other = with_pixels(shown, item, longer)
    if other is not None and not _is_like(image, other):
        raise broken("damaged heic image (more pixels than its codes)")
    if _CUT in shown[:begin]:
        return
    left = _LEFT
    if image.width % _SQUARE or image.height % _SQUARE:
        left = max(_MIN_LEFT, size // _SHARE_LEFT)
        if min(image.size) < _MIN_SIDE:
            return
    if left >= size // 2:
        return
    for pattern in _OTHERS:
        changed = bytes(byte ^ pattern for byte in codes[-left:])
        if not _is_like(image, shown[: end - left] + changed + shown[end:]):
            return
    raise broken("damaged heic image (fewer pixels than its codes)")


def _last_unit(codes: bytes) -> tuple[int, int] | None:
    """Return where the last unit of an item begins and how long it is; each has its size before it."""
    at, last = 0, None
    while at + 4 <= len(codes):
        size = int.from_bytes(codes[at : at + 4], "big")
        last = at, size
        at += 4 + size
    return last if at == len(codes) else None


def _decoded(data: bytes) -> Image.Image | None:
    try:
        image = open_image(data, "HEIF", len(data) << 32)
        image.load()
    except Exception:  # the plugin answers damaged bytes with several types
        return None
    return image


def _is_like(image: Image.Image, data: bytes) -> bool:
    found = _decoded(data)
    return found is not None and found.size == image.size and found.tobytes() == image.tobytes()

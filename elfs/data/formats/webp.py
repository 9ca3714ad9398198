"""WebP files: whole or not. Decoders stop at the last pixel and do not look whether that was the last of the bytes.

The codes of a picture hang on all before them: where bytes were lost or overwritten, the pixels after these take other
numbers of bytes than they did. More than there are is an error of the decoder. Fewer are left over, which is seen by
taking the last bytes away: a decoder that does not miss them has never come to them.
"""

from collections.abc import Iterator

from PIL import Image

from elfs.data.bad_image import broken
from elfs.data.formats.opening import is_animated, open_image
from elfs.data.formats.tails import require_tail

__all__ = ["read_webp"]

_HEAD, _FRAME_HEAD = 12, 16
_MOST_LEFT = 16
"""So many last bytes are taken away: libwebp leaves up to 3, and reads up to 8 too few without noticing."""

_MIN_BYTES = 64
"""Fewer are not looked at."""

_LOSSY_HEAD = 10
_LOSSLESS_SIGNATURE = b"\x2f"


def read_webp(data: bytes, max_pixels: int) -> tuple[Image.Image, bool]:
    """Read a WebP file.

    BROKEN are those whose codes do not end where they should, too.
    Arguments, result and errors are those of `elfs.data.formats`.
    """
    image = open_image(data, "WEBP", max_pixels)
    require_tail(data, "webp", image.width * image.height)
    has_several = is_animated(image)
    image.load()
    for shortened in _shortened(data):
        if _is_decoded(shortened):
            raise broken("damaged webp image (fewer pixels than its codes)")
    return image, has_several


def _is_decoded(data: bytes) -> bool:
    try:
        open_image(data, "WEBP", len(data) << 32).load()
    except Exception:  # Pillow answers missing bytes with several types
        return False
    return True


def _shortened(data: bytes) -> Iterator[bytes]:
    """Yield files of a stream of codes of the first frame each, without its last bytes."""
    for name, body in _first_frame(data):
        if len(body) < _MIN_BYTES:
            continue
        if name == b"VP8 ":
            for part in _without_ends(body):
                yield _file(name, part)
        elif name == b"VP8L":
            yield _file(name, body[:-_MOST_LEFT])
        elif body[0] & 3 == 1:  # alpha that is compressed, as a lossless picture without its head
            yield _file(b"VP8L", _lossless_head(data) + body[1:-_MOST_LEFT])


def _first_frame(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and body of the chunks of pixels of the first frame."""
    start = _HEAD
    while start + 8 <= len(data):
        name, size = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "little")
        start += 8
        if name == b"ANMF":
            start += _FRAME_HEAD
            continue
        if name in (b"VP8 ", b"VP8L", b"ALPH"):
            yield name, data[start : start + size]
        if name in (b"VP8 ", b"VP8L"):
            return
        start += size + size % 2


def _lossless_head(data: bytes) -> bytes:
    """Return the head of a lossless picture of the size of the lossy one."""
    lossy = next(body for name, body in _first_frame(data) if name == b"VP8 ")
    width, height = (int.from_bytes(lossy[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return _LOSSLESS_SIGNATURE + (width - 1 | (height - 1) << 14).to_bytes(4, "little")


def _file(name: bytes, body: bytes) -> bytes:
    chunk = name + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk


def _without_ends(body: bytes) -> Iterator[bytes]:
    """Yield a lossy picture without the end of each of its partitions of coefficients."""
    sizes_start = _LOSSY_HEAD + (int.from_bytes(body[:3], "little") >> 5)
    count = _num_partitions(body[_LOSSY_HEAD:sizes_start])
    start = sizes_start + 3 * (count - 1)
    for place in range(sizes_start, start, 3):
        size = int.from_bytes(body[place : place + 3], "little")
        if size >= _MIN_BYTES:
            shorter = (size - _MOST_LEFT).to_bytes(3, "little")
            stop = start + size
            yield body[:place] + shorter + body[place + 3 : stop - _MOST_LEFT] + body[stop:]
        start += size
    if len(body) - start >= _MIN_BYTES:
        yield body[:-_MOST_LEFT]


class _Bits:
    """Bits of even odds of a VP8 header, which is coded arithmetically (RFC 6386, section 7)."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "big")
        self.shift = 8 * len(data) - 8
        self.range = 255

    def read(self, count: int) -> int:
        found = 0
        for _ in range(count):
            split = 1 + (self.range - 1) // 2
            is_one = self.value >= split << self.shift
            self.value -= (split << self.shift) * is_one
            self.range = self.range - split if is_one else split
            while self.range < 128:
                self.range <<= 1
                self.shift -= 1
            found = found << 1 | is_one
        return found


def _num_partitions(head: bytes) -> int:
    """Return how many partitions of coefficients there are (RFC 6386, section 9.2 to 9.5)."""
    bits = _Bits(head[:64])
    bits.read(2)
    if bits.read(1):  # segments
        has_map, has_values = bits.read(1), bits.read(1)
        if has_values:
            bits.read(1)
            for size in (7, 7, 7, 7, 6, 6, 6, 6):
                if bits.read(1):
                    bits.read(size + 1)
        for _ in range(3 * has_map):
            if bits.read(1):
                bits.read(8)
    bits.read(10)
    if bits.read(1) and bits.read(1):  # changes of the filter
        for _ in range(8):
            if bits.read(1):
                bits.read(7)
    return 1 << bits.read(2)

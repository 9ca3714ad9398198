"""Pictures whose tail was never written: WebP, AVIF and HEIC files whose pixels end in bytes of 0 or of 255.

Their decoders take these for pixels. Encoders leave few of them at the end of what they have packed: AVIF none, WebP
at most 83 NULs of 320 x 97 pixels of one colour, 430 of 1,500 x 1,500, and one 255.
"""

from collections.abc import Iterator

from elfs.data.bad_image import broken
from elfs.data.formats.media_items import packed_items

__all__ = ["require_tail"]

_MIN_NULS, _MIN_NULS_OF_WEBP = 16, 96
_PIXELS_PER_NUL = 4096
"""So many pixels of one colour may end in one NUL more."""

_WEBP_PIXELS = frozenset((b"VP8 ", b"VP8L", b"ALPH", b"ANMF"))


def require_tail(data: bytes, kind: str, num_pixels: int) -> None:
    """Refuse a file whose pixels end in a run of 0 or 255.

    Parameters
    ----------
    data : bytes
        A whole file.
    kind : str
        As `elfs.data.sniffing.sniff` says.
    num_pixels : int
        Width x height.

    Raises
    ------
    BadImageError
        If it is BROKEN.
    """
    length = (_MIN_NULS_OF_WEBP if kind == "webp" else _MIN_NULS) + num_pixels // _PIXELS_PER_NUL
    for fill, name in ((b"\0", "NULs"), (b"\xff", "bytes of 255")):
        if fill * length not in data:
            continue
        packed = _webp_pixels(data) if kind == "webp" else (data[begin:end] for _, begin, end in packed_items(data))
        if any(part[-length:] == fill * length for part in packed):
            raise broken(f"damaged {kind} image (truncated: its pixels end in {name})")


def _webp_pixels(data: bytes) -> Iterator[bytes]:
    start = 12
    while start + 8 <= len(data):
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        if data[start : start + 4] in _WEBP_PIXELS:
            yield data[start + 8 : start + 8 + size]
            if data[start : start + 4] in (b"VP8 ", b"VP8L"):
                return  # what is behind the first frame does not matter
        start += 8 + size + size % 2

"""JPEG files: whole or not. Decoders fill what is missing with gray and say nothing.

A file ends with a marker. Where it is missing, as in a file whose tail was never written, the image is cut off. Where
it comes early, a decoder that has all bytes before it still waits for pixels; it is asked, by giving it a few bits more
(`_ask`), which up to three last blocks of 8 x 8 pixels may escape. So is it before each restart marker and at the end
of each scan, and these are counted. One that has all pixels long before a marker has lost its place among them: bytes
of these were lost or overwritten (`_feed`). Arithmetic codes are decoded twice, with other bytes behind the last ones.
NULs among the pixels, as a download leaves them where a part never came, are read as codes; where no picture has these
codes in a row, the image is damaged (`jpeg_structure`).
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image

from elfs.data.bad_image import BadImageError, broken, unsupported
from elfs.data.formats.jpeg_structure import ARITHMETIC, NULS, PROGRESSIVE, Structure, read_structure
from elfs.data.formats.opening import is_animated, open_image

__all__ = ["read_jpeg"]

_HUFFMAN = (0xC0, 0xC1, 0xC2)
_NAMES = {
    **dict.fromkeys((0xC3, 0xCB), "a lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA), "an arithmetic-coded JPEG"),
    0xF7: "a JPEG-LS",
}
_END = b"\xff\xd9"
_ONES = b"\xff\x00"
"""Eight bits that begin no code of a Huffman table."""
_LAST_CODE = 4
_FILL, _LEFT_OVER = 0xFF, -100
_MOST_LEFT = 8
"""So many bytes behind the last pixel, before a marker, may be anything; more are what a lost place leaves over."""

_ONES_FOR_THE_LAST_BLOCK, _ONES_TO_ASK, _ONES_TO_ASK_AT_A_STOP = 8, 12, 3
_NO_ZEROS = 64 * b"\x55"
"""What no pixel of a whole arithmetic-coded scan is made of, if it follows: zeros may, which encoders leave out."""

_LAST_ZEROS, _PIXELS_PER_ZERO = 4, 256


def read_jpeg(data: bytes, max_pixels: int) -> tuple[Image.Image, bool]:
    """Read a JPEG file; further pictures in it (MPO) are further frames.

    Kinds that libjpeg cannot read are UNSUPPORTED. Arguments, result and errors are those of `elfs.data.formats`.
    """
    try:
        image = open_image(data, "JPEG", max_pixels)
    except BadImageError:
        raise
    except Exception:
        _require_known(read_structure(data))
        raise
    has_several = is_animated(image)
    if _is_plain(image, data):
        start, end = image.fp.tell(), len(data) - 2  # type: ignore[attr-defined]
        if _load(image, data, end, [(start, end)]):
            return image, has_several
        image = open_image(data, "JPEG", max_pixels)
    structure = read_structure(data)
    _require_known(structure)
    _require_whole(structure)
    if structure.kind in _HUFFMAN and structure.end is not None and len(image.tile) == 1:  # type: ignore[attr-defined]
        end = structure.end
        if structure.hole is not None and structure.kind not in PROGRESSIVE:
            end = structure.hole + _LAST_CODE  # the picture may have ended there: some cameras fill up with NULs
        if not _load(image, data[:end] + _END, end, structure.spans):
            raise broken("damaged jpeg image (pixels that cannot be decoded, or fewer than its codes)")
        return image, has_several
    if structure.kind in ARITHMETIC and structure.end is not None:
        stops = [stop for _, stop in structure.spans if stop < structure.end]
        _load_arithmetic(image, data[: structure.end], stops)
        return image, has_several
    try:
        image.load()
    except OSError:
        if structure.kind in _NAMES:
            raise unsupported(_NAMES[structure.kind]) from None
        raise
    return image, has_several


def _load_arithmetic(image: Image.Image, data: bytes, stops: list[int]) -> None:
    """Decode arithmetic codes; refused where they end before their pixels, which are then taken from zeros."""
    other = open_image(data, "JPEG", image.width * image.height)
    zeros = bytes(_LAST_ZEROS + image.width * image.height // _PIXELS_PER_ZERO)
    bounds = [0, *stops, len(data)]
    pieces = [data[start:stop] + zeros + _NO_ZEROS for start, stop in itertools.pairwise(bounds)]
    for picture, whole in ((image, data), (other, b"".join(pieces))):
        with _decoder(picture) as decoder:
            if decoder.decode(whole + _END) != (-1, 0):
                raise broken("damaged jpeg image (arithmetic codes that cannot be decoded)")
        picture.tile = []  # type: ignore[attr-defined]
    if other.tobytes() != image.tobytes():
        raise broken("damaged jpeg image (truncated: pixels are missing before its end)")


@contextmanager
def _decoder(image: Image.Image) -> Iterator[Any]:
    """Make the decoder of an image, which is set up to be filled by it."""
    image.load_prepare()  # type: ignore[attr-defined]
    _, extents, _, arguments = image.tile[0]  # type: ignore[attr-defined]
    decoder = Image._getdecoder(image.mode, "jpeg", arguments, image.decoderconfig)  # type: ignore[attr-defined]
    try:
        decoder.setimage(image.im, extents)
        yield decoder
    finally:
        decoder.cleanup()


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Return whether one scan without restart markers holds all, as it mostly does; a walk through all costs time."""
    start, layers = image.fp.tell(), image.layers  # type: ignore[attr-defined]
    scan = start - 2 * layers - 8
    return (
        data.endswith(_END)
        and "progressive" not in image.info
        and data[scan : scan + 2] == b"\xff\xda"
        and data[scan + 4] == layers
        and b"\xff\xdd\0\4" not in data[:scan]
        and data.find(NULS, start) < 0
    )


def _require_known(structure: Structure) -> None:
    name = _NAMES.get(structure.kind, "")
    if structure.kind and structure.bits != 8:
        raise unsupported(f"a {structure.bits}-bit JPEG")
    if name and structure.kind not in (0xC3, 0xC9, 0xCA):
        raise unsupported(name)
    if structure.kind and not structure.height:
        raise unsupported("a JPEG that says its height behind its pixels")
    if structure.kind and len(structure.components) not in (1, 3, 4):
        raise unsupported(f"a JPEG of {len(structure.components)} components")


def _require_whole(structure: Structure) -> None:
    if structure.end is None:
        raise broken("damaged jpeg image (truncated: it has no end)")
    if structure.lost:
        raise broken(f"damaged jpeg image (truncated: {structure.lost})")
    if structure.hole is not None and structure.kind in (*PROGRESSIVE, *ARITHMETIC):
        raise broken("damaged jpeg image (NULs among its pixels)")
    missing = [number for number, shifts in structure.shifts.items() if any(shifts)]
    if missing and structure.kind in (*_HUFFMAN, *PROGRESSIVE):
        raise broken(f"damaged jpeg image (truncated: scans of {len(missing)} components are missing)")


def _load(image: Image.Image, data: bytes, end: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Decode as `ImageFile.load` does, and see whether the decoder has all pixels before it meets stops and the end.

    False where it stops at an error, or perhaps at an earlier end, or has all pixels long before the end.
    """
    with _decoder(image) as decoder:
        start, error = _pass_stops(decoder, data, [span for span in spans if span[1] < end])
        if start >= 0 and spans[-1][1] == end:
            start, error = _feed(decoder, data, start, spans[-1])
        used = start
        if start >= 0:
            used, error = decoder.decode(memoryview(data)[start:end])
        if used >= 0:
            used, error = _ask(decoder, data[start + used : end], _ONES_TO_ASK)
            if used >= 0:
                used, error = decoder.decode(_END)
            if error < 0:
                raise broken(f"damaged jpeg image (decoder error {error})")
        elif error < 0 or _END in data[spans[-1][0] : end]:
            return False
    image.tile = []  # type: ignore[attr-defined]
    return True


def _pass_stops(decoder: Any, data: bytes, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Decode to the last stop; return where to go on, or less than 0 if the decoder stops or has all pixels."""
    start, error = 0, 0
    for number, span in enumerate(spans):
        used, error = _feed(decoder, data, start, span)
        if used >= 0:
            start = used
            used, error = decoder.decode(memoryview(data)[start : span[1]])
        if used >= 0:
            used, error = _ask(decoder, data[start + used : span[1]], _ONES_TO_ASK_AT_A_STOP)
        if used < 0:
            has_more = any(stop - begin > _MOST_LEFT for begin, stop in spans[number + 1 :])
            return used, _LEFT_OVER if has_more else error
        start = span[1]
    return start, error


def _feed(decoder: Any, data: bytes, start: int, span: tuple[int, int]) -> tuple[int, int]:
    """Decode nearly all codes of a span; return where to go on, or less than 0 if the decoder stops or waits no more.

    One that waits for pixels leaves bytes too few for them where they are; one that has all skips to the marker.
    Bytes that are all the same fill up, and so do ones and NULs.
    """
    begin, stop = span
    if stop - begin <= _MOST_LEFT:
        return start, 0
    early = stop - _MOST_LEFT
    is_filled = set(data[early:stop]) <= {0, _FILL} or len(set(data[early:stop])) == 1
    for following in (early, early + 2 + (data[early + 1] == _FILL)):
        used, error = decoder.decode(memoryview(data)[start:following])
        if used < 0:
            return used, error if error < 0 or is_filled else _LEFT_OVER
        start += used
        if start < following:
            return start, 0
    return (start, 0) if is_filled else (-1, _LEFT_OVER)


def _ask(decoder: Any, rest: bytes, count: int) -> tuple[int, int]:
    """Let a decoder go on that has seen all before a marker; refused where it still expects pixels.

    One that has all of them is ready, or looks for a marker and skips whatever it is given. One that waits for a block
    leaves bits where they are until the block is whole, and ones begin no code, so that they do not make it whole.
    """
    rest += _ONES_FOR_THE_LAST_BLOCK * _ONES
    used, error = decoder.decode(rest)
    rest = rest[used:]
    for _ in range(count):
        if used < 0:
            break
        rest += _ONES
        used, error = decoder.decode(rest)
        if 0 <= used < len(rest):
            raise broken("damaged jpeg image (truncated: pixels are missing before its end)")
        rest = b""
    return used, error

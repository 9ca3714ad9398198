"""JPEG files: whole or not. Decoders fill what is missing with gray and say nothing.

A file ends with a marker. Where it is missing, as in a file whose tail was never written, the image is cut off. Where
it comes early, a decoder that has all bytes before it still waits for pixels; it is asked, by giving it a few bits more
(`_ask`), which up to three last blocks of 8 x 8 pixels may escape. So is it before each restart marker and at the end
of each scan, and these are counted. Arithmetic codes are decoded twice, with other bytes behind the last ones. NULs
among the pixels, as a download leaves them where a part never came, are read as codes; where no picture has these codes
in a row, the image is damaged (`_find_hole`).
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.bad_image import BadImageError, broken, unsupported
from elfs.data.formats.opening import is_animated, open_image

__all__ = ["read_jpeg"]

_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_PROGRESSIVE, _HUFFMAN = (0xC2, 0xCA), (0xC0, 0xC1, 0xC2)
_NAMES = {
    **dict.fromkeys((0xC3, 0xCB), "a lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA), "an arithmetic-coded JPEG"),
    0xF7: "a JPEG-LS",
}
_END = b"\xff\xd9"
_ONES = b"\xff\x00"
"""Eight bits that begin no code of a Huffman table."""
_NULS, _NULS_OF_RAW_BITS = bytes(64), bytes(128)
"""So many are no codes of pixels. In later scans bits as they are stand among these, up to 1,000 in a row."""

_ZEROS_RUN, _LAST_CODE = 0xF0, 4
_ONES_FOR_THE_LAST_BLOCK, _ONES_TO_ASK, _ONES_TO_ASK_AT_A_STOP = 8, 12, 3
_ARITHMETIC = (0xC9, 0xCA)
_NO_ZEROS = 64 * b"\x55"
"""What no pixel of a whole arithmetic-coded scan is made of, if it follows: zeros may, which encoders leave out."""

_LAST_ZEROS, _PIXELS_PER_ZERO = 4, 256


@dataclass(slots=True)
class _Structure:
    """What the markers of a file say.

    `kind` is its frame's marker; `components` the sampling factors of each by its number; `shifts` for each component
    how many low bits of each of 64 coefficients are still missing (64: all); `end` where the last marker is, if any;
    `stops` where restart markers are, and those behind scans; `symbols` those of each Huffman table, the first of which
    has a code of 0 alone; `hole` where NULs are that can be no pixels.
    """

    kind: int = 0
    bits: int = 8
    width: int = 0
    height: int = 0
    components: dict[int, tuple[int, int]] = field(default_factory=dict)
    shifts: dict[int, list[int]] = field(default_factory=dict)
    interval: int = 0
    end: int | None = None
    lost: str = ""
    stops: list[int] = field(default_factory=list)
    symbols: dict[int, bytes] = field(default_factory=dict)
    hole: int | None = None


def read_jpeg(data: bytes, max_pixels: int) -> tuple[Image.Image, bool]:
    """Read a JPEG file.

    Parameters
    ----------
    data : bytes
        A whole file.
    max_pixels : int
        Refuse an image whose header says more than this, width x height.

    Returns
    -------
    image : PIL.Image.Image
        Of any mode whose conversion to RGB is right; not turned.
    has_several : bool
        Whether more pictures follow (MPO).

    Raises
    ------
    BadImageError
        BROKEN where pixels are missing, UNSUPPORTED for kinds that libjpeg cannot read, TOO_LARGE.
    """
    try:
        image = open_image(data, "JPEG", max_pixels)
    except BadImageError:
        raise
    except Exception:
        _require_known(_read_structure(data))
        raise
    has_several = is_animated(image)
    if _is_plain(image, data):
        if _load(image, data, len(data) - 2):
            return image, has_several
        image = open_image(data, "JPEG", max_pixels)
    structure = _read_structure(data)
    _require_known(structure)
    _require_whole(structure)
    if structure.kind in _HUFFMAN and structure.end is not None and len(image.tile) == 1:  # type: ignore[attr-defined]
        end = structure.end
        if structure.hole is not None and structure.kind not in _PROGRESSIVE:
            end = structure.hole + _LAST_CODE  # the picture may have ended there: some cameras fill up with NULs
        if not _load(image, data[:end] + _END, end, structure.stops):
            raise broken("damaged jpeg image (pixels that cannot be decoded)")
        return image, has_several
    if structure.kind in _ARITHMETIC and structure.end is not None:
        _load_arithmetic(image, data[: structure.end], structure.stops)
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
        and data.find(_NULS, start) < 0
    )


def _require_known(structure: _Structure) -> None:
    name = _NAMES.get(structure.kind, "")
    if structure.kind and structure.bits != 8:
        raise unsupported(f"a {structure.bits}-bit JPEG")
    if name and structure.kind not in (0xC3, 0xC9, 0xCA):
        raise unsupported(name)
    if structure.kind and not structure.height:
        raise unsupported("a JPEG that says its height behind its pixels")
    if structure.kind and len(structure.components) not in (1, 3, 4):
        raise unsupported(f"a JPEG of {len(structure.components)} components")


def _require_whole(structure: _Structure) -> None:
    if structure.end is None:
        raise broken("damaged jpeg image (truncated: it has no end)")
    if structure.lost:
        raise broken(f"damaged jpeg image (truncated: {structure.lost})")
    if structure.hole is not None and structure.kind in (*_PROGRESSIVE, *_ARITHMETIC):
        raise broken("damaged jpeg image (NULs among its pixels)")
    missing = [number for number, shifts in structure.shifts.items() if any(shifts)]
    if missing and structure.kind in (*_HUFFMAN, *_PROGRESSIVE):
        raise broken(f"damaged jpeg image (truncated: scans of {len(missing)} components are missing)")


def _load(image: Image.Image, data: bytes, end: int, stops: Sequence[int] = ()) -> bool:
    """Decode as `ImageFile.load` does, and see whether the decoder has all pixels before it meets stops and the end.

    False where it stops at an error, or perhaps at an earlier end.
    """
    with _decoder(image) as decoder:
        start = _pass_stops(decoder, data, [stop for stop in stops if stop < end])
        whole = memoryview(data)[start:end]
        used, error = decoder.decode(whole)
        if used >= 0:
            used, error = _ask(decoder, bytes(whole[used:]), _ONES_TO_ASK)
            if used >= 0:
                used, error = decoder.decode(_END)
            if error < 0:
                raise broken(f"damaged jpeg image (decoder error {error})")
        elif error < 0 or _END in data[:end]:
            return False
    image.tile = []  # type: ignore[attr-defined]
    return True


def _pass_stops(decoder: Any, data: bytes, stops: Sequence[int]) -> int:
    """Decode to the last stop, or until the decoder has enough; return where it is to go on."""
    start = 0
    for stop in stops:
        used, _ = decoder.decode(memoryview(data)[start:stop])
        if used < 0 or _ask(decoder, data[start + used : stop], _ONES_TO_ASK_AT_A_STOP)[0] < 0:
            return stop
        start = stop
    return start


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


def _read_structure(data: bytes) -> _Structure:
    """Walk from marker to marker; what is no marker is skipped, as libjpeg does."""
    found, start = _Structure(), 2
    codes = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(codes[:-1] == 0xFF)
    following = codes[places + 1]
    is_restart = following & 0xF8 == 0xD0
    markers = places[(following != 0) & (following != 0xFF) & ~is_restart].tolist()
    restarts = places[is_restart]
    while (index := bisect_left(markers, start)) < len(markers):
        start = markers[index]
        marker = data[start + 1]
        if marker == _END[1]:
            found.end = start
            return found
        start += 2
        if marker in (0x01, 0xD8):
            continue
        size = int.from_bytes(data[start : start + 2], "big")
        body, start = data[start + 2 : start + size], start + max(size, 2)
        if marker in _FRAMES and len(body) >= 6:
            _read_frame(found, marker, body)
        elif marker == 0xDD and len(body) >= 2:
            found.interval = int.from_bytes(body[:2], "big")
        elif marker == 0xC4:
            _read_tables(found, body)
        elif marker == 0xDA:
            index = bisect_left(markers, start)
            stop = markers[index] if index < len(markers) else len(data)
            if found.hole is None:
                found.hole = _find_hole(found, body, data, start, stop)
            within = restarts[(restarts >= start) & (restarts < stop)]
            if not _is_raw(found, body):
                found.stops += within.tolist()
                found.stops += [stop] if stop < len(data) and data[stop + 1] != _END[1] else []
            _read_scan(found, body, codes[within + 1])
    return found


def _read_frame(found: _Structure, marker: int, body: bytes) -> None:
    found.kind, found.bits = marker, body[0]
    found.height, found.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    components = [body[start : start + 3] for start in range(6, 6 + 3 * body[5], 3)]
    found.components = {part[0]: (part[1] >> 4 or 1, part[1] & 15 or 1) for part in components if len(part) == 3}
    found.shifts = {number: [64] * 64 for number in found.components}


def _read_scan(found: _Structure, body: bytes, restarts: NDArray[np.uint8]) -> None:
    """Note what a scan brings, and which restart markers are in it."""
    count = body[0] if body else 0
    numbers, spectrum = body[1 : 1 + 2 * count : 2], body[1 + 2 * count : 4 + 2 * count]
    if len(spectrum) == 3:
        first, last, shift = spectrum[0], min(spectrum[1], 63), spectrum[2] & 15
        if found.kind not in _PROGRESSIVE:
            first, last, shift = 0, 63, 0  # whatever it says
        for number in numbers:
            if number in found.shifts:
                found.shifts[number][first : last + 1] = [shift] * (last + 1 - first)
    if found.interval and not found.lost:
        expected = -(-_num_blocks(found, numbers) // found.interval) - 1
        in_order = np.array_equal(restarts[:expected] & 7, np.arange(expected) & 7)
        if not in_order:
            found.lost = f"{len(restarts):,} of {expected:,} restart markers"


def _read_tables(found: _Structure, body: bytes) -> None:
    """Note the symbols of each Huffman table, in the order of their codes."""
    while len(body) > 17:
        count = sum(body[1:17])
        found.symbols[body[0]] = body[17 : 17 + count]
        body = body[17 + count :]


def _is_raw(found: _Structure, body: bytes) -> bool:
    """Return whether a scan is one bit of each block, of which arithmetic codes leave out all last zeros."""
    return found.kind == _ARITHMETIC[1] and len(body) > 3 and body[-3] == 0 and body[-1] >> 4 > 0


def _find_hole(found: _Structure, body: bytes, data: bytes, start: int, stop: int) -> int | None:
    """Return where NULs begin in a scan whose tables make a texture of them; where they mean one colour, they may."""
    count = body[0] if body else 0
    tables, spectrum = body[2 : 2 + 2 * count : 2], body[1 + 2 * count : 4 + 2 * count]
    refines = found.kind in _PROGRESSIVE and len(spectrum) == 3 and spectrum[2] >> 4 > 0
    if len(spectrum) < 3 or (refines and not spectrum[0]):
        return None  # bits as they are may all be 0
    first, last = (spectrum[0], spectrum[1]) if found.kind in _PROGRESSIVE else (0, 63)
    used = [table >> 4 for table in tables if not first] + [16 | table & 15 for table in tables if last]
    if found.kind not in _ARITHMETIC and not any(_is_texture(found.symbols.get(table, b"")) for table in used):
        return None
    hole = data.find(_NULS_OF_RAW_BITS if refines else _NULS, start, stop)
    return None if hole < 0 else hole


def _is_texture(symbols: bytes) -> bool:
    """Return whether the first symbol is never there again and again; a plain area is one end of a block after another.

    Encoders that put several such ends into one do not put another behind it.
    """
    has_runs = any(0 < symbol < _ZEROS_RUN and not symbol & 15 for symbol in symbols)
    return bool(symbols) and (symbols[0] != 0 or has_runs)


def _num_blocks(found: _Structure, numbers: bytes) -> int:
    """Return how many units a scan has, as its restart markers count them."""
    across = max((across for across, _ in found.components.values()), default=1)
    down = max((down for _, down in found.components.values()), default=1)
    if len(numbers) == 1 and numbers[0] in found.components:
        own = found.components[numbers[0]]
        width, height = -(-found.width * own[0] // across), -(-found.height * own[1] // down)
        return -(-width // 8) * -(-height // 8)
    return -(-found.width // (8 * across)) * -(-found.height // (8 * down))

"""The markers of a JPEG file: its frame, its scans, where their codes lie, and NULs among these that are no pixels."""

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARITHMETIC", "NULS", "PROGRESSIVE", "Structure", "read_structure"]

PROGRESSIVE, ARITHMETIC = (0xC2, 0xCA), (0xC9, 0xCA)
"""Markers of frames: of several scans, and of arithmetic codes."""

_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_END, _ZEROS_RUN = 0xD9, 0xF0
NULS, _NULS_OF_RAW_BITS = bytes(64), bytes(128)
"""So many are no codes of pixels. In later scans bits as they are stand among these, up to 1,000 in a row."""


@dataclass(slots=True)
class Structure:
    """What the markers of a file say.

    Attributes
    ----------
    kind : int
        The marker of its frame; 0 if there is none.
    bits, width, height : int
        Of its pixels.
    components : dict of int to tuple of (int, int)
        The sampling factors of each by its number, across and down.
    shifts : dict of int to list of 64 int
        How many low bits of each coefficient of a component are still missing (64: all).
    interval : int
        Units between two restart markers; 0 if there are none.
    end : int or None
        Where the last marker is.
    lost : str
        Which restart markers are missing, in words.
    spans : list of tuple of (int, int)
        Where codes begin and end, up to each restart marker and to that behind each scan.
    symbols : dict of int to bytes
        Those of each Huffman table, the first of which has a code of 0 alone.
    hole : int or None
        Where NULs are that can be no pixels.
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
    spans: list[tuple[int, int]] = field(default_factory=list)
    symbols: dict[int, bytes] = field(default_factory=dict)
    hole: int | None = None


def read_structure(data: bytes) -> Structure:
    """Walk from marker to marker; what is no marker is skipped, as libjpeg does.

    Parameters
    ----------
    data : bytes
        A whole file.

    Returns
    -------
    Structure
        As far as it goes; nothing is raised for damage.
    """
    found, start = Structure(), 2
    codes = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(codes[:-1] == 0xFF)
    following = codes[places + 1]
    is_restart = following & 0xF8 == 0xD0
    markers = places[(following != 0) & (following != 0xFF) & ~is_restart].tolist()
    restarts = places[is_restart]
    while (index := bisect_left(markers, start)) < len(markers):
        start = markers[index]
        marker = data[start + 1]
        if marker == _END:
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
                begins = [start, *(within + 2).tolist()]
                found.spans += zip(begins, [*within.tolist(), stop], strict=True)
            _read_scan(found, body, codes[within + 1])
    return found


def _read_frame(found: Structure, marker: int, body: bytes) -> None:
    found.kind, found.bits = marker, body[0]
    found.height, found.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    components = [body[start : start + 3] for start in range(6, 6 + 3 * body[5], 3)]
    found.components = {part[0]: (part[1] >> 4 or 1, part[1] & 15 or 1) for part in components if len(part) == 3}
    found.shifts = {number: [64] * 64 for number in found.components}


def _read_scan(found: Structure, body: bytes, restarts: NDArray[np.uint8]) -> None:
    """Note what a scan brings, and which restart markers are in it."""
    count = body[0] if body else 0
    numbers, spectrum = body[1 : 1 + 2 * count : 2], body[1 + 2 * count : 4 + 2 * count]
    if len(spectrum) == 3:
        first, last, shift = spectrum[0], min(spectrum[1], 63), spectrum[2] & 15
        if found.kind not in PROGRESSIVE:
            first, last, shift = 0, 63, 0  # whatever it says
        for number in numbers:
            if number in found.shifts:
                found.shifts[number][first : last + 1] = [shift] * (last + 1 - first)
    if found.interval and not found.lost:
        expected = -(-_num_blocks(found, numbers) // found.interval) - 1
        in_order = np.array_equal(restarts[:expected] & 7, np.arange(expected) & 7)
        if not in_order:
            found.lost = f"{len(restarts):,} of {expected:,} restart markers"


def _read_tables(found: Structure, body: bytes) -> None:
    """Note the symbols of each Huffman table, in the order of their codes."""
    while len(body) > 17:
        count = sum(body[1:17])
        found.symbols[body[0]] = body[17 : 17 + count]
        body = body[17 + count :]


def _is_raw(found: Structure, body: bytes) -> bool:
    """Return whether a scan is one bit of each block, of which arithmetic codes leave out all last zeros."""
    return found.kind == ARITHMETIC[1] and len(body) > 3 and body[-3] == 0 and body[-1] >> 4 > 0


def _find_hole(found: Structure, body: bytes, data: bytes, start: int, stop: int) -> int | None:
    """Return where NULs begin in a scan whose tables make a texture of them; where they mean one colour, they may."""
    count = body[0] if body else 0
    tables, spectrum = body[2 : 2 + 2 * count : 2], body[1 + 2 * count : 4 + 2 * count]
    refines = found.kind in PROGRESSIVE and len(spectrum) == 3 and spectrum[2] >> 4 > 0
    if len(spectrum) < 3 or (refines and not spectrum[0]):
        return None  # bits as they are may all be 0
    first, last = (spectrum[0], spectrum[1]) if found.kind in PROGRESSIVE else (0, 63)
    used = [table >> 4 for table in tables if not first] + [16 | table & 15 for table in tables if last]
    if found.kind not in ARITHMETIC and not any(_is_texture(found.symbols.get(table, b"")) for table in used):
        return None
    hole = data.find(_NULS_OF_RAW_BITS if refines else NULS, start, stop)
    return None if hole < 0 else hole


def _is_texture(symbols: bytes) -> bool:
    """Return whether the first symbol is never there again and again; a plain area is one end of a block after another.

    Encoders that put several such ends into one do not put another behind it.
    """
    has_runs = any(0 < symbol < _ZEROS_RUN and not symbol & 15 for symbol in symbols)
    return bool(symbols) and (symbols[0] != 0 or has_runs)


def _num_blocks(found: Structure, numbers: bytes) -> int:
    """Return how many units a scan has, as its restart markers count them."""
    across = max((across for across, _ in found.components.values()), default=1)
    down = max((down for _, down in found.components.values()), default=1)
    if len(numbers) == 1 and numbers[0] in found.components:
        own = found.components[numbers[0]]
        width, height = -(-found.width * own[0] // across), -(-found.height * own[1] // down)
        return -(-width // 8) * -(-height // 8)
    return -(-found.width // (8 * across)) * -(-found.height // (8 * down))

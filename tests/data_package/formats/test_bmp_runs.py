import struct

import numpy as np
import pytest

from elfs.data.samples import Outcome
from tests.data_package.formats.files import pixels, refused

END, LINE, SKIP = b"\0\1", b"\0\0", b"\0\2"
ROWS = [b"\x08" + bytes([value]) + LINE for value in (0x11, 0x22, 0x33, 0x44)]
TABLE = np.arange(1, 49).reshape(16, 3) * 5
SIDES = (8, 4)


def bmp(bits: int, codes: bytes) -> bytes:
    """Return a picture of 8 x 4 pixels whose colour map repeats `TABLE`."""
    table = b"".join(bytes(color[::-1].tolist()) + b"\0" for color in TABLE) * (1 if bits == 4 else 16)
    start = 54 + len(table)
    head = struct.pack("<IiiHHIIiiII", 40, *SIDES, 1, bits, {8: 1, 4: 2}[bits], len(codes), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(codes), 0, 0, start) + head + table + codes


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("codes", "lines"),
    [
        (b"".join(ROWS) + END, ["11111111", "22222222", "33333333", "44444444"]),
        (b"".join(ROWS), ["11111111", "22222222", "33333333", "44444444"]),
        (b"".join(ROWS)[:-2], ["11111111", "22222222", "33333333", "44444444"]),
        (b"\x03\x55" + SKIP + b"\2\1\x02\x77" + LINE + ROWS[0], ["55500000", "00000770", "11111111", "00000000"]),
        (b"\x03\x55" + SKIP + b"\0\2\x02\x77" + LINE, ["55500000", "00000000", "00077000", "00000000"]),
        (SKIP + b"\x08\3", ["00000000"] * 4),
        (b"\x03\x55" + LINE + ROWS[1], ["55500000", "22222222", "00000000", "00000000"]),
        (b"", ["00000000"] * 4),
        (b"\x09\x55" + LINE, ["55555555", "00000000", "00000000", "00000000"]),
    ],
    ids=["whole", "no end", "no last line", "skip", "skip up", "skip all", "short rows", "nothing", "a pixel too many"],
)
def test_runs_and_what_they_skip(bits: int, codes: bytes, lines: list[str]) -> None:
    data = bmp(bits, codes + (b"" if codes.startswith(ROWS[0] + ROWS[1]) else END))
    expected = TABLE[[[int(digit) for digit in line] for line in reversed(lines)]]
    assert np.array_equal(pixels(data), expected)


@pytest.mark.parametrize(("bits", "packed"), [(8, b"\1\2\3\4\5\0"), (4, b"\x12\x34\x50\0")])
def test_places_as_they_are_fill_up_to_whole_words(bits: int, packed: bytes) -> None:
    found = pixels(bmp(bits, b"\0\5" + packed + b"\3\x66" + END))
    assert np.array_equal(found[3], TABLE[[1, 2, 3, 4, 5, 6, 6, 6]])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("codes", "match"),
    [
        (ROWS[0] + ROWS[1], "truncated: runs of 2 of 4 rows"),
        (ROWS[0] + ROWS[1] + bytes(40), "ends of more rows than it has"),
        (b"".join(ROWS)[:-4], "truncated: runs of 3 of 4 rows"),
        (b"".join(ROWS) + ROWS[0], "beyond its rows"),
        (b"\x08\x11\x08\x22" + END, "beyond its rows"),
        (SKIP + b"\0\4" + ROWS[0] + END, "beyond its rows"),
    ],
    ids=["cut", "NULs", "cut in the last row", "a row too many", "a row too long", "skipped too far"],
)
def test_runs_that_do_not_fit_their_rows_are_damage(bits: int, codes: bytes, match: str) -> None:
    refused(bmp(bits, codes), Outcome.BROKEN, match)


def test_headers_of_runs_that_are_damaged() -> None:
    data = bytearray(bmp(8, END))
    refused(bytes(data[:300]), Outcome.BROKEN, "truncated")
    data[18:22] = bytes(4)
    refused(bytes(data), Outcome.BROKEN, "0 x 4 pixels")
    data[18:22] = b"\xff\xff\xff\x7f"
    refused(bytes(data), Outcome.TOO_LARGE, "pixels, more than")

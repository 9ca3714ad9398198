import itertools
import struct

import numpy as np
import pytest

from elfs.data.samples import Outcome
from tests.data_package.formats.files import pixels, refused

CODES = np.random.default_rng(0).integers(1, 4, (20, 30))
COLORS = np.array([(9, 9, 9), (200, 30, 40), (20, 60, 220), (90, 90, 0)])


def gif(screen: tuple[int, int], corner: tuple[int, int], clear: int | None) -> tuple[bytes, int]:
    """Return a file whose codes are not compressed, and where they begin."""
    table = COLORS.astype(np.uint8).tobytes()
    data = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x91, 1, 0) + table
    if clear is not None:
        data += b"\x21\xf9\4\1\0\0" + bytes([clear]) + b"\0"
    data += b"\x2c" + struct.pack("<HHHHB", *corner, 30, 20, 0) + b"\2"
    codes = [4]
    for number, code in enumerate(CODES.ravel().tolist()):  # cleared before a code has four bits
        codes += [code, 4] if number % 2 else [code]
    text = "".join(format(code, "03b") for code in reversed([*codes, 5]))
    packed = int(text, 2).to_bytes(len(text) // 8 + 1, "little")
    blocks = [packed[start : start + 255] for start in range(0, len(packed), 255)]
    return data + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0\x3b", len(data)


@pytest.mark.parametrize(("screen", "corner"), [((30, 20), (0, 0)), ((50, 40), (10, 5)), ((30, 21), (0, 1))])
@pytest.mark.parametrize("clear", [None, 0, 2])
def test_what_the_first_frame_does_not_cover_is_white(
    screen: tuple[int, int], corner: tuple[int, int], clear: int | None
) -> None:
    expected = np.full((screen[1], screen[0], 3), 255)
    frame = COLORS[CODES]
    frame[clear == CODES] = 255
    expected[corner[1] : corner[1] + 20, corner[0] : corner[0] + 30] = frame
    assert np.array_equal(pixels(gif(screen, corner, clear)[0]), expected)


def test_a_tail_of_nuls_is_damage_and_padding_is_not() -> None:
    data, start = gif((30, 20), (0, 0), None)
    assert np.array_equal(pixels(data + bytes(1000)), pixels(data))
    for length, more in itertools.product((start + 5, start + 300, len(data) - 40, len(data) - 8), (0, 500)):
        refused(data[:length] + bytes(len(data) - length + more), Outcome.BROKEN, "damaged")
        refused(data[:length], Outcome.BROKEN, "damaged")

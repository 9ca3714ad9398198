import pytest

from elfs.data.samples import Outcome
from tests.data_package.formats.files import encode, noise, pixels, refused, tiff

DRAWING = noise(12, 16).resize((96, 72)).point([level & 0xC0 for level in range(256)] * 3)
RUNS = b"\x02\x0a\x0b\x0c\xfd\x20\x80\x00\x30"
"""Three bytes, four alike, nothing, one byte."""
LEVELS = [10, 11, 12, 32, 32, 32, 32, 48]


def packed(runs: bytes, **tags: int) -> bytes:
    known = {258: 8, 259: 32773, 262: 1, 277: 1, 278: 1}
    numbers = {**known, **{int(name[1:]): value for name, value in tags.items()}}
    return tiff("<", 8, 1, {tag: [value] for tag, value in numbers.items()}, [runs])


def test_runs_are_unpacked_whatever_fills_them_up() -> None:
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in RUNS)
    for data in (packed(RUNS), packed(RUNS + b"\0\0\0"), packed(RUNS + b"\x80"), packed(mirrored, t266=2)):
        assert pixels(data)[0, :, 0].tolist() == LEVELS


@pytest.mark.parametrize(
    ("runs", "match"),
    [
        (RUNS[:4] + b"\xfc" + RUNS[5:], "3 bytes behind the last run"),
        (RUNS[:4] + b"\xfb" + RUNS[5:], "runs of 9 bytes for 8"),
        (RUNS[:-2], "runs of 7 bytes for 8"),
        (b"\x01" + RUNS[1:], "runs"),
        (RUNS + RUNS, "9 bytes behind the last run"),
        (b"", "runs of 0 bytes for 8"),
    ],
    ids=str,
)
def test_runs_that_do_not_end_with_their_bytes_are_damage(runs: bytes, match: str) -> None:
    refused(packed(runs), Outcome.BROKEN, match)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_holes_that_hit_a_count_are_damage(mode: str) -> None:
    data = encode(DRAWING.convert(mode), "TIFF", compression="packbits")
    assert pixels(data).shape == (72, 96, 3)
    length = min(140, len(data) // 4)  # in whole colours two counts are up to 129 bytes apart
    for at in range(len(data) // 3, len(data) // 2, 37):
        refused(data[:at] + bytes(length) + data[at + length :], Outcome.BROKEN, "damaged tiff")

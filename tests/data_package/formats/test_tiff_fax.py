import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from elfs.data.samples import Outcome
from tests.data_package.formats.files import noise, pixels, refused, strip, tiff

DRAWING = noise(12, 16).resize((96, 72)).convert("L").point(lambda level: 255 * (level > 128)).convert("1")
OPTIONS, ROWS_PER_STRIP = 292, 278
KINDS = [("group3", 0), ("group3", 1), ("group3", 4), ("group3", 5), ("group4", 0), ("tiff_ccitt", 0)]
"""Options 1 is coded in two dimensions, 4 fills marks up to whole bytes."""

TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def fax(image: Image.Image, kind: str, options: int, rows: int = 72) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ROWS_PER_STRIP] = rows
    if kind == "group3":
        tags[OPTIONS] = options
    file = io.BytesIO()
    image.save(file, "TIFF", compression=kind, tiffinfo=tags)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("rows", [72, 10, 1])
@pytest.mark.parametrize("picture", ["drawing", "white", "black", "narrow", "97", "98", "99", "100"])
def test_whole_pages_are_read(kind: str, options: int, rows: int, picture: str) -> None:
    image = {"drawing": DRAWING, "narrow": DRAWING.crop((0, 0, 1, 72))}.get(picture)
    if picture.isdecimal():  # widths of every rest that runs of five pixels leave
        image = DRAWING.resize((int(picture), 72))
    image = image or Image.new("1", (200, 72), picture)
    assert np.array_equal(pixels(fax(image, kind, options, rows))[..., 0], np.asarray(image) * 255)


@pytest.mark.parametrize(("kind", "options"), KINDS[:-1])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_rows_that_are_gone_are_damage(kind: str, options: int, share: float) -> None:
    data = fax(DRAWING, kind, options)
    start, stop = strip(data)
    at = start + int((stop - start) * share)
    for hole in (bytes(40), b"\xff" * 40, noise().tobytes()[:40]):
        refused(data[:at] + hole + data[at + 40 :], Outcome.BROKEN, "damaged tiff")


def page(compression: int, codes: str, **tags: int) -> bytes:
    """Return a file of four rows of 20 pixels."""
    piece = int(codes.ljust(-(-len(codes) // 8) * 8, "0"), 2).to_bytes(-(-len(codes) // 8), "big")
    numbers = {258: 1, 259: compression, 262: 0, **{int(name[1:]): value for name, value in tags.items()}}
    piece = piece.translate(TURNED) if numbers.get(266) == 2 else piece
    return tiff("<", 20, 4, {tag: [value] for tag, value in numbers.items()}, [piece])


FIRST = "001" + "1000" + "11" + "1"
"""Three white pixels, two black ones, and white to the end."""
SAME, LONGER, END = "111", "1" + "011" + "1", "000000000001" * 2


def test_codes_of_group_4_are_read_with_their_end_and_without_and_turned() -> None:
    codes = FIRST + SAME + LONGER + SAME
    for data in (page(4, codes + END), page(4, codes), page(4, codes + END + "0" * 80), page(4, codes + END, t266=2)):
        assert (pixels(data)[:, :, 0] == 0).sum(axis=1).tolist() == [2, 2, 3, 3]


@pytest.mark.parametrize(
    "codes",
    [
        FIRST + SAME + LONGER + END,
        FIRST + SAME + LONGER + SAME + SAME + END,
        FIRST + SAME + LONGER + "0" * 60,
        FIRST + SAME + LONGER + "1" + END,
        FIRST + "0000001111" + SAME + SAME + END,
    ],
)
def test_codes_of_group_4_of_fewer_or_more_rows_are_damage(codes: str) -> None:
    refused(page(4, codes), Outcome.BROKEN, "its codes do not end with its rows")


def test_run_lengths_of_fewer_or_more_rows_are_damage() -> None:
    row = ("1000" + "11" + "110101").ljust(16, "0")
    assert (pixels(page(2, row * 4))[:, :, 0] == 0).sum() == 8
    for codes in (row * 3, row * 5, row * 3 + row[:8]):
        refused(page(2, codes), Outcome.BROKEN, "its codes do not end with its rows")
    refused(page(2, row + "0" * 32 + row), Outcome.BROKEN, "NULs among its codes")

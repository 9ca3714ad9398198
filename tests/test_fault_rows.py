"""Every row of the matrix of bad inputs (25 to 46, and 57) has a test that is named after it."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROWS = {
    25: "an empty folder, or one without images, is refused with the extensions seen",
    26: "damaged images are left out, the others are unaffected",
    27: "empty files, text and web pages under an image's name",
    28: "the content counts, not the extension",
    29: "decompression bombs",
    30: "tiny images and extreme shapes",
    31: "CMYK and YCCK",
    32: "16-bit and floating-point images",
    33: "transparency",
    34: "gray and 1-bit",
    35: "several frames or pages",
    36: "EXIF orientation",
    37: "formats without a decoder",
    38: "a decoder that crashes or hangs",
    39: "all images broken, or too many",
    40: "links, loops, pipes, sockets",
    41: "names of all kinds",
    42: "equal names in two folders, names equal but for the case",
    43: "the same file listed twice",
    44: "files deleted, changed or added",
    45: "permission denied, stale handles of network file systems",
    46: "fewer images than neighbours or clusters",
    57: "no network, damaged downloads",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row} {ROWS[row]}")
def test_a_test_is_named_after_the_row(row: int) -> None:
    pattern = re.compile(rf"^ *def test_row_{row}_", re.MULTILINE)
    assert any(pattern.search(path.read_text(encoding="utf-8")) for path in TESTS.rglob("test_*.py"))

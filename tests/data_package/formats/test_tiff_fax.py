import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from elfs.data.samples import Outcome
from tests.data_package.formats.files import noise, pixels, refused

DRAWING = noise(12, 16).resize((96, 72)).convert("L").point(lambda level: 255 * (level > 128)).convert("1")
OPTIONS, ROWS_PER_STRIP = 292, 278


def fax(image: Image.Image, options: int, rows: int = 72) -> bytes:
    """Return a file of group 3: options 1 is coded in two dimensions, 4 fills marks up to whole bytes."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[OPTIONS], tags[ROWS_PER_STRIP] = options, rows
    file = io.BytesIO()
    image.save(file, "TIFF", compression="group3", tiffinfo=tags)
    return file.getvalue()


@pytest.mark.parametrize("options", [0, 1, 4, 5])
@pytest.mark.parametrize("rows", [72, 10, 1])
@pytest.mark.parametrize("picture", ["drawing", "white", "black", "narrow"])
def test_whole_pages_are_read(options: int, rows: int, picture: str) -> None:
    image = {"drawing": DRAWING, "narrow": DRAWING.crop((0, 0, 1, 72))}.get(picture)
    image = image or Image.new("1", (200, 72), picture)
    assert np.array_equal(pixels(fax(image, options, rows))[..., 0], np.asarray(image) * 255)


@pytest.mark.parametrize("options", [0, 1, 4, 5])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_rows_whose_marks_are_gone_are_damage(options: int, share: float) -> None:
    data = fax(DRAWING, options)
    at = int(len(data) * share)
    for hole in (bytes(60), b"\xff" * 60, noise().tobytes()[:60]):
        refused(data[:at] + hole + data[at + 60 :], Outcome.BROKEN, "damaged tiff")

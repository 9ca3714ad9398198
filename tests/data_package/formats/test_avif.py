import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from elfs.data.decoding import SEVERAL_FRAMES, decode, remarks
from elfs.data.formats.media_items import packed_items
from tests.data_package.formats.files import LIMIT, encode, is_used, noise, pixels

KINDS: list[dict[str, Any]] = [
    {"speed": 10},
    {"speed": 10, "quality": 20, "subsampling": "4:4:4"},
]
DRAWING = noise(12, 16).resize((192, 144)).point([level & 0xF0 for level in range(256)] * 3)

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("is_animated", [False, True])
def test_a_whole_file_gives_what_pillow_gives(options: dict[str, Any], mode: str, is_animated: bool) -> None:
    image = picture(mode)
    more = {"save_all": True, "append_images": [image.rotate(90)]} if is_animated else {}
    data = encode(image, "AVIF", **options, **more)
    found = decode(data, LIMIT)
    assert (SEVERAL_FRAMES in remarks(found)) == is_animated
    expected = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", expected.size, "white")
    assert np.array_equal(np.asarray(found), np.asarray(Image.alpha_composite(white, expected).convert("RGB")))


@pytest.mark.parametrize("color", ["white", "black", (201, 30, 40)])
@pytest.mark.parametrize("size", [(1, 1), (33, 97), (700, 600)])
def test_pictures_of_one_color_are_whole(size: tuple[int, int], color: Any) -> None:
    assert pixels(encode(Image.new("RGB", size, color), "AVIF", speed=10)).shape == (size[1], size[0], 3)


@pytest.mark.slow
@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize(("mode", "item"), [("RGB", 0), ("L", 0), ("RGBA", 0), ("RGBA", 1)])
def test_holes_among_the_codes_are_damage(options: dict[str, Any], mode: str, item: int) -> None:
    """A stretch of NULs, of other codes of the file, or of noise; some codes take as many bytes by chance."""
    data = encode(picture(mode), "AVIF", **options)
    _, start, stop = list(packed_items(data))[item]
    num_used, length = 0, (stop - start) // 8
    for at in range(start + (stop - start) // 4, stop - 2 * length, length):
        for fill in (bytes(length), data[start + 50 :][:length], noise().tobytes()[:length]):
            num_used += is_used(data[:at] + fill + data[at + length :])
    assert num_used <= 2


def picture(mode: str) -> Image.Image:
    if mode != "RGBA":
        return DRAWING.convert(mode)
    found = DRAWING.copy()
    found.putalpha(DRAWING.getchannel(0).rotate(180))
    return found

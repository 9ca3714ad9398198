import numpy as np
import pytest
from PIL import Image

from elfs.data.samples import Outcome
from tests.data_package.formats.files import encode, pixels, refused

VALUES = [0, 32, 128, 255]


def deep(bits: int, channels: int, lossless: bool = True) -> bytes:
    """Return a file whose samples say that they have more bits than the 8 of `VALUES`, and so are all dark."""
    picture = np.repeat(np.array([VALUES * 8] * 32, np.uint8)[..., None], channels, axis=2)
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    data = bytearray(encode(image, "JPEG2000", irreversible=not lossless, mct=0))
    start = data.index(b"\xff\x4f\xff\x51") + 42
    for place in range(start, start + 3 * channels, 3):
        data[place] = bits - 1
    return bytes(data)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("bits", [9, 10, 12, 16])
def test_white_of_more_than_8_bits_is_not_black(bits: int, channels: int) -> None:
    """Samples are stored around the middle of their range, which is where these 256 levels lie."""
    levels = (np.array(VALUES) - 128 + (1 << (bits - 1))) / 2 ** (bits - 8)
    found = pixels(deep(bits, channels))[0, :4, 0]
    if channels == 3:
        assert np.abs(found - levels).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_the_highest_value_is_white_in_every_mode(bits: int) -> None:
    image = Image.fromarray(np.full((32, 32), 2**bits - 1, np.uint16))
    data = bytearray(encode(image, "JPEG2000"))
    data[data.index(b"\xff\x4f\xff\x51") + 42] = bits - 1
    assert pixels(bytes(data)).min() >= 250 or bits < 16


def test_what_cannot_be_told_is_unsupported() -> None:
    refused(deep(17, 3), Outcome.UNSUPPORTED, "a JPEG 2000 of 17 bits")
    refused(encode(Image.new("RGB", (32, 32)), "JPEG2000")[:100], Outcome.BROKEN, "damaged")

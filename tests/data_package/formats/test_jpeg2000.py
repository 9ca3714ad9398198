import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elfs.data.samples import Outcome
from tests.data_package.formats.files import encode, noise, pixels, refused

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


def shallow(bits: int, values: np.ndarray, *, boxed: bool) -> bytes:
    """Return a file of samples of so many bits, which lie around the middle of their range as those of 8 bits do."""
    stored = (values + 128 - (1 << (bits - 1))).astype(np.uint8)
    data = bytearray(encode(Image.fromarray(stored), "JPEG2000", mct=0, no_jp2=not boxed))
    start = data.index(b"\xff\x4f\xff\x51") + 42
    for place in range(start, start + 3 * (values.shape[2] if values.ndim == 3 else 1), 3):
        data[place] = bits - 1
    return bytes(data)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", range(1, 8))
def test_less_than_8_bits_span_black_to_white(bits: int, channels: int, boxed: bool) -> None:
    values = np.random.default_rng(0).integers(0, 1 << bits, (32, 36, 3))[..., :channels].squeeze()
    found = pixels(shallow(bits, values, boxed=boxed))
    expected = np.atleast_3d(values) * 255 / (2**bits - 1)
    assert np.abs(found - expected).max() <= 1


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def mapped(bits: int, places: np.ndarray, colors: np.ndarray, space: int = 16, level: int = 7) -> bytes:
    """Return a JP2 file of places in a colour map."""
    num_colors, columns = colors.shape
    header = box(b"ihdr", struct.pack(">IIHBBBB", *places.shape, 1, bits - 1, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, space))
    header += box(b"pclr", struct.pack(">HB", num_colors, columns) + bytes([level] * columns) + colors.tobytes())
    header += box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in range(columns)))
    stream = shallow(bits, places, boxed=False)
    return encode(Image.new("L", (1, 1)), "JPEG2000")[:32] + box(b"jp2h", header) + box(b"jp2c", stream)


@pytest.mark.parametrize("columns", [1, 3, 4])
@pytest.mark.parametrize(("bits", "num_colors"), [(1, 2), (2, 3), (4, 16), (8, 200), (8, 256)])
def test_colors_of_a_map_are_those_of_their_places(bits: int, num_colors: int, columns: int) -> None:
    random = np.random.default_rng(1)
    colors = random.integers(0, 256, (num_colors, columns), np.uint8)
    colors[1] = colors[0]  # equal ones stay two places
    places = random.integers(0, num_colors, (32, 36))
    found, expected = pixels(mapped(bits, places, colors)), colors[places].astype(float)
    if columns == 4:
        share = expected[..., 3:] / 255
        expected = expected[..., :3] * share + 255 * (1 - share)
    assert np.abs(found - expected).max() <= 1


def test_color_maps_that_are_wrong_or_unusual() -> None:
    places, colors = np.full((32, 32), 3), np.zeros((3, 3), np.uint8)
    refused(mapped(2, places, colors), Outcome.BROKEN, "place 3 in a map of 3 colours")
    for options in ({"space": 12}, {"level": 9}):
        refused(mapped(2, places, colors, **options), Outcome.UNSUPPORTED, "an unusual colour map")
    data = mapped(2, places, colors)
    start = data.index(b"\xff\x4f\xff\x51") + 40
    several = data[:start] + b"\0\2" + data[start + 2 : start + 5] + b"\1\1\1" + data[start + 5 :]
    refused(several, Outcome.BROKEN, "damaged")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("options", [{}, {"irreversible": True}, {"tile_size": (64, 64)}, {"no_jp2": True}], ids=str)
def test_bytes_that_stand_in_no_code_are_damage(mode: str, options: dict[str, Any]) -> None:
    data = encode(noise().convert(mode), "JPEG2000", **options)
    assert np.array_equal(pixels(data), pixels(data + bytes(99)))
    for share in (0.3, 0.5, 0.8):
        at = int(len(data) * share)
        refused(data[:at] + bytes(400) + data[at + 400 :], Outcome.BROKEN, "damaged jpeg2000")
        refused(data[:at] + b"\xff" * 30 + data[at + 30 :], Outcome.BROKEN, "damaged jpeg2000")
        refused(data[:at] + b"\xff\xd9" + data[at + 2 :], Outcome.BROKEN, "damaged jpeg2000")


@pytest.mark.parametrize(
    "options", [{}, {"tile_size": (32, 32)}, {"num_resolutions": 1}, {"irreversible": True}], ids=str
)
@pytest.mark.parametrize("layers", [1, 12])
def test_empty_packets_are_no_damage(options: dict[str, Any], layers: int) -> None:
    more = {"quality_layers": list(range(60, 60 - 5 * layers, -5))} if layers > 1 else {}
    data = encode(Image.new("RGB", (500, 300), "white"), "JPEG2000", **options, **more)
    assert pixels(data).min() == 255


def test_a_codestream_without_its_coding_style_is_damage() -> None:
    data = encode(noise(), "JPEG2000")
    refused(data.replace(b"\xff\x52", b"\xff\x64"), Outcome.BROKEN, "damaged header of a jpeg2000 image")


@pytest.mark.parametrize("options", [{}, {"no_jp2": True}, {"tile_size": (64, 64)}], ids=str)
@pytest.mark.parametrize("tail", [b"\0" * 99, b"appended", b"\xff" * 20, b"\xff\xd8\xff\xe0"], ids=repr)
def test_what_is_behind_the_end_does_not_matter(options: dict[str, Any], tail: bytes) -> None:
    data = encode(noise(), "JPEG2000", **options)
    assert np.array_equal(pixels(data + tail), pixels(data))
    if not options.get("no_jp2"):  # a box that goes on to the end of the file
        at = data.index(b"jp2c") - 4
        assert np.array_equal(pixels(data[:at] + bytes(4) + data[at + 4 :] + tail), pixels(data))
    for share in (0.3, 0.9):
        refused(data[: int(len(data) * share)] + tail, Outcome.BROKEN, "damaged")

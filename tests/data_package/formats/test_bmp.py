import struct

import numpy as np
import pytest

from elfs.data.decoding import BadImageError, decode
from elfs.data.samples import Outcome
from tests.data_package.formats.files import pixels, refused

COLORS = np.random.default_rng(0).integers(0, 256, (4, 5, 4))


def bmp(bits: int, masks: tuple[int, ...], header: int, *, upside_down: bool = True, cut: int = 0) -> bytes:
    """Return a picture of `COLORS` in fields of a pixel; the header holds its masks, or they follow it."""
    values = np.zeros((4, 5), np.int64)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1 if mask else 0
        values |= (COLORS[..., channel] * (mask >> shift) // 255) << shift
    rows = [row.astype(f"<u{bits // 8}").tobytes() for row in (values[::-1] if upside_down else values)]
    body = b"".join(row + bytes(-len(row) % 4) for row in rows)
    fields = struct.pack(f"<{len(masks)}I", *masks)
    height = 4 if upside_down else -4
    head = struct.pack("<IiiHHIIiiII", header, 5, height, 1, bits, 3, len(body), 0, 0, 0, 0)
    head += fields.ljust(header - 40, b"\0")
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + body[: len(body) - cut]


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (32, (0xFF0000, 0xFF00, 0xFF)),
        (32, (0xFF, 0xFF00, 0xFF0000)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF)),
        (16, (0xF800, 0x7E0, 0x1F)),
        (16, (0x7C00, 0x3E0, 0x1F)),
        (16, (0x1F, 0x7E0, 0xF800)),
        (16, (0xF00, 0xF0, 0xF)),
        (16, (0xC0, 0x38, 0x7)),
    ],
)
def test_colors_are_wherever_masks_say(bits: int, masks: tuple[int, ...], header: int, upside_down: bool) -> None:
    expected = []
    for channel, mask in enumerate(masks):
        highest = mask >> ((mask & -mask).bit_length() - 1)
        expected.append(COLORS[..., channel] * highest // 255 * 255 / highest)
    assert np.abs(pixels(bmp(bits, masks, header, upside_down=upside_down)) - np.dstack(expected)).max() <= 1


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize(
    ("bits", "masks"), [(32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)), (16, (0xF00, 0xF0, 0xF, 0xF000))]
)
def test_alpha_in_a_field_is_composited_on_white(bits: int, masks: tuple[int, ...], header: int) -> None:
    share = COLORS[..., 3:] / 255
    expected = COLORS[..., :3] * share + 255 * (1 - share)
    assert np.abs(pixels(bmp(bits, masks, header)) - expected).max() <= (1 if bits == 32 else 32)


def test_fields_without_a_color_are_black() -> None:
    assert (pixels(bmp(32, (0xFF, 0, 0), 40))[..., 1:] == 0).all()


def test_fields_that_are_cut_wrong_or_unknown() -> None:
    refused(bmp(32, (0xFF, 0xFF00, 0xFF0000), 40, cut=1), Outcome.BROKEN, "truncated")
    refused(bmp(32, (0xF0F, 0xFF0000, 0xFF000000), 40), Outcome.UNSUPPORTED, "a BMP with the bit field 0xf0f")
    refused(bmp(32, (0xFF, 0xFF00, 0xFF0000), 64), Outcome.UNSUPPORTED, "a BMP of fax codes")
    data = bmp(32, (0xFF, 0xFF00, 0xFF0000), 40)
    refused(data[:18] + bytes(4) + data[22:], Outcome.BROKEN, "damaged bmp image .0 x 4 pixels")
    with pytest.raises(BadImageError, match="5 x 4 pixels, more than 19") as caught:
        decode(data, 19)
    assert caught.value.outcome == Outcome.TOO_LARGE

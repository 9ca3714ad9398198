import itertools
import lzma
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from elfs.data.samples import Outcome
from tests.data_package.formats.files import encode, noise, pixels, refused, strip, tiff

DRAWING = noise(12, 16).resize((96, 72)).point([level & 0xC0 for level in range(256)] * 3)
PHOTOGRAPH = Image.fromarray(np.add.outer(np.arange(72), np.arange(96)).astype(np.uint8))
LZW, DEFLATE, LZMA = 5, 8, 34925
TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
ROW = bytes(range(0, 200, 2))


def file(compression: int, piece: bytes, rows: int = 2, **tags: int) -> bytes:
    known = {258: 8, 259: compression, 262: 1, 278: 2}
    numbers = {**known, **{int(name[1:]): value for name, value in tags.items()}}
    return tiff("<", len(ROW), rows, {tag: [value] for tag, value in numbers.items()}, [piece])


def lzw(data: bytes) -> bytes:
    """Return codes of 9 bits for at most 250 bytes, none of them for more than one byte."""
    bits = "".join(f"{code:09b}" for code in (256, *data, 257))
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


STREAMS: dict[int, Callable[[bytes], bytes]] = {LZW: lzw, DEFLATE: zlib.compress, LZMA: lzma.compress}


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "lzma"])
@pytest.mark.parametrize("rows", [72, 10])
def test_whole_pictures_are_read_in_any_mode(mode: str, compression: str, rows: int) -> None:
    for picture in (DRAWING, PHOTOGRAPH):
        data = encode(picture.convert(mode), "TIFF", compression=compression, tiffinfo={278: rows})
        plain = encode(picture.convert(mode), "TIFF")
        assert np.array_equal(pixels(data), pixels(plain))


@pytest.mark.parametrize("compression", STREAMS)
def test_codes_are_unpacked_whatever_their_order_and_what_follows(compression: int) -> None:
    codes = STREAMS[compression](2 * ROW)
    for data in (
        file(compression, codes),
        file(compression, codes + bytes(5)),
        file(compression, codes.translate(TURNED), t266=2),
        file(compression, codes, rows=1),  # the last strip is filled up
    ):
        assert pixels(data)[0, :, 0].tolist() == list(ROW)


def test_codes_of_lzw_without_their_end_are_read() -> None:
    whole = f"{int.from_bytes(lzw(2 * ROW)):b}"
    bits = whole[: 9 * (2 * len(ROW) + 1)]
    assert pixels(file(LZW, int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))))[
        1, :, 0
    ].tolist() == list(ROW)


def test_an_end_of_lzw_with_a_bit_too_many_is_one() -> None:
    """As programs write it that make codes longer one code earlier; no decoder reads it."""
    bits = f"{int.from_bytes(lzw(2 * ROW)):b}"[: 9 * (2 * len(ROW) + 1)] + f"{257:010b}"
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))
    assert pixels(file(LZW, data))[1, :, 0].tolist() == list(ROW)


@pytest.mark.parametrize("rows_per_strip", [2, 2**32 - 1])
def test_a_page_of_one_strip_may_say_that_strips_have_no_end(rows_per_strip: int) -> None:
    said = b"\x16\1\4\0\1\0\0\0"

    def page(codes: bytes) -> bytes:
        data = tiff("<", len(ROW), 2, {258: [8], 259: [LZW], 262: [1]}, [codes])
        return data.replace(said + b"\2\0\0\0", said + rows_per_strip.to_bytes(4, "little"))

    assert pixels(page(lzw(2 * ROW)))[1, :, 0].tolist() == list(ROW)
    refused(page(lzw(2 * ROW + ROW[:1])), Outcome.BROKEN, "its codes do not end with its pixels")


@pytest.mark.parametrize("change", [-1, 1, 9])
def test_codes_of_lzw_that_do_not_end_with_their_pixels_are_damage(change: int) -> None:
    data = (3 * ROW)[: 2 * len(ROW) + change]
    refused(file(LZW, lzw(data)), Outcome.BROKEN, "damaged tiff")


@pytest.mark.parametrize("compression", [DEFLATE, LZMA])
def test_a_stream_is_held_against_its_end(compression: int) -> None:
    codes = STREAMS[compression](2 * ROW)
    for damaged in (
        codes[: len(codes) // 2] + bytes(len(codes) - len(codes) // 2),
        codes[: len(codes) // 2],
        bytes([*codes[:-12], codes[-12] ^ 1, *codes[-11:]]),
    ):
        refused(file(compression, damaged), Outcome.BROKEN, "damaged tiff")


def test_a_stream_of_more_bytes_without_its_end_is_damage() -> None:
    refused(file(DEFLATE, zlib.compress(9 * ROW, 0)[:-300]), Outcome.BROKEN, "a stream of 60. bytes without its end")


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "lzma"])
def test_streams_of_colors_that_pillow_reads_are_held_against_their_ends(compression: str) -> None:
    data = encode(DRAWING.convert("LAB"), "TIFF", compression=compression)
    assert pixels(data).shape == (72, 96, 3)
    middle = len(data) // 2
    refused(data[:middle] + bytes(8) + data[middle + 8 :], Outcome.BROKEN, "damaged tiff")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "lzma"])
@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_holes_among_the_codes_are_damage(compression: str, mode: str) -> None:
    data = encode(DRAWING.convert(mode), "TIFF", compression=compression)
    start, stop = strip(data)
    length = (stop - start) // 8
    for at, fill in itertools.product(range(start + length, stop - length, length), (0, 255)):
        refused(data[:at] + bytes([fill]) * length + data[at + length :], Outcome.BROKEN, "damaged tiff")

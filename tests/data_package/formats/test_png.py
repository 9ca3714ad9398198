import struct
import zlib

import pytest
from PIL import Image

from elfs.data.samples import Outcome
from tests.data_package.formats.files import encode, packed, pixels, png, png_chunk, refused

RED, BLUE = (200, 30, 40), (20, 60, 220)
ROW = bytes(RED + BLUE)
LONG = zlib.compress(b"a" * 1_200_000)


def flipped(chunk: bytes) -> bytes:
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"zTXt", b"workflow\0\0" + LONG),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
        png_chunk(b"iCCP", b"p\0\0" + LONG),
        png_chunk(b"iCCP", b"p\0\0no zlib"),
        png_chunk(b"zTXt", b"k\0\0no zlib"),
        png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 1_000_000, 9)) * 70,
        png_chunk(b"tEXt", b"k\0" + b"a" * 3_000_000),
        png_chunk(b"gAMA", b"") + png_chunk(b"pHYs", b"1") + png_chunk(b"tIME", b""),
        *(flipped(png_chunk(name, b"a\0b")) for name in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL")),
    ],
    ids=lambda chunk: chunk[4:8].decode() + str(len(chunk)),
)
def test_a_healthy_picture_with_strange_metadata_is_healthy(chunk: bytes, place: str) -> None:
    found = pixels(png(8, 2, ROW, 2, **{place: chunk}))
    assert found[0].tolist() == [list(RED), list(BLUE)]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_gray_becomes_white_at_every_depth(depth: int) -> None:
    highest = 2**depth - 1
    clear, other = highest // 3, highest - highest // 3
    row = struct.pack(">2H", clear, other) if depth == 16 else packed([clear, other], depth)
    for above in (0, 0xFFFF & ~highest):  # bits that do not count
        found = pixels(png(depth, 0, row, 2, png_chunk(b"tRNS", struct.pack(">H", clear | above))))
        assert found[0, :, 0].tolist() == [255, int(other * 255 / highest + 0.5)]


@pytest.mark.parametrize("clear", [(0, 0, 0), (0x1234, 0x5678, 0x9ABC), (0xFFFF, 0, 0x00FF)])
def test_a_transparent_color_of_16_bits_is_compared_in_all_of_them(clear: tuple[int, int, int]) -> None:
    other = (clear[0] ^ 1, clear[1], clear[2])
    found = pixels(png(16, 2, struct.pack(">6H", *clear, *other), 2, png_chunk(b"tRNS", struct.pack(">3H", *clear))))
    assert found[0].tolist() == [[255, 255, 255], [value >> 8 for value in other]]


@pytest.mark.parametrize(
    ("chunk", "match"),
    [
        (flipped(png_chunk(b"PLTE", bytes(3))), "bad checksum of the chunk PLTE"),
        (flipped(png_chunk(b"tRNS", bytes(6))), "bad checksum of the chunk tRNS"),
        (png_chunk(b"t\1Xt", b""), "a chunk without a name"),
        (struct.pack(">I", 10_000) + b"tEXt", "truncated in the chunk b'tEXt'"),
    ],
)
def test_damage_of_what_pixels_come_from_is_damage(chunk: bytes, match: str) -> None:
    refused(png(8, 2, ROW, 2, chunk), Outcome.BROKEN, match)


def test_a_file_without_its_end_is_damage() -> None:
    whole = png(8, 2, ROW, 2)
    refused(whole[:-12], Outcome.BROKEN, "truncated")
    half = zlib.compress((b"\0" + ROW) * 2)[:6]
    start = whole.index(b"IDAT") - 4
    refused(whole[:start] + png_chunk(b"IDAT", half) + png_chunk(b"IEND", b""), Outcome.BROKEN, "damaged png")


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("depth", "color"), [(1, 0), (8, 2), (2, 3), (16, 4), (16, 6)])
def test_pixels_that_end_early_are_damage_though_they_are_packed_whole(depth: int, color: int, interlace: int) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 9, depth, color, 0, 0, interlace))
    header += png_chunk(b"PLTE", bytes(12)) if color == 3 else b""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    sizes = [(1, 2), (1, 2), (2, 1), (1, 3), (3, 2), (2, 5), (5, 4)] if interlace else [(5, 9)]
    rows = b"".join((b"\0" + bytes((columns * bits + 7) // 8)) * count for columns, count in sizes)

    def file(body: bytes) -> bytes:
        return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(body)) + png_chunk(b"IEND", b"")

    assert pixels(file(rows)).shape == pixels(file(rows + b"more")).shape == (9, 5, 3)  # all black, and all there
    for length in (0, len(rows) // 2, len(rows) - 1):
        refused(file(rows[:length]), Outcome.BROKEN, "damaged png image")


@pytest.mark.parametrize(("name", "match"), [(b"CgBI", "an Apple CgBI PNG"), (b"NEWw", "a PNG with the chunk NEWw")])
def test_unknown_chunks_that_count_are_unsupported(name: bytes, match: str) -> None:
    refused(png(8, 2, ROW, 2, png_chunk(name, b"")), Outcome.UNSUPPORTED, match)


def test_exif_is_kept_and_xmp_is_not_looked_at() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(Image.new("RGB", (4, 6)), "PNG", exif=exif.tobytes())
    assert pixels(turned).shape == (4, 6, 3)
    packet = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
    assert pixels(png(8, 2, ROW, 2, png_chunk(b"iTXt", packet))).shape == (2, 2, 3)

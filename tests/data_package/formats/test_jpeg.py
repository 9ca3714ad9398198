import base64
import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elfs.data.decoding import SEVERAL_FRAMES, decode, remarks
from elfs.data.samples import Outcome
from tests.data_package.formats.files import LIMIT, encode, noise, pixels, refused

KINDS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"optimize": True},
    {"quality": 30},
    {"quality": 95, "subsampling": 0},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 3},
    {"progressive": True, "restart_marker_rows": 1},
]
PICTURES = {
    "noise": noise(),
    "gray": noise().convert("L"),
    "cmyk": noise().convert("CMYK"),
    "flat": Image.new("RGB", (200, 90), (200, 30, 40)),
    "white": Image.new("L", (17, 130), 255),
    "dot": Image.new("RGB", (1, 1)),
}


ARITHMETIC = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02B@n5)Ta&5)cv>6%-gAG9exu93DL^E+jHZKuk+VKt@GST61DhRc%&9Mr4R(ZFhTtf`Lw8jhBplmUDiAeE"
    "-P+3kU!x04M<g5di<p00saM5C#9*00;pA002J#(Rq)}gsA>qn?s#l)8|BYgAme9mIo9`37vhG{{S{iwY}Bdlue8c_8X<I^D7jKqCpj5r{42HmpFxv"
    "?bkOZhu?YKIjF`T=9P3}u0|bGx_Z=RP>o;B6B6nSL}?L!fSBH5!u$r0cc*75&hTBu;Uuh2sejJE{{TWcN1-SPAFIw3PC=xwSxRCm*sPbcP*Y+mx*H"
    "&8Uy@T0z86UgoR|Lqy){SpCy`vf18+Hi|Je"
)
"""Gray waves of 40 x 40 pixels, by jpegtran -arithmetic."""
ARITHMETIC_SLOPE = zlib.decompress(
    base64.b85decode(
        "c-"
        "s4a<NpH&0WUXCHwH#V1_nkTWcYuZ!I^=Xi3x;&fCY$HIapa)SXjB(+1WUFxOjNDxwyG``Gf>``2_j6xdp@o1cgOJMMZh|#U;c<B!omnMgE^+"
        ";O1aRU`SwO6lC~+hJl4a;QuWK4v-}bjF)z8oY``3b?w_Cm9X#E&J-"
        "17fK&*uLRB!bGR<9LdCHJ;X~>6*3oq;v*yvo8|5+e=gM%CIL=~N<Uk?@8bW}&3$vnJNawb`z0mVKxd!_`ln%!Z?=Y$AMt#6eTcon1fXa3)fY"
        "`Fo`erb4rUlIE_Et8AoS#RhCi}0?8)85YvJIB8J_q~<&O<o63U2d=FeT>_ATe}0?vjYDaAn?mx5zGG!-WQ$cLs$)HIt9FsF)%n!J-"
        "`40Oy=BY{xh@)r-;h<uKa%!01jZ7RR"
    )
)
"""From white to gray in 96 rows of 96 pixels, by jpegtran -arithmetic -progressive: many last zeros are left out."""


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("name", PICTURES)
def test_a_whole_file_gives_what_pillow_gives(name: str, options: dict[str, Any]) -> None:
    data = encode(PICTURES[name], "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    for tail in (b"", bytes(4096), b"\xff\xd9", data):  # padding, an end too many, another picture
        assert np.array_equal(pixels(data + tail), expected)


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90])
@pytest.mark.parametrize(("across", "down"), [(-1, 0), (-0.5, -1), (0.1, 0.5), (0, -1), (0.25, -2), (0.5, 0.5)])
def test_slopes_are_whole_though_many_of_their_bits_are_zero(quality: int, across: float, down: float) -> None:
    rows, columns = np.mgrid[:240, :320]
    slope = across * columns + down * rows
    for values in (slope % 256, (slope - slope.min()).clip(0, 255), np.where(columns < 160, 128, slope % 256)):
        for progressive in (False, True):
            picture = Image.fromarray(values.astype(np.uint8))
            data = encode(picture, "JPEG", quality=quality, progressive=progressive)
            assert np.array_equal(pixels(data)[:, :, 0], np.asarray(Image.open(io.BytesIO(data))))


def test_last_zeros_that_arithmetic_codes_leave_out_are_not_missed() -> None:
    assert pixels(ARITHMETIC_SLOPE)[:3, 0, 0].tolist() == [0, 255, 254]
    half = ARITHMETIC_SLOPE[: len(ARITHMETIC_SLOPE) // 2].removesuffix(b"\xff")
    refused(half + b"\xff\xd9", Outcome.BROKEN, "damaged")


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("name", ["noise", "gray", "cmyk", "flat"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_part_of_a_file_is_damage_however_it_ends(name: str, options: dict[str, Any], share: float) -> None:
    data = encode(PICTURES[name], "JPEG", **options)
    start = data.index(b"\xff\xda") + 14
    length = start + int((len(data) - start) * share)
    part = data[:length].removesuffix(b"\xff")
    for damaged in (part, part + bytes(len(data) - length), part + b"\xff\xd9", part + b"\xff\xd9" + bytes(100)):
        refused(damaged, Outcome.BROKEN, "truncated")


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"optimize": True}, {"restart_marker_blocks": 200}], ids=str)
@pytest.mark.parametrize("name", ["noise", "gray", "cmyk"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_nuls_among_pixels_are_damage_and_behind_them_are_padding(
    name: str, options: dict[str, Any], share: float
) -> None:
    data = encode(PICTURES[name], "JPEG", **options)
    start = data.index(b"\xff\xda") + 14
    hole = start + int((len(data) - start) * share)
    for length in (200, len(data) - 2 - hole):
        refused(data[:hole] + bytes(length) + data[hole + length :], Outcome.BROKEN, "damaged")
    assert np.array_equal(pixels(data[:-2] + bytes(3000) + b"\xff\xd9"), pixels(data))


def test_nuls_in_a_scan_of_a_progressive_file_are_damage() -> None:
    data = encode(noise(), "JPEG", progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    for scan, following in zip(scans[1:], [*scans[2:], len(data)], strict=True):
        if following - scan > 700:
            hole = scan + 300
            refused(data[:hole] + bytes(300) + data[hole + 300 :], Outcome.BROKEN, "NULs among its pixels")


@pytest.mark.slow
@pytest.mark.parametrize("color", [(200, 30, 40), (0, 0, 0), (255, 255, 255)])
def test_nuls_that_mean_one_color_are_pixels(color: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (1600, 1600), color)
    data = encode(image, "JPEG", optimize=True, quality=95)
    assert bytes(64) in data[data.index(b"\xff\xda") :]
    assert np.abs(pixels(data) - np.array(color)).max() <= 2


@pytest.mark.parametrize("progressive", [False, True])
def test_lost_restart_intervals_are_damage(progressive: bool) -> None:
    data = encode(noise(), "JPEG", restart_marker_rows=1, progressive=progressive)
    second, third = data.index(b"\xff\xd1"), data.index(b"\xff\xd2")
    refused(data[:second] + data[third:], Outcome.BROKEN, r"truncated: \d of \d restart markers")


@pytest.mark.parametrize("options", [{"restart_marker_rows": 1}, {"restart_marker_blocks": 5}], ids=str)
@pytest.mark.parametrize("name", ["noise", "gray", "cmyk"])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_lost_between_two_restart_markers_are_damage(
    name: str, options: dict[str, Any], progressive: bool
) -> None:
    data = encode(PICTURES[name], "JPEG", progressive=progressive, quality=95, **options)
    first, second = data.index(b"\xff\xd0"), data.index(b"\xff\xd1")
    refused(data[: (first + second) // 2] + data[second:], Outcome.BROKEN, "truncated: pixels are missing")


@pytest.mark.parametrize("options", KINDS[:6], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_codes_of_more_pixels_than_there_are_is_damage(mode: str, options: dict[str, Any], share: float) -> None:
    picture = noise(24, 32).resize((256, 192)).convert(mode)
    data = encode(picture, "JPEG", **options)
    start, stop = codes_of_first_scan(data)
    at, length = start + int(share * (stop - start)), (stop - start) // 5
    twice = data[: at + length] + data[at:]  # as where a part was written behind its copy
    refused(twice, Outcome.BROKEN, "fewer|before its end")


def codes_of_first_scan(data: bytes) -> tuple[int, int]:
    scan = data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    stop = start
    while data[stop] != 255 or data[stop + 1] == 0:
        stop += 1
    return start, stop


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("in_exif", [False, True])
@pytest.mark.parametrize("fill", [bytes(20), b"\xff" * 31, b"\xff\0" * 9, b"\x55" * 12, b"\x12\x34"], ids=repr)
def test_a_picture_that_is_filled_up_before_its_end_is_whole(
    options: dict[str, Any], in_exif: bool, fill: bytes
) -> None:
    data = encode(noise(), "JPEG", **options)
    expected = pixels(data)
    if in_exif:  # the thumbnail has an end of its own
        thumbnail = b"Exif\0\0" + encode(noise(8, 8), "JPEG")
        data = data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]
    comment = b"\xff\xfe\0\x0aa comment"[:12]
    for filled in (data[:-2] + fill, data[:-2] + comment, data[:-2] + fill + comment):
        assert np.array_equal(pixels(filled + data[-2:]), expected)


def test_arithmetic_codes_are_read_and_their_parts_are_damage() -> None:
    assert pixels(ARITHMETIC)[0, :4, 0].tolist() == [132, 153, 172, 178]
    assert np.array_equal(pixels(ARITHMETIC + bytes(4096)), pixels(ARITHMETIC))
    start = ARITHMETIC.index(b"\xff\xda") + 10
    for length in range(start + 10, len(ARITHMETIC) - 12, 5):
        part = ARITHMETIC[:length].removesuffix(b"\xff")
        refused(part, Outcome.BROKEN, "damaged")
        refused(part + b"\xff\xd9", Outcome.BROKEN, "truncated: pixels are missing")
        refused(part + bytes(70) + b"\xff\xd9", Outcome.BROKEN, "NULs among its pixels")
    refused(ARITHMETIC.replace(b"\xff\xdb", b"\xff\xfe"), Outcome.BROKEN, "damaged jpeg image")


def test_lost_scans_of_a_progressive_file_are_damage() -> None:
    data = encode(noise(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    refused(data[:last] + b"\xff\xd9", Outcome.BROKEN, "scans of 1 components are missing")


def test_a_thumbnail_in_exif_ends_nothing() -> None:
    thumbnail = encode(noise(16, 16), "JPEG")
    body = b"Exif\0\0" + thumbnail
    data = encode(noise(), "JPEG")
    data = data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    assert pixels(data).shape == (96, 128, 3)
    refused(data[: len(data) // 2] + bytes(5000), Outcome.BROKEN, "truncated: it has no end")


def frame(marker: int, bits: int = 8, height: int = 8, components: int = 1) -> bytes:
    body = bytes((bits, height >> 8, height & 255, 0, 8, components))
    body += b"".join(bytes((number + 1, 0x11, 0)) for number in range(components))
    return b"\xff\xd8\xff" + bytes((marker,)) + (len(body) + 2).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (frame(0xC1, bits=12), "a 12-bit JPEG"),
        (frame(0xC0, bits=12, components=3), "a 12-bit JPEG"),
        (frame(0xC3, bits=16), "a 16-bit JPEG"),
        (frame(0xF7), "a JPEG-LS"),
        (frame(0xC5), "a hierarchical JPEG"),
        (frame(0xCB), "a lossless JPEG"),
        (frame(0xC0, height=0), "says its height behind its pixels"),
        (frame(0xC0, components=2), "a JPEG of 2 components"),
    ],
)
def test_what_may_be_whole_but_cannot_be_read_has_a_name(data: bytes, match: str) -> None:
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(40) + b"\xff\xd9"
    refused(data + scan, Outcome.UNSUPPORTED, match)


def test_several_pictures_are_told() -> None:
    data = encode(noise(), "MPO", save_all=True, append_images=[noise(), noise()])
    assert remarks(decode(data, LIMIT)) == [SEVERAL_FRAMES]


@pytest.mark.parametrize("pillow_format", ["JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("in_exif", [False, True])
def test_orientation_is_that_of_exif_alone_as_in_browsers(pillow_format: str, in_exif: bool) -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    image, exif = noise(96, 128), Image.Exif()
    if in_exif:
        exif[0x0112] = 8
    exif[700] = packet  # where TIFF has it
    options = {"exif": exif} if pillow_format == "TIFF" else {"xmp": packet, "exif": exif.tobytes()}
    data = encode(image, pillow_format, **options)
    assert packet in data
    assert pixels(data).shape == ((128, 96, 3) if in_exif else (96, 128, 3))


def test_damage_that_stops_the_decoder_is_damage() -> None:
    data = encode(noise(), "JPEG", restart_marker_rows=1)
    refused(data.replace(b"\xff\xdb", b"\xff\xfe"), Outcome.BROKEN, "damaged jpeg image")
    plain = encode(noise(), "JPEG")
    refused(plain.replace(b"\xff\xdb", b"\xff\xfe"), Outcome.BROKEN, "damaged jpeg image")

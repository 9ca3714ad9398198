import contextlib
import io
import pickle
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from elfs.data import decoding
from elfs.data.decoding import ODD_SHAPE, SEVERAL_FRAMES, BadImageError, decode, remarks
from elfs.data.samples import Outcome

LIMIT = 10_000_000
LOSSLESS = ("PNG", "TIFF", "WEBP")


def encode(image: Image.Image, pillow_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, pillow_format, **options)
    return file.getvalue()


def noise(height: int = 24, width: int = 20) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def pixels(data: bytes) -> np.ndarray:
    image = decode(data, LIMIT)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def failure(data: bytes, limit: int = LIMIT) -> BadImageError:
    with pytest.raises(BadImageError) as caught:
        decode(data, limit)
    return caught.value


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def raw_png(height: int, width: int, depth: int, color_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def float_tiff(values: list[list[float]]) -> bytes:
    return encode(Image.fromarray(np.array(values, np.float32)), "TIFF")


@pytest.mark.parametrize("pillow_format", LOSSLESS)
def test_rgb_is_left_as_it_is(pillow_format: str) -> None:
    image = noise()
    options = {"lossless": True} if pillow_format == "WEBP" else {}
    assert np.array_equal(pixels(encode(image, pillow_format, **options)), np.asarray(image))


def test_row_26_truncated_jpeg_is_broken() -> None:
    data = encode(noise(64, 64), "JPEG")
    error = failure(data[: len(data) // 2])
    assert error.outcome == Outcome.BROKEN
    assert "truncated" in error.reason


def test_row_26_png_with_a_bad_checksum_is_broken() -> None:
    data = bytearray(encode(noise(), "PNG"))
    data[data.index(b"IEND") - 5] ^= 1  # last byte of the checksum of the last pixel chunk; the pixels are untouched
    error = failure(bytes(data))
    assert error.outcome == Outcome.BROKEN
    assert "IDAT" in error.reason


def test_row_26_every_cut_of_every_format_is_broken_and_quiet() -> None:
    for pillow_format in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000"):
        data = encode(noise(64, 64), pillow_format)
        for length in (0, 1, 12, 20, 40, len(data) // 2):
            error = failure(data[:length])
            assert error.outcome == Outcome.BROKEN, (pillow_format, length)
            assert error.reason == failure(data[:length]).reason
            assert "0x" not in error.reason


def test_row_26_flipped_bytes_never_raise_anything_else() -> None:
    random = np.random.default_rng(1)
    for pillow_format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        data = encode(noise(16, 16), pillow_format)
        for _ in range(40):
            damaged = bytearray(data)
            for position in random.integers(0, len(data), 3):
                damaged[position] ^= int(random.integers(1, 256))
            with contextlib.suppress(BadImageError):
                assert decode(bytes(damaged), LIMIT).mode == "RGB"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty file"), (b"404 not found", "text, not"), (b"<!doctype html><p>sorry", "HTML page")],
)
def test_row_27_empty_text_and_html_are_broken(data: bytes, reason: str) -> None:
    error = failure(data)
    assert error.outcome == Outcome.BROKEN
    assert reason in error.reason


def test_row_29_a_bomb_is_too_large_before_it_is_decoded() -> None:
    bomb = raw_png(30_000, 30_000, 8, 2, b"")
    error = failure(bomb)
    assert error.outcome == Outcome.TOO_LARGE
    assert error.reason == "30000 x 30000 pixels, more than 10,000,000"


def test_row_29_the_limit_is_ours_and_not_that_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = encode(noise(10, 10), "PNG")
    assert decode(data, 100).size == (10, 10)
    assert failure(data, 99).outcome == Outcome.TOO_LARGE
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1)])
def test_row_30_tiny_and_extreme_shapes_decode(height: int, width: int) -> None:
    assert pixels(encode(noise(height, width), "PNG")).shape == (height, width, 3)


@pytest.mark.parametrize(
    ("height", "width", "odd"),
    [(1, 1, True), (3, 3, True), (4, 4, False), (5, 79, False), (5, 80, True), (80, 5, True)],
)
def test_row_30_odd_shapes_are_told(height: int, width: int, odd: bool) -> None:
    assert remarks(decode(encode(noise(height, width), "PNG"), LIMIT)) == [ODD_SHAPE] * odd


def test_row_31_cmyk_becomes_rgb() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for pillow_format in ("JPEG", "TIFF"):
        assert np.abs(pixels(encode(red, pillow_format)) - [255, 0, 0]).max() < 12


def test_row_31_adobe_inverted_cmyk_becomes_rgb() -> None:
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    position = data.index(b"Adobe") + 11
    assert data[position] == 0  # CMYK, stored inverted as Adobe does
    assert np.abs(pixels(data) - [255, 0, 0]).max() < 12


def test_row_31_ycck_becomes_rgb() -> None:
    # Adobe stores inverted inks: pure red is (255, 0, 0, 255); YCCK is YCbCr of the complement (0, 255, 255), then K.
    luma, blue, red, black = 179, 171, 1, 255
    stored = Image.merge("CMYK", [Image.new("L", (16, 16), 255 - value) for value in (luma, blue, red, black)])
    as_cmyk = encode(stored, "JPEG", quality=100)
    as_ycck = bytearray(as_cmyk)
    as_ycck[as_ycck.index(b"Adobe") + 11] = 2
    assert np.abs(pixels(bytes(as_ycck)) - [255, 0, 0]).max() < 12
    assert np.abs(pixels(as_cmyk) - [255, 0, 0]).max() > 100


def test_row_32_16_bit_gray_png_is_scaled() -> None:
    values = np.array([[0, 128, 257], [32896, 65406, 65535]], np.uint16)
    expected = np.rint(values / 257)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    assert np.array_equal(pixels(raw_png(2, 3, 16, 0, rows))[..., 0], expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_row_32_16_bit_tiff_is_scaled_in_both_byte_orders(order: str) -> None:
    image = Image.frombytes("I;16B" if order == ">" else "I;16", (2, 1), np.array([257, 65535], f"{order}u2").tobytes())
    assert pixels(encode(image, "TIFF"))[0, :, 0].tolist() == [1, 255]


def test_row_32_16_bit_rgb_png_keeps_its_high_byte() -> None:
    row = np.array([[0x1234, 0x80FF, 0xFFFF]], ">u2")
    assert pixels(raw_png(1, 1, 16, 2, b"\0" + row.tobytes())).tolist() == [[[0x12, 0x80, 0xFF]]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 0.5, 1.0]], [0, 128, 255]),
        ([[0.0, 7.0, 200.0]], [0, 7, 200]),
        ([[-100.0, 0.0, 100.0]], [0, 128, 255]),
        ([[0.0, 3e38, -3e38]], [128, 255, 0]),
        ([[float("nan"), 1.0, float("inf")]], [0, 255, 0]),
        ([[float("nan")] * 3], [0, 0, 0]),
        ([[300.0, 300.0, 300.0]], [0, 0, 0]),
    ],
)
def test_row_32_float_tiff_is_scaled(values: list[list[float]], expected: list[int]) -> None:
    assert pixels(float_tiff(values))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 257, 65535], [0, 1, 255]), ([0, 50_000, 100_000], [0, 128, 255]), ([-1, 0, 1], [0, 128, 255])],
)
def test_row_32_32_bit_integers_are_scaled(values: list[int], expected: list[int]) -> None:
    data = encode(Image.fromarray(np.array([values], np.int32)), "TIFF")
    assert pixels(data)[0, :, 0].tolist() == expected


def test_row_33_alpha_is_composited_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    for pillow_format in LOSSLESS:
        options = {"lossless": True, "exact": True} if pillow_format == "WEBP" else {}
        assert pixels(encode(image, pillow_format, **options)).tolist() == [[[200, 0, 0], [255, 255, 255]]]


def test_row_33_half_transparent_gray_is_half_white() -> None:
    assert pixels(encode(Image.new("LA", (1, 1), (0, 128)), "PNG")).tolist() == [[[127, 127, 127]]]


def test_row_33_palette_with_transparency_is_composited_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    for pillow_format in ("PNG", "GIF"):
        data = encode(image, pillow_format, transparency=1)
        assert pixels(data).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert pixels(encode(image, "PNG")).tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_row_33_a_transparent_color_is_composited_on_white() -> None:
    image = Image.new("RGB", (1, 1), (1, 2, 3))
    assert pixels(encode(image, "PNG", transparency=(1, 2, 3))).tolist() == [[[255, 255, 255]]]


def test_row_34_gray_and_1_bit_become_rgb() -> None:
    assert pixels(encode(Image.new("L", (1, 1), 77), "PNG")).tolist() == [[[77, 77, 77]]]
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert pixels(encode(image, "PNG")).tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert pixels(encode(image, "TIFF")).tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("pillow_format", ["GIF", "PNG", "TIFF", "WEBP"])
def test_row_35_the_first_frame_is_taken(pillow_format: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue", "lime")]
    options: dict[str, Any] = {"lossless": True} if pillow_format == "WEBP" else {}
    data = encode(frames[0], pillow_format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]
    assert pixels(data)[0, 0].tolist() == [255, 0, 0]
    assert remarks(decode(data, LIMIT)) == [SEVERAL_FRAMES]
    assert remarks(decode(encode(frames[0], pillow_format), LIMIT)) == []


def test_row_35_damage_behind_the_first_page_does_not_matter() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = bytearray(encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    first = struct.unpack_from("<I", data, 4)[0]
    link = first + 2 + 12 * struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, link, len(data) - 1)  # where the second page is said to begin
    assert pixels(bytes(data))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_row_36_orientation_is_applied_once(pillow_format: str, orientation: int) -> None:
    if pillow_format == "AVIF" and not decoding._has_decoder("avif"):
        pytest.skip("this Pillow has no AVIF")
    upright = np.full((32, 48, 3), 128, np.uint8)
    upright[:16, :24] = [255, 0, 0]
    upright[:16, 24:] = [0, 0, 255]
    # How a camera stores an upright scene under each orientation: the inverse of the turn that EXIF 2.3 asks for.
    stored = {
        1: lambda scene: scene,
        2: lambda scene: scene[:, ::-1],
        3: lambda scene: scene[::-1, ::-1],
        4: lambda scene: scene[::-1],
        5: lambda scene: scene.swapaxes(0, 1),
        6: lambda scene: np.rot90(scene, 1),
        7: lambda scene: scene[::-1, ::-1].swapaxes(0, 1),
        8: lambda scene: np.rot90(scene, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), pillow_format, exif=exif.tobytes())
    result = pixels(data)
    assert result.shape == upright.shape
    assert np.abs(result[4:12, 4:20] - [255, 0, 0]).max() < 40
    assert np.abs(result[4:12, 28:44] - [0, 0, 255]).max() < 40


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff"]
)
def test_row_36_broken_exif_is_ignored(exif: bytes) -> None:
    assert pixels(encode(noise(), "JPEG", exif=b"Exif\0\0" + exif)).shape == (24, 20, 3)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_row_36_an_unknown_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert pixels(encode(noise(), "JPEG", exif=exif.tobytes())).shape == (24, 20, 3)


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a heic image, .* pip install pillow-heif"),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1avif", "an avif image, .* pip install 'pillow>=11.3'"),
        (b"\xff\x0a\0\0", "a jxl image, .* pip install pillow-jxl-plugin"),
    ],
)
def test_row_37_without_a_decoder_it_is_unsupported(head: bytes, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_has_decoder", lambda _: False)
    with pytest.raises(BadImageError, match=f"^unsupported: {hint}$") as caught:
        decode(head, LIMIT)
    assert caught.value.outcome == Outcome.UNSUPPORTED


def test_row_37_a_decoder_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(decoding.importlib, "import_module", absent)  # type: ignore[attr-defined]
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)  # of a plugin that is installed here
    monkeypatch.setattr(decoding.features, "check", lambda _: False)  # type: ignore[attr-defined]
    find = decoding._has_decoder.__wrapped__
    assert [find(kind) for kind in ("jpeg", "heic", "jxl", "avif")] == [True, False, False, False]


def test_row_37_a_plugin_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plugin:
        @staticmethod
        def register_heif_opener() -> None:
            monkeypatch.setitem(Image.OPEN, "HEIF", (lambda *_: None, None))

    monkeypatch.setattr(decoding.importlib, "import_module", lambda _: Plugin)  # type: ignore[attr-defined]
    assert decoding._has_decoder.__wrapped__("heic")


def test_warnings_of_pillow_stay_inside() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("x", "y")
    palette = Image.new("P", (2, 2))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    data = encode(palette, "PNG", transparency=bytes([0, 255]), pnginfo=info)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        decode(data, LIMIT)
        failure(b"II*\0\x08\0\0\0\x01\0\0\1\xff\xff\1\0\0\0\0\0\0\0")
    assert not seen


def test_bad_image_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(BadImageError(Outcome.BROKEN, "torn")))
    assert (error.outcome, error.reason, str(error)) == (Outcome.BROKEN, "torn", "broken: torn")


@pytest.mark.parametrize("alpha", [0, 7])
def test_row_33_a_bmp_whose_alpha_is_nowhere_set_has_none(alpha: int) -> None:
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 124, 2, 1, 1, 32, 3, 0, 2835, 2835, 0, 0) + masks + b"BGRs" + bytes(64)
    row = bytes((40, 30, 200, 0, 220, 60, 20, alpha))
    data = b"BM" + struct.pack("<IHHI", 138 + len(row), 0, 0, 138) + header + row
    found = pixels(data)[0].tolist()
    assert found == ([[200, 30, 40], [20, 60, 220]] if alpha == 0 else [[255, 255, 255], [249, 250, 254]])


@pytest.mark.parametrize(
    ("bits", "packing", "name"),
    [
        (2, 0, "a 2-bit BMP"),
        (64, 0, "a 64-bit BMP"),
        (32, 6, "a BMP of bit fields with alpha"),
        (0, 4, "a BMP of JPEG"),
    ],
)
def test_row_37_a_bmp_that_may_be_whole_has_a_name(bits: int, packing: int, name: str) -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, bits, packing, 0, 2835, 2835, 0, 0)
    error = failure(b"BM" + struct.pack("<IHHI", 80, 0, 0, 54) + header + bytes(64))
    assert (error.outcome, error.reason) == (Outcome.UNSUPPORTED, f"{name}, which elfs cannot read")


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"8BPS\0\1", "a Photoshop file"), (b"v/1\1", "an OpenEXR image"), (b"\0\0\0\x18ftypcrx ", "camera raw")],
)
def test_row_37_formats_that_are_known_by_name_alone_are_unsupported(head: bytes, name: str) -> None:
    error = failure(head + bytes(40))
    assert (error.outcome, error.reason) == (Outcome.UNSUPPORTED, f"{name}, which elfs cannot read")

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from elfs.data.decoding import SEVERAL_FRAMES, decode, remarks
from elfs.data.samples import Outcome
from tests.data_package.formats.files import (
    LIMIT,
    big_directory,
    big_head,
    directory,
    encode,
    noise,
    packed,
    pixels,
    refused,
    tiff,
)

ORDERS = ["<", ">"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
def test_gray_of_any_depth_spans_black_to_white(order: str, white_is_zero: bool, bits: int) -> None:
    highest = 2**bits - 1
    values = [0, highest, highest // 3, highest // 2]
    row = struct.pack(order + "4H", *values) if bits == 16 else packed(values, bits)
    expected = np.array([int(value * 255 / highest + 0.5) for value in values])
    found = pixels(tiff(order, 4, 2, {258: [bits], 262: [0 if white_is_zero else 1]}, [row * 2]))
    assert np.abs(found[..., 0] - (255 - expected if white_is_zero else expected)).max() <= 1
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("planar", [False, True])
def test_colors_in_planes_and_pixels_keep_their_high_byte(order: str, bits: int, planar: bool) -> None:
    colors = np.array([[0x20, 0x80, 0xF0], [0xFF, 0x00, 0x01]])
    values = (colors << (bits - 8)).astype(int)

    def row(numbers: list[int]) -> bytes:
        return struct.pack(f"{order}{len(numbers)}H", *numbers) if bits == 16 else packed(numbers, bits)

    tags = {258: [bits] * 3, 262: [2], 277: [3], 284: [2 if planar else 1]}
    strips = [row(plane.tolist()) * 2 for plane in values.T] if planar else [row(values.ravel().tolist()) * 2]
    assert pixels(tiff(order, 2, 2, tags, strips)).tolist() == [colors.tolist()] * 2


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("letter", "bits", "kind", "values", "expected"),
    [
        ("I", 32, 1, [1_000_000_000, 3_000_000_000], [0, 255]),
        ("I", 32, 1, [257, 65535], [1, 255]),
        ("i", 32, 2, [-2_000_000_000, 2_000_000_000], [0, 255]),
        ("b", 8, 2, [-128, 127], [0, 255]),
        ("b", 8, 2, [0, 127], [0, 127]),
        ("h", 16, 2, [-5, 5], [0, 255]),
        ("e", 16, 3, [0.25, 0.75], [64, 191]),
        ("f", 32, 3, [0.25, 0.75], [64, 191]),
        ("d", 64, 3, [0.25, 0.75], [64, 191]),
        ("q", 64, 2, [-1, 1], [0, 255]),
    ],
)
def test_numbers_of_any_kind_keep_their_order(
    order: str, letter: str, bits: int, kind: int, values: list[float], expected: list[int]
) -> None:
    row = struct.pack(f"{order}2{letter}", *values)
    for photometric in (0, 1):
        found = pixels(tiff(order, 2, 2, {258: [bits], 262: [photometric], 339: [kind]}, [row * 2]))[0, :, 0]
        assert (255 - found if photometric == 0 else found).tolist() == expected


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("factor", [1, 256, 257])
def test_color_maps_of_8_and_of_16_bits(order: str, bits: int, factor: int) -> None:
    colors = ((200, 30, 40), (20, 60, 220))
    table = [0] * (3 << bits)
    for entry, color in enumerate(colors):
        for channel, value in enumerate(color):
            table[(channel << bits) + entry] = value * factor
    data = tiff(order, 2, 2, {258: [bits], 262: [3], 320: table}, [packed([0, 1], bits) * 2])
    assert pixels(data)[0].tolist() == [list(color) for color in colors]


def test_a_color_map_of_another_length_is_damage() -> None:
    refused(tiff("<", 1, 1, {258: [8], 262: [3], 320: [1, 2, 3]}, [b"\0"]), Outcome.BROKEN, "a colour map of 3 values")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_pieces_are_unpacked_whatever_packs_them(compression: str) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (70, 50), np.uint16)
    data = encode(Image.fromarray(values), "TIFF", compression=None if compression == "raw" else compression)
    assert np.array_equal(pixels(data)[..., 0], (values.astype(int) + 128) // 257)


def test_differences_of_samples_are_undone() -> None:
    values = np.array([[1000, 40000, 3]], np.uint16)
    stored = np.diff(values, prepend=np.uint16(0), axis=1).astype("<u2")
    tags = {258: [16], 259: [8], 262: [1], 317: [2]}
    assert pixels(tiff("<", 3, 1, tags, [zlib.compress(stored.tobytes())]))[0, :, 0].tolist() == [4, 156, 0]
    floats = np.array([[0.25, 1.0]], ">f4")
    heavy_first = floats.view(np.uint8).reshape(2, 4).T.ravel()
    stored_bytes = np.diff(heavy_first, prepend=np.uint8(0)).astype(np.uint8)
    tags = {258: [32], 259: [8], 262: [1], 317: [3], 339: [3]}
    assert pixels(tiff("<", 2, 1, tags, [zlib.compress(stored_bytes.tobytes())]))[0, :, 0].tolist() == [64, 255]


def test_tiles_are_put_together_and_bits_turned() -> None:
    values = np.arange(20 * 40, dtype=np.uint16).reshape(20, 40) * 64
    padded = np.zeros((32, 48), "<u2")
    padded[:20, :40] = values
    tiles = [padded[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16, 32)]
    offsets = [8 + 512 * index for index in range(6)]
    tags = {256: (4, [40]), 257: (4, [20]), 258: (3, [16]), 259: (3, [1]), 262: (3, [1]), 277: (3, [1])}
    tags |= {322: (3, [16]), 323: (3, [16]), 324: (4, offsets), 325: (4, [512] * 6)}
    data = b"II*\0" + struct.pack("<I", 8 + 512 * 6) + b"".join(tiles) + directory("<", 8 + 512 * 6, tags)
    assert np.array_equal(pixels(data)[..., 0], (values.astype(int) + 128) // 257)
    reversed_bits = bytes(int(format(byte, "08b")[::-1], 2) for byte in packed([0, 4095], 12))
    assert pixels(tiff("<", 2, 1, {258: [12], 262: [1], 266: [2]}, [reversed_bits]))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(("kind", "expected"), [(0, [200, 0, 0]), (1, [255, 127, 127]), (2, [227, 127, 127])])
def test_alpha_of_16_bits_counts_as_it_is_meant(kind: int, expected: list[int]) -> None:
    tags = {258: [16] * 4, 262: [2], 277: [4], 284: [2], 338: [kind]}
    strips = [struct.pack("<H", value << 8) for value in (200, 0, 0, 128)]
    assert np.abs(pixels(tiff("<", 1, 1, tags, strips))[0, 0] - expected).max() <= 1


def two_pages(first_kind: int, second_photometric: int, as_sub_page: bool) -> bytes:
    """Return a picture of 4 x 3, then one of 8 x 6 that is the next page or a SubIFD."""
    small, large = bytes((7, 7, 7)) * 12, bytes((200, 30, 40)) * 48
    at = 8 + len(small) + len(large)

    def tags(size: tuple[int, int], where: int, kind: int, photometric: int) -> dict[int, tuple[int, list[int]]]:
        found = {254: (4, [kind]), 256: (4, [size[0]]), 257: (4, [size[1]]), 258: (3, [8, 8, 8]), 259: (3, [1])}
        found |= {262: (3, [photometric]), 273: (4, [where]), 277: (3, [3]), 278: (4, [size[1]])}
        return found | {279: (4, [3 * size[0] * size[1]])}

    first = tags((4, 3), 8, first_kind, 2) | ({330: (4, [0])} if as_sub_page else {})
    second_at = at + len(directory("<", at, first))
    if as_sub_page:
        first[330] = (4, [second_at])
    following = 0 if as_sub_page else second_at
    second = directory("<", second_at, tags((8, 6), 8 + len(small), 0, second_photometric))
    head = b"II*\0" + struct.pack("<I", at)
    return head + small + large + directory("<", at, first, following) + second


@pytest.mark.parametrize("as_sub_page", [False, True])
@pytest.mark.parametrize("kind", [1, 4, 5])
def test_the_picture_is_the_first_page_that_is_no_thumbnail_and_no_mask(kind: int, as_sub_page: bool) -> None:
    image = decode(two_pages(kind, 2, as_sub_page), LIMIT)
    assert (image.size, image.getpixel((0, 0)), remarks(image)) == ((8, 6), (200, 30, 40), [])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("places", [None, 4, 16, 18])
def test_files_of_8_byte_places_are_read_in_both_orders(order: str, bits: int, places: int | None) -> None:
    """BigTIFF: two pages, the first a thumbnail; the picture is the next one, or its SubIFD by any kind of place."""
    left, right = (200, 30, 40), (20, 60, 220)
    kind = f"{order}{3 * 8}{'B' if bits == 8 else 'H'}"
    row = struct.pack(kind, *(value << (bits - 8) for value in 4 * left + 4 * right))
    small, large = bytes(3), row * 6
    at = 16 + len(small) + len(large)

    def tags(width: int, height: int, where: int, kind: int) -> dict[int, tuple[int, list[int]]]:
        depth = bits if kind == 0 else 8
        found = {254: (4, [kind]), 256: (4, [width]), 257: (4, [height]), 258: (3, [depth] * 3), 259: (3, [1])}
        found |= {262: (3, [2]), 273: (16, [where]), 277: (3, [3]), 278: (4, [height])}
        return found | {279: (16, [width * height * 3 * depth // 8])}

    first = tags(1, 1, 16, 1) | ({330: (places, [0])} if places else {})
    second_at = at + len(big_directory(order, at, first))
    if places:
        first[330] = (places, [second_at])
    pages = big_directory(order, at, first, 0 if places else second_at)
    pages += big_directory(order, second_at, tags(8, 6, 19, 0))
    assert pixels(big_head(order, at) + small + large + pages).tolist() == [[list(left)] * 4 + [list(right)] * 4] * 6


def test_what_pillow_alone_could_read_of_a_big_endian_bigtiff_is_unsupported() -> None:
    tags = {256: (4, [2]), 257: (4, [2]), 258: (3, [8]), 259: (3, [7]), 262: (3, [1]), 273: (16, [0]), 279: (16, [1])}
    refused(big_head(">", 16) + big_directory(">", 16, tags), Outcome.UNSUPPORTED, "a big-endian BigTIFF of JPEG")


def test_a_compression_that_libtiff_was_built_without_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("not configured")

    data = tiff("<", 2, 2, {258: [8], 259: [50001], 262: [1]}, [bytes(64)])
    monkeypatch.setattr(Image.Image, "save", fail)
    refused(data, Outcome.UNSUPPORTED, "a TIFF compressed with WebP")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("rest", ["NULs", "NULs and an end", "an end"])
def test_a_part_of_a_jpeg_in_a_tiff_is_damage(share: float, rest: str) -> None:
    data = encode(noise(), "TIFF", compression="jpeg")
    tags = Image.open(io.BytesIO(data)).tag_v2  # type: ignore[attr-defined]
    start, length = tags[273][0], tags[279][0]
    assert pixels(data).shape == (96, 128, 3)
    kept = data[start : start + int(length * share)]
    filled = {
        "NULs": kept,
        "an end": kept + b"\xff\xd9",
        "NULs and an end": kept.ljust(length - 2, b"\0") + b"\xff\xd9",
    }
    refused(
        data[:start] + filled[rest].ljust(length, b"\0") + data[start + length :], Outcome.BROKEN, "truncated|damaged"
    )


def test_of_two_pictures_the_first_is_taken_and_told() -> None:
    image = decode(two_pages(0, 2, False), LIMIT)
    assert (image.size, remarks(image)) == ((4, 3), [SEVERAL_FRAMES, "odd_shape"])
    assert decode(two_pages(0, 2, True), LIMIT).size == (4, 3)


@pytest.mark.parametrize("photometric", [32803, 34892])
@pytest.mark.parametrize("as_sub_page", [False, True])
def test_camera_raw_and_thumbnails_alone_are_unsupported(photometric: int, as_sub_page: bool) -> None:
    refused(two_pages(1, photometric, as_sub_page), Outcome.UNSUPPORTED, "camera raw, which elfs cannot read")
    alone = tiff("<", 1, 1, {254: [1], 258: [8], 262: [1]}, [b"\0"])
    refused(alone, Outcome.UNSUPPORTED, "a TIFF with a reduced version only")
    refused(b"II*\0\x10\0\0\0CR\2\0" + bytes(40), Outcome.BROKEN, "damaged header of a tiff image")


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({258: [8] * 5, 262: [1], 277: [5]}, "a TIFF of 5 bands"),
        ({258: [8], 259: [34887], 262: [1]}, "compressed with LERC"),
        ({258: [8], 259: [34712], 262: [1]}, "compressed with JPEG 2000"),
        ({258: [8], 259: [34933], 262: [1]}, "compressed with PNG"),
        ({258: [8], 259: [34934], 262: [1]}, "compressed with JPEG XR"),
        ({258: [8], 259: [9999], 262: [1]}, "compressed with method 9999"),
        ({258: [12], 259: [7], 262: [1]}, "a TIFF of 12-bit JPEG"),
        ({258: [24], 262: [1]}, "24-bit samples"),
        ({258: [24], 262: [1], 339: [3]}, "24-bit float samples"),
        ({258: [8], 262: [1], 339: [3]}, "8-bit float samples"),
        ({258: [64], 262: [1], 339: [6]}, "complex or unknown numbers"),
        ({258: [5, 6, 5], 262: [2], 277: [3]}, "samples have 5, 6, 5 bits"),
        ({258: [16] * 3, 262: [8], 277: [3]}, "16-bit Lab"),
        ({258: [16] * 3, 262: [6], 277: [3]}, "16-bit YCbCr"),
        ({258: [8], 262: [32844]}, "photometric interpretation 32844"),
        ({258: [8] * 4, 262: [5], 277: [4], 332: [2]}, "other inks than CMYK"),
        ({258: [32], 262: [3], 320: [0] * 3}, "32-bit palette"),
        ({258: [12], 259: [8], 262: [1], 317: [2]}, "differences of 12-bit samples"),
        ({258: [16], 259: [8], 262: [1], 317: [9]}, "predictor 9"),
        ({258: [16], 259: [8], 262: [1], 317: [3]}, "float differences of integers"),
        ({258: [32] * 4, 262: [2], 277: [4], 338: [2]}, "32-bit alpha"),
    ],
)
def test_what_may_be_whole_but_cannot_be_read_has_a_name(tags: dict[int, list[int]], match: str) -> None:
    data = zlib.compress(bytes(64)) if tags.get(259) == [8] else bytes(64)
    refused(tiff("<", 2, 2, tags, [data]), Outcome.UNSUPPORTED, match)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_missing_bytes_of_a_piece_are_damage(compression: int) -> None:
    refused(tiff("<", 9, 9, {258: [16], 259: [compression], 262: [1]}, [b"\1" * 9]), Outcome.BROKEN, "damaged tiff")


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({258: [16, 16], 262: [2], 277: [3]}, "2 sizes of 3 samples"),
        ({258: [16], 262: [2]}, "1 samples of 3 colours"),
        ({258: [16], 262: [1], 322: [0], 323: [0], 324: [8]}, "pieces of 0 x 0"),
    ],
)
def test_tags_that_contradict_each_other_are_damage(tags: dict[int, list[int]], match: str) -> None:
    refused(tiff("<", 2, 2, tags, [bytes(8)]), Outcome.BROKEN, match)


def test_too_few_pieces_and_no_pixels_are_damage() -> None:
    data = tiff("<", 2, 2, {258: [16], 262: [1]}, [bytes(8)]).replace(
        struct.pack("<HHII", 278, 4, 1, 2), struct.pack("<HHII", 278, 4, 1, 1)
    )
    refused(data, Outcome.BROKEN, "too few pieces")
    refused(tiff("<", 0, 2, {258: [16], 262: [1]}, [b""]), Outcome.BROKEN, "0 x 2 pixels")


def test_subsampled_colors_without_compression_are_right() -> None:
    tags = {258: [8] * 3, 262: [6], 277: [3], 530: [2, 2]}
    block = bytes((76, 76, 76, 76, 85, 255))  # four times the luma of red, then its two differences
    assert np.abs(pixels(tiff("<", 4, 2, tags, [block * 2])) - [254, 0, 0]).max() <= 3


@pytest.mark.parametrize("order", ORDERS)
def test_turned_pages_are_turned_once_whoever_reads_them(order: str) -> None:
    row8, row16 = bytes((0, 255)), struct.pack(order + "2H", 0, 65535)
    for bits, row in ((8, row8), (16, row16)):
        image = decode(tiff(order, 2, 1, {258: [bits], 262: [1], 274: [6]}, [row]), LIMIT)
        assert (image.size, image.getpixel((0, 0)), image.getpixel((0, 1))) == ((1, 2), (0, 0, 0), (255,) * 3)


def test_ordinary_files_are_read_as_before() -> None:
    image = noise(20, 30)
    for compression in (None, "tiff_lzw", "jpeg"):
        found = pixels(encode(image, "TIFF", compression=compression))
        assert np.abs(found - np.asarray(image)).max() < (1 if compression != "jpeg" else 255)


@pytest.mark.parametrize(("kind", "expected"), [(0, [55, 155, 255]), (2, [155, 205, 255])])
@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_behind_four_inks_counts_as_it_is_meant(kind: int, expected: list[int], bits: int) -> None:
    tags = {258: [bits] * 5, 262: [5], 277: [5], 338: [kind]}
    inks = [200, 100, 0, 0, 128]
    row = bytes(inks) if bits == 8 else struct.pack("<5H", *(ink * 257 for ink in inks))
    assert np.abs(pixels(tiff("<", 1, 1, tags, [row]))[0, 0] - expected).max() <= 1


def test_tables_of_jpeg_pieces_without_their_end_are_damage() -> None:
    data = encode(noise(), "TIFF", compression="jpeg")
    start = data.rindex(b"\xff\xd8", 0, data.rindex(b"\xff\xd9"))  # of the tables, behind the tags
    for length in (20, 100):
        stop = data.index(b"\xff\xd9", start) + 2
        damaged = data[: stop - length] + bytes(length) + data[stop:]
        refused(damaged, Outcome.BROKEN, "the tables of its pieces have no end")


@pytest.mark.parametrize("kind", [8, 32946])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (8, 3), (8, 4), (16, 1), (16, 3), (1, 3)])
def test_a_deflated_piece_is_held_against_its_checksum(bits: int, channels: int, order: int, kind: int) -> None:
    width, height = 64, 40
    random = np.random.default_rng(0)
    values = random.integers(0, 256, width * height * channels * bits // 8, np.uint8)
    packed_values = zlib.compress(values.tobytes(), 0 if channels == 1 else 6)
    photometric = {1: 1, 3: 2, 4: 5}[channels]
    tags = {258: [bits] * channels, 259: [kind], 262: [photometric], 266: [order], 277: [channels]}

    def file(piece: bytes) -> bytes:
        reverse = bytes(int(format(byte, "08b")[::-1], 2) for byte in range(256))
        return tiff("<", width, height, tags, [piece.translate(reverse) if order == 2 else piece])

    whole = pixels(file(packed_values))
    assert whole.shape == (height, width, 3)
    assert np.array_equal(pixels(file(packed_values[:-4])), whole)  # only its checksum is missing
    assert np.array_equal(pixels(file(packed_values + b"more")), whole)
    middle = len(packed_values) // 2
    for damaged in (
        packed_values[:middle] + bytes(64) + packed_values[middle + 64 :],
        packed_values[:middle] + bytes([packed_values[middle] ^ 4]) + packed_values[middle + 1 :],
        packed_values[:middle],
    ):
        refused(file(damaged), Outcome.BROKEN, "damaged tiff image")

"""HEIC by a decoder of our own, as forgiving as that of the plugin; and by the plugin, where it is installed."""

import contextlib
import struct

import numpy as np
import pytest
from PIL import Image

from elfs.data.bad_image import BadImageError
from elfs.data.formats import heic
from elfs.data.formats.heic import read_heic
from elfs.data.formats.media_items import packed_items, shown_items, with_pixels, within_picture
from elfs.data.samples import Outcome
from tests.data_package.formats.files import LIMIT, encode, is_used, noise, pixels, refused

SIDE = 64
NUM_CODES = 200
DRAWING = noise(16, 16).resize((256, 256)).point([level & 0xE0 for level in range(256)] * 3)


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def full(name: bytes, version: int, flags: int, body: bytes) -> bytes:
    return box(name, bytes([version]) + flags.to_bytes(3, "big") + body)


def container(items: list[bytes], kinds: list[bytes], references: bytes = b"", properties: bytes = b"") -> bytes:
    """Return a file whose items 1, 2, ... are of these kinds; the first is shown, the others are hidden."""
    infos = [
        full(b"infe", 2, int(number > 1), struct.pack(">HH", number, 0) + kind + b"\0")
        for number, kind in enumerate(kinds, start=1)
    ]
    iinf = full(b"iinf", 0, 0, struct.pack(">H", len(items)) + b"".join(infos))

    def meta(start: int) -> bytes:
        places = b""
        for number, item in enumerate(items, start=1):
            places += struct.pack(">HHHII", number, 0, 1, start, len(item))
            start += len(item)
        iloc = full(b"iloc", 0, 0, b"\x44\0" + struct.pack(">H", len(items)) + places)
        pitm = full(b"pitm", 0, 0, struct.pack(">H", 1))
        handler = full(b"hdlr", 0, 0, bytes(4) + b"pict" + bytes(13))
        return full(b"meta", 0, 0, handler + pitm + iloc + iinf + references + properties)

    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", b"".join(items))


def reference(kind: bytes, origin: int, numbers: list[int]) -> bytes:
    return box(kind, struct.pack(f">HH{len(numbers)}H", origin, len(numbers), *numbers))


def unit(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def decode_codes(data: bytes) -> Image.Image:
    """Show the item of a file: codes are bytes, those of 128 and more with another byte; missing ones are 0."""
    shown = int.from_bytes(data[data.index(b"pitm") + 8 :][:2], "big")
    begin, end = next((begin, end) for item, begin, end in packed_items(data) if item == shown)
    size = int.from_bytes(data[begin : begin + 4], "big")
    codes, at, found = data[begin + 4 : min(begin + 4 + size, end)], 0, []
    for _ in range(NUM_CODES):
        first = codes[at] if at < len(codes) else 0
        second = codes[at + 1] if first >= 128 and at + 1 < len(codes) else 0
        found.append(first ^ second)
        at += 1 + (first >= 128)
    values = np.resize(np.array(found, np.uint8), (SIDE, SIDE))
    return Image.fromarray(values)


def codes(seed: int = 0, count: int = NUM_CODES) -> bytes:
    random = np.random.default_rng(seed)
    pairs = [[first] if first < 128 else [first, second] for first, second in random.integers(0, 256, (count, 2))]
    return bytes(byte for pair in pairs for byte in pair)


@pytest.fixture
def forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heic, "open_image", lambda data, *_: decode_codes(data))


def broken(data: bytes, match: str) -> None:
    with pytest.raises(BadImageError, match=match) as caught:
        read_heic(data, LIMIT)
    assert caught.value.outcome == Outcome.BROKEN


@pytest.mark.usefixtures("forgiving")
def test_codes_that_end_with_their_pixels_are_whole() -> None:
    for seed in range(20):
        image, has_several = read_heic(container([unit(codes(seed))], [b"hvc1"]), LIMIT)
        assert (image.size, has_several) == ((SIDE, SIDE), False)


@pytest.mark.usefixtures("forgiving")
def test_codes_that_end_before_or_behind_their_pixels_are_damage() -> None:
    broken(container([unit(codes(0, NUM_CODES - 30))], [b"hvc1"]), "more pixels than its codes")
    broken(container([unit(codes(0, NUM_CODES + 30))], [b"hvc1"]), "fewer pixels than its codes")
    broken(container([unit(codes())], [b"hvc1"])[:-20], "truncated")


@pytest.mark.usefixtures("forgiving")
def test_what_lies_in_two_stretches_or_is_cut_out_is_not_asked_for_its_end() -> None:
    data = container([unit(codes(0, NUM_CODES + 30))], [b"hvc1"])
    assert read_heic(data.replace(b"mif1heic", b"clapheic"), LIMIT)[0].size == (SIDE, SIDE)
    data = container([unit(codes(0, NUM_CODES + 30)), unit(codes(1))], [b"hvc1", b"hvc1"])
    place = data.index(b"iloc") + 12
    twice = data[:place] + b"\0\1" + data[place + 2 : place + 14] + b"\0\1" + data[place + 16 :]
    assert [item for item, _, _ in packed_items(twice)] == [1, 1]
    assert read_heic(twice, LIMIT)[0].size == (SIDE, SIDE)


@pytest.mark.usefixtures("forgiving")
@pytest.mark.parametrize("change", [-30, 30])
def test_the_alpha_of_a_picture_is_held_against_its_end_too_and_a_thumbnail_is_not(change: int) -> None:
    items = [unit(codes(0)), unit(codes(1, NUM_CODES + change)), unit(codes(2, NUM_CODES + change))]
    thumbnail = full(b"iref", 0, 0, reference(b"thmb", 2, [1]))
    assert read_heic(container(items[:2], [b"hvc1", b"hvc1"], thumbnail), LIMIT)[0].size == (SIDE, SIDE)
    alpha = full(b"iref", 0, 0, reference(b"thmb", 2, [1]) + reference(b"auxl", 3, [1]))
    broken(container(items, [b"hvc1"] * 3, alpha), "pixels than its codes")


def test_what_a_picture_is_made_of() -> None:
    references = reference(b"dimg", 1, [2, 3]) + reference(b"thmb", 4, [1]) + reference(b"auxl", 5, [1])
    data = container([b"grid", *(unit(b"x" * 9) for _ in range(4))], [b"grid"] + [b"hvc1"] * 4)
    assert within_picture(data) == {1}
    data = container(
        [b"grid", *(unit(b"x" * 9) for _ in range(4))],
        [b"grid"] + [b"hvc1"] * 4,
        full(b"iref", 0, 0, references),
    )
    assert within_picture(data) == {1, 2, 3, 5}


def test_files_show_each_item_and_hold_other_pixels() -> None:
    data = container([unit(b"first"), unit(b"second")], [b"hvc1", b"hvc1"])
    found = {item: (shown, shown[begin:end]) for shown, item, begin, end in shown_items(data)}
    assert [pixels for _, pixels in found.values()] == [unit(b"first"), unit(b"second")]
    shown, _ = found[2]
    assert within_picture(shown) == {2}
    assert b"infe\2\0\0\1" in data
    assert b"infe\2\0\0\1" not in shown
    longer = with_pixels(shown, 2, b"longer than before")
    assert longer is not None
    assert [longer[begin:end] for _, begin, end in packed_items(longer)] == [unit(b"first"), b"longer than before"]
    no_room = data.replace(b"\x44\0", b"\x04\0")  # places of no bytes, as where all are said by their base
    assert with_pixels(no_room, 1, b"other") is None


@pytest.mark.slow
def test_containers_of_any_bytes_raise_nothing() -> None:
    random = np.random.default_rng(0)
    data = container(
        [unit(codes(0)), unit(codes(1))], [b"hvc1", b"hvc1"], full(b"iref", 0, 0, reference(b"auxl", 2, [1]))
    )
    for _ in range(400):
        damaged = bytearray(data)
        for place in random.integers(0, len(data) - 2 * NUM_CODES, 5):
            damaged[place] = int(random.integers(0, 256))
        with contextlib.suppress(IndexError, OverflowError):  # which a reader of any format may raise
            within_picture(bytes(damaged))
            for shown, item, _, _ in shown_items(bytes(damaged)):
                with_pixels(shown, item, b"other")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("quality", [30, 80])
def test_the_plugin_reads_whole_files_and_damaged_ones_are_refused(mode: str, quality: int) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    image = DRAWING.convert(mode)
    if mode == "RGBA":
        image.putalpha(DRAWING.getchannel(0).rotate(180))
    data = encode(image, "HEIF", quality=quality)
    assert pixels(data).shape == (256, 256, 3)
    num_used = 0
    for _, start, stop in packed_items(data):
        length = (stop - start) // 8
        for at in range(start + 2 * length, stop - 2 * length, length):
            for fill in (bytes(length), b"\xff" * length, noise().tobytes()[:length]):
                num_used += is_used(data[:at] + fill + data[at + length :])
    assert num_used <= 2


def test_a_grid_of_tiles_by_the_plugin() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    side = 128
    tiles, decoder = [], b""
    for left in (0, side):
        data = encode(DRAWING.crop((left, 0, left + side, side)), "HEIF", quality=60)
        [(_, begin, end)] = packed_items(data)
        tiles.append(data[begin:end])
        start = data.index(b"hvcC") - 4
        decoder = data[start : start + int.from_bytes(data[start : start + 4], "big")]
    sizes = [full(b"ispe", 0, 0, struct.pack(">II", width, side)) for width in (2 * side, side)]
    owners = struct.pack(">IHBB", 3, 1, 1, 1) + b"".join(struct.pack(">HBBB", item, 2, 0x82, 3) for item in (2, 3))
    common = box(b"ipco", sizes[0] + decoder + sizes[1]) + full(b"ipma", 0, 0, owners)
    grid = b"\0\0\0\1" + struct.pack(">HH", 2 * side, side)
    references = full(b"iref", 0, 0, reference(b"dimg", 1, [2, 3]))
    whole = container([grid, *tiles], [b"grid", b"hvc1", b"hvc1"], references, box(b"iprp", common))
    assert pixels(whole).shape == (side, 2 * side, 3)
    for _, start, stop in packed_items(whole):
        middle, length = (start + stop) // 2, (stop - start) // 6
        refused(whole[:middle] + noise().tobytes()[:length] + whole[middle + length :], Outcome.BROKEN, "damaged heic")
    refused(whole[: start + 40], Outcome.BROKEN, "damaged heic")

"""Image files made by hand, byte by byte."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elfs.data.decoding import BadImageError, decode
from elfs.data.formats.tiff_pages import choose_page
from elfs.data.samples import Outcome

LIMIT = 10_000_000
LETTERS = {1: "B", 3: "H", 4: "I", 16: "Q", 18: "Q"}


def pixels(data: bytes) -> np.ndarray:
    image = decode(data, LIMIT)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def refused(data: bytes, outcome: Outcome, match: str) -> None:
    with pytest.raises(BadImageError, match=match) as caught:
        decode(data, LIMIT)
    assert caught.value.outcome == outcome


def is_used(data: bytes) -> bool:
    try:
        decode(data, LIMIT)
    except BadImageError:
        return False
    return True


def encode(image: Image.Image, pillow_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, pillow_format, **options)
    return file.getvalue()


def noise(height: int = 96, width: int = 128) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(depth: int, color: int, row: bytes, width: int, before: bytes = b"", after: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, 2, depth, color, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress((b"\0" + row) * 2))
    return b"\x89PNG\r\n\x1a\n" + header + before + body + after + png_chunk(b"IEND", b"")


def directory(order: str, at: int, tags: dict[int, tuple[int, list[int]]], following: int = 0) -> bytes:
    """Return a page's tags as they lie at an offset: {number: (type, values)}."""
    entries, extra, end = b"", b"", at + 2 + 12 * len(tags) + 4
    for number in sorted(tags):
        kind, values = tags[number]
        packed = struct.pack(order + LETTERS[kind] * len(values), *values)
        if len(packed) > 4:
            packed, extra = struct.pack(order + "I", end + len(extra)), extra + packed
        entries += struct.pack(order + "HHI", number, kind, len(values)) + packed.ljust(4, b"\0")
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", following) + extra


def tiff(order: str, width: int, height: int, tags: dict[int, list[int]], strips: list[bytes]) -> bytes:
    """Return a file of one page; tags are short but for those of sizes and places."""
    offsets = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    at = 8 + sum(map(len, strips))
    long = {256: [width], 257: [height], 273: offsets, 278: [height], 279: [len(strip) for strip in strips]}
    all_tags = {number: (4, values) for number, values in long.items()}
    all_tags |= {259: (3, [1]), 277: (3, [1])} | {number: (3, values) for number, values in tags.items()}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return head + b"".join(strips) + directory(order, at, all_tags)


def strip(data: bytes) -> tuple[int, int]:
    """Return where the first strip of a TIFF file begins and ends."""
    page, _, _ = choose_page(data)
    start = page.number(273, 0)
    return start, start + page.number(279, 0)


def packed(values: list[int], bits: int) -> bytes:
    """Return numbers of so many bits, the highest bit first."""
    text = "".join(format(value, f"0{bits}b") for value in values)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def big_directory(order: str, at: int, tags: dict[int, tuple[int, list[int]]], following: int = 0) -> bytes:
    """Return a page's tags as `directory` does, of a BigTIFF."""
    entries, extra, end = b"", b"", at + 8 + 20 * len(tags) + 8
    for number in sorted(tags):
        kind, values = tags[number]
        packed = struct.pack(order + LETTERS[kind] * len(values), *values)
        if len(packed) > 8:
            packed, extra = struct.pack(order + "Q", end + len(extra)), extra + packed
        entries += struct.pack(order + "HHQ", number, kind, len(values)) + packed.ljust(8, b"\0")
    return struct.pack(order + "Q", len(tags)) + entries + struct.pack(order + "Q", following) + extra


def big_head(order: str, at: int) -> bytes:
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, at)

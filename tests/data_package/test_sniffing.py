import io
import struct

import numpy as np
import pytest
from PIL import Image

from elfs.data.sniffing import HEAD_BYTES, IMAGE_EXTENSIONS, SIDECAR_EXTENSIONS, describe_other, name_other, sniff


@pytest.mark.parametrize(
    ("pillow_format", "kind"),
    [
        ("JPEG", "jpeg"),
        ("PNG", "png"),
        ("GIF", "gif"),
        ("WEBP", "webp"),
        ("TIFF", "tiff"),
        ("BMP", "bmp"),
        ("PPM", "ppm"),
        ("JPEG2000", "jpeg2000"),
        ("AVIF", "avif"),
    ],
)
def test_row_28_kind_is_known_by_content(pillow_format: str, kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, pillow_format)
    assert sniff(file.getvalue()[:HEAD_BYTES]) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "avif"),
        (b"\0\0\0\x18ftypisom\0\0\x02\0isomavc1mp41", None),
        (b"\xff\x0a\x00\x10", "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
        (b"MM\0*\0\0\0\x08", "tiff"),
        (b"II+\0\x08\0\0\0", "tiff"),
        (b"BM but this is a text", None),
        (b"P1thon is no bitmap", None),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"", None),
    ],
)
def test_heads(head: bytes, kind: str | None) -> None:
    assert sniff(head) == kind


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><title>404", "an HTML page, not an image"),
        (b"<HTML><body>", "an HTML page, not an image"),
        (b"not found\r\n", "text, not an image"),
        (b"\0\1\2\3", "not an image format that elfs knows"),
    ],
)
def test_row_27_what_is_no_image_is_named(data: bytes, reason: str) -> None:
    assert describe_other(data) == reason


def test_extension_lists_are_lower_case_and_apart() -> None:
    assert not IMAGE_EXTENSIONS & SIDECAR_EXTENSIONS
    assert all(name == name.lower() and name[:1] == b"." for name in IMAGE_EXTENSIONS | SIDECAR_EXTENSIONS)


def targa(kind: int, colors: int = 0) -> bytes:
    """Return the head of a TGA image of 20 x 10 pixels with a comment of 5 bytes."""
    table = bytes([int(colors > 0), kind]) + struct.pack("<HHB", 0, colors, 24 if colors else 0)
    return b"\5" + table + struct.pack("<HHHHBB", 0, 0, 20, 10, 8 if colors or kind in (3, 11) else 24, 0) + bytes(20)


def test_noise_and_nothing_have_no_name() -> None:
    random = np.random.default_rng(0)
    blobs = [random.bytes(600) for _ in range(2000)]
    assert {name_other(blob) for blob in [*blobs, bytes(600), b"\xff" * 600]} == {None}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"Lerc2 \6\0", "a LERC image"),
        (b"8BPS\0\1", "a Photoshop file"),
        *((b"PF" + blank + b"2 2", "a PFM image") for blank in (b"\n", b"\r\n", b" ")),
        *((b"P7" + blank + b"WIDTH", "a PAM image") for blank in (b"\n", b"\r\n")),
        (b"\0\0\1\0\1\0\x20\x20\0\0\1\0\x20\0" + bytes(20), "an icon"),
        (b"\0\0\2\0\1\0\x20\x20\0\0\1\0\1\0" + bytes(20), "a cursor"),
        *((targa(kind), "a TGA image") for kind in (2, 3, 10, 11)),
        *((targa(kind, colors=256), "a TGA image") for kind in (1, 9)),
        *((b"\n" + bytes([version, 1, 8]) + bytes(60), "a PCX image") for version in (0, 2, 3, 5)),
        (b"\0\0\0\x6b\0\0\0\7\0\0\0\2" + bytes(99), "an XWD image"),
        (b"\x28\0\0\0\x20\0\0\0\x20\0\0\0\1\0\x18\0" + bytes(40), "a BMP without the header of its file"),
        (b"#define a_width 16\n#define a_height 16\n", "an XBM image"),
        (b"/* XPM */\nstatic char", "an XPM image"),
        (b"DanM" + bytes(28), "a Paint image (MSP)"),
        (b"\xab\1\1\0", "a VIFF image"),
        (b"Image type: RGB image\r\n", "an IM image"),
        (bytes(522) + b"\0\x11\2\xff\x0c\0", "a PICT drawing"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (bytes(128) + b"DICM", "a DICOM image"),
        (b"\0\0\0\x18ftypisom\0\0\x02\0isomavc1mp41", "a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "camera raw"),
        (b"anything else", None),
    ],
)
def test_what_elfs_does_not_read_has_a_name(head: bytes, name: str | None) -> None:
    assert name_other(head) == name

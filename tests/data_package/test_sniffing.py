import io

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


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"Lerc2 \6\0", "a LERC image"),
        (b"8BPS\0\1", "a Photoshop file"),
        *((b"PF" + blank + b"2 2", "a PFM image") for blank in (b"\n", b"\r\n", b" ")),
        *((b"P7" + blank + b"WIDTH", "a PAM image") for blank in (b"\n", b"\r\n")),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (bytes(128) + b"DICM", "a DICOM image"),
        (b"\0\0\0\x18ftypisom\0\0\x02\0isomavc1mp41", "a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "camera raw"),
        (b"anything else", None),
    ],
)
def test_what_elfs_does_not_read_has_a_name(head: bytes, name: str | None) -> None:
    assert name_other(head) == name

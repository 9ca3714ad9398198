"""Damaged pictures of every format: decoded, or left out with a reason, in time.

``FUZZ_EXAMPLES=20000 python -m pytest tests/data_package/test_fuzzed_pictures.py`` looks for longer.
"""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from elfs.data.bad_image import BadImageError
from elfs.data.decoding import decode
from elfs.data.sniffing import HEAD_BYTES, describe_other, name_other, sniff
from tests.test_fuzz import FUZZ, mutated, survives

FORMATS: dict[str, tuple[str, str, dict[str, object]]] = {
    "jpeg": ("RGB", "JPEG", {"restart_marker_rows": 1}),
    "progressive": ("RGB", "JPEG", {"progressive": True}),
    "cmyk": ("CMYK", "JPEG", {}),
    "png": ("RGBA", "PNG", {}),
    "palette": ("P", "PNG", {"transparency": 3}),
    "gray16": ("I;16", "PNG", {}),
    "gif": ("P", "GIF", {}),
    "bmp": ("RGB", "BMP", {}),
    "ppm": ("RGB", "PPM", {}),
    "tiff": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "deflate": ("L", "TIFF", {"compression": "tiff_adobe_deflate"}),
    "lzma": ("RGB", "TIFF", {"compression": "lzma"}),
    "group4": ("1", "TIFF", {"compression": "group4"}),
    "runs": ("1", "TIFF", {"compression": "tiff_ccitt"}),
    "webp": ("RGBA", "WEBP", {"lossless": True}),
    "jpeg2000": ("RGB", "JPEG2000", {}),
    "avif": ("RGB", "AVIF", {}),
}
NEEDS = {"webp": "webp", "jpeg2000": "jpg_2000", "avif": "avif"}
MAX_PIXELS = 1 << 16


def encoded(kind: str) -> bytes:
    """Return a small noisy picture."""
    mode, image_format, options = FORMATS[kind]
    bands = {"RGB": 3, "RGBA": 4, "CMYK": 4}.get(mode, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, bands), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode in ("P", "1"):
        image = Image.fromarray(pixels[..., 0]).convert(mode)
    else:
        image = Image.frombytes(mode, (16, 12), pixels.tobytes())
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def look(data: bytes) -> None:
    """Decode bytes, or learn why they are left out."""
    try:
        image = decode(data, MAX_PIXELS)
    except BadImageError:
        return
    assert image.mode == "RGB"
    assert 0 < image.width * image.height <= MAX_PIXELS


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_row_26_fuzzed_pictures_are_decoded_or_left_out(kind: str) -> None:
    if kind in NEEDS and not features.check(NEEDS[kind]):
        pytest.skip(f"Pillow was built without {NEEDS[kind]}")
    data = encoded(kind)
    assert decode(data, MAX_PIXELS).size == (16, 12)

    @FUZZ
    @given(mutated(data) | mutated(data[:64]).map(lambda start: start + data[64:]))
    def check(content: bytes) -> None:
        survives(lambda: look(content))

    check()


def test_row_28_whatever_bytes_begin_with_has_a_name() -> None:
    starts = [encoded(kind)[:HEAD_BYTES] for kind in FORMATS if kind not in NEEDS]

    @FUZZ
    @given(st.binary(max_size=80) | st.sampled_from(starts).flatmap(mutated))
    def check(content: bytes) -> None:
        assert sniff(content[:HEAD_BYTES]) is None or isinstance(sniff(content[:HEAD_BYTES]), str)
        assert name_other(content) is None or name_other(content)
        assert describe_other(content)
        survives(lambda: look(content))

    check()


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_a_progressive_picture_of_32_pixels_is_whole(subsampling: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", progressive=True, quality=95, subsampling=subsampling)
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(decode(file.getvalue(), MAX_PIXELS)), expected)
    lost = file.getvalue()[: len(file.getvalue()) * 2 // 3]
    for damaged in (lost, lost + b"\xff\xd9", lost + bytes(len(file.getvalue()) - len(lost))):
        with pytest.raises(BadImageError, match="jpeg"):
            decode(damaged, MAX_PIXELS)

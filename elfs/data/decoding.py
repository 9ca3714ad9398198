"""Bytes to an RGB image, by one set of rules, or the reason why not.

The content decides what a file is, never its name (`elfs.data.sniffing`).

============================================  ==========================================================================
What is found                                 What comes out
============================================  ==========================================================================
8-bit gray, 1-bit, palette, YCbCr, HSV, LAB   converted to RGB
CMYK, Adobe-inverted CMYK, YCCK               converted to RGB without colour profiles
alpha, or a transparent colour                composited on white
16-bit gray                                   value / 257, so 65535 becomes 255; 16-bit colour keeps its high byte
32-bit integers                               0..65535 as 16-bit gray; else as floats
floats                                        0..1 times 255; else 0..255 as they are; else stretched; NaN becomes black
several frames or pages                       the first
EXIF orientation                              applied once; broken EXIF is ignored
more pixels than allowed, by the header       TOO_LARGE, before anything is decoded
HEIC, AVIF, JPEG XL without a decoder         UNSUPPORTED, with what to install
truncated, damaged, empty, text, HTML         BROKEN
============================================  ==========================================================================
"""

import contextlib
import functools
import importlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from elfs.data.samples import Outcome
from elfs.data.sniffing import describe_other, sniff

__all__ = ["ODD_SHAPE", "SEVERAL_FRAMES", "BadImageError", "decode", "remarks"]

SEVERAL_FRAMES, ODD_SHAPE = "several_frames", "odd_shape"
"""What `remarks` can say."""

_PILLOW_FORMATS = {
    "avif": ("AVIF",),
    "bmp": ("BMP",),
    "gif": ("GIF",),
    "heic": ("HEIF",),
    "jpeg": ("JPEG", "MPO"),
    "jpeg2000": ("JPEG2000",),
    "jxl": ("JXL",),
    "png": ("PNG",),
    "ppm": ("PPM",),
    "tiff": ("TIFF",),
    "webp": ("WEBP",),
}
_FEATURES = {"avif": "avif", "webp": "webp", "jpeg2000": "jpg_2000"}
_PLUGINS = {"heic": ("pillow_heif", "pillow-heif"), "jxl": ("pillow_jxl", "pillow-jxl-plugin")}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
_MAX_REASON = 200
_FRAMES_KEY = "elfs_several_frames"
_TINY_SIDE = 4
_LONG_SIDES = 16


class BadImageError(Exception):
    """An image that cannot be had; caught per image, never fatal.

    Parameters
    ----------
    outcome : Outcome
        Anything but OK.
    reason : str
        Why, in one line for people; the same for the same bytes.
    """

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(outcome, reason)
        self.outcome = outcome
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.outcome.name.lower()}: {self.reason}"


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Decode an image by the rules of this module.

    Parameters
    ----------
    data : bytes
        A whole file.
    max_pixels : int
        Refuse an image whose header says more than this, width x height.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, upright, first frame, at its own size.

    Raises
    ------
    BadImageError
        If there is no image in `data` that can be decoded; its outcome is BROKEN, UNSUPPORTED or TOO_LARGE.

    Notes
    -----
    While it runs, Pillow's process-wide pixel limit is replaced by `max_pixels` and warnings are silenced, so it is for
    processes, not for threads.
    """
    kind = sniff(data)
    if kind is None:
        raise BadImageError(Outcome.BROKEN, describe_other(data))
    if not _has_decoder(kind):
        raise BadImageError(Outcome.UNSUPPORTED, _missing_decoder(kind))
    with _quiet_pillow():
        try:
            return _decode(data, _PILLOW_FORMATS[kind], max_pixels)
        except BadImageError:
            raise
        except UnidentifiedImageError:  # its own message holds a memory address
            raise BadImageError(Outcome.BROKEN, f"damaged header of a {kind} image") from None
        except Exception as error:  # Pillow answers damaged bytes with a dozen types, from struct.error to KeyError
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise BadImageError(Outcome.BROKEN, f"damaged {kind} image ({text[:_MAX_REASON]})") from error


def remarks(image: Image.Image) -> list[str]:
    """Say what people should know of an image that is used all the same.

    Parameters
    ----------
    image : PIL.Image.Image
        As a reader gave it.

    Returns
    -------
    list of str
        SEVERAL_FRAMES if only the first of them is seen; ODD_SHAPE if a side is shorter than 4 pixels, or 16 times as
        long as the other.
    """
    found = [SEVERAL_FRAMES] if image.info.get(_FRAMES_KEY) else []
    short, long = sorted(image.size)
    return [*found, ODD_SHAPE] if short < _TINY_SIDE or long >= _LONG_SIDES * short else found


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decode(data: bytes, formats: tuple[str, ...], max_pixels: int) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(data), formats=formats)
    width, height = image.size
    if width * height > max_pixels:
        raise BadImageError(Outcome.TOO_LARGE, f"{width} x {height} pixels, more than {max_pixels:,}")
    if image.format == "PNG":
        Image.open(io.BytesIO(data), formats=formats).verify()  # load() skips the checksums of the pixel chunks
    has_several_frames = _is_animated(image)
    image.load()
    decoded = _upright(_to_rgb(image), _orientation(image))
    decoded.info[_FRAMES_KEY] = has_several_frames
    return decoded


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what follows the first frame may be damaged, which does not matter
        return False


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF raises anything; the pixels are good all the same
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _gray(_from_16_bit(np.asarray(image)))
    if image.mode == "I":
        values = np.asarray(image)
        is_16_bit = values.min() >= 0 and values.max() <= 65535
        return _gray(_from_16_bit(values) if is_16_bit else _from_floats(values.astype(np.float64)))
    if image.mode == "F":
        return _gray(_from_floats(np.asarray(image).astype(np.float64)))
    if image.has_transparency_data:
        foreground = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, foreground).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy


def _from_16_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_floats(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Map 0..1 or 0..255, whichever first holds all values, else their own range; what is not finite becomes black."""
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
    if low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    share: NDArray[np.float64] = (np.where(finite, values, low) - low) / ((high - low) or 1.0)
    return np.rint(share * 255).astype(np.uint8)


def _gray(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels).convert("RGB")


@functools.cache
def _has_decoder(kind: str) -> bool:
    if kind in _FEATURES:
        return bool(features.check(_FEATURES[kind]))
    if kind not in _PLUGINS:
        return True
    with contextlib.suppress(ImportError):
        plugin = importlib.import_module(_PLUGINS[kind][0])
        if hasattr(plugin, "register_heif_opener"):  # the other plugin registers when it is imported
            plugin.register_heif_opener()
    return _PILLOW_FORMATS[kind][0] in Image.OPEN


def _missing_decoder(kind: str) -> str:
    package = _PLUGINS[kind][1] if kind in _PLUGINS else "'pillow>=11.3'"
    article = "an" if kind[0] == "a" else "a"
    return f"{article} {kind} image, and no decoder for it; install one: pip install {package}"

"""Bytes to an RGB image, by one set of rules, or the reason why not.

The content decides what a file is, never its name (`elfs.data.sniffing`).

============================================  ==========================================================================
What is found                                 What comes out
============================================  ==========================================================================
8-bit gray, 1-bit, palette, YCbCr, HSV, LAB   converted to RGB
CMYK, Adobe-inverted CMYK, YCCK               converted to RGB without colour profiles
alpha, or a transparent colour                composited on white; a BMP whose alpha is 0 everywhere has none
what the first frame of a GIF leaves bare     white, as browsers have it
gray of 2 to 16 bits                          its range to 0..255 (65535 and 4095 of 12 bits become 255)
colour of 9 to 16 bits                        keeps its high byte (JPEG 2000, PPM: rounded)
signed, and 32-bit integers                   0..65535 as 16-bit gray; signed 8-bit and anything else as floats
floats of 16, 32 and 64 bits                  0..1 times 255; else 0..255 as they are; else stretched; NaN becomes black
white is zero                                 inverted
several frames or pages                       the first that is neither a reduced version of another nor a mask
EXIF orientation                              applied once; broken EXIF is ignored, and so is XMP, as browsers do
text, profiles and other metadata             not read, whatever their size and state
more pixels than allowed, by the header       TOO_LARGE, before anything is decoded
HEIC, AVIF, JPEG XL without a decoder         UNSUPPORTED, with what to install
camera raw, 12-bit JPEG, LERC and the like    UNSUPPORTED, with what it is
truncated, damaged, empty, text, HTML         BROKEN; truncated whether the file ends there, goes on with NULs or not
pixels that are not packed (BMP, PPM, TIFF)   NULs among them are black: nothing tells a part that was never written
============================================  ==========================================================================
"""

import contextlib
import functools
import importlib
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from elfs.data.bad_image import BadImageError, unsupported
from elfs.data.formats.avif import read_avif
from elfs.data.formats.bmp import read_bmp
from elfs.data.formats.gif import read_gif
from elfs.data.formats.heic import read_heic
from elfs.data.formats.jpeg import read_jpeg
from elfs.data.formats.jpeg2000 import read_jpeg2000
from elfs.data.formats.levels import from_floats, from_integers, from_unsigned
from elfs.data.formats.opening import is_animated, open_image
from elfs.data.formats.png import read_png
from elfs.data.formats.tiff import read_tiff
from elfs.data.formats.webp import read_webp
from elfs.data.samples import Outcome
from elfs.data.sniffing import describe_other, name_other, sniff

__all__ = ["ODD_SHAPE", "SEVERAL_FRAMES", "BadImageError", "decode", "remarks"]

SEVERAL_FRAMES, ODD_SHAPE = "several_frames", "odd_shape"
"""What `remarks` can say."""

_PILLOW_FORMATS = {
    "heic": "HEIF",
    "jpeg2000": "JPEG2000",
    "jxl": "JXL",
    "ppm": "PPM",
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
    if kind is None and (other := name_other(data)) is not None:
        raise unsupported(other)
    if kind is None:
        raise BadImageError(Outcome.BROKEN, describe_other(data))
    if not _has_decoder(kind):
        raise BadImageError(Outcome.UNSUPPORTED, _missing_decoder(kind))
    with _quiet_pillow():
        try:
            return _decode(data, kind, max_pixels)
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


def _decode(data: bytes, kind: str, max_pixels: int) -> Image.Image:
    orientation: int | None = None
    if kind == "tiff":
        image, orientation, has_several = read_tiff(data, max_pixels)
    elif kind == "png":
        image, has_several = read_png(data, max_pixels)
    elif kind == "jpeg":
        image, has_several = read_jpeg(data, max_pixels)
    elif kind == "jpeg2000":
        image, has_several = read_jpeg2000(data, max_pixels), False
    elif kind == "gif":
        image, has_several = read_gif(data, max_pixels)
    elif kind == "bmp":
        image, has_several = read_bmp(data, max_pixels), False
    elif kind == "avif":
        image, has_several = read_avif(data, max_pixels)
    elif kind == "webp":
        image, has_several = read_webp(data, max_pixels)
    elif kind == "heic":
        image, has_several = read_heic(data, max_pixels)
    else:
        image, has_several = _by_pillow(data, kind, max_pixels)
    decoded = _upright(_to_rgb(image), _orientation(image) if orientation is None else orientation)
    decoded.info[_FRAMES_KEY] = has_several
    return decoded


def _by_pillow(data: bytes, kind: str, max_pixels: int) -> tuple[Image.Image, bool]:
    """Read what Pillow reads right once it is known to be whole."""
    image = open_image(data, _PILLOW_FORMATS[kind], max_pixels)
    has_several = is_animated(image)
    image.load()
    return image, has_several


def _orientation(image: Image.Image) -> int:
    """Return what EXIF says; Pillow's own `getexif` takes XMP's word where EXIF has none, and browsers do not."""
    try:
        exif = Image.Exif()
        exif.load(image.info["exif"])
        return int(exif.get(_ORIENTATION_TAG, 1))
    except Exception:  # there is none, or it is broken, which raises anything; the pixels are good all the same
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(from_unsigned(np.asarray(image), 16)).convert("RGB")
    if image.mode == "I":
        return Image.fromarray(from_integers(np.asarray(image))).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(from_floats(np.asarray(image).astype(np.float64))).convert("RGB")
    if image.has_transparency_data:
        foreground = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, foreground).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy


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
    return _PILLOW_FORMATS[kind] in Image.OPEN


def _missing_decoder(kind: str) -> str:
    package = _PLUGINS[kind][1] if kind in _PLUGINS else "'pillow>=11.3'"
    article = "an" if kind[0] == "a" else "a"
    return f"{article} {kind} image, and no decoder for it; install one: pip install {package}"

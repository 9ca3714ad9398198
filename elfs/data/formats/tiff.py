"""TIFF files to images: Pillow where it is right, the samples themselves where it is not.

Pillow reads what nearly all files hold. It is wrong or gives up where samples have 9 to 15 bits, where white is zero in
more than 8 bits, for unsigned 32-bit and signed 8-bit integers, for halves and doubles, for colours that lie in planes
of their own, for colour maps of 8 bits and for a page that is no part of the chain. Of these the samples are unpacked
(`elfs.data.formats.tiff_samples`) and mapped here.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from elfs.data.bad_image import broken, unsupported
from elfs.data.formats.jpeg import read_jpeg
from elfs.data.formats.levels import from_floats, from_integers, from_unsigned
from elfs.data.formats.opening import open_image, refuse_large
from elfs.data.formats.tiff_fax import FAX, require_rows
from elfs.data.formats.tiff_packbits import PACK_BITS, require_runs
from elfs.data.formats.tiff_pages import TiffPage, choose_page
from elfs.data.formats.tiff_samples import PACKED, pieces, read_samples
from elfs.data.formats.tiff_streams import CHECKED, STREAMS, refuse_unknown, require_end

__all__ = ["read_tiff"]

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR, _LAB = (0, 1, 2, 3, 4, 5, 6, 8)
_NUM_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3}
_PREMULTIPLIED, _ALPHA = 1, (2, 999)
_MAX_SAMPLES = 8
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_JPEG, _WEBP = 7, 50001
_JPEG_TABLES = 347
_BIG_ENDIAN_BIG = b"MM\0+"
_PILLOWS_COMPRESSIONS = frozenset((2, 3, 4, 6, _JPEG, _WEBP))
_COMPRESSIONS = {
    34661: "JBIG",
    34676: "SGI",
    34677: "SGI",
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    34933: "PNG",
    34934: "JPEG XR",
    34892: "lossy JPEG",
    22610: "JPEG XR",
    32809: "ThunderScan",
    32766: "NeXT",
    32908: "Pixar",
    32909: "Pixar",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_KINDS = {_SIGNED: "signed", _FLOAT: "float"}


def read_tiff(data: bytes, max_pixels: int) -> tuple[Image.Image, int, bool]:
    """Read the picture of a TIFF file.

    Parameters
    ----------
    data : bytes
        A whole file.
    max_pixels : int
        Refuse a page whose tags say more than this, width x height.

    Returns
    -------
    image : PIL.Image.Image
        Of any mode whose conversion to RGB is right; not turned.
    orientation : int
        How it is to be turned, as in EXIF.
    has_several : bool
        Whether there are more pages like it.

    Raises
    ------
    BadImageError
        BROKEN, UNSUPPORTED or TOO_LARGE.
    """
    page, orientation, has_several = choose_page(data)
    refuse_large(page.width, page.height, max_pixels)
    if page.width < 1 or page.height < 1:
        raise broken(f"damaged tiff image ({page.width} x {page.height} pixels)")
    _require_known(page)
    if page.compression == PACK_BITS:
        require_runs(data, page)
    if page.compression in FAX:
        require_rows(data, page)
    if data[:4] == _BIG_ENDIAN_BIG:  # whose header Pillow takes for that of a small one
        if page.compression in _PILLOWS_COMPRESSIONS or page.photometric in (_YCBCR, _LAB):
            raise unsupported("a big-endian BigTIFF of JPEG, of fax, of YCbCr or of Lab")
        return _from_samples(data, page), orientation, has_several
    if _suits_pillow(page):  # which turns the image itself
        if page.compression == _JPEG:
            _require_whole_jpegs(data, page)
        if page.compression in STREAMS:
            for piece in pieces(data, page):
                require_end(page, bytes(piece))
        return _by_pillow(data, page), 1 if 274 in page.directory else orientation, has_several
    return _from_samples(data, page), orientation, has_several


def _require_known(page: TiffPage) -> None:
    """Refuse what neither Pillow nor this module can read, by its name."""
    bits, photometric, compression = page.bits, page.photometric, page.compression
    if len(bits) != page.num_samples or page.num_samples < 1:
        raise broken(f"damaged tiff image ({len(bits)} sizes of {page.num_samples} samples)")
    if compression not in PACKED | _PILLOWS_COMPRESSIONS:
        raise unsupported(f"a TIFF compressed with {_COMPRESSIONS.get(compression, f'method {compression}')}")
    if photometric not in _NUM_COLORS:
        raise unsupported(f"a TIFF of photometric interpretation {photometric}")
    num_colors = _NUM_COLORS[photometric]
    num_others = page.num_samples - num_colors
    if num_others < 0:
        if compression not in _PILLOWS_COMPRESSIONS:
            raise broken(f"damaged tiff image ({page.num_samples} samples of {num_colors} colours)")
    elif num_others > (1 if num_colors == 1 else _MAX_SAMPLES - num_colors):
        raise unsupported(f"a TIFF of {page.num_samples} bands")
    if photometric == _CMYK and page.number(332, 1) != 1:
        raise unsupported("a TIFF of other inks than CMYK")
    if len(set(bits)) > 1:
        raise unsupported(f"a TIFF whose samples have {', '.join(map(str, bits))} bits")
    if len(page.formats) > 1 or not page.formats <= {_UNSIGNED, _SIGNED, _FLOAT}:
        raise unsupported("a TIFF of complex or unknown numbers")
    if compression == _JPEG and bits[0] != 8:
        raise unsupported(f"a TIFF of {bits[0]}-bit JPEG")


def _suits_pillow(page: TiffPage) -> bool:
    if page.compression in _PILLOWS_COMPRESSIONS:
        return True
    photometric, bits, is_unsigned = page.photometric, page.bits[0], page.formats == {_UNSIGNED}
    if photometric in (_YCBCR, _LAB):
        if bits != 8 or not is_unsigned or page.is_planar or (photometric == _LAB and page.num_samples != 3):
            raise unsupported(f"a TIFF of {_describe(page)} {'YCbCr' if photometric == _YCBCR else 'Lab'}")
        return True
    if page.compression in CHECKED:
        return False
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and bits == 1:
        return page.num_samples == 1 and is_unsigned
    is_plain = bits == 8 and is_unsigned and not page.is_planar and photometric != _PALETTE
    return is_plain and page.num_samples == _NUM_COLORS[photometric]


def _describe(page: TiffPage) -> str:
    kind = _KINDS.get(next(iter(page.formats)))
    return f"{page.bits[0]}-bit{f' {kind}' if kind else ''}{' planar' if page.is_planar else ''}"


def _by_pillow(data: bytes, page: TiffPage) -> Image.Image:
    """Let Pillow read a page: its offset is put where a file names its first one."""
    order = "little" if data[:2] == b"II" else "big"
    start, size = (8, 8) if data[2:4] in (b"+\0", b"\0+") else (4, 4)
    data = data[:start] + page.offset.to_bytes(size, order) + data[start + size :]  # type: ignore[arg-type]
    earlier = TiffImagePlugin.READ_LIBTIFF
    TiffImagePlugin.READ_LIBTIFF = page.photometric == _YCBCR  # else subsampled colours are read as if they were not
    try:
        image = open_image(data, "TIFF", page.width * page.height)
        image.info.pop("xmp", None)  # where Pillow looks for an orientation when the page has none
        image.load()
    except OSError:
        refuse_unknown(page.compression)
        raise
    finally:
        TiffImagePlugin.READ_LIBTIFF = earlier
    return image


def _require_whole_jpegs(data: bytes, page: TiffPage) -> None:
    """Refuse pieces without their ends, which libtiff fills up in silence."""
    found = page.directory.get(_JPEG_TABLES)
    if isinstance(found, bytes) and not found.endswith(b"\xff\xd9"):
        raise broken("damaged tiff image (truncated: the tables of its pieces have no end)")
    tables = found[:-2] if isinstance(found, bytes) else b""  # they end as a file does, and pieces begin as one does
    for piece in pieces(data, page):
        read_jpeg(tables + bytes(piece[2:] if tables else piece), 4 * max(page.width * page.height, 2**20))


def _from_samples(data: bytes, page: TiffPage) -> Image.Image:
    """Map samples of any kind to 8 bits."""
    photometric, num_colors = page.photometric, _NUM_COLORS[page.photometric]
    if photometric == _PALETTE:
        return Image.fromarray(_looked_up(read_samples(data, page), page))
    samples = read_samples(data, page)
    colors = _levels(samples[..., :num_colors], page)
    if photometric == _CMYK:
        colors = np.asarray(Image.fromarray(np.ascontiguousarray(colors), "CMYK").convert("RGB"))
    colors = np.repeat(colors, 3, axis=2) if num_colors == 1 else colors
    extra = page.extras[:1] or ((2,) if page.num_samples == num_colors + 1 == 4 else ())
    if page.num_samples == num_colors or not (extra and extra[0] in (_PREMULTIPLIED, *_ALPHA)):
        return Image.fromarray(np.ascontiguousarray(colors))
    alpha = _alpha(samples[..., num_colors], page)
    if extra[0] == _PREMULTIPLIED:
        white = 255 - alpha.astype(np.int32)[..., None]
        return Image.fromarray(np.minimum(colors + white, 255).astype(np.uint8))
    return Image.fromarray(np.dstack([colors, alpha]))


def _levels(values: NDArray[np.generic], page: TiffPage) -> NDArray[np.uint8]:
    """Map colours to 0..255, dark to bright."""
    bits, is_color = page.bits[0], values.shape[2] > 1
    is_inverted = page.photometric == _WHITE_IS_ZERO
    if page.formats == {_UNSIGNED} and bits <= 16:
        unsigned = values.astype(np.uint32)
        return from_unsigned(2**bits - 1 - unsigned if is_inverted else unsigned, bits, is_color=is_color)
    is_float = page.formats == {_FLOAT}
    mapped = from_floats(values.astype(np.float64)) if is_float else from_integers(values, is_color=is_color)
    return 255 - mapped if is_inverted else mapped


def _alpha(values: NDArray[np.generic], page: TiffPage) -> NDArray[np.uint8]:
    if page.formats == {_UNSIGNED} and page.bits[0] <= 16:
        return from_unsigned(values, page.bits[0])
    if page.formats == {_FLOAT}:
        return np.rint(np.clip(np.nan_to_num(values.astype(np.float64)), 0, 1) * 255).astype(np.uint8)
    raise unsupported(f"a TIFF of {_describe(page)} alpha")


def _looked_up(samples: NDArray[np.generic], page: TiffPage) -> NDArray[np.uint8]:
    """Return the colours that a map of 16 bits has, or one of 8 bits, as old programs wrote it."""
    bits = page.bits[0]
    if bits > 16 or page.formats != {_UNSIGNED} or page.is_planar:
        raise unsupported(f"a TIFF of {_describe(page)} palette")
    table = np.array(page.numbers(320), np.int64)
    if len(table) != 3 * 2**bits or table.min() < 0 or table.max() > 65535:
        raise broken(f"damaged tiff image (a colour map of {len(table):,} values for {bits} bits)")
    colors = table if table.max() <= 255 else table >> 8
    image: NDArray[np.uint8] = colors.reshape(3, -1).T.astype(np.uint8)[samples[..., 0].astype(np.int64)]
    alpha = page.extras[:1]
    if page.num_samples == 2 and alpha and alpha[0] in _ALPHA:
        return np.dstack([image, from_unsigned(samples[..., 1], bits)])
    return image

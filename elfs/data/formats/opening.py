"""Pillow's image of some bytes, not decoded yet, within a limit."""

import io

from PIL import Image

from elfs.data.bad_image import BadImageError
from elfs.data.samples import Outcome

__all__ = ["is_animated", "open_image", "refuse_large"]


def open_image(data: bytes, pillow_format: str, max_pixels: int) -> Image.Image:
    """Open an image without decoding its pixels.

    Parameters
    ----------
    data : bytes
        A whole file.
    pillow_format : str
        Pillow's name of its format.
    max_pixels : int
        Refuse an image whose header says more than this, width x height.

    Returns
    -------
    PIL.Image.Image
        Not loaded.

    Raises
    ------
    BadImageError
        If it is TOO_LARGE. Pillow raises anything for damaged headers.
    """
    image: Image.Image = Image.open(io.BytesIO(data), formats=(pillow_format,))
    refuse_large(*image.size, max_pixels)
    return image


def refuse_large(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image of too many pixels.

    Parameters
    ----------
    width, height : int
        As its header says.
    max_pixels : int
        The most that it may have.

    Raises
    ------
    BadImageError
        If it is TOO_LARGE.
    """
    if width * height > max_pixels:
        raise BadImageError(Outcome.TOO_LARGE, f"{width} x {height} pixels, more than {max_pixels:,}")


def is_animated(image: Image.Image) -> bool:
    """Return whether there are more frames than the first.

    Parameters
    ----------
    image : PIL.Image.Image
        As `open_image` gave it.

    Returns
    -------
    bool
        False where what follows the first frame is damaged.
    """
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:
        return False

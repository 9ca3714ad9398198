"""GIF files: what the first frame leaves uncovered, and frames whose tail was never written."""

from PIL import Image

from elfs.data.bad_image import broken
from elfs.data.formats.opening import is_animated, open_image

__all__ = ["read_gif"]

_LAST_NULS = 3
"""So many may end the packed pixels of a whole frame: the upper bits of its last code, and its end."""


def read_gif(data: bytes, max_pixels: int) -> tuple[Image.Image, bool]:
    """Read the first frame of a GIF file; what it does not cover is transparent, as browsers have it.

    Arguments, result and errors are those of `elfs.data.formats`.
    """
    image = open_image(data, "GIF", max_pixels)
    frame = image.tile[0]  # type: ignore[attr-defined]
    has_several = is_animated(image)
    if _frame_stop(data, frame.offset) > len(data.rstrip(b"\0")) + _LAST_NULS:
        raise broken("damaged gif image (truncated: its pixels end in NULs)")
    image.load()
    if frame.extents == (0, 0, *image.size):
        return image, has_several
    canvas = Image.new("RGBA", image.size)
    canvas.paste(image.crop(frame.extents).convert("RGBA"), frame.extents)
    return canvas, has_several


def _frame_stop(data: bytes, start: int) -> int:
    """Return where the blocks of a frame that begins there end."""
    while start < len(data) and data[start]:
        start += 1 + data[start]
    return start + 1

"""Small pictures that live inside a page."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from elfs.data.decoding import BadImageError
from elfs.delivery.pictures import Pictures
from elfs.errors import InputDataError

__all__ = ["Thumbnail", "Thumbnails"]

_SIDE = 160
"""Larger pictures are made this large (pixels)."""

_TINY_SIDE = 64
"""Smaller pictures stay as they are, and the page shows their pixels enlarged."""

_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture for a page, or why there is none.

    Attributes
    ----------
    address : str
        A ``data:`` address; empty if there is no picture.
    tiny : bool
        Whether its pixels should be shown enlarged.
    problem : str
        Why there is no picture.
    """

    address: str = ""
    tiny: bool = False
    problem: str = ""


class Thumbnails:
    """Makes thumbnails, and counts those that cannot be had.

    Parameters
    ----------
    pictures : Pictures
        Where pictures come from; kept as an attribute.
    """

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self.problems: list[str] = []

    def thumbnail(self, row: int, side: int = _SIDE) -> Thumbnail:
        """Return a thumbnail; one that cannot be had stops nothing.

        Parameters
        ----------
        row : int
            Row of the workspace.
        side : int, default 160
            Larger pictures are made this large (pixels).

        Returns
        -------
        Thumbnail
            Of that row.
        """
        if not self.pictures.exist:
            return Thumbnail(problem="no image")
        try:
            image = self.pictures.image(row)
        except BadImageError as error:
            self.problems.append(str(error))
            return Thumbnail(problem=error.outcome.name.lower())
        except InputDataError as error:
            self.problems.append(error.message)
            return Thumbnail(problem="no image")
        if max(image.size) <= _TINY_SIDE:
            return Thumbnail(_address(image, "png"), tiny=True)
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2)
        return Thumbnail(_address(image, "jpeg"))


def _address(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

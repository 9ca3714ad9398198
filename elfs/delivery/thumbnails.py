"""Small pictures that live inside a page."""

import base64
import io
import math
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
_LARGE_SIDE, _LEAST_SIDE = 384, 32
_LARGE_BYTES = 8_000_000
"""What the larger pictures of a page may weigh together, before they become text; each gets an equal share."""

_BYTES_PER_PIXEL = 0.2
_SMALL_SIDE, _SMALL_BYTES = 96, 4_000


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
        self._problems: dict[int, str] = {}

    @property
    def problems(self) -> list[str]:
        """Why pictures cannot be had, one sentence for each that was asked for."""
        return list(self._problems.values())

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
        return self._fitted(row, side, math.inf)

    def large(self, row: int, count: int) -> Thumbnail:
        """Return one of many pictures, each as large as its share of the page allows: 384 pixels at most.

        Parameters
        ----------
        row : int
            Row of the workspace.
        count : int
            How many there are, at least 1.

        Returns
        -------
        Thumbnail
            Of that row; one that cannot be had stops nothing.
        """
        share = _LARGE_BYTES / count
        return self._fitted(row, min(_LARGE_SIDE, int(math.sqrt(share / _BYTES_PER_PIXEL))), share)

    def small(self, row: int) -> Thumbnail:
        """Return a picture to recognise an image by, of 96 pixels and 4,000 bytes at most.

        Parameters
        ----------
        row : int
            Row of the workspace.

        Returns
        -------
        Thumbnail
            Of that row; one that cannot be had stops nothing.
        """
        return self._fitted(row, _SMALL_SIDE, _SMALL_BYTES)

    def _fitted(self, row: int, side: int, most_bytes: float) -> Thumbnail:
        if not self.pictures.exist:
            return Thumbnail(problem="no image")
        try:
            image = self.pictures.image(row)
        except BadImageError as error:
            self._problems[row] = str(error)
            return Thumbnail(problem=error.outcome.name.lower())
        except InputDataError as error:
            self._problems[row] = error.message
            return Thumbnail(problem="no image")
        is_tiny = max(image.size) <= _TINY_SIDE
        if is_tiny and len(data := _encoded(image, "png")) <= most_bytes:
            return Thumbnail(_address(data, "png"), tiny=True)
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2)
        while len(data := _encoded(image, "jpeg")) > most_bytes and max(image.size) > _LEAST_SIDE:
            side = max(_LEAST_SIDE, int(0.95 * max(image.size) * math.sqrt(most_bytes / len(data))))
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return Thumbnail(_address(data, "jpeg"), tiny=is_tiny)


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def _address(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"

"""Which page of a TIFF file is the picture, and what its tags say.

The pages of a file are those of its chain, each followed by its SubIFDs. The picture is the first that is neither a
reduced version of another (as the thumbnail that cameras put first) nor a mask.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from elfs.data.bad_image import BadImageError, broken, unsupported

__all__ = ["TiffPage", "choose_page"]

_MAX_PAGES_SEEN = 1_000
_IS_REDUCED, _IS_MASK = 1, 4
_OLD_REDUCED = 2
_CAMERA_RAW = frozenset((32803, 34892))
_ORIENTATION = 274
_SUB_PAGES = 330
_LONG_NUMBERS, _LONG_PLACES = 16, 18


class _Directory(ImageFileDirectory_v2):
    """Pillow's tags, with two things that it overlooks: big files of big-endian order, and places of their SubIFDs."""

    def __init__(self, header: bytes) -> None:
        is_overlooked = header[:4] == b"MM\0+"
        super().__init__(b"MM\0*\0\0\0\0" if is_overlooked else header)
        if is_overlooked:
            self._bigtiff, self.next = True, int.from_bytes(header[8:], "big")
        self._load_dispatch = {**self._load_dispatch, _LONG_PLACES: self._load_dispatch[_LONG_NUMBERS]}


@dataclass(frozen=True)
class TiffPage:
    """One page, by its tags.

    Attributes
    ----------
    directory : ImageFileDirectory_v2
        Its tags.
    offset : int
        Where they lie in the file.
    """

    directory: ImageFileDirectory_v2
    offset: int

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the integers of a tag.

        Parameters
        ----------
        tag : int
            Its number.
        default : tuple of int, optional
            For a page without it.

        Returns
        -------
        tuple of int
            Of any length.

        Raises
        ------
        BadImageError
            If they are something else.
        """
        try:
            value: Any = self.directory.get(tag)
        except Exception as error:  # Pillow answers damaged tags with several types
            raise broken(f"damaged tiff image (tag {tag}: {error})") from error
        if value is None:
            return default
        values = value if isinstance(value, tuple) else (value,)
        if not values or not all(isinstance(number, int) for number in values):
            raise broken(f"damaged tiff image (tag {tag} is no integer)")
        return values

    def number(self, tag: int, default: int) -> int:
        """Return the first integer of a tag.

        Parameters
        ----------
        tag : int
            Its number.
        default : int
            For a page without it.

        Returns
        -------
        int
            Such as the compression of tag 259.

        Raises
        ------
        BadImageError
            If it is something else.
        """
        return self.numbers(tag, (default,))[0]

    @property
    def width(self) -> int:
        """Of the picture, in pixels."""
        return self.number(256, 0)

    @property
    def height(self) -> int:
        """Of the picture, in pixels."""
        return self.number(257, 0)

    @property
    def compression(self) -> int:
        """By its number in the TIFF specification; 1 is none."""
        return self.number(259, 1)

    @property
    def photometric(self) -> int:
        """What samples mean: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab, ..."""
        return self.number(262, 0)

    @property
    def num_samples(self) -> int:
        """Samples of a pixel, those of alpha and unknown ones included."""
        return self.number(277, 1)

    @property
    def bits(self) -> tuple[int, ...]:
        """How many bits each sample has."""
        found = self.numbers(258, (1,))
        return found * self.num_samples if len(found) == 1 else found[: self.num_samples]

    @property
    def formats(self) -> frozenset[int]:
        """What kinds of numbers samples are: 1 unsigned, 2 signed, 3 float; others are unknown or complex."""
        return frozenset(1 if kind == 4 else kind for kind in self.numbers(339, (1,)))

    @property
    def extras(self) -> tuple[int, ...]:
        """What samples behind the colours are: 0 unknown, 1 premultiplied alpha, 2 alpha."""
        return self.numbers(338)

    @property
    def is_planar(self) -> bool:
        """Whether each colour lies on its own."""
        return self.number(284, 1) == 2 and self.num_samples > 1

    @property
    def is_picture(self) -> bool:
        """False for a reduced version of another page, or a mask."""
        return not self.number(254, 0) & (_IS_REDUCED | _IS_MASK) and self.number(255, 1) != _OLD_REDUCED


def choose_page(data: bytes) -> tuple[TiffPage, int, bool]:
    """Find the picture of a file.

    Parameters
    ----------
    data : bytes
        A whole TIFF file.

    Returns
    -------
    page : TiffPage
        Where its picture is.
    orientation : int
        That of the page, else that of the file's first one; 1 where none is said.
    has_several : bool
        Whether there are more such pages in the chain.

    Raises
    ------
    BadImageError
        UNSUPPORTED for camera raw and for a file that has a reduced version only; BROKEN if it has no page.
    """
    found: TiffPage | None = None
    first: TiffPage | None = None
    is_raw = data[8:10] == b"CR"  # Canon says so behind the header
    for page, is_sub_page in _pages(data):
        first = first or page
        try:
            is_picture, is_raw = page.is_picture, is_raw or page.photometric in _CAMERA_RAW
        except BadImageError:
            if found is None:
                raise
            break  # what is behind the picture may be damaged
        if is_raw:
            raise unsupported("camera raw")
        if found is not None and is_picture and not is_sub_page:
            return found, _orientation(found, first), True
        if found is None and is_picture:
            found = page
    if first is None:
        raise broken("damaged header of a tiff image")
    if found is None:
        raise unsupported("a TIFF with a reduced version only")
    return found, _orientation(found, first), False


def _orientation(page: TiffPage, first: TiffPage) -> int:
    return page.number(_ORIENTATION, first.number(_ORIENTATION, 1))


def _pages(data: bytes) -> Iterator[tuple[TiffPage, bool]]:
    """Yield pages, and whether each is a SubIFD; what cannot be read ends it."""
    header = data[: 16 if data[2:4] in (b"+\0", b"\0+") else 8]
    if len(header) < 8 or (header[2:4] in (b"+\0", b"\0+") and len(header) < 16):
        return
    file, seen = io.BytesIO(data), set[int]()
    offset = _Directory(header).next
    while offset and len(seen) < _MAX_PAGES_SEEN:
        page, following = _page(file, header, offset, seen)
        if page is None:
            return
        yield page, False
        for sub_offset in page.numbers(_SUB_PAGES):
            sub_page, _ = _page(file, header, sub_offset, seen)
            if sub_page is not None:
                yield sub_page, True
        offset = following


def _page(file: io.BytesIO, header: bytes, offset: int, seen: set[int]) -> tuple[TiffPage | None, int]:
    """Read the tags at an offset; return them unless they have been seen or hold no picture, and where the next are."""
    if offset in seen or not 0 < offset < len(file.getbuffer()):
        return None, 0
    seen.add(offset)
    file.seek(offset)
    directory = _Directory(header)
    directory.next = 0
    directory.load(file)
    page = TiffPage(directory, offset)
    return (page if 256 in directory else None), int(directory.next or 0)

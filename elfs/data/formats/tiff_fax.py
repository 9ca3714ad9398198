"""Strips of a TIFF file that are coded as by fax machines of group 3: whether there are as many rows as it says.

A row begins behind a mark, which no codes of pixels look like. libtiff goes on at the next mark where codes are none,
and says so on the terminal alone; rows whose marks are gone are white.
"""

import re

from elfs.data.bad_image import broken
from elfs.data.formats.tiff_pages import TiffPage
from elfs.data.formats.tiff_samples import REVERSED, pieces

__all__ = ["GROUP_3", "require_rows"]

GROUP_3 = 3
_MARK = re.compile("0{11,}1")
_OPTIONS, _HAS_TAGS = 292, 1


def require_rows(data: bytes, page: TiffPage) -> None:
    """Refuse a page that has fewer rows than it says.

    Parameters
    ----------
    data : bytes
        A whole file.
    page : TiffPage
        Coded as `GROUP_3`.

    Raises
    ------
    BadImageError
        If it is BROKEN.
    """
    if 324 in page.directory:
        return
    most = min(page.number(278, page.height) or page.height, page.height)
    shortest = 2 if page.number(_OPTIONS, 0) & _HAS_TAGS else 1
    for number, piece in enumerate(pieces(data, page)):
        codes = bytes(piece).translate(REVERSED.tobytes()) if page.number(266, 1) == 2 else bytes(piece)
        bits = f"{int.from_bytes(codes, 'big'):0{8 * len(codes)}b}"
        found = sum("1" in row and len(row) >= shortest for row in _MARK.split(bits))
        expected = min(most, page.height - number * most)
        if found < expected:
            raise broken(f"damaged tiff image (codes of {found:,} of {expected:,} rows)")

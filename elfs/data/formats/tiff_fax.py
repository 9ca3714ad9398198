"""Strips and tiles of a TIFF file that are coded as by fax machines: whether there are as many rows as it says.

libtiff goes on where codes are none, and says so on the terminal alone. In group 3 a row begins behind a mark, which no
codes of pixels look like; rows whose marks are gone are white. In group 4 and in plain run lengths nothing is between
rows: one more row that is known is put behind the last, and where it does not come out behind as many rows, codes were
lost or overwritten.
"""

import io
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from elfs.data.bad_image import broken
from elfs.data.formats.tiff_pages import TiffPage
from elfs.data.formats.tiff_samples import pieces
from elfs.data.formats.tiff_streams import in_order

__all__ = ["FAX", "require_rows"]

_RUN_LENGTHS, _GROUP_3, _GROUP_4 = 2, 3, 4
FAX = frozenset((_RUN_LENGTHS, _GROUP_3, _GROUP_4))
"""Compressions of rows of black and white."""

_MARK = re.compile("0{11,}1")
_OPTIONS, _HAS_TAGS = 292, 1
_END = "000000000001" * 2
_WHITE = ("00110101", "000111", "0111", "1000", "1011")
"""Codes of white runs of 0 to 4 pixels."""

_TWO_BLACK, _NO_BLACK, _RUNS = "11", "0000110111", "001"
_WHITE_THEN_BLACK = 3, 2
_MOST_ZEROS = 5
"""So many end a code."""

_NO_CODES = bytes(3)
"""More zeros than end a row and begin the next."""

_MIN_WIDTH = 16
"""Narrower rows may be like the known one by chance."""


def require_rows(data: bytes, page: TiffPage) -> None:
    """Refuse a page that has fewer or more rows than it says.

    Parameters
    ----------
    data : bytes
        A whole file.
    page : TiffPage
        Coded as one of `FAX`.

    Raises
    ------
    BadImageError
        If it is BROKEN.
    """
    is_tiled = 324 in page.directory
    width, most = (
        (page.number(322, 0), page.number(323, 0)) if is_tiled else (page.width, page.number(278, page.height))
    )
    most = min(most or page.height, most if is_tiled else page.height)
    for number, piece in enumerate(pieces(data, page)):
        codes = in_order(page, bytes(piece))
        expected = most if is_tiled else min(most, page.height - number * most)
        if page.compression == _GROUP_3:
            _require_marks(codes, 0 if is_tiled else expected, page.number(_OPTIONS, 0) & _HAS_TAGS)
        elif width >= _MIN_WIDTH and expected > 0:
            _require_end(codes, width, expected, page.compression)


def _require_marks(codes: bytes, expected: int, has_tags: int) -> None:
    bits = f"{int.from_bytes(codes, 'big'):0{8 * len(codes)}b}"
    found = sum("1" in row and len(row) > has_tags for row in _MARK.split(bits))
    if found < expected:
        raise broken(f"damaged tiff image (codes of {found:,} of {expected:,} rows)")


def _require_end(codes: bytes, width: int, num_rows: int, compression: int) -> None:
    row = _known_row(width, compression)
    known = np.arange(width) % sum(_WHITE_THEN_BLACK) >= _WHITE_THEN_BLACK[0]
    for whole in _followed_by(row, codes, compression):
        rows = _decoded(whole, width, num_rows + 1, compression)
        if np.array_equal(rows[num_rows], known) and not np.array_equal(rows[num_rows - 1], known):
            return
    raise broken("damaged tiff image (its codes do not end with its rows)")


def _followed_by(row: str, codes: bytes, compression: int) -> Iterator[bytes]:
    """Yield codes with those of a row behind them, wherever they may end: rows of run lengths fill whole bytes."""
    used = codes.rstrip(b"\0")
    if compression == _RUN_LENGTHS:
        if _NO_CODES in used:
            raise broken("damaged tiff image (NULs among its codes)")
        for head in dict.fromkeys((codes, used, used + b"\0")):
            yield head + _to_bytes(row)
        return
    head, last = used[:-8], used[-8:]
    bits = f"{int.from_bytes(last, 'big'):0{8 * len(last)}b}".rstrip("0")
    if bits.endswith(_END):
        yield head + _to_bytes(bits[: -len(_END)] + row)
        return
    for zeros in range(_MOST_ZEROS + 1):  # some programs leave the end out
        yield head + _to_bytes(bits + "0" * zeros + row)


def _to_bytes(bits: str) -> bytes:
    num_bytes = -(-len(bits) // 8)
    return int(bits.ljust(8 * num_bytes, "0"), 2).to_bytes(num_bytes, "big")


def _known_row(width: int, compression: int) -> str:
    """Return codes of a row of three white pixels and two black ones, again and again."""
    white, black = _WHITE_THEN_BLACK
    count, rest = divmod(width, white + black)
    head = _RUNS if compression == _GROUP_4 else ""
    pairs = (head + _WHITE[white] + _TWO_BLACK) * count
    if rest > white:
        return pairs + head + _WHITE[white] + "010"
    return pairs + (head + _WHITE[rest] + (_NO_BLACK if head else "")) * (rest > 0)


def _decoded(codes: bytes, width: int, num_rows: int, compression: int) -> NDArray[np.bool_]:
    """Return rows, whose black pixels are True."""
    tags = ImageFileDirectory_v2()
    known = {256: width, 257: num_rows, 258: 1, 259: compression, 262: 1, 277: 1, 278: num_rows, 279: len(codes)}
    for tag, value in known.items():
        tags[tag] = value
    tags[273] = 0  # which Pillow counts from the end of the tags
    with Image.open(io.BytesIO(b"II*\0\x08\0\0\0" + tags.tobytes(8) + codes), formats=("TIFF",)) as image:
        return np.asarray(image)

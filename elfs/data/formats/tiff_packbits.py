"""Strips and tiles of a TIFF file that are packed by PackBits: whether their runs make all their bytes, and no more.

Bytes that were lost or overwritten are seen where a count of a run was among them; the bytes of a run have no check.
"""

from elfs.data.bad_image import broken
from elfs.data.formats.tiff_pages import TiffPage
from elfs.data.formats.tiff_samples import pieces
from elfs.data.formats.tiff_streams import in_order

__all__ = ["PACK_BITS", "require_runs"]

PACK_BITS = 32773
_NOTHING = 128
_FILL = b"\0\x80"
"""What a piece may be filled up with."""


def require_runs(data: bytes, page: TiffPage) -> None:
    """Refuse a page with pieces whose runs do not end where its bytes do.

    Parameters
    ----------
    data : bytes
        A whole file.
    page : TiffPage
        Packed by `PACK_BITS`.

    Raises
    ------
    BadImageError
        If it is BROKEN.
    """
    is_tiled = 324 in page.directory
    columns = page.number(322, 0) if is_tiled else page.width
    rows = page.number(323, 0) if is_tiled else min(page.number(278, page.height) or page.height, page.height)
    depth = 1 if page.is_planar else page.num_samples
    row_bytes = (columns * depth * page.bits[0] + 7) // 8
    num_down = max(-(-page.height // max(rows, 1)), 1)
    for number, piece in enumerate(pieces(data, page)):
        own_rows = rows if is_tiled else min(rows, page.height - number % num_down * rows)
        packed = in_order(page, bytes(piece))
        left = _require_runs(packed, row_bytes * own_rows)
        if left and (325 if is_tiled else 279) in page.directory:
            raise broken(f"damaged tiff image ({left:,} bytes behind the last run)")


def _require_runs(packed: bytes, num_bytes: int) -> int:
    """Return how many bytes are behind the last run, but for those that fill up."""
    start, found, stop = 0, 0, len(packed)
    while start < stop and found < num_bytes:
        count = packed[start]
        if count < _NOTHING:
            start += count + 2
            found += count + 1
        elif count > _NOTHING:
            start += 2
            found += 257 - count
        else:
            start += 1
    if found != num_bytes or start > stop:
        raise broken(f"damaged tiff image (runs of {found:,} bytes for {num_bytes:,})")
    return len(packed[start:].rstrip(_FILL))

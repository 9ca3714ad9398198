"""Strips and tiles of a TIFF file to bytes, and whether their codes end where those do.

libtiff stops at the last byte and looks neither at a checksum nor at what is left. Deflate and LZMA are read to the end
of their streams. The codes of LZW have no check: known ones are put in the place of their end, and where their bytes do
not follow the pixels, codes were lost or overwritten. Zstandard counts its bytes.
"""

import contextlib
import io
import itertools
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from elfs.data.bad_image import BadImageError, broken, unsupported
from elfs.data.formats.tiff_pages import TiffPage

__all__ = ["CHECKED", "REVERSED", "STREAMS", "in_order", "refuse_unknown", "require_end", "unpacked"]

_LZW = 5
_DEFLATE, _LZMA = (8, 32946), 34925
STREAMS = frozenset((*_DEFLATE, _LZMA))
"""Compressions that know their end and have a checksum."""

CHECKED = STREAMS | {_LZW}
"""Compressions that libtiff does not look at as closely as `unpacked` does."""

_OPTIONAL = {34925: ("lzma", "LZMA"), 50000: ("zstd", "Zstandard"), 50001: ("webp", "WebP")}
REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]
"""Each byte with its bits in the other order."""

_PIECE = 1 << 20
_MAX_LZMA_BYTES = 1 << 28
_MARK = bytes(range(0x41, 0x49))
_END, _CODE_BITS = 0b1_0000_0001, 9


def unpacked(page: TiffPage, piece: bytes, num_bytes: int, most: int) -> NDArray[np.uint8]:
    """Unpack a strip or tile.

    Parameters
    ----------
    page : TiffPage
        Compressed in any way that gives bytes.
    piece : bytes
        A strip or a tile of it.
    num_bytes : int
        How many it makes.
    most : int
        How many it may make, where a last strip is filled up.

    Returns
    -------
    ndarray of shape (num_bytes,), uint8
        Less only where a stream is whole and holds less.

    Raises
    ------
    BadImageError
        BROKEN if codes are missing, damaged or too many; UNSUPPORTED if nothing here can unpack them.
    """
    codes = in_order(page, piece)
    if page.compression in STREAMS:
        return np.frombuffer(_from_stream(page.compression, codes, num_bytes, (num_bytes, most)), np.uint8)
    marked = list(_marked(codes)) if page.compression == _LZW else []
    if not marked:
        return _by_libtiff(page.compression, codes, num_bytes)
    for count, candidate in itertools.product(dict.fromkeys((num_bytes, most)), marked):
        with contextlib.suppress(BadImageError):
            found = _by_libtiff(page.compression, candidate, count + len(_MARK))
            if found[count:].tobytes() == _MARK:
                return found[:num_bytes]
    raise broken("damaged tiff image (its codes do not end with its pixels)")


def require_end(page: TiffPage, piece: bytes) -> None:
    """Refuse a strip or tile whose stream is damaged, whatever is in it.

    Parameters
    ----------
    page : TiffPage
        Compressed as one of `STREAMS`.
    piece : bytes
        A strip or a tile of it.

    Raises
    ------
    BadImageError
        If it is BROKEN.
    """
    _from_stream(page.compression, in_order(page, piece), 1, ())


def in_order(page: TiffPage, piece: bytes) -> bytes:
    """Return a strip or tile with the first bit of each byte highest.

    Parameters
    ----------
    page : TiffPage
        Which says what order its bits have.
    piece : bytes
        A strip or a tile of it.

    Returns
    -------
    bytes
        Of the same length.
    """
    return piece.translate(REVERSED.tobytes()) if page.number(266, 1) == 2 else piece


def _from_stream(compression: int, codes: bytes, num_bytes: int, without_end: tuple[int, ...]) -> bytes:
    """Return the first bytes of a stream, which is read to its checksum; without one it makes as many bytes as said."""
    is_lzma = compression == _LZMA
    stream: Any = lzma.LZMADecompressor(memlimit=_MAX_LZMA_BYTES) if is_lzma else zlib.decompressobj()
    try:
        found: bytes = stream.decompress(codes, num_bytes)
        total = len(found)
        while not stream.eof:
            more = len(stream.decompress(b"" if is_lzma else stream.unconsumed_tail, _PIECE))
            total += more
            if not more and not stream.eof and total not in without_end:
                raise broken(f"damaged tiff image (truncated: a stream of {total:,} bytes without its end)")
            if not more:
                break
    except (zlib.error, lzma.LZMAError) as error:
        raise broken(f"damaged tiff image (pixels that cannot be unpacked: {error})") from None
    return found


def _marked(codes: bytes) -> Iterator[bytes]:
    """Yield codes of LZW with those of a mark in the place of their end, if they have one.

    No decoder reads the end, so that a program may write it with a bit too many or too few where codes become longer.
    """
    used = codes.rstrip(b"\0")
    last = used[-4:]
    bits = int.from_bytes(last, "big")
    num_unused = (bits & -bits).bit_length() - 1
    bits >>= max(num_unused, 0)
    if codes[:1] != b"\x80" or bits % (1 << _CODE_BITS) != _END:
        return
    mark = _END - 1  # start over, whose code is one less
    for code in (*_MARK, _END):
        mark = mark << _CODE_BITS | code
    mark_bits = _CODE_BITS * (len(_MARK) + 2)
    head, num_head = bits >> _CODE_BITS, 8 * len(last) - num_unused - _CODE_BITS
    for before, more in ((head, 0), (head << 1, 1), *([] if head & 1 else [(head >> 1, -1)])):
        num_bits = num_head + more + mark_bits
        whole = (before << mark_bits | mark) << -num_bits % 8
        yield used[: len(used) - len(last)] + whole.to_bytes(-(-num_bits // 8), "big")


def _by_libtiff(compression: int, codes: bytes, num_bytes: int) -> NDArray[np.uint8]:
    """Unpack codes as if their bytes were the pixels of a gray image."""
    tags = ImageFileDirectory_v2()
    known = {256: num_bytes, 257: 1, 258: 8, 259: compression, 262: 1, 266: 1, 277: 1, 278: 1, 279: len(codes)}
    for tag, value in known.items():
        tags[tag] = value
    tags[273] = 0  # which Pillow counts from the end of the tags
    file = io.BytesIO(b"II*\0\x08\0\0\0" + tags.tobytes(8) + codes)
    try:
        with Image.open(file, formats=("TIFF",)) as image:
            return np.asarray(image).reshape(-1)
    except OSError as error:
        refuse_unknown(compression)
        raise broken(f"damaged tiff image (pixels that cannot be unpacked: {error})") from None


def refuse_unknown(compression: int) -> None:
    """Refuse what this libtiff was built without.

    Parameters
    ----------
    compression : int
        As `TiffPage.compression`.

    Raises
    ------
    BadImageError
        If it is UNSUPPORTED.
    """
    if compression not in _OPTIONAL:
        return
    word, name = _OPTIONAL[compression]
    try:
        Image.new("RGB", (8, 8)).save(io.BytesIO(), "TIFF", compression=word)
    except Exception:
        raise unsupported(f"a TIFF compressed with {name}") from None

"""The codes of a JPEG 2000 file: bytes that stand in no whole one.

Its arithmetic codes and heads of packets are stuffed: behind 255 there is nothing above 143, so that markers can be
found. (Some encoders cut codes behind a 255 where they lay them into several layers.) Rows of NULs are heads of packets
that are empty, one byte each; codes have few in a row, unless bits stand among them as they are. Whatever else was
overwritten in the middle of a code has no check: the decoder takes it for other pixels of one block.

A file whose tail was never written has no end marker. It is where the sizes of the parts of tiles lead, whatever is
behind it; where the last size is left open, it is the end of the file.
"""

from collections.abc import Iterator

import numpy as np

from elfs.data.bad_image import broken
from elfs.data.formats.boxes import boxes

__all__ = ["require_codes"]

_END = b"\xff\xd9"
_TILE, _DATA, _CODING = b"\xff\x90", b"\xff\x93", b"\xff\x52"
_HIGHEST = 0x8F
_OWN_PRECINCTS, _USES_MARKERS, _HAS_RAW_BITS = 1, 6, 1
_NULS_OF_CODES, _PRECINCTS = 64, 4


def require_codes(data: bytes, start: int, num_components: int) -> None:
    """Refuse a codestream without its end, or with bytes that no encoder writes.

    Parameters
    ----------
    data : bytes
        A whole file.
    start : int
        Where its codestream begins.
    num_components : int
        Of its pixels.

    Raises
    ------
    BadImageError
        If it is BROKEN.
    """
    coding = data.find(_CODING, start)
    if coding < 0 or coding + 13 > len(data):
        raise broken("damaged header of a jpeg2000 image")
    style, num_layers = data[coding + 4], int.from_bytes(data[coding + 6 : coding + 8], "big")
    num_packets = num_layers * num_components * (data[coding + 9] + 1) * _PRECINCTS
    nuls = bytes(_NULS_OF_CODES + num_packets)
    end = start
    for begin, end in _packets(data, start):
        codes = np.frombuffer(data, np.uint8, end - begin, begin)
        found = codes[1:][(codes[:-1] == 255) & (codes[1:] > _HIGHEST)]
        if num_layers == 1 and not style & _USES_MARKERS and len(found):
            raise broken("damaged jpeg2000 image (markers among its codes)")
        if not (style & _OWN_PRECINCTS or data[coding + 12] & _HAS_RAW_BITS) and data.find(nuls, begin, end) >= 0:
            raise broken("damaged jpeg2000 image (NULs among its codes)")
    if data[end : end + 2] != _END and not _codestream(data).rstrip(b"\0").endswith(_END):
        raise broken("damaged jpeg2000 image (truncated: it has no end)")


def _codestream(data: bytes) -> bytes:
    """Return what a JPEG 2000 file packs its pixels into."""
    if data[:2] == b"\xff\x4f":
        return data
    return next((data[start:stop] for name, start, stop in boxes(data, 0, len(data)) if name == b"jp2c"), data)


def _packets(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yield where the packets of each part of a tile begin and end; what follows damage is left out."""
    start = data.find(_TILE, start)
    while start >= 0 and data[start : start + 2] == _TILE:
        size = int.from_bytes(data[start + 6 : start + 10], "big")
        begin, end = data.find(_DATA, start) + 2, start + size
        if not size or begin < 2 or begin > end or end > len(data):
            return
        yield begin, end
        start = end

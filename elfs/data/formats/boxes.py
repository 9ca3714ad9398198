"""The boxes of files of the ISO: JPEG 2000, AVIF, HEIC."""

from collections.abc import Iterator

__all__ = ["boxes"]


def boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of a JPEG 2000 file, of an AVIF or HEIC file, or of one of their boxes.

    Parameters
    ----------
    data : bytes
        A whole file.
    start, stop : int
        Where to look.

    Yields
    ------
    name : bytes
        Of four letters.
    start, stop : int
        Where what it holds lies.
    """
    while start + 8 <= stop:
        size, name, head = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        size = stop - start if size == 0 else size
        if size < head or not name.strip(b"\0"):
            return
        yield name, start + head, min(start + size, stop)
        start += size

"""The items of AVIF and HEIC files: where their packed pixels lie, and files that show one of them or hold others."""

from collections.abc import Iterator
from dataclasses import dataclass

from elfs.data.formats.boxes import boxes

__all__ = ["packed_items", "shown_items", "with_pixels", "within_picture"]

_IS_HIDDEN = 1


@dataclass(frozen=True)
class _Extent:
    """A stretch of an item, and where and how wide the numbers are that say so; places count from `base`."""

    item: int
    begin: int
    end: int
    base: int
    begin_field: tuple[int, int]
    length_field: tuple[int, int]


def packed_items(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Find the packed pixels of the items of an AVIF or HEIC file; its metadata is none of them.

    Parameters
    ----------
    data : bytes
        A whole file.

    Yields
    ------
    item : int
        Its number.
    begin, end : int
        Where an extent of it lies.
    """
    kinds = {item: kind for _, item, kind in _items(data)}
    for extent in _extents(data):
        if kinds.get(extent.item) in (b"av01", b"hvc1"):
            yield extent.item, extent.begin, extent.end


def shown_items(data: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Make files that show one item each.

    Parameters
    ----------
    data : bytes
        A whole AVIF or HEIC file.

    Yields
    ------
    shown : bytes
        The file with another item as its picture, and none that is hidden.
    item, begin, end : int
        As of `packed_items`, for the item that it shows.
    """
    visible = bytearray(data)
    for begin, _, _ in _items(data):
        visible[begin + 3] &= ~_IS_HIDDEN
    data = bytes(visible)
    for start, _ in _parts(data, b"pitm"):
        stop = start + (6 if data[start] == 0 else 8)
        for item, begin, end in packed_items(data):
            number = item.to_bytes(stop - start - 4, "big")
            yield data[: start + 4] + number + data[stop:], item, begin, min(end, len(data))


def within_picture(data: bytes) -> set[int]:
    """Find what a picture is made of.

    Parameters
    ----------
    data : bytes
        A whole AVIF or HEIC file.

    Returns
    -------
    set of int
        The number of the item that is shown, of those that it is put together from, and of its alpha.
    """
    found = {
        int.from_bytes(data[start + 4 : start + (6 if data[start] == 0 else 8)]) for start, _ in _parts(data, b"pitm")
    }
    for start, stop in _parts(data, b"iref"):
        wide = 2 if data[start] == 0 else 4
        for kind, begin, end in boxes(data, start + 4, stop):
            numbers = [int.from_bytes(data[at : at + wide]) for at in range(begin + wide + 2, end, wide)]
            origin = int.from_bytes(data[begin : begin + wide])
            if kind == b"dimg" and origin in found:
                found.update(numbers)
            if kind == b"auxl" and found.intersection(numbers):
                found.add(origin)
    return found


def with_pixels(data: bytes, item: int, pixels: bytes) -> bytes | None:
    """Return a file in which an item has other packed pixels, which lie at its end.

    Parameters
    ----------
    data : bytes
        A whole AVIF or HEIC file.
    item : int
        As `packed_items` said; the last of its extents is replaced.
    pixels : bytes
        Of any length.

    Returns
    -------
    bytes or None
        Longer by `pixels`; None where its tables have no room for the new place.
    """
    extent = [extent for extent in _extents(data) if extent.item == item][-1]
    changed = bytearray(data)
    fields = ((extent.begin_field, len(data) - extent.base), (extent.length_field, len(pixels)))
    if any(not 0 <= value < 1 << 8 * size for (_, size), value in fields):
        return None
    for (place, size), value in fields:
        changed[place : place + size] = value.to_bytes(size, "big")
    return bytes(changed) + pixels


def _parts(data: bytes, part: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the first box of a name within the metadata of the file starts and stops."""
    for name, start, stop in boxes(data, 0, len(data)):
        if name == b"meta":
            yield from [(begin, end) for found, begin, end in boxes(data, start + 4, stop) if found == part][:1]
            return


def _items(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield where what is said of each item begins, its number and its kind."""
    for start, stop in _parts(data, b"iinf"):
        for name, begin, _ in boxes(data, start + (6 if data[start] == 0 else 8), stop):
            if name == b"infe" and data[begin] >= 2:
                at = begin + (6 if data[begin] == 2 else 8)
                yield begin, int.from_bytes(data[begin + 4 : at], "big"), data[at + 2 : at + 6]


def _extents(data: bytes) -> Iterator[_Extent]:
    """Yield each extent of the items that lie in the file itself."""
    for start, stop in _parts(data, b"iloc"):
        version = data[start]
        offset_size, length_size = data[start + 4] >> 4, data[start + 4] & 15
        base_size, index_size = data[start + 5] >> 4, data[start + 5] & 15 if version else 0
        wide, at = (4 if version == 2 else 2), start + 6

        def number(size: int) -> int:
            nonlocal at
            at += size
            return int.from_bytes(data[at - size : at], "big")

        for _ in range(number(wide)):
            item, method = number(wide), number(2) & 15 if version else 0
            number(2)
            base = number(base_size)
            for _ in range(number(2)):
                number(index_size)
                begin_field, length_field = (at, offset_size), (at + offset_size, length_size)
                begin, length = base + number(offset_size), number(length_size)
                if method == 0 and at <= stop:
                    yield _Extent(item, begin, begin + length, base, begin_field, length_field)
            if at > stop:
                return

"""The items of AVIF and HEIC files: where their packed pixels lie."""

from collections.abc import Iterator

from elfs.data.formats.boxes import boxes

__all__ = ["packed_items"]


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
    metas = [(start + 4, stop) for name, start, stop in boxes(data, 0, len(data)) if name == b"meta"]
    for name, start, stop in boxes(data, *metas[0]) if metas else ():
        if name == b"iinf":
            kinds = dict(_item_kinds(data, start, stop))
            break
    else:
        kinds = {}
    for name, start, stop in boxes(data, *metas[0]) if metas else ():
        if name == b"iloc":
            for item, begin, end in _item_places(data, start, stop):
                if kinds.get(item) in (b"av01", b"hvc1"):
                    yield item, begin, end


def _item_kinds(data: bytes, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    start += 6 if data[start] == 0 else 8
    for name, begin, _ in boxes(data, start, stop):
        if name == b"infe" and data[begin] >= 2:
            width = 2 if data[begin] == 2 else 4
            at = begin + 4 + width
            yield int.from_bytes(data[begin + 4 : at], "big"), data[at + 2 : at + 6]


def _item_places(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, begin and end of each extent of the items that lie in the file itself."""
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
            begin, length = base + number(offset_size), number(length_size)
            if method == 0 and at <= stop:
                yield item, begin, begin + length
        if at > stop:
            return

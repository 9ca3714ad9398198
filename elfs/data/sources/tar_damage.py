"""What tells that a tar file is damaged, where its reader goes on without a word."""

import logging
import re
import sys
import tarfile
from pathlib import Path
from typing import BinaryIO

__all__ = ["Shard", "has_whole_name", "tell_end", "tell_gap"]

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 2**16
_BLOCK_BYTES = 512
_NAME_BYTES = 100
_TYPE, _SIZE = slice(156, 157), slice(124, 136)
_LONG_NAME, _PAX = b"L", b"x"
_MAX_HEADER_BYTES = 2**26
_RECORD = re.compile(rb"([1-9]\d{0,9}) [^=]+=")


class Shard(tarfile.TarFile):
    """A tar file whose list goes on behind headers that `tarfile` stumbles over; `tell_gap` finds what they leave."""

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member, or None at the end.

        Raises
        ------
        tarfile.TarError
            If nothing can be read from here on.
        """
        while True:
            start = self.offset
            try:
                member = super().next()
            except (OverflowError, RecursionError):
                raise tarfile.ReadError(f"the header at byte {start:,} has no end") from None
            except ValueError:  # numbers that are none, as of sparse members
                self.offset = start + _BLOCK_BYTES
                continue
            if member is None or (0 <= member.size <= sys.maxsize and self.offset > member.offset):
                return member
            self.offset = member.offset + _BLOCK_BYTES


def tell_gap(path: Path, file: BinaryIO, end: int, start: int | None) -> None:
    """Warn where there is something that is no member between two.

    Parameters
    ----------
    path : Path
        The shard, to be named.
    file : binary file
        The same, open.
    end, start : int
        Where a member ends and the next one starts; None where there is none.
    """
    if end != start:
        end = _behind_comments(file, end)
    if end != start and (first := _first_byte(file, end, start)) is not None:
        then = "what follows is not listed" if start is None else f"the list goes on at byte {start:,}"
        _log.warning("%s is damaged: no header of a member at byte %d; %s", path, min(first, end), then)


def tell_end(path: Path, file: BinaryIO, end: int) -> None:
    """Warn where something follows the last member, or nothing at all: two blocks of NULs close an archive.

    Parameters
    ----------
    path : Path
        The shard, to be named.
    file : binary file
        The same, open.
    end : int
        Where its last member ends.

    Raises
    ------
    tarfile.TarError
        If there is no member, and something else.
    """
    if not end and _first_byte(file, 0, None) is not None:
        raise tarfile.ReadError("it begins with no header")
    tell_gap(path, file, end, None)
    if end and file.seek(0, 2) <= end:
        _log.warning("%s has no end of an archive behind its last member: it may have been cut off there", path)


def has_whole_name(file: BinaryIO, member: tarfile.TarInfo) -> bool:
    """Return whether the name of a member that lies in a header of its own is what was written.

    Parameters
    ----------
    file : binary file
        The shard.
    member : TarInfo
        As `tarfile` gave it; it falls back on a shortened name without a word.

    Returns
    -------
    bool
        True for names that need no such header. What such headers hold has no checksum: bytes that make another name
        of the same length cannot be told.
    """
    start, place = member.offset, member.offset_data - _BLOCK_BYTES
    while start < place:
        file.seek(start)
        header = file.read(_BLOCK_BYTES)
        size = _octal(header[_SIZE])
        content = file.read(min(size, _MAX_HEADER_BYTES))
        if header[_TYPE] == _PAX and not _are_records(content):
            return False
        if header[_TYPE] == _LONG_NAME:
            file.seek(place)
            short = file.read(_NAME_BYTES).rstrip(b"\0")
            name = content.removesuffix(b"\0")
            if b"\0" in name or not name.startswith(short.rstrip(b"/")):
                return False
        start += _BLOCK_BYTES * (1 + -(-size // _BLOCK_BYTES))
    return True


def _behind_comments(file: BinaryIO, start: int) -> int:
    """Return what follows the headers that speak of a whole archive, as git writes them."""
    while True:
        file.seek(start)
        try:
            member = tarfile.TarInfo.frombuf(file.read(_BLOCK_BYTES), "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return start
        if member.type != tarfile.XGLTYPE:
            return start
        start += _BLOCK_BYTES * (1 + -(-member.size // _BLOCK_BYTES))


def _octal(field: bytes) -> int:
    digits = field.strip(b"\0 ")
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else 0


def _are_records(content: bytes) -> bool:
    """Return whether all bytes belong to records of "length name=value"."""
    start = 0
    while start < len(content):
        found = _RECORD.match(content, start)
        if found is None:
            return False
        stop = start + int(found[1])
        if stop > len(content) or content[stop - 1 : stop] != b"\n" or stop <= found.end():
            return False
        start = stop
    return True


def _first_byte(file: BinaryIO, start: int, stop: int | None) -> int | None:
    """Return where the first byte lies that is no NUL, from `start` on and before `stop`."""
    file.seek(start)
    while stop is None or start < stop:
        chunk = file.read(_CHUNK_BYTES if stop is None else min(_CHUNK_BYTES, stop - start))
        if not chunk:
            return None
        rest = chunk.lstrip(b"\0")
        if rest:
            return start + len(chunk) - len(rest)
        start += len(chunk)
    return None

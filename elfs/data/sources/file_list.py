"""The images that a list names, one path a line or a NUL.

A list that holds a NUL is separated by NULs (``find -print0``), any other by line ends; empty entries and a carriage
return before a line end do not count. A path is relative to the root, or absolute and below it; links in it are not
resolved. Its id is the path relative to the root with ``/``, without ``.``, ``..`` and doubled separators. The samples
are in ascending order of their ids' bytes, whatever the order of the list. A path that is listed twice is one sample.
What is listed is taken, whatever its extension; splits are those of a folder (`elfs.data.sources.folder`).
"""

import itertools
import logging
import os
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources.folder import FolderReader
from elfs.data.sources.path_table import PathTable, describe_error, outcome_of
from elfs.errors import InputDataError

__all__ = ["STANDARD_INPUT", "FileListSource", "can_be_read_again", "read_paths", "require_readable"]

_log = logging.getLogger(__name__)

STANDARD_INPUT = "-"
"""What stands for standard input where a list is named."""

_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class FileListSource:
    """Images that a list names.

    Attributes
    ----------
    root : Path
        Folder that they lie below.
    files : str or None
        The list, or `STANDARD_INPUT`; None for a source that only reads.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    root: Path
    files: str | None
    max_pixels: int

    name = "files"
    channels = 3
    mirror = True
    num_classes = None
    has_images = True

    def list(self) -> SampleTable:
        """List the images by the rules of this module; what is not there or no regular file has its outcome already.

        Refused where no list is known, it cannot be read or is empty, or a path leads out of the root.
        """
        if self.files is None:
            raise InputDataError("the list of files is not known.", hint="elfs embed FOLDER --files LIST")
        paths = read_paths(self.files, self.root)
        if not paths:
            raise InputDataError(f"--files {self.files} lists no file.")
        root, listing, num_repeats = os.fsencode(os.path.abspath(self.root)), PathTable(), 0
        for path, group in itertools.groupby(paths):
            num_repeats += sum(1 for _ in group) - 1
            _examine(root, path, listing)
        if num_repeats:
            first = next(left for left, right in itertools.pairwise(paths) if left == right)
            example = first.decode("utf-8", "backslashreplace")
            _log.warning("--files: %d entries repeat a path and do not count, such as %s", num_repeats, example)
        return listing.table()

    def reader(self, table: SampleTable) -> FolderReader:
        """Return what reads the files; ids are looked up below the root, the list is not needed."""
        return FolderReader(os.fsencode(os.path.abspath(self.root)), table.names, self.max_pixels)


def read_paths(files: str, root: Path) -> list[bytes]:
    """Return what is listed, sorted, repeats and all.

    Parameters
    ----------
    files : str
        The list, or `STANDARD_INPUT`.
    root : Path
        What the images lie below.

    Returns
    -------
    list of bytes
        Paths relative to the root.

    Raises
    ------
    InputDataError
        If the list cannot be read, or a path leads out of the root.
    """
    roots = list(dict.fromkeys(os.fsencode(place(root)) for place in (os.path.abspath, os.path.realpath)))
    paths = []
    try:
        with nullcontext(sys.stdin.buffer) if files == STANDARD_INPUT else open(files, "rb") as file:
            for entry in _entries(file, files):
                path = _below(entry, roots)
                if path is None:
                    raise _outside(entry, files, root)
                paths.append(path)
    except OSError as error:
        raise _unreadable(files, error) from None
    paths.sort()
    return paths


def require_readable(files: str) -> None:
    """Refuse a list that cannot be read, without reading it.

    Parameters
    ----------
    files : str
        Path of the list, or ``-``, which can.

    Raises
    ------
    InputDataError
        As `read_paths` does.
    """
    try:
        if files != STANDARD_INPUT:
            open(files, "rb").close()
    except OSError as error:
        raise _unreadable(files, error) from None


def can_be_read_again(files: str) -> bool:
    """Return whether a list is still there after it was read.

    Parameters
    ----------
    files : str
        Path of the list, or ``-``.

    Returns
    -------
    bool
        False for standard input, pipes, and what is not there.
    """
    return files != STANDARD_INPUT and os.path.isfile(files)


def _unreadable(files: str, error: OSError) -> InputDataError:
    return InputDataError(f"--files {files} cannot be read: {describe_error(error)}.")


def _below(entry: bytes, roots: list[bytes]) -> bytes | None:
    """Return a path relative to the root, or None if it is not below it."""
    path, separator = os.path.normpath(entry), os.sep.encode()
    if os.path.isabs(path):
        above = next((root for root in roots if path.startswith(os.path.join(root, b""))), None)
        if above is None:
            return None
        path = path[len(os.path.join(above, b"")) :]
    elif path.split(separator, 1)[0] in (b"..", b"."):
        return None
    return path.replace(separator, b"/")


def _outside(entry: bytes, files: str, root: Path) -> InputDataError:
    place = os.path.normpath(os.path.join(os.path.abspath(root), os.fsdecode(entry)))
    above = os.path.commonpath([os.path.abspath(root), os.path.dirname(place)])
    return InputDataError(
        f"--files {files} lists {entry.decode('utf-8', 'backslashreplace')!r}, expected paths below {root}.",
        hint=f"elfs embed {shlex.quote(above)} --files {shlex.quote(files)}",
    )


def _entries(file: BinaryIO, files: str) -> Iterator[bytes]:
    """Yield what a list names, without reading it whole."""
    rest = file.read(_CHUNK_BYTES)
    if rest.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputDataError(f"--files {files} is UTF-16, expected UTF-8.")
    rest = rest.removeprefix(b"\xef\xbb\xbf")  # a byte order mark, as editors on Windows write it
    separator = b"\0" if b"\0" in rest else b"\n"
    while True:
        chunk = file.read(_CHUNK_BYTES)
        *whole, rest = (rest + chunk).split(separator)
        if not chunk:
            whole.append(rest)
        for entry in whole:
            entry = entry.removesuffix(b"\r") if separator == b"\n" else entry
            if entry:
                yield entry
        if not chunk:
            return


def _examine(root: bytes, path: bytes, listing: PathTable) -> None:
    """Append a path with its size, or with what is wrong with it."""
    try:
        status = os.stat(os.path.join(root, path))
    except OSError as error:
        listing.add(path, 0, (outcome_of(error), describe_error(error)))
        return
    except ValueError:  # a NUL, which no path can hold
        listing.add(path, 0, (Outcome.MISSING, "no path of a file"))
        return
    if stat.S_ISREG(status.st_mode):
        listing.add(path, status.st_size)
    else:
        listing.add(path, 0, (Outcome.BROKEN, "not a regular file"))

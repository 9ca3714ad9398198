"""A folder of images, at any depth.

What is listed, in ascending order of the relative path's bytes:

- a file with a known image extension, in either case (`elfs.data.sniffing.IMAGE_EXTENSIONS`), whatever it holds;
- a file with any other extension, or none, if its first bytes are those of an image; common companions of images such
  as ``.txt``, ``.json`` and ``.zip`` (`elfs.data.sniffing.SIDECAR_EXTENSIONS`) are not opened for that;
- a dangling link with a known image extension, as MISSING.

What is not: names that begin with a dot, and anything that is no regular file (pipes, sockets, devices). Links are
followed, but no directory is listed twice or from above the root, so that loops end. If every image lies in ``train``,
``test``, ``val`` or ``valid`` directly below the root (in either case), and ``train`` is there but not alone, these are
the splits; otherwise everything is train.
"""

import errno
import logging
import os
import stat
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from elfs.data.decoding import BadImageError, decode
from elfs.data.samples import Outcome, SampleTable, Split
from elfs.data.sniffing import HEAD_BYTES, IMAGE_EXTENSIONS, SIDECAR_EXTENSIONS, sniff
from elfs.data.text_column import TextColumn
from elfs.errors import InputDataError

__all__ = ["FolderReader", "FolderSource"]

_log = logging.getLogger(__name__)

_TEST_DIRECTORIES = frozenset((b"test", b"val", b"valid"))
_MAX_EXTENSIONS_NAMED = 8
_MAX_BYTES_PER_PIXEL = 16
_MAX_OVERHEAD_BYTES = 64 * 2**20
_TRANSIENT_ERRORS = frozenset((errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN))
_NUM_TRIES = 3
_RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class FolderReader:
    """Reads the files of a folder.

    Attributes
    ----------
    root : bytes
        Absolute path of the folder.
    names : TextColumn
        Paths relative to it, by row.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    root: bytes
    names: TextColumn
    max_pixels: int

    def read(self, row: int) -> Image.Image:
        """Read and decode one file.

        Parameters
        ----------
        row : int
            In ``[0, n)``.

        Returns
        -------
        PIL.Image.Image
            Mode RGB.

        Raises
        ------
        BadImageError
            If the file is gone (MISSING), cannot be read (BROKEN), is larger than any image of `max_pixels` could be
            (TOO_LARGE), or does not decode. Errors that network file systems recover from are tried three times.
        """
        path = os.path.join(self.root, self.names.encoded(row))
        limit = self.max_pixels * _MAX_BYTES_PER_PIXEL + _MAX_OVERHEAD_BYTES
        for attempt in range(1, _NUM_TRIES + 1):
            try:
                data = _read_regular_file(path, limit)
                break
            except OSError as error:
                if error.errno in _TRANSIENT_ERRORS and attempt < _NUM_TRIES:
                    time.sleep(_RETRY_SECONDS * attempt)
                    continue
                raise BadImageError(_outcome(error), _describe(error)) from None
        return decode(data, self.max_pixels)


def _read_regular_file(path: bytes, limit: int) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe must not block
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError(Outcome.BROKEN, "not a regular file")
        if status.st_size > limit:
            raise BadImageError(Outcome.TOO_LARGE, f"a file of {status.st_size:,} bytes, expected at most {limit:,}")
        return file.read()


def _outcome(error: OSError) -> Outcome:
    return Outcome.MISSING if error.errno in (errno.ENOENT, errno.ELOOP) else Outcome.BROKEN


def _describe(error: OSError) -> str:
    code = errno.errorcode.get(error.errno or 0, "no errno")
    return f"{error.strerror or type(error).__name__} ({code})"


@dataclass(frozen=True)
class FolderSource:
    """A folder of images.

    Attributes
    ----------
    root : Path
        The folder.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    root: Path
    max_pixels: int

    name = "folder"
    channels = 3
    mirror = True
    num_classes = None
    has_images = True

    def list(self) -> SampleTable:
        """List the images by the rules of this module.

        Returns
        -------
        SampleTable
            Ids are paths relative to the root with ``/``; dangling links are MISSING.

        Raises
        ------
        InputDataError
            If the root is no folder that can be listed, or holds no image.
        """
        if not self.root.is_dir():
            problem = "is not a folder" if self.root.exists() else "does not exist"
            message = f"{self.root} {problem}; expected a folder of images."
            raise InputDataError(message, hint="elfs embed --root FOLDER")
        listing = _Listing(os.fsencode(os.path.abspath(self.root)))
        listing.walk()
        if not listing.sizes:
            raise InputDataError(f"no image in {self.root}: {listing.describe_seen()}.")
        return listing.table()

    def reader(self, table: SampleTable) -> FolderReader:
        """Return what reads the files.

        Parameters
        ----------
        table : SampleTable
            Its ids are looked up below the root.

        Returns
        -------
        FolderReader
            Of the rows of `table`.
        """
        return FolderReader(os.fsencode(os.path.abspath(self.root)), table.names, self.max_pixels)


@dataclass(slots=True)
class _Listing:
    """A walk in progress. Names go into one buffer at once: two million need some 100 MB."""

    root: bytes
    blob: bytearray = field(default_factory=bytearray)
    offsets: "array[int]" = field(default_factory=lambda: array("q", [0]))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    problems: dict[int, tuple[Outcome, str]] = field(default_factory=dict)
    tops: list[tuple[bytes, int]] = field(default_factory=list)
    others: Counter[bytes] = field(default_factory=Counter)
    visited: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def walk(self) -> None:
        """Visit everything; sorting each directory with ``/`` after the names of directories sorts whole paths."""
        for ancestor in _ancestors(self.root):
            self.visited[ancestor] = b".."
        pending = self._children(b"")
        while pending:
            path = pending.pop()
            if path.endswith(b"/"):
                pending += self._children(path)
            else:
                self._visit_file(path)

    def _children(self, directory: bytes) -> list[bytes]:
        """Return the entries of a directory in descending order, directories with a ``/`` at the end."""
        location = os.path.join(self.root, directory)
        try:
            status = os.stat(location)
            earlier = self.visited.setdefault((status.st_dev, status.st_ino), directory)
            if earlier != directory:
                _log.warning("skipped %s: it leads to %s, listed already", _text(directory), _text(earlier or b"."))
                return []
            with os.scandir(location) as entries:
                children = [
                    directory + entry.name + (b"/" if _is_directory(entry) else b"")
                    for entry in entries
                    if not entry.name.startswith(b".")
                ]
        except OSError as error:
            if not directory:
                raise InputDataError(f"{_text(self.root)} cannot be listed: {_describe(error)}.") from None
            _log.warning("skipped %s: %s", _text(directory), _describe(error))
            return []
        children.sort(reverse=True)
        return children

    def _visit_file(self, path: bytes) -> None:
        extension = _extension(path)
        is_known = extension in IMAGE_EXTENSIONS
        try:
            status = os.stat(os.path.join(self.root, path))
        except OSError as error:
            if is_known:
                self.problems[len(self.sizes)] = (_outcome(error), _describe(error))
                self._add(path, 0)
            return
        if not stat.S_ISREG(status.st_mode):
            _log.info("skipped %s: not a regular file", _text(path))
        elif is_known or (extension not in SIDECAR_EXTENSIONS and self._looks_like_image(path)):
            self._add(path, status.st_size)
        else:
            self.others[extension] += 1

    def _looks_like_image(self, path: bytes) -> bool:
        try:
            with open(os.path.join(self.root, path), "rb", buffering=0) as file:
                return sniff(file.read(HEAD_BYTES)) is not None
        except OSError as error:
            _log.warning("skipped %s: %s", _text(path), _describe(error))
            return False

    def _add(self, path: bytes, num_bytes: int) -> None:
        top, slash, _ = path.partition(b"/")
        top = top.lower() if slash else b""
        if not self.tops or self.tops[-1][0] != top:
            self.tops.append((top, len(self.sizes)))
        self.blob += path
        self.offsets.append(len(self.blob))
        self.sizes.append(num_bytes)

    def table(self) -> SampleTable:
        """Return what was found."""
        names = TextColumn.from_buffers(self.blob, self.offsets)
        table = SampleTable.from_ids(names, self._splits(), np.frombuffer(self.sizes, np.int64))
        outcome = table.outcome.copy()
        for row, (problem, _) in self.problems.items():
            outcome[row] = problem
        return table.with_outcomes(outcome, {row: reason for row, (_, reason) in self.problems.items()})

    def _splits(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        splits = np.full(len(self.sizes), Split.TRAIN, np.uint8)
        directories = {top for top, _ in self.tops}
        if b"train" in directories and len(directories) > 1 and directories <= _TEST_DIRECTORIES | {b"train"}:
            ends = [start for _, start in self.tops[1:]] + [len(splits)]
            for (top, start), end in zip(self.tops, ends, strict=True):
                splits[start:end] = Split.TRAIN if top == b"train" else Split.TEST
        return splits

    def describe_seen(self) -> str:
        """Say which files were there instead of images."""
        if not self.others:
            return "it has no files (names that begin with a dot do not count)"
        common = self.others.most_common(_MAX_EXTENSIONS_NAMED)
        named = ", ".join(f"{_text(extension) or 'without extension'} ({count:,})" for extension, count in common)
        return f"seen {named}{', ...' if len(self.others) > len(common) else ''}"


def _ancestors(root: bytes) -> Iterator[tuple[int, int]]:
    """Yield device and inode of every directory above the root, so that a link to one of them is not followed."""
    for parent in Path(os.fsdecode(root)).resolve().parents:
        status = os.stat(parent)
        yield status.st_dev, status.st_ino


def _is_directory(entry: "os.DirEntry[bytes]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reported when it is visited as a file
        return False


def _extension(path: bytes) -> bytes:
    name = path[path.rfind(b"/") + 1 :]
    dot = name.rfind(b".")
    return name[dot:].lower() if dot > 0 else b""


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")

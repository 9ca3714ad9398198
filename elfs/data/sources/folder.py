"""A folder of images, at any depth.

What is listed, in ascending order of the relative path's bytes:

- a file with a known image extension, in either case (`elfs.data.sniffing.IMAGE_EXTENSIONS`), whatever it holds;
- a file with any other extension, or none, if its first bytes are those of an image; common companions of images such
  as ``.txt``, ``.json`` and ``.zip`` (`elfs.data.sniffing.SIDECAR_EXTENSIONS`) are not opened for that;
- a dangling link with a known image extension, as MISSING.

What is not: names that begin with a dot, and anything that is no regular file (pipes, sockets, devices). Links are
followed, but no directory is listed twice or from above the root, so that loops end. If every image lies in ``train``,
``test``, ``val``, ``valid`` or ``validation`` directly below the root (in either case), and ``train`` is there but not
alone, these are the splits; otherwise everything is train.
"""

import errno
import logging
import os
import shlex
import stat
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from elfs.data.decoding import BadImageError, decode
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sniffing import HEAD_BYTES, IMAGE_EXTENSIONS, SIDECAR_EXTENSIONS, sniff
from elfs.data.sources.path_table import PathTable, describe_error, outcome_of
from elfs.data.text_column import TextColumn
from elfs.errors import InputDataError

__all__ = ["FolderReader", "FolderSource", "most_bytes", "read_image"]

_log = logging.getLogger(__name__)

_MAX_EXTENSIONS_NAMED = 8
_ARCHIVES = b".tar .tgz .zip .7z .rar .tar.gz .tar.bz2 .tar.xz .tar.zst".split()
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
        Ids by row: paths relative to it, after a prefix that all share.
    max_pixels : int
        Larger images are TOO_LARGE.
    num_prefix_bytes : int
        Length of that prefix.
    """

    root: bytes
    names: TextColumn
    max_pixels: int
    num_prefix_bytes: int = 0

    def path(self, row: int) -> bytes:
        """Return where one file is."""
        return os.path.join(self.root, self.names.encoded(row)[self.num_prefix_bytes :])

    def read(self, row: int) -> Image.Image:
        """Read and decode one file.

        MISSING where it is gone, BROKEN where it cannot be read, TOO_LARGE where it is larger than any image of
        `max_pixels` could be. Errors that network file systems recover from are tried three times.
        """
        return read_image(self.path(row), self.max_pixels)


def most_bytes(max_pixels: int) -> int:
    """Return how long the file of an image can be; a longer one is not read.

    Parameters
    ----------
    max_pixels : int
        The most pixels that the image can have.

    Returns
    -------
    int
        16 bytes a pixel and 64 MiB.
    """
    return max_pixels * _MAX_BYTES_PER_PIXEL + _MAX_OVERHEAD_BYTES


def read_image(path: bytes, max_pixels: int) -> Image.Image:
    """Read and decode one file.

    Parameters
    ----------
    path : bytes
        Of the file.
    max_pixels : int
        Larger images are TOO_LARGE.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    BadImageError
        As `FolderReader.read` says.
    """
    limit = most_bytes(max_pixels)
    for attempt in range(1, _NUM_TRIES + 1):
        try:
            data = _read_regular_file(path, limit)
            break
        except OSError as error:
            if error.errno in _TRANSIENT_ERRORS and attempt < _NUM_TRIES:
                time.sleep(_RETRY_SECONDS * attempt)
                continue
            raise BadImageError(outcome_of(error), describe_error(error)) from None
    return decode(data, max_pixels)


def _read_regular_file(path: bytes, limit: int) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe must not block
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError(Outcome.BROKEN, "not a regular file")
        if status.st_size > limit:
            raise BadImageError(Outcome.TOO_LARGE, f"a file of {status.st_size:,} bytes, expected at most {limit:,}")
        data = file.read()
    if data is None:  # as some files below /proc that wait
        raise BadImageError(Outcome.BROKEN, "not a regular file")
    return data


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

        Ids are paths relative to the root with ``/``; dangling links are MISSING.
        """
        if not self.root.is_dir():
            problem = "is not a folder" if self.root.exists() else "does not exist"
            message = f"{self.root} {problem}; expected a folder of images."
            raise InputDataError(message, hint="elfs embed --root FOLDER")
        listing = _Listing(os.fsencode(os.path.abspath(self.root)))
        listing.walk()
        if not len(listing.paths):
            raise InputDataError(f"no image in {self.root}: {listing.describe_seen()}.", hint=listing.hint())
        listing.tell_others()
        return listing.paths.table()

    def reader(self, table: SampleTable) -> FolderReader:
        """Return what reads the files; ids are looked up below the root."""
        return FolderReader(os.fsencode(os.path.abspath(self.root)), table.names, self.max_pixels)


@dataclass(slots=True)
class _Listing:
    """A walk in progress."""

    root: bytes
    paths: PathTable = field(default_factory=PathTable)
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
                raise InputDataError(f"{_text(self.root)} cannot be listed: {describe_error(error)}.") from None
            _log.warning("skipped %s: %s", _text(directory), describe_error(error))
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
                self.paths.add(path, 0, (outcome_of(error), describe_error(error)))
            return
        if not stat.S_ISREG(status.st_mode):
            _log.info("skipped %s: not a regular file", _text(path))
        elif is_known or (extension not in SIDECAR_EXTENSIONS and self._looks_like_image(path)):
            self.paths.add(path, status.st_size)
        else:
            self.others[b".tar" + extension if path.lower().endswith(b".tar" + extension) else extension] += 1

    def _looks_like_image(self, path: bytes) -> bool:
        try:
            with open(os.path.join(self.root, path), "rb", buffering=0) as file:
                return sniff(file.read(HEAD_BYTES)) is not None
        except OSError as error:
            _log.warning("skipped %s: %s", _text(path), describe_error(error))
            return False

    def describe_seen(self) -> str:
        """Say which files were there instead of images."""
        if not self.others:
            return "it has no files (names that begin with a dot do not count)"
        common = self.others.most_common(_MAX_EXTENSIONS_NAMED)
        named = ", ".join(f"{_text(extension) or 'without extension'} ({count:,})" for extension, count in common)
        return f"seen {named}{', ...' if len(self.others) > len(common) else ''}"

    def tell_others(self) -> None:
        """Say which files are archives, and which no images that elfs knows and no usual companions of images."""
        others = {name: count for name, count in self.others.items() if name and name not in SIDECAR_EXTENSIONS}
        _tell("archives are not looked into", {name: others.pop(name, 0) or self.others[name] for name in _ARCHIVES})
        _tell("files are no images that elfs knows", others)

    def hint(self) -> str | None:
        """Return the command for files that hold many images each, if there are such."""
        kinds = [kind for kind in ("tar", "parquet") if self.others[b"." + kind.encode()]]
        return f"elfs embed {kinds[0]}:{shlex.quote(os.fsdecode(self.root))}" if kinds else None


def _tell(what: str, counts: dict[bytes, int]) -> None:
    found = Counter({name: count for name, count in counts.items() if count})
    if found:
        named = ", ".join(f"{_text(name)} ({count:,})" for name, count in found.most_common(_MAX_EXTENSIONS_NAMED))
        more = ", ..." if len(found) > _MAX_EXTENSIONS_NAMED else ""
        _log.warning("%d %s: %s%s", found.total(), what, named, more)


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

"""Files that are either whole or absent: atomic writes, digests, JSON of one form."""

import errno
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from elfs.errors import ElfsError, StorageError
from elfs.workspace.temporary import host_mark, is_abandoned, temporary_name

__all__ = [
    "atomic_write",
    "digest_json",
    "json_bytes",
    "make_directory",
    "remove_file",
    "remove_leftovers",
    "remove_tree",
    "sha256_file",
    "storage_errors",
    "sync_directory",
    "write_once",
]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP}


def _free_bytes(path: Path) -> str:
    for directory in (path, *path.parents):
        with suppress(OSError):
            return f"; {shutil.disk_usage(directory).free:,} bytes are free there"
    return ""


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turn any ``OSError`` of the body into a ``StorageError`` that names the path.

    Parameters
    ----------
    action : str
        What is being done, as in "cannot write"; the free bytes are named unless it is ``"read"``.
    path : Path
        The file or directory that it is done to.

    Yields
    ------
    None
        The body runs once.

    Raises
    ------
    StorageError
        If the body raises an ``OSError`` that is not already one of elfs's own errors.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, ElfsError):
            raise
        reason = error.strerror or type(error).__name__
        free = "" if action == "read" else _free_bytes(path)
        tool = "df -h" if error.errno in _FULL else "ls -ld"
        place = path if isinstance(error, IsADirectoryError) else path.parent
        raise StorageError(
            f"cannot {action} {path}: {reason}{free}.", hint=f"{tool} {shlex.quote(str(place))}"
        ) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power loss; does nothing where the file system cannot.

    Parameters
    ----------
    path : Path
        A directory that exists.
    """
    if os.name == "nt":  # Windows opens no directories
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when it is whole and on the disk.

    Parameters
    ----------
    path : Path
        Where the file shall be; its directory exists. A file of that name is replaced.

    Yields
    ------
    BinaryIO
        A temporary file ``<name>.tmp-<pid>-<host><hex>`` in the same directory. If the body raises, it is removed and
        `path` is as it was before.

    Raises
    ------
    StorageError
        If the disk is full, or the directory may not be written.
    """
    temporary = path.with_name(temporary_name(path.name))
    with storage_errors("write", path):
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def write_once(path: Path, data: bytes) -> bytes:
    """Write a file unless it is there; of several processes that try, on any hosts, one succeeds.

    Parameters
    ----------
    path : Path
        Where the file shall be; its directory exists.
    data : bytes
        What it shall contain.

    Returns
    -------
    bytes
        What it contains: `data`, or what somebody else has written.

    Raises
    ------
    StorageError
        If it can be neither written nor read.
    """
    mine = path.with_name(f"{path.name}.{host_mark()}-{os.getpid()}")
    with atomic_write(mine) as file:
        file.write(data)
    with storage_errors("write", path):
        try:
            try:
                os.link(mine, path)  # refuses a name that is there, unlike a rename
            except FileExistsError:
                pass
            except OSError:  # a file system without links: two that come at the same moment replace each other there
                if not path.exists():
                    os.replace(mine, path)
            sync_directory(path.parent)
        finally:
            mine.unlink(missing_ok=True)
        return path.read_bytes()


def make_directory(path: Path) -> None:
    """Make a directory and its parents, durably; an existing one is left alone.

    Parameters
    ----------
    path : Path
        The directory.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    with storage_errors("make directory", path):
        missing = [directory for directory in (path, *path.parents) if not directory.exists()]
        for directory in reversed(missing) if missing else (path,):  # pathlib would descend by recursion
            directory.mkdir(exist_ok=True)
        for directory in missing:
            sync_directory(directory.parent)


def remove_file(path: Path) -> None:
    """Remove a file if it is there.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    StorageError
        If it is there and cannot be removed.
    """
    with storage_errors("remove", path):
        path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, if it is there.

    Parameters
    ----------
    path : Path
        The directory.

    Raises
    ------
    StorageError
        If something in it cannot be removed.
    """
    with storage_errors("remove", path):
        while os.path.lexists(path):
            with suppress(FileNotFoundError):  # somebody else removes it, too
                shutil.rmtree(path)


def remove_leftovers(root: Path) -> None:
    """Remove the temporary files that dead processes left below a directory.

    Whether a process lives can be asked on its own host alone: files of other hosts go when they are a day old.

    Parameters
    ----------
    root : Path
        The directory.

    Raises
    ------
    StorageError
        If one cannot be removed.
    """
    with storage_errors("search", root):
        leftovers = sorted(root.rglob("*.tmp-*"))
    for path in leftovers:
        if path.is_file() and is_abandoned(path):
            remove_file(path)


def sha256_file(path: Path) -> str:
    """Return the digest of a file's bytes.

    Parameters
    ----------
    path : Path
        The file; it is read once, in blocks.

    Returns
    -------
    str
        ``sha256:`` and 64 lower-case hexadecimal digits.

    Raises
    ------
    StorageError
        If the file cannot be read.
    """
    with storage_errors("read", path), path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def json_bytes(value: Any) -> bytes:
    """Return `value` as the one JSON text that equal values share.

    Parameters
    ----------
    value : Any
        Plain JSON values with string keys; floats are finite.

    Returns
    -------
    bytes
        Sorted keys, indent 2, UTF-8, trailing newline. A lone surrogate (a byte of a path that is not UTF-8) is
        written as its JSON escape.

    Raises
    ------
    ValueError
        If a float is NaN or infinite, which JSON cannot hold.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "backslashreplace")


def digest_json(value: Any) -> str:
    """Return the digest of `value` as canonical JSON.

    Parameters
    ----------
    value : Any
        Plain JSON values with string keys; floats are finite.

    Returns
    -------
    str
        ``sha256:`` and the hexadecimal digest of the text with sorted keys, no spaces, ASCII only.

    Raises
    ------
    ValueError
        If a float is NaN or infinite, which JSON cannot hold.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()

"""The directory of a workspace before it has a manifest, and after it has nothing else."""

import os
import shlex
from contextlib import suppress
from pathlib import Path

from elfs.errors import UsageError
from elfs.workspace.files import make_directory, remove_file, storage_errors
from elfs.workspace.names import (
    HOLDER_NAME,
    LOCK_NAME,
    MANIFEST_NAME,
    NOTES,
    PARTIAL_NAME,
    PROGRESS_NAME,
)
from elfs.workspace.temporary import TEMPORARY_NAME

__all__ = ["prepare_directory", "remove_empty_directory"]


def _is_own(name: str) -> bool:
    """Return whether a directory entry can be there before the first manifest."""
    return name in (LOCK_NAME, HOLDER_NAME, PARTIAL_NAME, PROGRESS_NAME) or TEMPORARY_NAME.search(name) is not None


def prepare_directory(path: Path) -> bool:
    """Make a directory that can become a workspace, unless it is one.

    Parameters
    ----------
    path : Path
        The directory; made with its parents if need be.

    Returns
    -------
    bool
        True if it has no manifest yet.

    Raises
    ------
    UsageError
        If `path` is a file, or a directory that holds other things.
    StorageError
        If it cannot be made or read.
    """
    with storage_errors("read", path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"workspace {path} is a file, expected a directory.")
    make_directory(path)
    with storage_errors("read", path):
        names = os.listdir(path)
    if MANIFEST_NAME in names:
        return False
    strangers = sorted(name for name in names if not _is_own(name))
    if strangers:
        raise UsageError(
            f"workspace {path} is no workspace but holds other things, such as '{strangers[0]}'; "
            "expected a new or empty directory.",
            hint=f"elfs embed SOURCE --workspace {shlex.quote(str(path / 'elfs-workspace'))}",
        )
    return True


def remove_empty_directory(path: Path, *, keep: bool = False) -> None:
    """Remove a workspace that holds nothing but an empty manifest and the lock.

    Parameters
    ----------
    path : Path
        The directory; left alone if it holds anything else.
    keep : bool, default False
        Remove what is in it and leave the directory itself.

    Raises
    ------
    StorageError
        If it cannot be read or changed.
    """
    with storage_errors("read", path):
        others = set(os.listdir(path)) - {MANIFEST_NAME, LOCK_NAME, *NOTES}
    if others:
        return
    for name in (*NOTES, MANIFEST_NAME, LOCK_NAME):
        remove_file(path / name)
    if not keep:
        with suppress(OSError):  # somebody came in between
            path.rmdir()

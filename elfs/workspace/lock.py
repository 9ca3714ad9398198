"""One writer at a time: a kernel file lock that dies with its process, and a note that says who holds it."""

import json
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from elfs.errors import WorkspaceLockedError
from elfs.workspace.files import atomic_write, json_bytes, remove_file, storage_errors
from elfs.workspace.names import HOLDER_NAME, LOCK_NAME

__all__ = ["writer_lock"]


def _describe_holder(path: Path) -> str:
    """Return who wrote the holder's note; the note is a courtesy, so nothing in it is trusted."""
    try:
        note = json.loads(path.read_bytes())
        return f"process {int(note['pid'])} on {str(note['host'])[:80]} since {str(note['started'])[:40]}"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "another process"


@contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Hold the right to write to a workspace.

    Parameters
    ----------
    path : Path
        The workspace's directory, which exists.

    Yields
    ------
    None
        While the body runs, no other process can take the lock. The kernel frees it when the process dies, however
        that happens, so there is never a stale lock to remove.

    Raises
    ------
    WorkspaceLockedError
        If another process (or this one) holds it; the message names process, host and time.
    StorageError
        If the lock's files cannot be written.
    """
    lock = FileLock(path / LOCK_NAME, timeout=0)
    holder = path / HOLDER_NAME
    with storage_errors("lock", path / LOCK_NAME):
        try:
            lock.acquire()
        except Timeout:
            raise WorkspaceLockedError(
                f"workspace {path} is being written by {_describe_holder(holder)}; only one may write at a time.",
                hint=f"elfs status --workspace {shlex.quote(str(path))}",
            ) from None
    try:
        note = {"host": socket.gethostname(), "pid": os.getpid(), "started": datetime.now(UTC).isoformat()}
        with atomic_write(holder) as file:
            file.write(json_bytes(note))
        yield
    finally:
        try:
            remove_file(holder)  # before the release: afterwards it might be the next holder's
        finally:
            lock.release()

"""Reading without a lock while a writer may be at work: once more where the workspace has changed meanwhile."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from elfs.errors import ElfsError
from elfs.workspace.names import JOURNAL_NAME, MANIFEST_NAME

__all__ = ["read_steadily"]

T = TypeVar("T")

_TRIES = 20
_PAUSE_S = 0.1
"""Between two tries: a commit names nothing of a record that it replaces for a moment."""


def read_steadily(path: Path, read: Callable[[], T]) -> T:
    """Read a workspace; again, where that failed because somebody has published meanwhile or is about to.

    Parameters
    ----------
    path : Path
        The workspace.
    read : Callable
        Opens the workspace and reads all that belongs together. It may be called several times.

    Returns
    -------
    object
        What `read` returned.

    Raises
    ------
    ElfsError
        What `read` refuses of a workspace at rest.
    """
    for _ in range(_TRIES):
        before = _manifest(path)
        try:
            return read()
        except ElfsError:
            if _manifest(path) == before and not (path / JOURNAL_NAME).exists():
                raise
        time.sleep(_PAUSE_S)
    return read()


def _manifest(path: Path) -> bytes | None:
    """Return what tells two states of a workspace apart."""
    try:
        return (path / MANIFEST_NAME).read_bytes()
    except OSError:
        return None

"""Names of temporary files, which say who writes them, and when nobody does any more."""

import functools
import hashlib
import os
import platform
import re
import secrets
import time
from pathlib import Path

__all__ = ["TEMPORARY_NAME", "host_mark", "is_abandoned", "is_alive", "temporary_name"]

TEMPORARY_NAME = re.compile(r"\.tmp-(\d{1,9})-([0-9a-f]{8})?[0-9a-f]{8}$")
"""Matches the end of a temporary file's name; group 1 is the id of the process that writes it, group 2 its host."""

_FOREIGN_SECONDS = 24 * 60 * 60
"""Age from which a temporary file of another host was left behind, in seconds: nothing takes so long to write."""


@functools.cache
def host_mark() -> str:
    """Return what tells the processes of this host, or container, from those of others.

    Returns
    -------
    str
        8 hexadecimal digits.
    """
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def temporary_name(name: str) -> str:
    """Return a new name for a temporary file.

    Parameters
    ----------
    name : str
        Name of the file that it becomes.

    Returns
    -------
    str
        ``<name>.tmp-<pid>-<host><hex>``.
    """
    return f"{name}.tmp-{os.getpid()}-{host_mark()}{secrets.token_hex(4)}"


def is_abandoned(path: Path) -> bool:
    """Return whether a file or folder is a temporary one that nobody writes any more.

    Parameters
    ----------
    path : Path
        Any file or folder.

    Returns
    -------
    bool
        Whether a process lives can be asked on its own host alone; a file of another host counts when it is a day old.
    """
    match = TEMPORARY_NAME.search(path.name)
    if match is None or not path.exists():
        return False
    if match[2] in (None, host_mark()):
        return not is_alive(int(match[1]))
    try:
        return time.time() - path.stat().st_mtime > _FOREIGN_SECONDS
    except FileNotFoundError:
        return False


def is_alive(process: int) -> bool:
    """Return whether a process of this machine runs; where that cannot be asked, assume so.

    Parameters
    ----------
    process : int
        Its id.

    Returns
    -------
    bool
        False only where there is none.
    """
    if os.name == "nt":  # there, signal 0 is not harmless
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

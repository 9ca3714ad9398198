"""Names of files below a directory: which are plain, and where they lie."""

import os
from pathlib import Path

from elfs.errors import CorruptArtifactError

__all__ = ["is_plain_path", "path_inside"]


def is_plain_path(name: str) -> bool:
    """Return whether a name is a plain relative POSIX path, the same on every system.

    Parameters
    ----------
    name : str
        The name, parts joined by ``/``.

    Returns
    -------
    bool
        False for absolute paths, ``.`` and ``..``, empty parts, parts above 255 bytes, backslashes, colons (drive
        letters), control characters, and text that is no UTF-8.
    """
    if any(ord(character) < 32 or character in "\\:\x7f" for character in name):
        return False
    try:
        sizes = [len(part.encode("utf-8")) for part in name.split("/")]
    except UnicodeEncodeError:
        return False
    return all(0 < size <= 255 for size in sizes) and not {".", ".."} & set(name.split("/"))


def path_inside(root: Path, name: str) -> Path:
    """Return the path of a workspace file, refusing links that lead out of the workspace.

    Parameters
    ----------
    root : Path
        The workspace's directory (itself a link or not).
    name : str
        A plain relative path.

    Returns
    -------
    Path
        ``root / name``.

    Raises
    ------
    CorruptArtifactError
        If a symbolic link on the way leads outside `root`.
    """
    path = root / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise CorruptArtifactError(f"{path} is a link that leads out of the workspace.")
    return path

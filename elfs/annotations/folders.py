"""Answers from folders: one for each class, with the images, or copies of them, in it."""

import os
from pathlib import Path

from elfs.annotations.answers import Answer, UnknownFormatError

__all__ = ["read_folders"]


def read_folders(folder: Path) -> list[Answer]:
    """Read where images lie.

    Parameters
    ----------
    folder : Path
        Holds a folder for each class; a folder in which there is nothing but one folder stands for that.

    Returns
    -------
    list of Answer
        One for each file below a class, by its path below the class; hidden files are left out.

    Raises
    ------
    UnknownFormatError
        If there are not two folders at least.
    """
    classes = _folders(folder)
    while len(classes) == 1 and not any(entry.is_file() for entry in folder.iterdir()):
        folder = classes[0]
        classes = _folders(folder)
    if len(classes) < 2:
        raise UnknownFormatError("is a folder without class folders, expected one folder for each class, or a file")
    found = []
    for entry in classes:
        for place, inner, files in os.walk(entry):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            below = os.path.relpath(place, entry).replace(os.sep, "/")
            start = "" if below == "." else below + "/"
            found += [Answer(start + name, (entry.name,)) for name in sorted(files) if not name.startswith(".")]
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))

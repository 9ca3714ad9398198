"""Where an export goes: nothing is overwritten unasked, and nothing half-written stays."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from elfs.errors import UsageError
from elfs.workspace.files import atomic_write, make_directory, remove_file, remove_tree, storage_errors
from elfs.workspace.temporary import is_abandoned, temporary_name

__all__ = ["publish_directory", "publish_file"]


def publish_file(path: Path, contents: Callable[[], bytes], *, force: bool) -> None:
    """Write a file that appears only when it is whole.

    Parameters
    ----------
    path : Path
        Where to; its folder is made if need be.
    contents : Callable
        Returns what goes in; not called where the place is taken.
    force : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    UsageError
        If `path` is a folder, or a file and `force` is False.
    StorageError
        If it cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"--output is the folder {path}, expected a file.")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} is there already: give another --output, or --force to replace it.")
    data = contents()
    _prepare(path)
    with atomic_write(path) as file:
        file.write(data)


def publish_directory(path: Path, fill: Callable[[Path], None], *, force: bool) -> None:
    """Make a folder that appears only when all its files are written.

    Parameters
    ----------
    path : Path
        Where to; its parents are made if need be. An empty folder may be there.
    fill : Callable
        Writes the files into the folder that it is given.
    force : bool
        Whether files of the same names in a folder that is not empty may be replaced; others stay.

    Raises
    ------
    UsageError
        If `path` is a file, or a folder that is not empty and `force` is False.
    StorageError
        If it cannot be written.
    """
    path = path.absolute()
    if os.path.lexists(path) and not path.is_dir():
        raise UsageError(f"--output is the file {path}, expected a folder.")
    with storage_errors("read", path):
        is_taken = path.is_dir() and any(path.iterdir())
    if is_taken and not force:
        raise UsageError(
            f"{path} is not empty: give another --output, or --force to replace files of the same names in it."
        )
    _prepare(path)
    temporary = path.with_name(temporary_name(path.name))
    with storage_errors("write", path):
        temporary.mkdir()
        try:
            fill(temporary)
            _move(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _prepare(path: Path) -> None:
    """Make the folder around a place, and remove there what a killed process had begun under the same name."""
    make_directory(path.parent)
    with storage_errors("read", path.parent):
        begun = [entry for entry in path.parent.iterdir() if entry.name.startswith(f"{path.name}.tmp-")]
    for entry in filter(is_abandoned, begun):
        if entry.is_dir():
            remove_tree(entry)
        else:
            remove_file(entry)


def _move(directory: Path, path: Path) -> None:
    """Move a folder to its place, file by file where the place has files."""
    if not path.exists():
        directory.rename(path)
        return
    for folder, _, files in os.walk(directory):
        target = path / os.path.relpath(folder, directory)
        target.mkdir(exist_ok=True)
        for name in files:
            os.replace(os.path.join(folder, name), target / name)

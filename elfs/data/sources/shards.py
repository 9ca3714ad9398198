"""Files that hold many images each: where they lie, and which of them are a test split."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.data.sources.path_table import split_by_group
from elfs.errors import InputDataError

__all__ = ["find_shards", "shard_splits"]

_FIRST_WORD = re.compile(r"[A-Za-z]*")


def find_shards(root: Path, extension: str) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Find the files of a source.

    Parameters
    ----------
    root : Path
        One file, or a folder, which is searched at any depth; names that begin with a dot do not count.
    extension : str
        Of the files, in lower case, such as ``.tar``.

    Returns
    -------
    paths : tuple of Path
        In ascending order of their names.
    names : tuple of str
        Relative to the folder with ``/``, without the extension; empty for one file, which may be renamed.

    Raises
    ------
    InputDataError
        If there is no such file.
    """
    if root.is_file():
        return (root,), ("",)
    found = []
    for directory, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = [name for name in files if name.lower().endswith(extension) and not name.startswith(".")]
        found += [(Path(directory, name).relative_to(root).as_posix(), Path(directory, name)) for name in here]
    if not found:
        problem = "has no" if root.is_dir() else "does not exist; expected a folder of files that end in, or a file"
        raise InputDataError(f"{root} {problem} {extension}.")
    found.sort()
    return tuple(path for _, path in found), tuple(name[: -len(extension)] for name, _ in found)


def shard_splits(names: Sequence[str], num_rows: Sequence[int]) -> NDArray[np.uint8]:
    """Return the split of each row from the names of the files.

    Parameters
    ----------
    names : sequence of str
        Of the files, in row order.
    num_rows : sequence of int
        How many rows each has.

    Returns
    -------
    ndarray of shape (sum(num_rows),), uint8
        By the rule of `split_by_group` on the letters that a name begins with: those of ``val/000`` and of ``val-000``
        are ``val``.
    """
    starts = np.concatenate([[0], np.cumsum(num_rows)]).astype(int)
    words = [_FIRST_WORD.match(name) for name in names]
    groups = [(word[0].lower().encode() if word else b"", start) for word, start in zip(words, starts, strict=False)]
    return split_by_group(groups, int(starts[-1]))

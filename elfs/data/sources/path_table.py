"""A sample table that grows path by path, and the rule that tells train from test by the first part of a path."""

import errno
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import Outcome, SampleTable, Split
from elfs.data.text_column import TextColumn

__all__ = ["PathTable", "describe_error", "outcome_of", "split_by_group"]

_TEST_GROUPS = frozenset((b"test", b"val", b"valid", b"validation"))


def split_by_group(groups: Sequence[tuple[bytes, int]], num_rows: int) -> NDArray[np.uint8]:
    """Return the split of each row where rows come in groups such as ``train`` and ``test``.

    Parameters
    ----------
    groups : sequence of (bytes, int)
        Name in lower case and first row of each run of rows, ascending; a name may come again.
    num_rows : int
        Number of rows.

    Returns
    -------
    ndarray of shape (num_rows,), uint8
        A `Split` each. TRAIN for ``train`` and TEST for ``test``, ``val``, ``valid`` and ``validation`` where ``train``
        is there and there is no group but these; otherwise everything is TRAIN.
    """
    splits = np.full(num_rows, Split.TRAIN, np.uint8)
    names = {name for name, _ in groups}
    if b"train" in names and len(names) > 1 and names <= _TEST_GROUPS | {b"train"}:
        ends = [start for _, start in groups[1:]] + [num_rows]
        for (name, start), end in zip(groups, ends, strict=True):
            splits[start:end] = Split.TRAIN if name == b"train" else Split.TEST
    return splits


def outcome_of(error: OSError) -> Outcome:
    """Return what an error of the file system means for an image.

    Parameters
    ----------
    error : OSError
        From opening or examining a file.

    Returns
    -------
    Outcome
        MISSING if there is no such file, else BROKEN.
    """
    return Outcome.MISSING if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) else Outcome.BROKEN


def describe_error(error: OSError) -> str:
    """Say what went wrong with a file, without its name.

    Parameters
    ----------
    error : OSError
        From opening or examining a file.

    Returns
    -------
    str
        Such as ``Permission denied (EACCES)``.
    """
    code = errno.errorcode.get(error.errno or 0, "no errno")
    return f"{error.strerror or type(error).__name__} ({code})"


@dataclass(slots=True)
class PathTable:
    """Paths and sizes so far. Names go into one buffer at once: two million need some 100 MB."""

    blob: bytearray = field(default_factory=bytearray)
    offsets: "array[int]" = field(default_factory=lambda: array("q", [0]))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    problems: dict[int, tuple[Outcome, str]] = field(default_factory=dict)
    groups: list[tuple[bytes, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sizes)

    def add(self, path: bytes, num_bytes: int, problem: tuple[Outcome, str] | None = None) -> None:
        """Append a row.

        Parameters
        ----------
        path : bytes
            Its id, with ``/`` between the parts.
        num_bytes : int
            Size of the file; 0 where unknown.
        problem : tuple of (Outcome, str), optional
            What is wrong with it and why, for people.
        """
        group, slash, _ = path.partition(b"/")
        group = group.lower() if slash else b""
        if not self.groups or self.groups[-1][0] != group:
            self.groups.append((group, len(self)))
        if problem is not None:
            self.problems[len(self)] = problem
        self.blob += path
        self.offsets.append(len(self.blob))
        self.sizes.append(num_bytes)

    def table(self) -> SampleTable:
        """Return what was added.

        Returns
        -------
        SampleTable
            Splits follow the folder directly below the root, by the rule of `split_by_group`.
        """
        names = TextColumn.from_buffers(self.blob, self.offsets)
        splits = split_by_group(self.groups, len(self))
        table = SampleTable.from_ids(names, splits, np.frombuffer(self.sizes, np.int64))
        outcome = table.outcome.copy()
        for row, (problem, _) in self.problems.items():
            outcome[row] = problem
        return table.with_outcomes(outcome, {row: reason for row, (_, reason) in self.problems.items()})

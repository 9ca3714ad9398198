"""Finished runs of rows of an artifact that is being made, by any number of processes, in one run or several."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.errors import CorruptArtifactError
from elfs.workspace.documents import parse_json
from elfs.workspace.files import atomic_write, json_bytes, make_directory, remove_file, sha256_file
from elfs.workspace.tensors import load_tensors, save_tensors

__all__ = ["Piece", "Pieces", "Run", "deal"]

Run = tuple[int, int]
"""First row and last row + 1."""

_WORK = 1 << 20
"""How much more a row weighs that makes work than one that makes none."""

_NAME = re.compile(r"(\d{12})-(\d{12})\.json$")


@dataclass(frozen=True, slots=True)
class Piece:
    """One finished run of rows.

    Attributes
    ----------
    start, stop : int
        First row and last row + 1.
    note : Path
        What was noted of it, as JSON; the tensors lie beside it.
    """

    start: int
    stop: int
    note: Path

    @property
    def path(self) -> Path:
        """Where its tensors are."""
        return self.note.with_suffix(".safetensors")

    def facts(self) -> dict[str, Any]:
        """Return what was noted of it, the digest of its tensors (``digest``) included."""
        found: dict[str, Any] = json.loads(self.note.read_bytes())
        return found

    def tensors(self) -> dict[str, np.ndarray]:
        """Return its tensors, mapped into memory; their first axis has ``stop - start`` rows."""
        return load_tensors(self.path)

    def check(self) -> None:
        """Compare the tensors with their digest.

        Raises
        ------
        CorruptArtifactError
            If they are not what was written.
        """
        noted = parse_json(self.note.read_bytes(), str(self.note))
        if not isinstance(noted, dict) or sha256_file(self.path) != noted.get("digest"):
            raise CorruptArtifactError(
                f"{self.path} is not what its note says; remove both, and the same command again."
            )


class Pieces:
    """The finished runs of one artifact.

    Ranks and shards write here at the same time without a lock: each run is a pair of files of its own, and counts once
    its note is there. Runs that overlap hold the same values.

    Parameters
    ----------
    directory : Path
        Where they are; need not exist.
    mark : str
        Short text that changes with anything that decides the values; runs with other marks are not seen.
    """

    def __init__(self, directory: Path, mark: str) -> None:
        self.directory, self._mark = directory, mark

    def save(self, run: Run, tensors: Mapping[str, np.ndarray], **facts: Any) -> None:
        """Write a run of rows.

        Parameters
        ----------
        run : tuple of (int, int)
            First row and last row + 1.
        tensors : mapping of str to ndarray
            Their first axis has as many rows.
        **facts : Any
            Plain JSON values that are noted with it.

        Raises
        ------
        StorageError
            If a file cannot be written.
        """
        make_directory(self.directory)
        note = self.directory / f"{self._mark}-{run[0]:012d}-{run[1]:012d}.json"
        path = note.with_suffix(".safetensors")
        save_tensors(path, tensors)
        with atomic_write(note) as file:
            file.write(json_bytes(facts | {"digest": sha256_file(path)}))

    def finished(self) -> list[Piece]:
        """Return what is there, in the order of the rows, without those that others cover."""
        found = []
        for note in self.directory.glob(f"{self._mark}-*.json"):
            match = _NAME.search(note.name)
            if match is not None and note.with_suffix(".safetensors").is_file():
                found.append(Piece(int(match[1]), int(match[2]), note))
        kept, end = [], 0
        for piece in sorted(found, key=lambda piece: (piece.start, -piece.stop)):
            if piece.stop > end:
                kept.append(piece)
                end = piece.stop
        return kept

    def drop_damaged(self) -> list[Path]:
        """Remove the runs that are not what was written, so that they are made again.

        Returns
        -------
        list of Path
            The files of tensors that were removed.

        Raises
        ------
        StorageError
            If a file cannot be read or removed.
        """
        damaged = []
        while found := [piece for piece in self.finished() if _is_damaged(piece)]:  # others may have been covered
            for piece in found:
                remove_file(piece.note)
                remove_file(piece.path)
            damaged += [piece.path for piece in found]
        return damaged

    def missing(self, num_rows: int) -> list[Run]:
        """Return the runs of rows that are not there yet.

        Parameters
        ----------
        num_rows : int
            Rows of the whole artifact.

        Returns
        -------
        list of tuple of (int, int)
            In order, without gaps between the finished ones.
        """
        runs, end = [], 0
        for piece in self.finished():
            if piece.start > end:
                runs.append((end, piece.start))
            end = piece.stop
        return [*runs, (end, num_rows)] if end < num_rows else runs

    def blocks(self, num_rows: int, block_rows: int) -> Iterator[tuple[Run, dict[str, np.ndarray]]]:
        """Yield the artifact in blocks, once nothing is missing.

        Parameters
        ----------
        num_rows : int
            Rows of the whole artifact.
        block_rows : int
            Rows of a block at most.

        Yields
        ------
        tuple of (run, dict of str to ndarray)
            First row and last row + 1, and the tensors of those rows, in memory.
        """
        pieces = self.finished()
        for start in range(0, num_rows, block_rows):
            run = start, min(start + block_rows, num_rows)
            yield run, _joined(pieces, run)

    def read(self, run: Run) -> dict[str, np.ndarray]:
        """Return some rows, once they are there.

        Parameters
        ----------
        run : tuple of (int, int)
            First row and last row + 1.

        Returns
        -------
        dict of str to ndarray
            The tensors of those rows, in memory.
        """
        return _joined(self.finished(), run)


def _joined(pieces: Sequence[Piece], run: Run) -> dict[str, np.ndarray]:
    end, stop = run
    parts = []
    for piece in pieces:
        if piece.stop > end and piece.start <= end < stop:
            tensors, upto = piece.tensors(), min(piece.stop, stop)
            rows = slice(end - piece.start, upto - piece.start)
            parts.append({name: tensor[rows] for name, tensor in tensors.items()})
            end = upto
    assert end == stop, f"rows {end} to {stop} are missing"
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _is_damaged(piece: Piece) -> bool:
    try:
        piece.check()
    except CorruptArtifactError:
        return True
    return False


def deal(runs: Sequence[Run], num_hands: int, *, most: int, weighs: NDArray[np.bool_] | None = None) -> list[list[Run]]:
    """Deal runs of rows out in nearly equal hands.

    Parameters
    ----------
    runs : sequence of (int, int)
        What is to be done, in order.
    num_hands : int
        Among how many.
    most : int
        Rows of a run that is dealt out at most; runs are cut at multiples of it too.
    weighs : ndarray of shape (num_rows,), bool, optional
        Rows that make work; None: all.

    Returns
    -------
    list of list of (int, int)
        For each hand, contiguous as far as the runs are; together they cover all runs once.
    """
    rows = np.concatenate([np.arange(*run) for run in runs]) if runs else np.empty(0, np.int64)
    weights = np.where(True if weighs is None else weighs[rows], _WORK, 1) * np.ones(len(rows), np.int64)
    work = np.cumsum(weights)
    total = int(weights.sum())
    # A row goes where its middle lies: whole numbers, so that equal rows make equal hands.
    ends = np.searchsorted(2 * work - weights, [2 * total * hand // num_hands for hand in range(1, num_hands)])
    dealt = []
    for part in np.split(rows, ends):
        breaks = np.flatnonzero((np.diff(part) != 1) | (part[1:] % most == 0)) + 1
        dealt.append([(int(run[0]), int(run[-1]) + 1) for run in np.split(part, breaks) if len(run)])
    return dealt

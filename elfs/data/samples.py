"""The table of samples: one row per image, in the order that everything else in a workspace follows.

Ids are stored as one UTF-8 blob plus offsets. Bytes of a file name that are not UTF-8 are kept, and appear in ``str``
as surrogate escapes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs.data.text_column import TextColumn
from elfs.errors import CorruptArtifactError, InputDataError

__all__ = ["Outcome", "SampleTable", "Split"]

_MAX_NAMED = 5


class Outcome(IntEnum):
    """What became of a sample's image. Anything but OK keeps its row and is left out of everything else."""

    OK = 0
    MISSING = 1
    BROKEN = 2
    UNSUPPORTED = 3
    TOO_LARGE = 4


class Split(IntEnum):
    """Which part of a data set a sample belongs to. Only TRAIN samples can be selected."""

    TRAIN = 0
    TEST = 1


@dataclass(frozen=True, slots=True, eq=False)
class SampleTable:
    """Every sample of a source: id, split, size, and what became of it.

    Attributes
    ----------
    names : TextColumn
        Ids, unique: a path relative to the root with ``/``, or for example ``cifar10/train/00001``.
    split : ndarray of shape (n,), uint8
        A `Split` each.
    num_bytes : ndarray of shape (n,), int64
        Size of the file, or of the pixels in memory; 0 where unknown.
    outcome : ndarray of shape (n,), uint8
        An `Outcome` each.
    reason_rows : ndarray of shape (m,), int64
        Rows that have a reason, ascending.
    reason_texts : TextColumn of length m
        Why those rows are not OK, for people.
    """

    names: TextColumn
    split: NDArray[np.uint8]
    num_bytes: NDArray[np.int64]
    outcome: NDArray[np.uint8]
    reason_rows: NDArray[np.int64]
    reason_texts: TextColumn

    @classmethod
    def from_ids(cls, ids: Iterable[str], split: ArrayLike, num_bytes: ArrayLike) -> "SampleTable":
        """Make a table in which every sample is OK so far.

        Parameters
        ----------
        ids : Iterable of str
            Ids in row order; the caller vouches that they are unique.
        split : array_like of shape (n,) or scalar
            A `Split` for each row or for all.
        num_bytes : array_like of shape (n,) or scalar, int
            Size of each sample, or of all.

        Returns
        -------
        SampleTable
            With one row per id.
        """
        names = TextColumn.from_strings(ids)
        count = len(names)
        return cls(
            names,
            np.ascontiguousarray(np.broadcast_to(np.asarray(split, np.uint8), count)),
            np.ascontiguousarray(np.broadcast_to(np.asarray(num_bytes, np.int64), count)),
            np.zeros(count, np.uint8),
            np.zeros(0, np.int64),
            TextColumn.from_strings(()),
        )

    def __len__(self) -> int:
        return len(self.names)

    def id(self, row: int) -> str:
        """Return one id.

        Parameters
        ----------
        row : int
            In ``[0, n)``.

        Returns
        -------
        str
            The id, with surrogate escapes for bytes that are not UTF-8.
        """
        return self.names[row]

    def ids(self, rows: ArrayLike) -> list[str]:
        """Return several ids.

        Parameters
        ----------
        rows : array_like of int
            Rows in any order.

        Returns
        -------
        list of str
            One id per row asked for.
        """
        wanted = np.asarray(rows, np.int64)
        names = self.names.encoded_rows(np.where(wanted < 0, wanted + len(self), wanted))
        return [name.decode("utf-8", "surrogateescape") for name in names]

    def rows_of(self, ids: Sequence[str] | TextColumn) -> NDArray[np.int64]:
        """Return the row of each id.

        Parameters
        ----------
        ids : Sequence of str, or TextColumn
            Ids in any order, repeats allowed.

        Returns
        -------
        ndarray of shape (len(ids),), int64
            Rows in the order of `ids`. Costs one pass over the table and memory for `ids` alone; nothing where they are
            the table's own.

        Raises
        ------
        InputDataError
            If some ids are not in the table; the message names the first few.
        """
        wanted = TextColumn.from_strings(ids)
        if wanted == self.names:
            return np.arange(len(self))
        found = self.names.find(wanted)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            named = ", ".join(repr(wanted[row]) for row in unknown[:_MAX_NAMED].tolist())
            more = f" and {len(unknown) - _MAX_NAMED:,} more" if len(unknown) > _MAX_NAMED else ""
            example = f"; ids look like {self.id(0)!r}" if len(self) else "; the table is empty"
            raise InputDataError(f"{len(unknown):,} of {len(wanted):,} ids are unknown: {named}{more}{example}.")
        return found

    def with_outcomes(self, outcome: ArrayLike, reasons: Mapping[int, str]) -> "SampleTable":
        """Return the same samples with new outcomes.

        Parameters
        ----------
        outcome : array_like of shape (n,), uint8
            An `Outcome` for every row.
        reasons : Mapping of int to str
            Why, for rows that are not OK. Reasons that the table has already are kept for rows that stay not OK.

        Returns
        -------
        SampleTable
            A new table; ids, order, split and sizes are shared with this one.
        """
        outcome = np.array(outcome, np.uint8).reshape(len(self))
        merged = {**self.reasons(), **reasons}
        rows = sorted(row for row in merged if outcome[row] != Outcome.OK)
        texts = TextColumn.from_strings(merged[row] for row in rows)
        return replace(self, outcome=outcome, reason_rows=np.array(rows, np.int64), reason_texts=texts)

    def reasons(self) -> dict[int, str]:
        """Return why samples are not OK.

        Returns
        -------
        dict of int to str
            Row to reason; rows that are OK are absent.
        """
        return dict(zip(self.reason_rows.tolist(), self.reason_texts, strict=True))

    def usable(self) -> NDArray[np.bool_]:
        """Return which samples can be looked at.

        Returns
        -------
        ndarray of shape (n,), bool
            True where the outcome is OK, in both splits.
        """
        return np.equal(self.outcome, Outcome.OK)

    def eligible(self) -> NDArray[np.bool_]:
        """Return which samples can be selected.

        Returns
        -------
        ndarray of shape (n,), bool
            True where the split is TRAIN and the outcome is OK.
        """
        return self.usable() & np.equal(self.split, Split.TRAIN)

    def rows(self, split: Split) -> NDArray[np.int64]:
        """Return the usable rows of a split.

        Parameters
        ----------
        split : Split
            Which part.

        Returns
        -------
        ndarray of shape (m,), int64
            Rows of that split whose outcome is OK, ascending.
        """
        return np.flatnonzero(self.usable() & np.equal(self.split, split))

    def take(self, rows: NDArray[np.int64]) -> "SampleTable":
        """Return a table of some of the samples.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Which, ascending.

        Returns
        -------
        SampleTable
            Row i is row ``rows[i]`` of this table.
        """
        reasons = self.reasons()
        kept = [(new, reasons[old]) for new, old in enumerate(rows.tolist()) if old in reasons]
        return SampleTable(
            names=self.names.take(rows),
            split=self.split[rows],
            num_bytes=self.num_bytes[rows],
            outcome=self.outcome[rows],
            reason_rows=np.array([new for new, _ in kept], np.int64),
            reason_texts=TextColumn.from_strings(reason for _, reason in kept),
        )

    def counts(self) -> dict[str, int]:
        """Return how many samples there are of each kind.

        Returns
        -------
        dict of str to int
            ``images``, ``train`` and ``test`` (usable ones), and each outcome but OK in lower case.
        """
        found = {"images": len(self), "train": len(self.rows(Split.TRAIN)), "test": len(self.rows(Split.TEST))}
        return found | {kind.name.lower(): int(np.sum(self.outcome == kind)) for kind in Outcome if kind != Outcome.OK}

    def digest_parts(self) -> tuple[bytes | memoryview, ...]:
        """Return what identifies the listing, to be hashed in this order.

        Returns
        -------
        tuple of buffers
            Number of rows, offsets, ids, splits and sizes, little-endian. Outcomes are no part of it, so that the
            digest is the same before and after decoding.
        """
        arrays = (
            self.names.offsets.astype("<i8", copy=False),
            self.names.blob,
            self.split,
            self.num_bytes.astype("<i8", copy=False),
        )
        return (len(self).to_bytes(8, "little"), *(np.ascontiguousarray(part).data for part in arrays))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the table as named arrays, for ``samples.safetensors``.

        Returns
        -------
        dict of str to ndarray
            What `from_tensors` takes back.
        """
        return {
            "id_blob": self.names.blob,
            "id_offsets": self.names.offsets,
            "split": self.split,
            "num_bytes": self.num_bytes,
            "outcome": self.outcome,
            "reason_rows": self.reason_rows,
            "reason_blob": self.reason_texts.blob,
            "reason_offsets": self.reason_texts.offsets,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> "SampleTable":
        """Read back what `tensors` gave.

        Parameters
        ----------
        tensors : Mapping of str to ndarray
            Memory maps are kept as they are.

        Returns
        -------
        SampleTable
            The same table.

        Raises
        ------
        CorruptArtifactError
            If an array is absent, or the arrays do not fit together.
        """
        names = _checked_column(tensors, "id")
        texts = _checked_column(tensors, "reason")
        columns = [_checked(tensors, key, len(names)) for key in ("split", "num_bytes", "outcome")]
        reason_rows = _checked(tensors, "reason_rows", len(texts))
        if len(texts) and (reason_rows.min() < 0 or reason_rows.max() >= len(names)):
            raise _corrupt(f"'reason_rows' span {reason_rows.min()}..{reason_rows.max()} of {len(names)} samples")
        return cls(names, columns[0], columns[1], columns[2], reason_rows, texts)


_DTYPES = {"blob": np.uint8, "offsets": np.int64, "split": np.uint8, "outcome": np.uint8}


def _corrupt(problem: str) -> CorruptArtifactError:
    return CorruptArtifactError(f"the table of samples is damaged: {problem}.", hint="elfs verify")


def _checked(tensors: Mapping[str, NDArray[Any]], key: str, length: int | None) -> NDArray[Any]:
    dtype = _DTYPES.get(key.rpartition("_")[2], np.int64)
    if key not in tensors:
        raise _corrupt(f"it has no tensor '{key}'")
    tensor = tensors[key]
    if tensor.dtype != dtype or tensor.ndim != 1 or (length is not None and len(tensor) != length):
        expected = f"{np.dtype(dtype)} of length {'any' if length is None else length}"
        raise _corrupt(f"'{key}' is {tensor.dtype} of shape {tensor.shape}, expected {expected}")
    return tensor


def _checked_column(tensors: Mapping[str, NDArray[Any]], prefix: str) -> TextColumn:
    blob = _checked(tensors, f"{prefix}_blob", None)
    offsets = _checked(tensors, f"{prefix}_offsets", None)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(blob) or np.any(offsets[1:] < offsets[:-1]):
        raise _corrupt(f"'{prefix}_offsets' do not cut '{prefix}_blob' into strings")
    return TextColumn(blob, offsets)

"""Many strings in two arrays, because ten million names must not become ten million Python objects."""

import itertools
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextColumn"]

_BLOCK_ROWS = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn:
    """Many strings in two arrays.

    Attributes
    ----------
    blob : ndarray of shape (n_bytes,), uint8
        The strings in UTF-8, one after the other, without separators.
    offsets : ndarray of shape (n_strings + 1,), int64
        String i is ``blob[offsets[i]:offsets[i + 1]]``.
    """

    blob: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def from_strings(cls, strings: Iterable[str]) -> "TextColumn":
        """Store strings, one at a time.

        Parameters
        ----------
        strings : Iterable of str
            Surrogate escapes stand for bytes that are not UTF-8. A TextColumn is returned as it is.

        Returns
        -------
        TextColumn
            The same strings in the same order.
        """
        if isinstance(strings, TextColumn):
            return strings
        blob, offsets = bytearray(), array("q", [0])
        for string in strings:
            blob += string.encode("utf-8", "surrogateescape")
            offsets.append(len(blob))
        return cls.from_buffers(blob, offsets)

    @classmethod
    def from_buffers(cls, blob: bytearray, offsets: "array[int]") -> "TextColumn":
        """Wrap buffers that were filled string by string; nothing is copied.

        Parameters
        ----------
        blob : bytearray
            The strings in UTF-8.
        offsets : array of typecode "q"
            0, then the length of `blob` after each string.

        Returns
        -------
        TextColumn
            A view of both buffers.
        """
        return cls(np.frombuffer(blob, np.uint8), np.frombuffer(offsets, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TextColumn):
            return NotImplemented
        return np.array_equal(self.offsets, other.offsets) and np.array_equal(self.blob, other.blob)

    def __getitem__(self, row: int) -> str:
        return self.encoded(row).decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (encoded.decode("utf-8", "surrogateescape") for encoded in self.iterate_encoded())

    def encoded(self, row: int) -> bytes:
        """Return one string as bytes.

        Parameters
        ----------
        row : int
            In ``[-n, n)``, as for a list.

        Returns
        -------
        bytes
            UTF-8, or whatever bytes the file system gave.
        """
        position = range(len(self))[row]
        return self.blob[self.offsets[position] : self.offsets[position + 1]].tobytes()

    def encoded_rows(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield some strings as bytes, a tenth of the time of one `encoded` after the other; less where they lie close.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int64
            In ``[0, n)``, in any order.

        Yields
        ------
        bytes
            Each as `encoded` gives it, made in blocks of rows.
        """
        whole = np.asarray(self.blob).data
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = rows[start : start + _BLOCK_ROWS]
            firsts, ends = self.offsets[block], self.offsets[block + 1]
            low, high = int(firsts.min()), int(ends.max())
            bounds = zip((firsts - low).tolist(), (ends - low).tolist(), strict=True)
            if high - low <= 2 * int((ends - firsts).sum()):  # one copy, and no view for each
                near = bytes(whole[low:high])
                yield from (near[first:last] for first, last in bounds)
            else:
                yield from (bytes(whole[low + first : low + last]) for first, last in bounds)

    def iterate_encoded(self) -> Iterator[bytes]:
        """Yield all strings as bytes, in order.

        Yields
        ------
        bytes
            Each as `encoded` gives it, made in blocks of rows.
        """
        for start in range(0, len(self), _BLOCK_ROWS):
            bounds = self.offsets[start : start + _BLOCK_ROWS + 1]
            block = self.blob[bounds[0] : bounds[-1]].tobytes()
            ends = (bounds - bounds[0]).tolist()
            for left, right in itertools.pairwise(ends):
                yield block[left:right]

    def take(self, rows: NDArray[np.int64]) -> "TextColumn":
        """Return some of the strings.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Which, in the order wanted.

        Returns
        -------
        TextColumn
            Of m strings.
        """
        blob, offsets = bytearray(), array("q", [0])
        for row in rows.tolist():
            blob += self.encoded(row)
            offsets.append(len(blob))
        return TextColumn.from_buffers(blob, offsets)

    def find(self, wanted: "TextColumn") -> NDArray[np.int64]:
        """Return where the strings of another column are in this one.

        Parameters
        ----------
        wanted : TextColumn of length m
            Strings in any order, repeats allowed.

        Returns
        -------
        ndarray of shape (m,), int64
            The first row of each; -1 where it is not here. Costs one pass over this column, and 24 bytes for each
            wanted string.
        """
        hashes = np.fromiter(map(hash, wanted.iterate_encoded()), np.int64, len(wanted))
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        found = np.full(len(wanted), -1, np.int64)
        strings = self.iterate_encoded()
        for start in range(0, len(self) if len(wanted) else 0, _BLOCK_ROWS):
            block = list(itertools.islice(strings, _BLOCK_ROWS))
            here = np.fromiter(map(hash, block), np.int64, len(block))
            left, right = np.searchsorted(hashes, here, "left"), np.searchsorted(hashes, here, "right")
            for row in np.flatnonzero(left < right).tolist():
                for position in order[left[row] : right[row]].tolist():
                    if found[position] < 0 and wanted.encoded(position) == block[row]:
                        found[position] = start + row
        return found

    def first_duplicate(self) -> tuple[int, int] | None:
        """Return the first string that has been there before.

        Returns
        -------
        tuple of int or None
            The earlier row and the row that repeats it, the lowest such; None if all strings differ. Costs 24 bytes a
            string, not a set of them.
        """
        hashes = np.fromiter(map(hash, self.iterate_encoded()), np.int64, len(self))
        order = np.argsort(hashes, kind="stable")
        is_repeat = np.append(False, hashes[order[1:]] == hashes[order[:-1]])
        rows_of_hash: dict[int, list[int]] = {}
        shared = np.isin(hashes, hashes[order[is_repeat]]) if is_repeat.any() else np.zeros(len(self), bool)
        for row in np.flatnonzero(shared).tolist():
            for earlier in rows_of_hash.setdefault(int(hashes[row]), []):
                if self.encoded(earlier) == self.encoded(row):
                    return earlier, row
            rows_of_hash[int(hashes[row])].append(row)
        return None

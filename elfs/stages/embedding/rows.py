"""Runs of rows of a pool that become embeddings, in any number of processes, and the files that they end up in."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.config import EmbedConfig, cheaper
from elfs.data.decoding import ODD_SHAPE, SEVERAL_FRAMES
from elfs.data.hashing import NO_CONTENT
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources import ImageReader
from elfs.errors import InputDataError, StorageError
from elfs.models.encoder import Encoder
from elfs.parallel.runtime import Runtime
from elfs.stages.embedding.batches import Encoding, encode_rows
from elfs.stages.embedding.passes import BatchEncoder
from elfs.stages.embedding.reuse import KnownRows
from elfs.workspace.draft import Draft
from elfs.workspace.pieces import Pieces, Run, deal
from elfs.workspace.tensors import RowArray

__all__ = [
    "REMARKS",
    "SHARD_ROWS",
    "Failures",
    "RowEncoder",
    "check_broken",
    "draft_rows",
    "embedding_pieces",
    "file_runs",
    "noted",
    "publish_pieces",
    "require_all",
    "top_reasons",
]

SHARD_ROWS = 16_384
"""Rows of one file of embeddings: the most that a killed process does again."""

REMARKS = {SEVERAL_FRAMES: 1, ODD_SHAPE: 2}
"""What can be said about an image to the bit that stands for it."""

Failures = dict[int, tuple[Outcome, str]]
"""Row number to what became of the image and why."""

_REASONS_SHOWN = 3
_PATIENCE_S = 60.0  # for how long a network file system may hide what another host has written


def file_runs(num_rows: int) -> list[tuple[int, int, tuple[int, int] | None]]:
    """Return the rows of each file of embeddings.

    Parameters
    ----------
    num_rows : int
        Rows of the pool.

    Returns
    -------
    list of (int, int, (int, int) or None)
        First row, last row + 1, and the shard; a single file has no shard number.
    """
    count = -(-num_rows // SHARD_ROWS)
    bounds = [(start, min(start + SHARD_ROWS, num_rows)) for start in range(0, num_rows, SHARD_ROWS)]
    return [(start, stop, (index, count) if count > 1 else None) for index, (start, stop) in enumerate(bounds)]


def draft_rows(draft: Draft, num_rows: int) -> RowArray:
    """Return the embeddings in a draft, once all its files are there.

    Parameters
    ----------
    draft : Draft
        Of embed.
    num_rows : int
        Rows of the pool.

    Returns
    -------
    RowArray of shape (num_rows, dim)
        Mapped into memory.
    """
    return RowArray([draft.load("embeddings", shard)["embeddings"] for _, _, shard in file_runs(num_rows)])


def embedding_pieces(directory: Path, key: str) -> Pieces:
    """Return the finished runs of embeddings in a draft.

    Parameters
    ----------
    directory : Path
        The draft's.
    key : str
        As `elfs.stages.embedding.reuse.embedding_key` gives it.

    Returns
    -------
    Pieces
        Each with ``embeddings`` of shape (n, dim), float16, NaN where there is none, ``content`` of shape (n,), int64
        (`elfs.data.hashing`), and failures and remarks noted.
    """
    return Pieces(directory / "pieces" / "embeddings", key[:16])


@dataclass(frozen=True)
class RowEncoder:
    """Turns runs of rows into embeddings and keeps each run as a piece.

    Attributes
    ----------
    runtime : Runtime
        Device, workers, ranks, progress.
    config : EmbedConfig
        Its batch size.
    table : SampleTable
        All samples of the pool.
    reader : ImageReader
        Of their images.
    encoder : Encoder
        Ready, on its device.
    pieces : Pieces
        Where finished runs go.
    known : KnownRows or None
        What is taken over instead of being embedded.
    """

    runtime: Runtime
    config: EmbedConfig
    table: SampleTable
    reader: ImageReader
    encoder: Encoder
    pieces: Pieces
    known: KnownRows | None

    def is_work(self) -> NDArray[np.bool_]:
        """Return which rows have to be embedded.

        Returns
        -------
        ndarray of shape (num_rows,), bool
            False where there is no image, or its embedding is known.
        """
        usable = self.table.usable()
        return usable if self.known is None else usable & (self.known.position < 0)

    def plan(self, within: Run, num_shares: int) -> list[list[Run]]:
        """Deal out what is not there yet.

        Parameters
        ----------
        within : tuple of (int, int)
            First row and last row + 1 of what is wanted.
        num_shares : int
            Among how many processes.

        Returns
        -------
        list of list of (int, int)
            Runs of each: no longer than a file, and within one.
        """
        start, stop = within
        missing = [(max(first, start), min(last, stop)) for first, last in self.pieces.missing(len(self.table))]
        wanted = [run for run in missing if run[0] < run[1]]
        return deal(wanted, num_shares, most=SHARD_ROWS, weighs=self.is_work())

    def encode(self, runs: Sequence[Run], check: Callable[[Failures], None]) -> None:
        """Embed some runs of rows, without a word to other ranks.

        Parameters
        ----------
        runs : sequence of (int, int)
            First row and last row + 1 of each, ascending.
        check : Callable
            Takes all failures so far after each run; may raise.

        Raises
        ------
        DeviceError
            If memory does not suffice for a single image, or worker processes die or hang one after the other.
        StorageError
            If a piece cannot be written.
        """
        if not runs:
            return
        runtime, is_mine = self.runtime, np.zeros(len(self.table), np.bool_)
        for start, stop in runs:
            is_mine[start:stop] = True
        rows = np.flatnonzero(is_mine & self.is_work())
        batches = BatchEncoder(self.encoder, self.config.batch_size, runtime.device(), runtime.warn)
        failures, less = Failures(), cheaper.than_encoder(self.encoder.name)
        with runtime.ranks.working(), runtime.long_task("embed", int(is_mine.sum()), "images", less) as task:
            advance = runtime.advancing(task)
            workers, ends = runtime.workers_for(len(rows)), [stop for _, stop in runs]
            encoded = encode_rows(self.reader, rows, batches, ends=ends, num_workers=workers, advance=advance)
            task.resume(int(is_mine.sum()) - len(rows))  # at once: they say nothing about how long the others take
            with closing(encoded) as parts:
                for run, part in zip(runs, parts, strict=True):
                    failures |= self._keep(run, part)
                    runtime.ranks.beat()
                    check(failures)

    def _keep(self, run: Run, found: Encoding) -> Failures:
        """Write a run with what is known of it; return its failures."""
        start, stop = run
        block = np.full((stop - start, self.encoder.dim), np.nan, dtype=np.float16)
        block[found.rows - start] = found.embeddings
        contents = np.full(stop - start, NO_CONTENT, np.int64)
        contents[found.rows - start] = found.contents
        remarks = np.zeros(stop - start, np.uint8)
        for row, said in found.remarks.items():
            remarks[row - start] = sum(map(REMARKS.__getitem__, said))
        failures = dict(found.failures)
        if self.known is not None:
            taken = start + np.flatnonzero(self.table.usable()[start:stop] & (self.known.position[start:stop] >= 0))
            block[taken - start] = self.known.embeddings.take(self.known.position[taken])
            contents[taken - start] = self.known.contents.take(self.known.position[taken])
            remarks[taken - start] = self.known.remarks[self.known.position[taken]]
            failures |= self.known.failures(taken)
        self.pieces.save(
            run,
            {"embeddings": block, "content": contents},
            failures={str(row): [int(outcome), reason] for row, (outcome, reason) in failures.items()},
            remarks={str(start + index): int(remarks[index]) for index in np.flatnonzero(remarks).tolist()},
        )
        return failures


def noted(pieces: Pieces, num_rows: int) -> tuple[Failures, NDArray[np.uint8]]:
    """Return what was noted of the images in finished runs.

    Parameters
    ----------
    pieces : Pieces
        As `embedding_pieces` gives them.
    num_rows : int
        Rows of the pool.

    Returns
    -------
    tuple of (dict, ndarray of shape (num_rows,), uint8)
        Failures by row, and remarks as bits.
    """
    failures, remarks = Failures(), np.zeros(num_rows, np.uint8)
    for piece in pieces.finished():
        facts = piece.facts()
        failures |= {int(row): (Outcome(code), reason) for row, (code, reason) in facts["failures"].items()}
        for row, bits in facts["remarks"].items():
            remarks[int(row)] = bits
    return failures, remarks


def require_all(pieces: Pieces, num_rows: int) -> None:
    """Wait until every run of rows can be seen; all have been written.

    Parameters
    ----------
    pieces : Pieces
        What several ranks have made.
    num_rows : int
        Rows of the pool.

    Raises
    ------
    StorageError
        If one cannot be seen after a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while missing := pieces.missing(num_rows):
        if time.monotonic() >= deadline:
            start, stop = missing[0]
            raise StorageError(
                f"rows {start:,} to {stop - 1:,} are finished, but not to be seen in {pieces.directory}: all "
                "ranks have to write to one file system, under the same path."
            )
        time.sleep(0.5)


def publish_pieces(draft: Draft, pieces: Pieces, num_rows: int) -> None:
    """Make the artifact's files of finished runs; a run that is exactly a file is not copied.

    Parameters
    ----------
    draft : Draft
        Of embed.
    pieces : Pieces
        In that draft; no row is missing.
    num_rows : int
        Rows of the pool.

    Raises
    ------
    StorageError
        If a file cannot be written.
    """
    paths = {(piece.start, piece.stop): piece.path for piece in pieces.finished()}
    for start, stop, shard in file_runs(num_rows):
        path = paths.get((start, stop))
        if path is not None:
            draft.link("embeddings", path, shard=shard)
        else:
            draft.save("embeddings", pieces.read((start, stop)), shard=shard)


def check_broken(table: SampleTable, failures: Failures, max_broken: float, run: Run | None = None) -> None:
    """Stop where more images are left out than the user allows.

    Parameters
    ----------
    table : SampleTable
        The pool.
    failures : dict of int to (Outcome, str)
        Images that could not be used, besides those that the table knows.
    max_broken : float
        Share that may be left out, in ``[0, 1]``; never all.
    run : tuple of (int, int), optional
        Rows that count; None for all.

    Raises
    ------
    InputDataError
        If it is more.
    """
    start, stop = run or (0, len(table))
    usable = table.usable()
    usable[list(failures)] = False
    num_rows, num_left_out = stop - start, int(np.count_nonzero(~usable[start:stop]))
    if num_left_out <= max_broken * num_rows and num_left_out < num_rows:
        return
    reasons = table.reasons() | {row: reason for row, (_, reason) in failures.items()}
    reasons = {row: reason for row, reason in reasons.items() if start <= row < stop}
    raise InputDataError(
        f"{num_left_out:,} of {num_rows:,} images cannot be used, --max-broken allows {max_broken:.0%}. "
        f"Reasons: {top_reasons(reasons)}. "
        f"The first is {table.id(min(reasons))!r}."
    )


def top_reasons(reasons: Mapping[int, str]) -> str:
    """Return the most frequent reasons with their numbers.

    Parameters
    ----------
    reasons : Mapping of int to str
        Why, by row.

    Returns
    -------
    str
        At most three, the most frequent first; empty if there is none.
    """
    top = Counter(reasons.values()).most_common(_REASONS_SHOWN)
    return "; ".join(f"{count:,} x {reason}" for reason, count in top)

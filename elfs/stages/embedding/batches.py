"""Decode images, run the encoder over them, and keep what could not be read apart.

Shapes: M rows asked for, D dimensions, B images of a batch.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from elfs.data.hashing import NO_CONTENT
from elfs.data.loaders import DecodedBatch, decode_batches
from elfs.data.samples import Outcome
from elfs.data.sources import ImageReader
from elfs.errors import InputDataError
from elfs.models.encoder import Encoder
from elfs.stages.embedding.passes import BatchEncoder, Landing

__all__ = [
    "Encoding",
    "encode_rows",
    "transformed_sample",
    "typical_side",
    "inspect_images",
]

_SIDES_READ = 16


@dataclass(frozen=True)
class Encoding:
    """Embeddings of some rows.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,), int64
        Which, ascending.
    embeddings : ndarray of shape (n_rows, n_dims), float16
        NaN where there is no embedding.
    contents : ndarray of shape (n_rows,), int64
        Numbers that equal pictures share (`elfs.data.hashing`); `NO_CONTENT` where there is no embedding.
    failures : dict of int to (Outcome, str)
        Row number to what became of it and why.
    remarks : dict of int to list of str
        What is to be said about images, by row number (`elfs.data.decoding.remarks`); of most there is nothing.
    """

    rows: NDArray[np.int64]
    embeddings: NDArray[np.float16]
    contents: NDArray[np.int64]
    failures: dict[int, tuple[Outcome, str]]
    remarks: dict[int, list[str]]


def typical_side(reader: ImageReader, rows: NDArray[np.int64], *, num_workers: int) -> int:
    """Return the short side of a typical image.

    Parameters
    ----------
    reader : ImageReader
        Row number to image.
    rows : ndarray of shape (n,), int64
        Rows that should be readable.
    num_workers : int
        Processes that decode; 0 decodes in this one.

    Returns
    -------
    int
        Median over up to 16 images spread over the rows, in pixels.

    Raises
    ------
    InputDataError
        If none of them can be read.
    """
    sides: list[int] = []
    reasons: list[str] = []
    tried = torch.from_numpy(rows[np.linspace(0, len(rows) - 1, min(len(rows), _SIDES_READ)).astype(np.int64)])
    for batch in decode_batches(reader, tried, _short_side, batch_size=_SIDES_READ, num_workers=num_workers):
        sides += batch.images.tolist()
        reasons += [reason for _, _, reason in batch.failures]
    if not sides:
        reason = f"; the first: {reasons[0]}" if reasons else ""
        raise InputDataError(f"none of the {len(reasons)} images that were tried could be read{reason}.")
    return int(np.median(sides))


def inspect_images(
    reader: ImageReader, rows: NDArray[np.int64], *, num_workers: int, advance: Callable[[int], None]
) -> tuple[dict[int, tuple[Outcome, str]], NDArray[np.int64]]:
    """Return which images cannot be read, and which of the others are equal.

    Parameters
    ----------
    reader : ImageReader
        Row number to image.
    rows : ndarray of shape (n_rows,), int64
        Which images to try, ascending.
    num_workers : int
        Processes that decode; 0 decodes in this one.
    advance : Callable
        Takes the number of images done.

    Returns
    -------
    tuple of (dict of int to (Outcome, str), ndarray of shape (n_rows,), int64)
        Row number to what became of it and why; and for each row the number that equal pictures share.
    """
    failures: dict[int, tuple[Outcome, str]] = {}
    contents = np.full(len(rows), NO_CONTENT, np.int64)
    for batch in decode_batches(
        reader, torch.from_numpy(rows), _nothing, batch_size=256, num_workers=num_workers, with_content=True
    ):
        failures |= {row: (outcome, reason) for row, outcome, reason in batch.failures}
        contents[np.searchsorted(rows, batch.rows.numpy())] = batch.contents.numpy()
        advance(len(batch.rows) + len(batch.failures))
    return failures, contents


def _short_side(image: Image.Image) -> Tensor:
    return torch.tensor(min(image.size))


def _nothing(image: Image.Image) -> Tensor:
    return torch.empty(0)


def transformed_sample(
    reader: ImageReader,
    rows: NDArray[np.int64],
    encoder: Encoder,
    *,
    num_workers: int,
    advance: Callable[[int], None],
) -> Tensor:
    """Return what an encoder sees of some images, for it to learn from.

    Parameters
    ----------
    reader : ImageReader
        Row number to image.
    rows : ndarray of shape (n,), int64
        Which images; broken ones are left out.
    encoder : Encoder
        Its `fit_transform` is applied.
    num_workers : int
        Processes that decode; 0 decodes in this one.
    advance : Callable
        Takes the number of images done.

    Returns
    -------
    Tensor of shape (n_readable, ...), float32
        Stacked, on the CPU.

    Raises
    ------
    InputDataError
        If none of them can be read.
    """
    found = []
    for batch in decode_batches(
        reader, torch.from_numpy(rows), encoder.fit_transform, batch_size=256, num_workers=num_workers
    ):
        if len(batch.rows):
            found.append(batch.images)
        advance(len(batch.rows) + len(batch.failures))
    if not found:
        raise InputDataError(f"none of {len(rows):,} training images could be read: there is nothing to learn from.")
    return torch.cat(found)


def encode_rows(
    reader: ImageReader,
    rows: NDArray[np.int64],
    encoder: BatchEncoder,
    *,
    ends: Sequence[int],
    num_workers: int,
    advance: Callable[[int], None],
) -> Generator[Encoding, None, None]:
    """Embed the images of some rows, and hand them out in parts, each as soon as it is complete.

    Parameters
    ----------
    reader : ImageReader
        Row number to image.
    rows : ndarray of shape (n_rows,), int64
        What to embed, ascending.
    encoder : BatchEncoder
        Ready to encode; images are decoded in batches of the size that it has at first.
    ends : Sequence of int
        Ascending. Part i has the rows below ``ends[i]`` that no part before it has.
    num_workers : int
        Processes that decode; 0 decodes in this one.
    advance : Callable
        Takes the number of images done.

    Yields
    ------
    Encoding
        For each end. An embedding that is not finite counts as a failure.

    Raises
    ------
    DeviceError
        If memory does not suffice for a single image, or worker processes die or hang one after the other.
    """
    batches = _encoded_batches(reader, rows, encoder, num_workers, advance)
    waiting = Encoding(rows[:0], np.empty((0, encoder.encoder.dim), np.float16), rows[:0], {}, {})
    for end, num_rows in zip(ends, np.diff(np.searchsorted(rows, ends), prepend=0).tolist(), strict=True):
        parts = [waiting]
        while sum(len(part.rows) for part in parts) < num_rows:
            parts.append(next(batches))
        part, waiting = _split(parts, end)
        yield part


def _split(parts: list[Encoding], end: int) -> tuple[Encoding, Encoding]:
    """Return what lies below a row, and the rest."""
    rows, embeddings = np.concatenate([part.rows for part in parts]), np.concatenate([p.embeddings for p in parts])
    contents = np.concatenate([part.contents for part in parts])
    failures = {row: failure for part in parts for row, failure in part.failures.items()}
    remarks = {row: said for part in parts for row, said in part.remarks.items()}
    below, rest = (
        Encoding(
            rows[mask],
            embeddings[mask],
            contents[mask],
            {row: failure for row, failure in failures.items() if (row < end) == is_below},
            {row: said for row, said in remarks.items() if (row < end) == is_below},
        )
        for mask, is_below in ((rows < end, True), (rows >= end, False))
    )
    return below, rest


def _encoded_batches(
    reader: ImageReader,
    rows: NDArray[np.int64],
    encoder: BatchEncoder,
    num_workers: int,
    advance: Callable[[int], None],
) -> Iterator[Encoding]:
    batches = decode_batches(
        reader,
        torch.from_numpy(rows),
        encoder.encoder.transform,
        batch_size=encoder.num_images,
        num_workers=num_workers,
        pin=encoder.device.type == "cuda",
        with_content=True,
    )
    done, waiting = 0, deque[tuple[NDArray[np.int64], DecodedBatch, Landing | None]]()
    for batch in batches:
        batch_rows = rows[done : done + len(batch.rows) + len(batch.failures)]
        done += len(batch_rows)
        waiting.append((batch_rows, batch, Landing(encoder.encode(batch.images)) if len(batch.rows) else None))
        if len(waiting) > encoder.num_ahead:
            yield _landed(*waiting.popleft(), encoder.encoder.dim, advance)
    for launched in waiting:
        yield _landed(*launched, encoder.encoder.dim, advance)


def _landed(
    rows: NDArray[np.int64], batch: DecodedBatch, landing: Landing | None, dim: int, advance: Callable[[int], None]
) -> Encoding:
    """Return what became of the rows of a batch, once it has been computed."""
    failures = {row: (outcome, reason) for row, outcome, reason in batch.failures}
    embeddings = np.full((len(rows), dim), np.nan, dtype=np.float16)
    contents = np.full(len(rows), NO_CONTENT, np.int64)
    if landing is not None:
        decoded, block_BD = batch.rows.numpy(), landing.numpy()
        finite_B = np.isfinite(block_BD).all(axis=1)
        placed_B = np.searchsorted(rows, decoded[finite_B])
        embeddings[placed_B] = block_BD[finite_B]
        contents[placed_B] = batch.contents.numpy()[finite_B]
        failures |= {int(row): (Outcome.BROKEN, "its embedding is not finite") for row in decoded[~finite_B]}
    advance(len(rows))
    return Encoding(rows, embeddings, contents, failures, batch.remarks)

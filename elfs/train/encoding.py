"""Decode images, run the encoder over them, and keep what could not be read apart.

Shapes: M rows asked for, D dimensions, B images of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from elfs.data.decoding import BadImageError
from elfs.data.loaders import decode_batches
from elfs.data.samples import Outcome
from elfs.data.sources import ImageReader
from elfs.errors import InputDataError
from elfs.models.encoders import Encoder

__all__ = ["Encoding", "encode_rows", "transformed_sample", "typical_side", "unreadable_rows"]

_SIDES_READ = 16


@dataclass(frozen=True)
class Encoding:
    """Embeddings of some rows.

    Attributes
    ----------
    embeddings : ndarray of shape (n_rows, n_dims), float16
        NaN where there is no embedding.
    failures : dict of int to (Outcome, str)
        Row number to what became of it and why.
    """

    embeddings: NDArray[np.float16]
    failures: dict[int, tuple[Outcome, str]]


def typical_side(reader: ImageReader, rows: NDArray[np.int64]) -> int:
    """Return the short side of a typical image.

    Parameters
    ----------
    reader : ImageReader
        Row number to image.
    rows : ndarray of shape (n,), int64
        Rows that should be readable.

    Returns
    -------
    int
        Median over up to 16 images spread over the rows, in pixels.

    Raises
    ------
    InputDataError
        If none of them can be read.
    """
    sides, reasons = [], []
    for row in rows[np.linspace(0, len(rows) - 1, min(len(rows), _SIDES_READ)).astype(np.int64)].tolist():
        try:
            sides.append(min(reader.read(row).size))
        except BadImageError as error:
            reasons.append(error.reason)
    if not sides:
        reason = f"; the first: {reasons[0]}" if reasons else ""
        raise InputDataError(f"none of the {len(reasons)} images that were tried could be read{reason}.")
    return int(np.median(sides))


def unreadable_rows(
    reader: ImageReader, rows: NDArray[np.int64], *, num_workers: int, advance: Callable[[int], None]
) -> dict[int, tuple[Outcome, str]]:
    """Return which images cannot be read.

    Parameters
    ----------
    reader : ImageReader
        Row number to image.
    rows : ndarray of shape (n_rows,), int64
        Which images to try.
    num_workers : int
        Processes that decode; 0 decodes in this one.
    advance : Callable
        Takes the number of images done.

    Returns
    -------
    dict of int to (Outcome, str)
        Row number to what became of it and why.
    """
    failures: dict[int, tuple[Outcome, str]] = {}
    for batch in decode_batches(reader, torch.from_numpy(rows), _nothing, batch_size=256, num_workers=num_workers):
        failures |= {row: (outcome, reason) for row, outcome, reason in batch.failures}
        advance(len(batch.rows) + len(batch.failures))
    return failures


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


@torch.inference_mode()
def encode_rows(
    reader: ImageReader,
    rows: NDArray[np.int64],
    encoder: Encoder,
    *,
    batch_size: int,
    num_workers: int,
    advance: Callable[[int], None],
) -> Encoding:
    """Embed the images of some rows.

    Parameters
    ----------
    reader : ImageReader
        Row number to image.
    rows : ndarray of shape (n_rows,), int64
        What to embed.
    encoder : Encoder
        Ready to encode, on its device.
    batch_size : int
        Images per forward pass.
    num_workers : int
        Processes that decode; 0 decodes in this one.
    advance : Callable
        Takes the number of images done.

    Returns
    -------
    Encoding
        One row of embeddings per row asked for. An embedding that is not finite counts as a failure.
    """
    embeddings = np.full((len(rows), encoder.dim), np.nan, dtype=np.float16)
    failures: dict[int, tuple[Outcome, str]] = {}
    for batch in decode_batches(
        reader, torch.from_numpy(rows), encoder.transform, batch_size=batch_size, num_workers=num_workers
    ):
        failures |= {row: (outcome, reason) for row, outcome, reason in batch.failures}
        if len(batch.rows):
            block_BD = encoder.encode(batch.images).to("cpu", torch.float16).numpy()
            finite_B = np.isfinite(block_BD).all(axis=1)
            batch_rows = batch.rows.numpy()
            embeddings[np.searchsorted(rows, batch_rows[finite_B])] = block_BD[finite_B]
            failures |= {int(row): (Outcome.BROKEN, "its embedding is not finite") for row in batch_rows[~finite_B]}
        advance(len(batch.rows) + len(batch.failures))
    return Encoding(embeddings, failures)

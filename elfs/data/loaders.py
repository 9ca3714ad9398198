"""Decode images batch by batch, in worker processes.

Worker processes start as the platform prefers. A worker that dies ends
the iteration with torch's ``RuntimeError``; one that hangs is waited for.
"""

import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from elfs.data.crops import CenterCrop
from elfs.data.decoding import BadImageError
from elfs.data.samples import Outcome
from elfs.data.sources import ImageReader
from elfs.errors import InputDataError

__all__ = ["DecodedBatch", "decode_batches", "load_images", "nearly_equal", "require_all"]

_LOAD_BATCH = 64


def nearly_equal(tensor: Tensor, length: int) -> Iterator[Tensor]:
    """Cut a tensor into pieces of nearly equal length, so that no batch is left with a single image.

    Parameters
    ----------
    tensor : Tensor of shape (n, ...)
        What is cut along its first axis.
    length : int
        Upper bound on the length of a piece, at least 1.

    Returns
    -------
    Iterator of Tensor
        ``ceil(n / length)`` pieces whose lengths differ by at most 1; none if n is 0.
    """
    return iter(tensor.tensor_split(-(-len(tensor) // length)) if len(tensor) else ())


class DecodedBatch(NamedTuple):
    """What became of one batch of rows.

    Attributes
    ----------
    rows : Tensor of shape (b,), int64
        Rows whose image was decoded, in the order asked for; b may be 0.
    images : Tensor of shape (b, ...)
        What the transform made of them, stacked; of shape (0,) if b is 0.
    failures : list of tuple of int, Outcome and str
        The other rows of the batch, each with what became of it and why.
    """

    rows: Tensor
    images: Tensor
    failures: list[tuple[int, Outcome, str]]


class _Failure(NamedTuple):
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class _Items(Dataset[tuple[int, Tensor | _Failure]]):
    """Item i is row ``rows[i]``, transformed; with seeds the transform is given ``seeds[i]`` too."""

    reader: ImageReader
    rows: Tensor
    transform: Callable[..., Tensor]
    seeds: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, Tensor | _Failure]:
        row = int(self.rows[index])
        try:
            image = self.reader.read(row)
        except BadImageError as error:
            return row, _Failure(error.outcome, error.reason)
        return row, self.transform(image) if self.seeds is None else self.transform(image, int(self.seeds[index]))


def _collate(items: list[tuple[int, Tensor | _Failure]]) -> DecodedBatch:
    decoded = [(row, image) for row, image in items if isinstance(image, Tensor)]
    failures = [(row, failure.outcome, failure.reason) for row, failure in items if isinstance(failure, _Failure)]
    rows = torch.tensor([row for row, _ in decoded], dtype=torch.int64)
    return DecodedBatch(rows, torch.stack([image for _, image in decoded]) if decoded else torch.empty(0), failures)


@dataclass(frozen=True, slots=True)
class _BatchIndices:
    """Consecutive indices in batches of nearly equal size, made as they are needed."""

    num_items: int
    batch_size: int

    def __len__(self) -> int:
        return -(-self.num_items // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        return (piece.tolist() for piece in nearly_equal(torch.arange(self.num_items), self.batch_size))


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; it ends its workers


def decode_batches(
    reader: ImageReader,
    rows: Tensor,
    transform: Callable[..., Tensor],
    *,
    batch_size: int,
    num_workers: int,
    seeds: Tensor | None = None,
) -> Iterator[DecodedBatch]:
    """Decode rows batch by batch, in the order given. A bad image is reported in its batch and stops nothing.

    Parameters
    ----------
    reader : ImageReader
        Where images come from.
    rows : Tensor of shape (n,), int64
        Rows of the sample table.
    transform : callable
        From an RGB image (and its seed, where there are `seeds`) to a tensor whose shape is the same for all. Can be
        pickled.
    batch_size : int
        Rows per batch at most, at least 1; all batches have nearly the same size.
    num_workers : int
        Worker processes; 0 decodes in this one.
    seeds : Tensor of shape (n,), int64, optional
        For transforms that draw at random: one for each row.

    Yields
    ------
    DecodedBatch
        For every batch.
    """
    loader = DataLoader(
        _Items(reader, rows, transform, seeds),
        batch_sampler=_BatchIndices(len(rows), batch_size),
        num_workers=num_workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # else starting an iteration would draw from torch's global one
    )
    with warnings.catch_warnings():
        # Python 3.12 warns of every fork beside threads; the workers touch neither CUDA nor the parent's locks.
        warnings.filterwarnings("ignore", message=".*use of fork\\(\\)", category=DeprecationWarning)
        batches = iter(loader)
    yield from batches


def load_images(reader: ImageReader, rows: Tensor, size: int, *, num_workers: int) -> Tensor:
    """Decode images into memory: short side to `size` (bicubic, antialiased), centre crop.

    Parameters
    ----------
    reader : ImageReader
        Where images come from.
    rows : Tensor of shape (n,), int64
        Rows that have been decoded before.
    size : int
        Side of the result in pixels.
    num_workers : int
        Worker processes; 0 decodes in this one.

    Returns
    -------
    Tensor of shape (n, 3, size, size), uint8
        In the order of `rows`; 3 x size^2 bytes each.

    Raises
    ------
    InputDataError
        If an image can no longer be read; the message names its row.
    """
    images = torch.empty(len(rows), 3, size, size, dtype=torch.uint8)
    done = 0
    transform = CenterCrop(size, 1.0, Image.Resampling.BICUBIC)
    for batch in decode_batches(reader, rows, transform, batch_size=_LOAD_BATCH, num_workers=num_workers):
        require_all(batch)
        images[done : done + len(batch.rows)] = batch.images
        done += len(batch.rows)
    return images


def require_all(batch: DecodedBatch) -> None:
    """Refuse a batch in which an image is missing that was there before.

    Parameters
    ----------
    batch : DecodedBatch
        Of rows that have been decoded before.

    Raises
    ------
    InputDataError
        If any of them failed; the message names its row.
    """
    if batch.failures:
        row, outcome, reason = batch.failures[0]
        raise InputDataError(
            f"the image of row {row} could be read before and is now {outcome.name.lower()} ({reason}); "
            "the images must stay as they were.",
            hint="elfs run",
        )

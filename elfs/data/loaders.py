"""Decode images batch by batch, in worker processes or in this one.

A worker that dies or hangs is replaced (`elfs.data.workers`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from elfs.data.crops import CenterCrop
from elfs.data.decoding import BadImageError, remarks
from elfs.data.decoding_tasks import Decoded, DecodedTask, Failure, decode_here
from elfs.data.hashing import NO_CONTENT, content_of_pixels
from elfs.data.samples import Outcome
from elfs.data.sources import ImageReader
from elfs.data.workers import decode_in_workers
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
    remarks : dict of int to list of str
        What is to be said about decoded images, by row (`elfs.data.decoding.remarks`); of most there is nothing.
    contents : Tensor of shape (b,), int64
        Of each image, the number that equal pictures share (`elfs.data.hashing`); `NO_CONTENT` if nobody asked.
    """

    rows: Tensor
    images: Tensor
    failures: list[tuple[int, Outcome, str]]
    remarks: dict[int, list[str]]
    contents: Tensor


@dataclass(frozen=True, slots=True)
class _Decoder:
    """Position i is row ``rows[i]``, transformed; with seeds the transform is given ``seeds[i]`` too."""

    reader: ImageReader
    rows: NDArray[np.int64]
    transform: Callable[..., Tensor]
    seeds: NDArray[np.int64] | None
    with_content: bool

    def __call__(self, position: int) -> Decoded | Failure:
        try:
            image = self.reader.read(int(self.rows[position]))
        except BadImageError as error:
            return Failure(error.outcome, error.reason)
        seed = () if self.seeds is None else (int(self.seeds[position]),)
        content = content_of_pixels(image) if self.with_content else NO_CONTENT
        return Decoded(self.transform(image, *seed), remarks(image), content)


def decode_batches(
    reader: ImageReader,
    rows: Tensor,
    transform: Callable[..., Tensor],
    *,
    batch_size: int | Sequence[int],
    num_workers: int,
    seeds: Tensor | None = None,
    pin: bool = False,
    with_content: bool = False,
) -> Iterator[DecodedBatch]:
    """Decode rows batch by batch, in the order given. A bad image is reported in its batch and stops nothing.

    With worker processes, neither does an image that hangs or ends the process: it is a BROKEN one.

    Parameters
    ----------
    reader : ImageReader
        Where images come from.
    rows : Tensor of shape (n,), int64
        Rows of the sample table.
    transform : callable
        From an RGB image (and its seed, where there are `seeds`) to a tensor whose shape and dtype are the same for
        all. Can be pickled.
    batch_size : int or sequence of int
        Rows per batch at most, at least 1, and all batches have nearly the same size; or the rows of each batch.
    num_workers : int
        Worker processes; 0 decodes in this one.
    seeds : Tensor of shape (n,), int64, optional
        For transforms that draw at random: one for each row.
    pin : bool, default False
        Whether images are put into page-locked memory, for a device that is a GPU.
    with_content : bool, default False
        Whether to work out the number that equal pictures share.

    Yields
    ------
    DecodedBatch
        For every batch.

    Raises
    ------
    DeviceError
        If worker processes die or hang one after the other.
    """
    decoder = _Decoder(reader, rows.numpy(), transform, None if seeds is None else seeds.numpy(), with_content)
    if isinstance(batch_size, int):
        batch_size = [len(piece) for piece in nearly_equal(rows, batch_size)]
    tasks = list(pairwise(accumulate(batch_size, initial=0)))
    pieces: Iterator[DecodedTask]
    if num_workers:
        pieces = decode_in_workers(decoder, tasks, num_workers=num_workers, pin=pin)
    else:
        pieces = (decode_here(decoder, start, stop) for start, stop in tasks)
    for piece in pieces:
        failures = [(int(rows[position]), *failure) for position, failure in piece.failures]
        images = piece.images.pin_memory() if pin and not num_workers else piece.images
        said = {int(rows[position]): texts for position, texts in piece.remarks.items()}
        positions, contents = (torch.tensor(values, dtype=torch.int64) for values in (piece.positions, piece.contents))
        yield DecodedBatch(rows[positions], images, failures, said, contents)


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

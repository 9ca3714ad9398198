"""Images to batches: decoding in worker processes, small images kept in memory, large ones streamed.

Axes: N images, B of a batch, S side in pixels. Worker processes start as the platform prefers. A worker that dies ends
the iteration with torch's ``RuntimeError``; one that hangs is waited for.
"""

import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from elfs.data.crops import CenterCrop, RandomCrop
from elfs.data.decoding import BadImageError
from elfs.data.samples import Outcome
from elfs.data.sources import ImageReader
from elfs.errors import InputDataError

__all__ = [
    "CachedImages",
    "DecodedBatch",
    "StreamedImages",
    "TrainingImages",
    "channel_statistics",
    "decode_batches",
    "load_images",
]

_BLOCK_IMAGES = 64
_MIN_STD = 1 / 255
_EVALUATION_ZOOM = 256 / 224


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
        return (piece.tolist() for piece in _pieces(torch.arange(self.num_items), self.batch_size))


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; it ends its workers


def _iterate(items: _Items, batch_size: int, num_workers: int) -> Iterator[DecodedBatch]:
    loader = DataLoader(
        items,
        batch_sampler=_BatchIndices(len(items), batch_size),
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


def decode_batches(
    reader: ImageReader,
    rows: Tensor,
    transform: Callable[[Image.Image], Tensor],
    *,
    batch_size: int,
    num_workers: int,
) -> Iterator[DecodedBatch]:
    """Decode rows batch by batch, in the order given. A bad image is reported in its batch and stops nothing.

    Parameters
    ----------
    reader : ImageReader
        Where images come from.
    rows : Tensor of shape (n,), int64
        Rows of the sample table.
    transform : callable
        From an RGB image to a tensor whose shape is the same for all. Can be pickled.
    batch_size : int
        Rows per batch at most, at least 1; all batches have nearly the same size.
    num_workers : int
        Worker processes; 0 decodes in this one.

    Yields
    ------
    DecodedBatch
        For every batch.
    """
    yield from _iterate(_Items(reader, rows, transform), batch_size, num_workers)


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
    for batch in decode_batches(reader, rows, transform, batch_size=_BLOCK_IMAGES, num_workers=num_workers):
        _require_all(batch)
        images[done : done + len(batch.rows)] = batch.images
        done += len(batch.rows)
    return images


def _require_all(batch: DecodedBatch) -> None:
    if batch.failures:
        row, outcome, reason = batch.failures[0]
        raise InputDataError(
            f"the image of row {row} could be read before and is now {outcome.name.lower()} ({reason}); "
            "the images must stay as they were.",
            hint="elfs embed",
        )


class TrainingImages(Protocol):
    """Images for a training loop, by position 0..n-1."""

    def __len__(self) -> int: ...

    def batches(
        self, order: Tensor, *, batch_size: int, augment: bool, generator: torch.Generator, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images in the order given, every position exactly once.

        Parameters
        ----------
        order : Tensor of shape (m,), int64
            Positions in ``[0, n)``.
        batch_size : int
            Images per batch, at least 1; the last batch may have fewer.
        augment : bool
            Whether to crop and mirror at random; otherwise equal calls give equal images.
        generator : torch.Generator
            On the CPU; the only source of randomness, drawn from only if `augment`.
        device : torch.device
            Where the images go.

        Yields
        ------
        positions : Tensor of shape (b,), int64
            On the CPU.
        images : Tensor of shape (b, 3, S, S), float32
            On `device`, less the mean, over the standard deviation.
        """
        ...


def _pieces(tensor: Tensor, length: int) -> Iterator[Tensor]:
    """Cut a tensor into pieces of nearly equal length, at most `length`: no batch is left with a single image."""
    return iter(tensor.tensor_split(-(-len(tensor) // length)) if len(tensor) else ())


def _normalized(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    # By tensors in units of gray levels: CUDA multiplies by the reciprocal of a scalar divisor, which rounds otherwise.
    mean, std = ((255 * values.float()).view(1, 3, 1, 1).to(images.device) for values in (mean, std))
    return images.float().sub_(mean).div_(std)


@dataclass(frozen=True, eq=False)
class CachedImages:
    """Small images in memory. Augmented: random crop out of the image padded by reflection, and mirrored.

    Attributes
    ----------
    images : Tensor of shape (n, 3, S, S), uint8
        On any device.
    mean, std : Tensor of shape (3,), floating
        Per channel, of pixels in [0, 1]; see `channel_statistics`.
    mirror : bool
        Whether augmenting mirrors every second image.
    padding : int
        Pixels by which a crop may lie off on each side.
    """

    images: Tensor
    mean: Tensor
    std: Tensor
    mirror: bool
    padding: int

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, order: Tensor, *, batch_size: int, augment: bool, generator: torch.Generator, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images in the order given; see `TrainingImages.batches`.

        Parameters
        ----------
        order : Tensor of shape (m,), int64
            Positions in ``[0, n)``.
        batch_size : int
            Images per batch.
        augment : bool
            Whether to crop and mirror at random.
        generator : torch.Generator
            On the CPU. The same state gives the same crops on every device.
        device : torch.device
            Where the images go.

        Yields
        ------
        positions : Tensor of shape (b,), int64
            On the CPU.
        images : Tensor of shape (b, 3, S, S), float32
            On `device`, normalised.
        """
        for positions in _pieces(order, batch_size):
            pixels = self.images[positions.to(self.images.device)].to(device)
            if augment:
                pixels = self._augmented(pixels, generator)
            yield positions, _normalized(pixels, self.mean, self.std)

    def _augmented(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        count, side = len(pixels), pixels.shape[-1]
        shift = torch.randint(-self.padding, self.padding + 1, (2, count, 1), generator=generator)
        flipped = torch.rand(count, 1, generator=generator) < (0.5 if self.mirror else 0.0)
        line = torch.arange(side).expand(count, side)
        y = _reflected(line + shift[0], side).to(pixels.device)
        x = _reflected(torch.where(flipped, side - 1 - line, line) + shift[1], side).to(pixels.device)
        image, channel = torch.arange(count, device=pixels.device), torch.arange(3, device=pixels.device)
        return pixels[image[:, None, None, None], channel[:, None, None], y[:, None, :, None], x[:, None, None, :]]


def _reflected(index: Tensor, side: int) -> Tensor:
    """Fold any index into ``[0, side)`` by reflection at the border pixels, which are not repeated."""
    period = max(1, 2 * (side - 1))
    return side - 1 - (index % period - (side - 1)).abs() if side > 1 else torch.zeros_like(index)


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Images too large for memory, decoded anew in every pass.

    Augmented: random resized crop (8 to 100 % of the area, ratio 3:4 to 4:3, bilinear) and mirrored. Otherwise: short
    side to 256/224 of the size, centre crop.

    Attributes
    ----------
    reader : ImageReader
        Where images come from.
    rows : Tensor of shape (n,), int64
        Row of the sample table at each position.
    size : int
        Side S of the images in pixels.
    mean, std : Tensor of shape (3,), floating
        Per channel, of pixels in [0, 1].
    mirror : bool
        Whether augmenting mirrors every second image.
    num_workers : int
        Worker processes; 0 decodes in this one. The images do not depend on it.
    """

    reader: ImageReader
    rows: Tensor
    size: int
    mean: Tensor
    std: Tensor
    mirror: bool
    num_workers: int

    def __len__(self) -> int:
        return len(self.rows)

    def batches(
        self, order: Tensor, *, batch_size: int, augment: bool, generator: torch.Generator, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images in the order given; see `TrainingImages.batches`.

        Parameters
        ----------
        order : Tensor of shape (m,), int64
            Positions in ``[0, n)``.
        batch_size : int
            Images per batch.
        augment : bool
            Whether to crop and mirror at random.
        generator : torch.Generator
            On the CPU; it gives every image of the pass a seed of its own.
        device : torch.device
            Where the images go.

        Yields
        ------
        positions : Tensor of shape (b,), int64
            On the CPU.
        images : Tensor of shape (b, 3, S, S), float32
            On `device`, normalised.

        Raises
        ------
        InputDataError
            If an image can no longer be read; the message names its row.
        """
        rows = self.rows[order]
        if augment:
            seeds = torch.randint(2**62, (len(order),), generator=generator)
            items = _Items(self.reader, rows, RandomCrop(self.size, self.mirror), seeds)
        else:
            items = _Items(self.reader, rows, CenterCrop(self.size, _EVALUATION_ZOOM, Image.Resampling.BILINEAR))
        decoded = _iterate(items, batch_size, self.num_workers)
        for positions, batch in zip(_pieces(order, batch_size), decoded, strict=True):
            _require_all(batch)
            yield positions, _normalized(batch.images.to(device), self.mean, self.std)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel over all pixels.

    Parameters
    ----------
    images : Tensor of shape (n, 3, S, S), uint8
        At least one.

    Returns
    -------
    mean : Tensor of shape (3,), float32
        Of pixels in [0, 1].
    std : Tensor of shape (3,), float32
        In the same unit, at least 1/255 (one gray level), so that it can be divided by.
    """
    total, squares = torch.zeros(2, 3, dtype=torch.int64)
    for block in _pieces(images, _BLOCK_IMAGES):
        values = block.to(torch.int64)
        total += values.sum((0, 2, 3)).cpu()
        squares += values.square().sum((0, 2, 3)).cpu()
    count = images.shape[0] * images.shape[2] * images.shape[3]
    mean = total.double() / count
    variance = (squares.double() / count - mean.square()).clamp_min(0)
    return (mean / 255).float(), (variance.sqrt() / 255).clamp_min(_MIN_STD).float()

"""Images for a training loop: small ones kept in memory, large ones decoded as they are needed.

Axes: N images, B of a batch, S side in pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from elfs.data.batch_part import WHOLE, BatchPart
from elfs.data.crops import CenterCrop, RandomCrop
from elfs.data.loaders import decode_batches, nearly_equal, require_all
from elfs.data.sources import ImageReader

__all__ = ["CachedImages", "StreamedImages", "Subset", "TrainingImages", "channel_statistics"]

_BLOCK_IMAGES = 64
_MIN_STD = 1 / 255
_EVALUATION_ZOOM = 256 / 224


class TrainingImages(Protocol):
    """Network inputs for a training loop, by position 0..n-1: images, or embeddings in their place."""

    def __len__(self) -> int: ...

    def batches(
        self,
        order: Tensor,
        *,
        batch_size: int,
        augment: bool,
        generator: torch.Generator,
        device: torch.device,
        part: BatchPart = WHOLE,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images in the order given, every position exactly once over all parts.

        The batches, and what is drawn at random, are the same for every part; a part reads its own images alone.

        Parameters
        ----------
        order : Tensor of shape (m,), int64
            Positions in ``[0, n)``.
        batch_size : int
            Images per batch at most, at least 1; all batches have nearly the same size.
        augment : bool
            Whether to crop and mirror at random; otherwise equal calls give equal images.
        generator : torch.Generator
            On the CPU; the only source of randomness, drawn from only if `augment`.
        device : torch.device
            Where the images go.
        part : BatchPart
            Which part of every batch is wanted.

        Yields
        ------
        positions : Tensor of shape (b,), int64
            Of the part of one batch, on the CPU.
        images : Tensor of shape (max(b, 1), 3, S, S), float32
            On `device`, less the mean, over the standard deviation; channels last in memory. Where the part is empty,
            one image that does not count, so that there is something to compute on.
        """
        ...


def _grey_levels(values: Tensor, device: torch.device) -> Tensor:
    """Return a mean or a deviation in units of grey levels, as `_normalized` takes it."""
    return (255 * values.float()).view(1, 3, 1, 1).to(device)


def _normalized(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    # By tensors: CUDA multiplies by the reciprocal of a scalar divisor, which rounds otherwise.
    return images.to(torch.float32, memory_format=torch.channels_last).sub_(mean).div_(std)


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
        self,
        order: Tensor,
        *,
        batch_size: int,
        augment: bool,
        generator: torch.Generator,
        device: torch.device,
        part: BatchPart = WHOLE,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images as `TrainingImages` says; the same generator state gives the same crops on every device."""
        mean, std = _grey_levels(self.mean, device), _grey_levels(self.std, device)
        whole = list(nearly_equal(order, batch_size))
        # On their device at once, so that no batch waits for a GPU to take its numbers.
        placed = nearly_equal(order.to(self.images.device), batch_size)
        drawn = [self._draws(len(batch), generator) for batch in whole] if augment else []
        draws = nearly_equal(torch.cat(drawn).to(self.images.device), batch_size) if drawn else iter(())
        for batch, own in zip(whole, placed, strict=True):
            pixels = self.images[part.padded(own)].to(device)
            if augment:
                pixels = self._augmented(pixels, part.padded(next(draws)).to(device))
            yield part.cut(batch), _normalized(pixels, mean, std)

    def _draws(self, count: int, generator: torch.Generator) -> Tensor:
        """Return shift down, shift to the right and whether to mirror [B, 3] for the images of a whole batch."""
        shift = torch.randint(-self.padding, self.padding + 1, (2, count), generator=generator)
        mirrored = torch.rand(count, generator=generator) < (0.5 if self.mirror else 0.0)
        return torch.stack([*shift, mirrored.long()], dim=1)

    def _augmented(self, pixels: Tensor, draws_B3: Tensor) -> Tensor:
        count, side = len(pixels), pixels.shape[-1]
        down, right, mirrored = draws_B3.unsqueeze(2).unbind(dim=1)
        line = torch.arange(side, device=pixels.device).expand(count, side)
        y = _reflected(line + down, side)
        x = _reflected(torch.where(mirrored > 0, side - 1 - line, line) + right, side)
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
        self,
        order: Tensor,
        *,
        batch_size: int,
        augment: bool,
        generator: torch.Generator,
        device: torch.device,
        part: BatchPart = WHOLE,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images as `TrainingImages` says; one that can no longer be read is an InputDataError."""
        mean, std = _grey_levels(self.mean, device), _grey_levels(self.std, device)
        transform: RandomCrop | CenterCrop
        if augment:
            transform = RandomCrop(self.size, self.mirror)
            seeds = torch.randint(2**62, order.shape, generator=generator)
        else:
            transform = CenterCrop(self.size, _EVALUATION_ZOOM, Image.Resampling.BILINEAR)
            seeds = None
        parts = [part.padded(batch) for batch in nearly_equal(torch.arange(len(order)), batch_size)]
        own = torch.cat([torch.empty(0, dtype=torch.int64), *parts])
        decoded = decode_batches(
            self.reader,
            self.rows[order[own]],
            transform,
            batch_size=[len(part) for part in parts],
            num_workers=self.num_workers,
            seeds=None if seeds is None else seeds[own],
            pin=device.type == "cuda",
        )
        for batch, found in zip(nearly_equal(order, batch_size), decoded, strict=True):
            require_all(found)
            yield part.cut(batch), _normalized(found.images.to(device, non_blocking=True), mean, std)


@dataclass(frozen=True, eq=False)
class Subset:
    """Some of the positions of other network inputs, without a copy: equal calls give what those positions alone would.

    Attributes
    ----------
    whole : TrainingImages
        What they are part of.
    positions : Tensor of shape (n,), int64
        Position in `whole` of each position here.
    """

    whole: TrainingImages
    positions: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def batches(
        self,
        order: Tensor,
        *,
        batch_size: int,
        augment: bool,
        generator: torch.Generator,
        device: torch.device,
        part: BatchPart = WHOLE,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `whole` gives, as `TrainingImages` says, with positions in this subset."""
        found = self.whole.batches(
            self.positions[order],
            batch_size=batch_size,
            augment=augment,
            generator=generator,
            device=device,
            part=part,
        )
        for batch, (_, images) in zip(nearly_equal(order, batch_size), found, strict=True):
            yield part.cut(batch), images


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
    for block in nearly_equal(images, _BLOCK_IMAGES):
        values = block.to(torch.int64)
        total += values.sum((0, 2, 3)).cpu()
        squares += values.square().sum((0, 2, 3)).cpu()
    count = images.shape[0] * images.shape[2] * images.shape[3]
    mean = total.double() / count
    variance = (squares.double() / count - mean.square()).clamp_min(0)
    return (mean / 255).float(), (variance.sqrt() / 255).clamp_min(_MIN_STD).float()

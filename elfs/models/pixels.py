"""The simplest encoder."""

from collections.abc import Callable, Mapping
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from elfs.models.fingerprints import fingerprint
from elfs.models.patches import SquareTransform

__all__ = ["PixelEncoder"]


class PixelEncoder:
    """The pixels themselves.

    Parameters
    ----------
    image_size : int
        Short side typical of the pool, in pixels; images are resized to it, but to no more than 32.
    channels : {1, 3}
        1 for grey images, 3 for colour.
    """

    name = "pixels"
    needs_fit = False

    def __init__(self, image_size: int, channels: int) -> None:
        self.transform: Callable[[Image.Image], Tensor] = SquareTransform(min(image_size, 32), channels)
        self.fit_transform: Callable[[Image.Image], Tensor] = self.transform
        self.dim = channels * min(image_size, 32) ** 2
        self.fingerprint = fingerprint([self.name, self.dim, channels], {})

    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn nothing."""

    def learned(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def restore(self, learned: Mapping[str, Tensor]) -> None:
        """Do nothing."""

    def encode(self, batch: Tensor) -> Tensor:
        """Return the pixels in a row, brightness in ``[0, 1]``."""
        return batch.flatten(1).float().cpu()

    def to(self, device: torch.device) -> Self:
        """Do nothing: there is nothing to compute."""
        return self

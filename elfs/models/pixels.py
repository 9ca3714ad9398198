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
        """Learn nothing; see `Encoder.fit`.

        Parameters
        ----------
        images : Tensor
            Not looked at.
        generator : torch.Generator
            Not drawn from.
        """

    def learned(self) -> dict[str, Tensor]:
        """Return nothing: nothing is learned; see `Encoder.learned`."""
        return {}

    def restore(self, learned: Mapping[str, Tensor]) -> None:
        """Do nothing; see `Encoder.restore`.

        Parameters
        ----------
        learned : Mapping of str to Tensor
            Empty.
        """

    def encode(self, batch: Tensor) -> Tensor:
        """Return the pixels in a row.

        Parameters
        ----------
        batch : Tensor of shape (n_images, channels, size, size), float32
            Stacked results of `transform`.

        Returns
        -------
        Tensor of shape (n_images, dim), float32
            Brightness in ``[0, 1]``, on the CPU.
        """
        return batch.flatten(1).float().cpu()

    def to(self, device: torch.device) -> Self:
        """Do nothing: there is nothing to compute.

        Parameters
        ----------
        device : torch.device
            Not used.

        Returns
        -------
        PixelEncoder
            The encoder itself.
        """
        return self

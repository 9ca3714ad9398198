"""What the embedding stage asks of an encoder."""

from collections.abc import Callable, Mapping
from typing import Protocol, Self

import torch
from PIL import Image
from torch import Tensor

__all__ = ["Encoder"]


class Encoder(Protocol):
    """What the embedding stage asks of an encoder.

    Attributes
    ----------
    name : str
        Name without ``timm_`` before it.
    dim : int
        Width of the embeddings; of an encoder that needs a fit, known after it.
    needs_fit : bool
        Whether `fit` must come before `encode`.
    transform : callable
        From a PIL image to what `encode` takes, a tensor that can be stacked; can be pickled.
    fit_transform : callable
        From a PIL image to what `fit` takes, likewise.
    """

    name: str
    needs_fit: bool
    transform: Callable[[Image.Image], Tensor]
    fit_transform: Callable[[Image.Image], Tensor]

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides an embedding, what was learned from the pool included: known after `fit`."""
        ...

    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn from the pool whatever the encoder learns.

        Parameters
        ----------
        images : Tensor of shape (n_images, channels, height, width), float32
            Stacked results of `fit_transform` for a sample of the pool.
        generator : torch.Generator
            Source of every random choice, on the CPU.
        """
        ...

    def learned(self) -> dict[str, Tensor]:
        """Return what `fit` learned, by name, on the CPU; another encoder that is built alike can `restore` it."""
        ...

    def restore(self, learned: Mapping[str, Tensor]) -> None:
        """Take over what another one has learned, instead of `fit`.

        Parameters
        ----------
        learned : Mapping of str to Tensor
            As `learned` gives it.

        Raises
        ------
        CorruptArtifactError
            If it is not what an encoder of this kind learns.
        """
        ...

    def encode(self, batch: Tensor) -> Tensor:
        """Return the embeddings of a batch.

        Parameters
        ----------
        batch : Tensor of shape (n_images, channels, height, width), float32 or uint8
            Stacked results of `transform`.

        Returns
        -------
        Tensor of shape (n_images, dim), float32
            Embeddings, not normalised, on whichever device computes them: a GPU may still be at it.
        """
        ...

    def to(self, device: torch.device) -> Self:
        """Move the encoder.

        Parameters
        ----------
        device : torch.device
            Where `encode` computes from now on.

        Returns
        -------
        Encoder
            The encoder itself.
        """
        ...

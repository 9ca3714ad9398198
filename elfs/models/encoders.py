"""Encoders: from an image to an embedding.

``pixels`` and ``patches`` need no weights, every other name is a timm model. Weights come from a local file, else from
the Hugging Face cache, else from the hub. Nothing falls back to random weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import timm
import torch
from PIL import Image
from torch import Tensor, nn

from elfs.catalog import ENCODERS, suggestion
from elfs.errors import InputDataError, UsageError
from elfs.models.patches import PatchEncoder, SquareTransform
from elfs.models.weights import find_weights, load_weights, pretrained_model

__all__ = ["ALIASES", "Encoder", "PixelEncoder", "TimmEncoder", "build_encoder", "weights_available"]

ALIASES: dict[str, str] = {
    "dino_vits8": "vit_small_patch8_224.dino",
    "dino_vits16": "vit_small_patch16_224.dino",
    "dino_vitb8": "vit_base_patch8_224.dino",
    "dino_vitb16": "vit_base_patch16_224.dino",
    "dinov2_vits14": "vit_small_patch14_dinov2.lvd142m",
    "dinov2_vitb14": "vit_base_patch14_dinov2.lvd142m",
    "dinov2_vitl14": "vit_large_patch14_dinov2.lvd142m",
    "dinov2_vitg14": "vit_giant_patch14_dinov2.lvd142m",
    "clip_RN50": "resnet50_clip.openai",
    "clip_ViT-B/16": "vit_base_patch16_clip_quickgelu_224.openai",
    "clip_ViT-B/32": "vit_base_patch32_clip_quickgelu_224.openai",
    "clip_ViT-L/14": "vit_large_patch14_clip_quickgelu_224.openai",
    "mae_vit_base": "vit_base_patch16_224.mae",
    "mae_vit_large": "vit_large_patch16_224.mae",
    "mae_vit_huge": "vit_huge_patch14_224.mae",
}
"""Names used by the reference implementations, and the timm models that hold the same weights."""


class Encoder(Protocol):
    """What the embedding stage asks of an encoder.

    Attributes
    ----------
    name : str
        Full name, aliases resolved.
    dim : int
        Width of the embeddings; of an encoder that needs a fit, known after it.
    needs_fit : bool
        Whether `fit` must come before `encode`.
    transform : callable
        From a PIL image to a tensor that can be stacked; can be pickled.
    """

    name: str
    needs_fit: bool
    transform: Callable[[Image.Image], Tensor]

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        ...

    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn from the pool whatever the encoder learns.

        Parameters
        ----------
        images : Tensor of shape (n_images, channels, height, width), float32
            Stacked results of `transform` for a sample of the pool.
        generator : torch.Generator
            Source of every random choice, on the CPU.
        """
        ...

    def encode(self, batch: Tensor) -> Tensor:
        """Return the embeddings of a batch.

        Parameters
        ----------
        batch : Tensor of shape (n_images, channels, height, width), float32
            Stacked results of `transform`.

        Returns
        -------
        Tensor of shape (n_images, dim), float32
            Embeddings, not normalised, on the CPU.
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
        self.dim = channels * min(image_size, 32) ** 2

    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn nothing; see `Encoder.fit`.

        Parameters
        ----------
        images : Tensor
            Not looked at.
        generator : torch.Generator
            Not drawn from.
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


class TimmEncoder:
    """A timm model without its classifier, with the preprocessing that it was trained for.

    Computes in bfloat16 (autocast) on CUDA, in float32 elsewhere.

    Parameters
    ----------
    name : str
        Name of the model in timm.
    model : nn.Module
        The model, made with ``num_classes=0`` and holding its weights.
    """

    needs_fit = False

    def __init__(self, name: str, model: nn.Module) -> None:
        self.name = name
        self._model = model.eval().requires_grad_(False)
        self._device = torch.device("cpu")
        config: dict[str, Any] = timm.data.resolve_model_data_config(model)
        self.transform: Callable[[Image.Image], Tensor] = timm.data.create_transform(**config, is_training=False)
        self.dim = self.encode(torch.zeros(1, *config["input_size"])).shape[1]

    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn nothing: the weights are there already; see `Encoder.fit`.

        Parameters
        ----------
        images : Tensor
            Not looked at.
        generator : torch.Generator
            Not drawn from.
        """

    def encode(self, batch: Tensor) -> Tensor:
        """Return the model's pooled features.

        Parameters
        ----------
        batch : Tensor of shape (n_images, 3, height, width), float32
            Stacked results of `transform`.

        Returns
        -------
        Tensor of shape (n_images, dim), float32
            Embeddings, not normalised, on the CPU.
        """
        on_cuda = self._device.type == "cuda"
        with torch.no_grad(), torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=on_cuda):
            embeddings: Tensor = self._model(batch.to(self._device, non_blocking=True))
        return embeddings.float().cpu()

    def to(self, device: torch.device) -> Self:
        """Move the model.

        Parameters
        ----------
        device : torch.device
            Where `encode` computes from now on.

        Returns
        -------
        TimmEncoder
            The encoder itself.
        """
        self._device = device
        self._model.to(device)
        return self


def build_encoder(name: str, *, weights: Path | None, image_size: int, channels: int) -> Encoder:
    """Return an encoder, on the CPU.

    Parameters
    ----------
    name : str
        ``patches``, ``pixels``, a key of `ALIASES`, or a timm model with or without ``timm_`` before it.
    weights : Path or None
        Checkpoint for a timm model instead of its published weights. The name still decides the preprocessing: with
        DINO weights say ``vit_base_patch16_224.dino``, not ``vit_base_patch16_224``.
    image_size : int
        Short side typical of the pool, in pixels; what ``patches`` and ``pixels`` resize to.
    channels : {1, 3}
        1 where all images are grey, else 3; timm models always take 3.

    Returns
    -------
    Encoder
        Ready to encode, or to fit where `needs_fit` says so.

    Raises
    ------
    UsageError
        If the name is unknown, or `weights` are given for an encoder without any.
    InputDataError
        If the weights cannot be had, read, or do not fit the model. Where the hub cannot be reached this takes
        seconds; ``encoder auto`` may try one name after another.
    """
    if name in ENCODERS:
        if weights is not None:
            raise UsageError(f"encoder '{name}' has no weights, but --weights is '{weights}'.")
        return PatchEncoder(image_size, channels) if name == "patches" else PixelEncoder(image_size, channels)
    name = _timm_name(name)
    if weights is None:
        return TimmEncoder(name, pretrained_model(name))
    model = timm.create_model(name, pretrained=False, num_classes=0)
    load_weights(model, weights)
    return TimmEncoder(name, model)


def weights_available(name: str) -> bool:
    """Return whether `build_encoder` can be expected to succeed without a weights file.

    Parameters
    ----------
    name : str
        As in `build_encoder`.

    Returns
    -------
    bool
        True if no weights are needed, they are in the cache, or the hub answers.

    Raises
    ------
    UsageError
        If the name is unknown.
    """
    if name in ENCODERS:
        return True
    try:
        find_weights(_timm_name(name))
    except InputDataError:
        return False
    return True


def _timm_name(name: str) -> str:
    resolved = ALIASES.get(name, name.removeprefix("timm_"))
    models, tagged = timm.list_models(), timm.list_pretrained()
    if resolved in models or resolved in tagged:
        return resolved
    close = suggestion(name, [*ENCODERS, *ALIASES, *models, *tagged])
    raise UsageError(
        f"unknown encoder '{name}'.{close} Available: {', '.join(ENCODERS)} and {len(models):,} timm models."
    )

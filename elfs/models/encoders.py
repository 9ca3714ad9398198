"""Encoders: from an image to an embedding.

``patches`` and ``pixels`` need no weights; every other name is one of ``PUBLISHED`` or a timm model, and several names
joined by ``+`` are one encoder. Weights come from a local file, else from a cache, else from the network. Nothing falls
back to random weights.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn

from elfs.catalog import ENCODERS
from elfs.errors import InputDataError, UsageError
from elfs.models.checkpoints import LAYOUTS, load_weights, read_checkpoint
from elfs.models.concatenated import ConcatenatedEncoder
from elfs.models.encoder import Encoder
from elfs.models.fingerprints import fingerprint
from elfs.models.patches import PatchEncoder
from elfs.models.pixels import PixelEncoder
from elfs.models.published import PUBLISHED, Published
from elfs.models.tensorflow_weights import has_port_names, tensorflow_twin
from elfs.models.weights import find_weights, pretrained_model, published_weights
from elfs.suggestions import suggestion

__all__ = [
    "NetworkEncoder",
    "build_architecture",
    "build_encoder",
    "cast_once",
    "padding_doubt",
    "weights_available",
]

CPU_BATCH_IMAGES = 16
"""Images that a network on the CPU takes at once: what it computes on the way then stays in the cache longer."""


class NetworkEncoder:
    """A pretrained network without the classifier of its training, in evaluation mode.

    Computes in bfloat16 (autocast) on CUDA, in float32 elsewhere.

    Parameters
    ----------
    name : str
        What it is called.
    network : nn.Module
        Holds its weights; from images to embeddings.
    preprocessing : Mapping of str to Any
        Arguments of ``timm.data.create_transform``.
    """

    needs_fit = False

    def __init__(self, name: str, network: nn.Module, preprocessing: Mapping[str, Any]) -> None:
        import timm

        self.name = name
        # Convolutions are faster with the channels of a place side by side; transformers do not care.
        self._network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._device = torch.device("cpu")
        self._preprocessing = dict(preprocessing)
        self._mean, self._deviation = (torch.tensor(preprocessing[key]).view(-1, 1, 1) for key in ("mean", "std"))
        # With a "prefetcher" timm leaves pixels as bytes, a quarter of what processes and the GPU would be sent.
        self.transform: Callable[[Image.Image], Tensor] = timm.data.create_transform(
            **preprocessing, is_training=False, use_prefetcher=True
        )
        self.fit_transform: Callable[[Image.Image], Tensor] = self.transform
        self.dim = self.encode(torch.zeros(1, *preprocessing["input_size"], dtype=torch.uint8)).shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the name, the preprocessing and the weights, as they were before a GPU got them."""
        return fingerprint([self.name, self._preprocessing], self._network.state_dict())

    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn nothing: the weights are there already."""

    def learned(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def restore(self, learned: Mapping[str, Tensor]) -> None:
        """Do nothing."""

    def encode(self, batch: Tensor) -> Tensor:
        """Return the network's pooled features."""
        on_cuda = self._device.type == "cuda"
        parts = []
        with torch.no_grad(), torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=on_cuda):
            for part in torch.split(batch, max(len(batch), 1) if on_cuda else CPU_BATCH_IMAGES):
                images = part.to(self._device, non_blocking=True).div(255).sub_(self._mean).div_(self._deviation)
                parts.append(self._network(images.contiguous(memory_format=torch.channels_last)).float())
        return torch.cat(parts)

    def to(self, device: torch.device) -> Self:
        """Move the network; a GPU gets it as it computes, see `cast_once`."""
        self._device = device
        if device.type == "cuda" and self.fingerprint:  # which is of the weights before they are rounded
            cast_once(self._network, torch.bfloat16)
        self._network.to(device)
        self._mean, self._deviation = self._mean.to(device), self._deviation.to(device)
        return self


def cast_once(network: nn.Module, dtype: torch.dtype) -> None:
    """Round those weights of a network for good that autocast would round anew for every batch.

    Autocast keeps what it has rounded for weights that are trained alone, and these are not.

    Parameters
    ----------
    network : nn.Module
        Changed in place: weights and biases of torch's own linear layers and convolutions, of no layer derived from
        them, which may do more with its weights than multiply.
    dtype : torch.dtype
        Of autocast, under which the network then computes the same as before.
    """
    for module in network.modules():
        if type(module) in (nn.Linear, nn.Conv2d):
            module.to(dtype)


def build_encoder(name: str, *, weights: Path | None, image_size: int, channels: int) -> Encoder:
    """Return an encoder, on the CPU.

    Parameters
    ----------
    name : str
        ``patches``, ``pixels``, a key of ``PUBLISHED``, a timm model with or without ``timm_`` before it, or several
        of these joined by ``+``.
    weights : Path or None
        Checkpoint to load instead of the published weights. The name still decides layout, preprocessing and pooling:
        for DINO weights say ``dino_vitb16``, not ``vit_base_patch16_224``. Of several encoders only one may have
        weights then.
    image_size : int
        Short side typical of the pool, in pixels; what ``patches`` and ``pixels`` resize to. Where it is below the
        network's own input, images are enlarged whole; otherwise their centre is cropped, as in the network's own
        evaluation.
    channels : {1, 3}
        1 where all images are grey, else 3; networks always take 3.

    Returns
    -------
    Encoder
        Ready to encode, or to fit where `needs_fit` says so.

    Raises
    ------
    UsageError
        If the name is unknown, or `weights` are given for an encoder without any or for several.
    InputDataError
        If the weights cannot be had, read, or do not fit the network. Where the server cannot be reached this takes
        seconds; ``encoder auto`` may try one name after another.

    Notes
    -----
    The reference implementation gives SwAV's features a last linear layer that was never trained, and reads MoCo v3's
    ViT-S with 6 heads where it has 12; here they are the 2,048 pooled features, and 12. Its ConvNeXt, like ours, skips
    the last norm. DINOv2 is resampled to 224 pixels by timm (antialiased), where ``torch.hub`` does not antialias.
    """
    names = [_full_name(part) for part in name.split("+")]
    pretrained = [part for part in names if part not in ENCODERS]
    if weights is not None and not pretrained:
        raise UsageError(f"encoder '{name}' has no weights, but --weights is '{weights}'.")
    if weights is not None and len(pretrained) > 1:
        raise UsageError(
            f"--weights '{weights}' is one file, but {len(pretrained)} encoders of '{name}' have weights: "
            f"{', '.join(pretrained)}. Leave it out and put the published files into their caches."
        )
    parts = [_part(part, weights, image_size, channels) for part in names]
    return parts[0] if len(parts) == 1 else ConcatenatedEncoder(parts)


def weights_available(name: str) -> bool:
    """Return whether `build_encoder` can be expected to succeed without a weights file.

    Parameters
    ----------
    name : str
        As in `build_encoder`.

    Returns
    -------
    bool
        True if no weights are needed, they are in a cache, or the server answers.

    Raises
    ------
    UsageError
        If the name is unknown.
    """
    try:
        for part in [_full_name(part) for part in name.split("+")]:
            if part not in ENCODERS:
                find_weights(part)
    except InputDataError:
        return False
    return True


def padding_doubt(name: str, weights: Path) -> str | None:
    """Return why weights that fit an encoder may be those of its twin with TensorFlow's padding.

    Names and shapes cannot tell. timm's own files have ``tf_`` before the name of their model, and weights that are
    named as in EfficientNet-PyTorch are all TensorFlow's.

    Parameters
    ----------
    name : str
        As in `build_encoder`.
    weights : Path
        The checkpoint, which `build_encoder` has read.

    Returns
    -------
    str or None
        A sentence; None if there is no such twin, or nothing speaks for it.
    """
    for part in [_full_name(part) for part in name.split("+")]:
        twin = tensorflow_twin(part)
        if twin and (twin in str(weights) or has_port_names(read_checkpoint(weights))):
            return (
                f"the weights in '{weights}' look like those of {twin}, which pads images as TensorFlow does: {part} "
                f"makes other embeddings of them. Say --encoder {twin}."
            )
    return None


def build_architecture(entry: Published) -> nn.Module:
    """Return a network without its weights.

    Parameters
    ----------
    entry : Published
        Which.

    Returns
    -------
    nn.Module
        From images of shape (n_images, 3, input_size, input_size) to embeddings of shape (n_images, dim), its weights
        drawn at random.
    """
    if entry.library == "torchvision":
        import torchvision

        network: nn.Module = torchvision.models.get_model(entry.architecture, weights=None)
        network.classifier = nn.Flatten(1)
        return network
    import timm

    num_classes = entry.dim if entry.pooling == "projection" else 0
    created: nn.Module = timm.create_model(
        entry.architecture, pretrained=False, num_classes=num_classes, **entry.options
    )
    return created


def _part(name: str, weights: Path | None, image_size: int, channels: int) -> Encoder:
    """Return one encoder, by its full name."""
    if name in ENCODERS:
        return PatchEncoder(image_size, channels) if name == "patches" else PixelEncoder(image_size, channels)
    import timm

    if name in PUBLISHED:
        entry = PUBLISHED[name]
        network = build_architecture(entry)
        load_weights(network, published_weights(name) if weights is None else weights, LAYOUTS[entry.layout])
        preprocessing = _preprocessing(entry)
    else:
        network = pretrained_model(name) if weights is None else timm.create_model(name, num_classes=0)
        if weights is not None:
            load_weights(network, weights)
        preprocessing = timm.data.resolve_model_data_config(network)
    if image_size < min(preprocessing["input_size"][1:]):
        preprocessing["crop_pct"] = 1.0
    return NetworkEncoder(name, network, preprocessing)


def _preprocessing(entry: Published) -> dict[str, Any]:
    return {
        "input_size": (3, entry.input_size, entry.input_size),
        "interpolation": "bicubic",
        "mean": entry.mean,
        "std": entry.std,
        "crop_pct": entry.crop_share,
        "crop_mode": "center",
    }


def _full_name(name: str) -> str:
    if name in ENCODERS or name in PUBLISHED:
        return name
    import timm

    resolved = name.removeprefix("timm_")
    models, tagged = timm.list_models(), timm.list_pretrained()
    if resolved in models or resolved in tagged:
        return resolved
    close = suggestion(name, [*ENCODERS, *PUBLISHED, *models, *tagged])
    raise UsageError(
        f"unknown encoder '{name}'.{close} Available: {', '.join(ENCODERS)} and {len(models):,} timm models.",
        hint="elfs embed --list-encoders",
    )

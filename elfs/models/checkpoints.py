"""Checkpoints of other people's training code, and how their weights get into an encoder.

A checkpoint is never executed: safetensors, or pickles read with ``weights_only=True``.
"""

import pickle
import re
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from elfs.errors import InputDataError
from elfs.models.tensorflow_weights import has_port_names, timm_names

__all__ = ["LAYOUTS", "Layout", "fitted_weights", "load_weights", "read_checkpoint"]

PREFIXES = ("module.", "backbone.", "model.")
"""What training code puts before the names of all weights."""
PATCH_KEYS = ("patch_embed.proj.weight", "visual.conv1.weight")
"""How the weights end that see the pixels of a patch."""
SHOWN_KEYS = 3
"""How many keys of a kind an error names."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a family of checkpoints keeps the weights of its encoder.

    Attributes
    ----------
    family : str
        What people call it.
    wrappers : tuple of str
        Keys under which the weights lie, outermost first; those that are not there are passed over.
    branch : str
        Where any weight's name begins so, only these weights count.
    heads : tuple of str
        How the names of weights begin that served the training alone.
    telltale : str
        How names begin in this family only.
    """

    family: str
    wrappers: tuple[str, ...]
    branch: str = ""
    heads: tuple[str, ...] = ("head.", "fc.")
    telltale: str = ""


LAYOUTS: dict[str, Layout] = {
    "timm": Layout("timm", ("state_dict", "teacher", "model"), "teacher.backbone.", ("head.", "fc.", "mask_token")),
    "clip": Layout("CLIP", ("state_dict",), heads=(), telltale="visual."),
    "mae": Layout("MAE", ("model",), heads=("head.", "fc_norm.", "mask_token", "decoder_"), telltale="decoder_"),
    "mocov3": Layout("MoCo v3", ("state_dict",), "momentum_encoder.", telltale="momentum_encoder."),
    "msn": Layout("MSN", ("target_encoder",), heads=("fc.", "pred.")),
    "swav": Layout("SwAV", ("state_dict",), heads=("projection_head.", "prototypes.", "fc."), telltale="prototypes."),
    "torchvision": Layout("torchvision", ("state_dict", "model"), heads=("classifier.",), telltale="features."),
}
"""Name to layout. ``timm`` serves DINO and DINOv2 as well: the teacher counts, not the student."""


def load_weights(model: nn.Module, path: Path, layout: Layout = LAYOUTS["timm"]) -> None:
    """Load a checkpoint into a model, or change nothing.

    Parameters
    ----------
    model : nn.Module
        A network that is to give embeddings: without the classifier of its training.
    path : Path
        A ``.safetensors`` file, or a checkpoint that ``torch.load`` reads without executing code.
    layout : Layout
        Of the checkpoint; files that hold the bare weights fit any.

    Raises
    ------
    InputDataError
        If the file is missing, damaged, holds code or no weights, or if its weights do not fit the model.
    """
    model.load_state_dict(fitted_weights(read_checkpoint(path), model, layout, path), strict=False)


def read_checkpoint(path: Path) -> Any:
    """Return what a checkpoint holds, on the CPU.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file, or a checkpoint that ``torch.load`` reads without executing code.

    Returns
    -------
    Any
        Mostly nested mappings of names to tensors.

    Raises
    ------
    InputDataError
        If the file is missing, damaged or holds code.
    """
    if not path.is_file():
        raise InputDataError(f"the weights file '{path}' does not exist.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # about pickle protocols and TorchScript
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        if name is None:
            raise InputDataError(f"'{path}' holds code or is no checkpoint; neither is read.") from error
        raise InputDataError(
            f"'{path}' holds code ({name[1]}), which elfs never runs. Save its weights alone, as .safetensors."
        ) from error
    except Exception as error:  # a damaged file can make the readers raise nearly anything
        if "TorchScript" in str(error):
            raise InputDataError(
                f"'{path}' is a TorchScript archive, which holds code as OpenAI's own CLIP files do; elfs never runs "
                "it. Where you trust it, save its weights alone: torch.save(torch.jit.load(FILE).state_dict(), NEW)."
            ) from error
        raise InputDataError(f"'{path}' cannot be read as weights: {error}") from error


def fitted_weights(checkpoint: Any, model: nn.Module, layout: Layout, path: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint under the names that a model gives them.

    Prefixes that wrappers and training code add are stripped, heads are left out, and what timm knows of other
    people's names is left to timm; those of EfficientNet-PyTorch, which it does not know, are translated. Position
    embeddings of another input size are resampled by timm (bicubic).

    Parameters
    ----------
    checkpoint : Any
        Result of `read_checkpoint`.
    model : nn.Module
        A network that is to give embeddings.
    layout : Layout
        Of the checkpoint.
    path : Path
        Where it is from, for the messages.

    Returns
    -------
    dict of str to Tensor
        In float32, one for every weight of the model; counts of batches may be missing.

    Raises
    ------
    InputDataError
        If it holds no weights, or if any key but those of heads is missing, unexpected or of another shape than the
        model's.
    """
    expected = model.state_dict()
    weights = _bare(_unwrapped(checkpoint, layout, path), expected, layout)
    other_patches = _other_patches(weights, expected)
    heads = (*layout.heads, *_classifiers(model))
    found = {
        key: value
        for key, value in _converted(weights, model, path).items()
        if key in expected or not key.startswith(heads)
    }
    # Checkpoints from before PyTorch 0.4.1 do not count batches, and a model that only encodes never looks.
    missing = [key for key in expected if key not in found and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in found if key not in expected]
    reshaped = [key for key in found if key in expected and found[key].shape != expected[key].shape] or other_patches
    if missing and not reshaped and _shapes(missing, expected) <= _shapes(unexpected, found):
        raise InputDataError(
            f"the weights in '{path}' have the shapes of the encoder's and other names: {_some('theirs', unexpected)}, "
            f"{_some('of the encoder', missing)}. If they are of the same network, rename them."
            + _other_family(weights, layout)
        )
    if missing or unexpected or reshaped:
        raise InputDataError(
            f"the weights in '{path}' do not fit the encoder: {_some('missing', missing)}, "
            f"{_some('unexpected', unexpected)}, {_some('of another shape', reshaped)}."
            + _other_family(weights, layout)
        )
    return found


def _unwrapped(checkpoint: Any, layout: Layout, path: Path) -> dict[str, Tensor]:
    for key in layout.wrappers:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    tensors = checkpoint if isinstance(checkpoint, Mapping) else {}
    weights = {
        key: value.float() if value.is_floating_point() else value
        for key, value in tensors.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not weights:
        raise InputDataError(
            f"'{path}' holds no weights: expected names with tensors, alone or under "
            f"{', '.join(repr(key) for key in layout.wrappers)}."
        )
    return weights


def _bare(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Return the weights that count, without what training code puts before their names."""
    inner = {key.removeprefix("module."): value for key, value in weights.items()}
    branch = {key: value for key, value in inner.items() if layout.branch and key.startswith(layout.branch)}
    found: dict[str, Tensor] = {}
    for full_key, value in (branch or inner).items():
        key = full_key.removeprefix(layout.branch)
        while key not in expected and key.startswith(PREFIXES):
            key = key.split(".", 1)[1]
        found[key] = value
    return found


def _other_patches(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Return the weights for patches of another size, which timm would resample: they are another model's."""
    own = expected.get(PATCH_KEYS[0])
    if own is None:
        return []
    return [key for key, value in weights.items() if key.endswith(PATCH_KEYS) and value.shape[2:] != own.shape[2:]]


def _shapes(keys: list[str], tensors: Mapping[str, Tensor]) -> Counter[torch.Size]:
    return Counter(tensors[key].shape for key in keys)


def _converted(weights: dict[str, Tensor], model: nn.Module, path: Path) -> dict[str, Tensor]:
    """Apply timm's own knowledge of the checkpoints that a network is trained from, and what it lacks."""
    if has_port_names(weights):
        return timm_names(weights, model.state_dict())
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return weights
    try:
        return dict(convert(weights, model))
    except Exception as error:  # converters trust their input: other people's weights make them raise anything
        raise InputDataError(
            f"the weights in '{path}' do not fit the encoder: timm cannot convert them ({error})."
        ) from error


def _classifiers(model: Any) -> tuple[str, ...]:
    """Return how the names of the model's own classifier begin, as timm tells."""
    own = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([own] if isinstance(own, str) else own))


def _other_family(weights: Mapping[str, Tensor], layout: Layout) -> str:
    for other in LAYOUTS.values():
        if other.telltale and other != layout and any(key.startswith(other.telltale) for key in weights):
            return f" Their names are those of {other.family}."
    return ""


def _some(kind: str, keys: list[str]) -> str:
    shown = ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")
    return f"{len(keys)} {kind}" + (f" ({shown})" if keys else "")

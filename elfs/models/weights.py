"""Weights of timm models: where they are, and how a checkpoint of somebody else gets into a model.

A checkpoint is never executed: safetensors, or pickles read with ``weights_only=True``.
"""

import pickle
import re
import ssl
import warnings
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import timm
import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import load_file
from torch import Tensor, nn

from elfs.errors import InputDataError

__all__ = ["find_weights", "load_weights", "pretrained_model"]

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names that timm's weights have on the hub, in the order of preference."""
PROBE_TIMEOUT_SECONDS = 5.0
"""How long the hub may take to answer before it counts as out of reach."""
WRAPPERS = ("state_dict", "teacher", "model")
"""Keys under which checkpoints keep the weights themselves."""
PREFIXES = ("module.", "backbone.", "model.")
"""What training code puts before the names of weights."""
TEACHER_PREFIX = "teacher.backbone."
"""Where present, these weights count and all others (student, heads) do not."""
CLASSIFIERS = ("head.", "fc.")
"""What classifiers are called in most models; timm tells the others."""
MASK_TOKEN = "mask_token"
"""What stands for a hidden patch while DINOv2 and its like are trained; nothing is hidden from an encoder."""
SHOWN_KEYS = 3
"""How many keys of a kind an error names."""


def find_weights(name: str) -> Path | None:
    """Return the cached file with a model's published weights, if there is one.

    Parameters
    ----------
    name : str
        Name of a timm model, with or without its tag.

    Returns
    -------
    Path or None
        The file in the Hugging Face cache; None where a download can be tried.

    Raises
    ------
    InputDataError
        If the model has no published weights, or they are not in the cache and the hub does not answer within five
        seconds.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise InputDataError(f"timm has no weights for '{name}'. {_WAYS_OUT}", hint=_HINT)
    if not config.hf_hub_id:
        return None
    for filename in HUB_FILES:
        cached = try_to_load_from_cache(config.hf_hub_id, filename, cache_dir=constants.HF_HUB_CACHE)
        if isinstance(cached, str):
            return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise _unobtainable(name, "HF_HUB_OFFLINE is set")
    if not _answers(constants.ENDPOINT):
        raise _unobtainable(name, f"{constants.ENDPOINT} cannot be reached")
    return None


def pretrained_model(name: str) -> nn.Module:
    """Return a timm model without classifier, with its published weights.

    Parameters
    ----------
    name : str
        Name of a timm model, with or without its tag.

    Returns
    -------
    nn.Module
        The model on the CPU.

    Raises
    ------
    InputDataError
        If the weights can be neither found in the cache nor downloaded.
    """
    path = find_weights(name)
    try:
        if path is None:
            path = _download(timm.get_pretrained_cfg(name).hf_hub_id)
        # timm's own network code retries for most of a minute where there is no network; a file needs none.
        overlay = None if path is None else {"file": str(path), "custom_load": False}
        model: nn.Module = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    except OSError as error:
        raise _unobtainable(name, f"the download failed ({error})") from error
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a checkpoint into a model without classifier, or change nothing.

    Unwrapped are the keys ``state_dict``, ``teacher`` and ``model``; stripped are the prefixes ``module.``,
    ``backbone.``, ``model.`` and ``teacher.backbone.``; left out are ``mask_token`` and classifiers: ``head.``,
    ``fc.``, and whatever timm calls the model's own.

    Parameters
    ----------
    model : nn.Module
        A timm model made with ``num_classes=0``.
    path : Path
        A ``.safetensors`` file, or a checkpoint that ``torch.load`` reads without executing code.

    Raises
    ------
    InputDataError
        If the file is missing, damaged, holds code or no weights, or if any other key is missing, unexpected or of
        another shape than the model's.
    """
    expected = model.state_dict()
    found = _model_keys(_unwrapped(_read(path), path), expected, (MASK_TOKEN, *_classifiers(model)))
    # Checkpoints from before PyTorch 0.4.1 do not count batches, and a model that only encodes never looks.
    missing = [key for key in expected if key not in found and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in found if key not in expected]
    reshaped = [key for key in found if key in expected and found[key].shape != expected[key].shape]
    if missing or unexpected or reshaped:
        raise InputDataError(
            f"the weights in '{path}' do not fit the encoder: {_some('missing', missing)}, "
            f"{_some('unexpected', unexpected)}, {_some('of another shape', reshaped)}."
        )
    model.load_state_dict(found, strict=False)


_WAYS_OUT = "Give a checkpoint with --weights FILE, or take --encoder patches, which learns from your own images."
_HINT = "elfs embed --encoder patches"


def _unobtainable(name: str, reason: str) -> InputDataError:
    return InputDataError(
        f"the weights of '{name}' are not in the Hugging Face cache ({constants.HF_HUB_CACHE}), and {reason}. "
        f"{_WAYS_OUT} Or copy that cache from a machine that has them.",
        hint=_HINT,
    )


def _answers(url: str) -> bool:
    try:
        urlopen(Request(url, method="HEAD"), timeout=PROBE_TIMEOUT_SECONDS).close()
    except HTTPError as error:
        error.close()
        return True
    except URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # somebody is there; the hub's client has certificates of its own
    except (OSError, HTTPException):
        return False
    return True


def _download(hub_id: str | None) -> Path | None:
    """Return the downloaded file; None for the few models that timm keeps elsewhere."""
    if not hub_id:
        return None
    download = partial(hf_hub_download, hub_id, cache_dir=constants.HF_HUB_CACHE)
    preferred, fallback = HUB_FILES
    try:
        return Path(download(preferred))
    except LocalEntryNotFoundError:  # no network after all; the other file would not come either
        raise
    except EntryNotFoundError:
        return Path(download(fallback))


def _read(path: Path) -> Any:
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
        raise InputDataError(f"'{path}' cannot be read as weights: {error}") from error


def _unwrapped(checkpoint: Any, path: Path) -> dict[str, Tensor]:
    for key in WRAPPERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    tensors = checkpoint if isinstance(checkpoint, Mapping) else {}
    weights = {key: value for key, value in tensors.items() if isinstance(value, Tensor)}
    if not weights:
        raise InputDataError(f"'{path}' holds no weights: expected names with tensors, alone or under 'state_dict'.")
    return weights


def _classifiers(model: Any) -> tuple[str, ...]:
    """Return the prefixes of the weights that an encoder has no use for."""
    own = model.pretrained_cfg.get("classifier") or ()
    return (*CLASSIFIERS, *(f"{name}." for name in ([own] if isinstance(own, str) else own)))


def _model_keys(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], useless: tuple[str, ...]
) -> dict[str, Tensor]:
    """Return the weights under the model's names, without those that begin with a useless prefix."""
    teacher = {key: value for key, value in weights.items() if key.startswith(TEACHER_PREFIX)}
    found: dict[str, Tensor] = {}
    for full_key, value in (teacher or weights).items():
        key = full_key.removeprefix(TEACHER_PREFIX)
        while key not in expected and key.startswith(PREFIXES):
            key = key.split(".", 1)[1]
        if key in expected or not key.startswith(useless):
            found[key] = value
    return found


def _some(kind: str, keys: list[str]) -> str:
    shown = ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")
    return f"{len(keys)} {kind}" + (f" ({shown})" if keys else "")

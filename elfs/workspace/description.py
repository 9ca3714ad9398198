"""What the manifest says about files that are about to be published."""

import functools
import importlib.metadata
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from elfs import __version__
from elfs.workspace.files import sha256_file
from elfs.workspace.records import Artifact, ArtifactFile, TensorInfo, artifact_digest
from elfs.workspace.tensors import TENSOR_SUFFIX, load_tensors

__all__ = ["describe_files", "installed_versions"]

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")
_PACKAGES = ("faiss-cpu", "faiss-gpu", "numpy", "timm", "torch", "torchvision")


def describe_files(record: str, artifact: str, files: list[tuple[str, Path]], metadata: dict[str, Any]) -> Artifact:
    """Return the manifest's entry for files that wait in a draft.

    Parameters
    ----------
    record, artifact : str
        Names of the record and of the artifact.
    files : list of (str, Path)
        Name in the workspace and place of each, in the order of the names.
    metadata : dict
        Facts that readers of the artifact need.

    Returns
    -------
    Artifact
        With sizes and digests of the files, dtypes and shapes of the tensors.

    Raises
    ------
    ValueError
        If shards are missing or differ.
    """
    shards = [_SHARD.search(name) for name, _ in files if name.endswith(TENSOR_SUFFIX)]
    numbers = [(int(match[1]), int(match[2])) for match in shards if match]
    if (numbers or len(shards) > 1) and numbers != [(index + 1, len(shards)) for index in range(len(shards))]:
        raise ValueError(f"artifact '{artifact}' has shards {numbers}, expected all of one numbering.")
    entries = tuple(ArtifactFile(name, path.stat().st_size, sha256_file(path)) for name, path in files)
    parts = [load_tensors(path) for name, path in files if name.endswith(TENSOR_SUFFIX)]
    return Artifact(record, entries, _whole_tensors(artifact, parts), metadata, artifact_digest(entries))


def _whole_tensors(artifact: str, parts: list[dict[str, np.ndarray]]) -> dict[str, TensorInfo]:
    """Return dtype and shape of each tensor over all shards."""
    if not parts:
        return {}
    tensors = {}
    for name, first in parts[0].items():
        shape = first.shape
        if len(parts) > 1:
            if any(set(part) != set(parts[0]) or part[name].ndim == 0 for part in parts):
                raise ValueError(f"the shards of '{artifact}' hold different tensors.")
            kinds = {(part[name].dtype.name, part[name].shape[1:]) for part in parts}
            if len(kinds) > 1:
                raise ValueError(f"the shards of '{artifact}' differ in '{name}': {sorted(kinds)}.")
            shape = (sum(len(part[name]) for part in parts), *first.shape[1:])
        tensors[name] = TensorInfo(first.dtype.name, tuple(shape))
    return tensors


def installed_versions() -> dict[str, str]:
    """Return the versions of elfs, Python and the packages that results may depend on.

    Returns
    -------
    dict of str to str
        Package to version; those that are installed.
    """
    versions = {"elfs": __version__, "python": platform.python_version()}
    return versions | _packages()


@functools.cache
def _packages() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions

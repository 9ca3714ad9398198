"""Artifacts read back and held against what the manifest says of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elfs.errors import CorruptArtifactError, StorageError
from elfs.workspace.checks import Checks, State
from elfs.workspace.files import sha256_file, storage_errors
from elfs.workspace.paths import path_inside
from elfs.workspace.records import Artifact, ArtifactFile, TensorInfo
from elfs.workspace.schema import check_values
from elfs.workspace.tensors import TENSOR_SUFFIX, RowArray, load_tensors

__all__ = ["Finding", "artifact_problems", "check_digest", "checked_path", "read_sound", "read_tensors"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a file.

    Attributes
    ----------
    artifact : str
        Name of the artifact.
    file : str
        Name of the file, relative to the workspace.
    problem : str
        What is wrong with it, what was seen and what was expected.
    hint : str or None
        The command that makes the artifact anew; None where none can.
    """

    artifact: str
    file: str
    problem: str
    hint: str | None


def checked_path(root: Path, file: ArtifactFile) -> Path:
    """Return where a file is, if it is what it should be at first sight (place, kind, size).

    Parameters
    ----------
    root : Path
        The workspace's directory.
    file : ArtifactFile
        What the manifest says.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CorruptArtifactError
        If it is missing, has another size, or lies outside the workspace.
    StorageError
        If it may not be looked at.
    """
    path = path_inside(root, file.name)
    with storage_errors("read", path):
        if not path.is_file():
            raise CorruptArtifactError(f"{path} is missing, or not a file.")
        num_bytes = path.stat().st_size
    if num_bytes != file.num_bytes:
        raise CorruptArtifactError(f"{path} has {num_bytes:,} bytes, expected {file.num_bytes:,}.")
    return path


def check_digest(path: Path, expected: str) -> None:
    """Read a file in full and compare it with its digest.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        What `sha256_file` shall return.

    Raises
    ------
    CorruptArtifactError
        If it returns something else.
    StorageError
        If the file cannot be read.
    """
    digest = sha256_file(path)
    if digest != expected:
        raise CorruptArtifactError(f"{path} has digest {digest}, expected {expected}.")


def read_tensors(root: Path, artifact: str, entry: Artifact) -> dict[str, np.ndarray | RowArray]:
    """Map an artifact's tensors into memory.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    artifact : str
        The artifact's name, for messages.
    entry : Artifact
        What the manifest says.

    Returns
    -------
    dict of str to ndarray or RowArray
        Read-only memory maps, by name; a `RowArray` where there are several shards.

    Raises
    ------
    CorruptArtifactError
        If a file, or a tensor's name, dtype or shape, is not what the manifest says.
    StorageError
        If a file may not be read.
    """
    files = [file for file in entry.files if file.name.endswith(TENSOR_SUFFIX)]
    parts = [load_tensors(checked_path(root, file)) for file in files]
    if any(set(part) != set(entry.tensors) for part in parts) or (entry.tensors and not parts):
        seen = sorted({name for part in parts for name in part})
        raise CorruptArtifactError(f"'{artifact}' holds tensors {seen}, expected {sorted(entry.tensors)}.")
    return {
        name: _joined(f"{artifact}: tensor '{name}'", info, [part[name] for part in parts])
        for name, info in entry.tensors.items()
    }


def read_sound(root: Path, checks: Checks, artifact: str, entry: Artifact) -> dict[str, np.ndarray | RowArray]:
    """Map an artifact's tensors into memory, after they were held against digests and schema.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    checks : Checks
        Files that are known to be sound are not read again.
    artifact : str
        The artifact's name.
    entry : Artifact
        What the manifest says.

    Returns
    -------
    dict of str to ndarray or RowArray
        As `read_tensors` gives them.

    Raises
    ------
    CorruptArtifactError
        If a file is not what was written, or holds values that it may not.
    StorageError
        If a file may not be read.
    """
    states = {file: State.of(checked_path(root, file)) for file in entry.files}
    tensors = read_tensors(root, artifact, entry)
    unknown = [file for file in entry.files if not checks.knows(file)]
    if unknown:
        found = {file: checks.read(file) for file in unknown}
        check_values(artifact, entry, tensors)
        checks.keep(found)
    if any(State.of(root / file.name) != state for file, state in states.items()):
        raise CorruptArtifactError(f"'{artifact}' in {root} was changed while it was read.")
    return tensors


def _joined(where: str, info: TensorInfo, parts: list[np.ndarray]) -> np.ndarray | RowArray:
    """Return the parts as one array, if they are what the manifest says."""
    fits = all(part.dtype.name == info.dtype and part.shape[1:] == info.shape[1:] for part in parts)
    shape = parts[0].shape
    if len(parts) > 1 and all(part.ndim for part in parts):
        shape = (sum(len(part) for part in parts), *shape[1:])
    if not fits or shape != info.shape:
        raise CorruptArtifactError(f"{where} is {parts[0].dtype} {shape}, expected {info.dtype} {info.shape}.")
    return parts[0] if len(parts) == 1 else RowArray(parts)


def artifact_problems(root: Path, artifact: str, entry: Artifact) -> Iterator[tuple[str, str]]:
    """Read an artifact's files in full and compare them with the manifest.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    artifact : str
        The artifact's name, for messages.
    entry : Artifact
        What the manifest says.

    Yields
    ------
    tuple of (str, str)
        A file's name and what is wrong with it; nothing if all is well.
    """
    sound = True
    for file in entry.files:
        problem = _content_problem(root, file)
        if problem is not None:
            sound = False
            yield file.name, problem
    if sound:
        try:
            check_values(artifact, entry, read_tensors(root, artifact, entry))
        except CorruptArtifactError as error:
            yield entry.files[0].name, error.message


def _content_problem(root: Path, file: ArtifactFile) -> str | None:
    try:
        check_digest(checked_path(root, file), file.digest)
    except (CorruptArtifactError, StorageError) as error:
        return error.message
    return None

"""What the manifest is made of: records of finished stages and the artifacts that they made."""

from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict

from elfs.workspace.files import digest_json
from elfs.workspace.parsing import Digest, Dtype, FileName, Inputs, PlainPath, Size, fail, parse

__all__ = ["Artifact", "ArtifactFile", "Provenance", "Record", "TensorInfo", "artifact_digest"]


@dataclass(frozen=True)
class TensorInfo:
    """What a tensor is before its file is opened.

    Attributes
    ----------
    dtype : str
        NumPy's name, as in ``"float16"``.
    shape : tuple of int
        Shape of the whole, over all shards.
    """

    dtype: Dtype
    shape: tuple[Size, ...]


@dataclass(frozen=True)
class ArtifactFile:
    """One file of an artifact.

    Attributes
    ----------
    name : str
        Plain relative POSIX path below the workspace.
    num_bytes : int
        Size of the file.
    digest : str
        ``sha256:<hex>`` of the file's bytes.
    """

    name: FileName
    num_bytes: Size
    digest: Digest


def _sorted_files(value: Any, field: str) -> tuple[ArtifactFile, ...]:
    files: tuple[ArtifactFile, ...] = parse(tuple[ArtifactFile, ...], value, field)
    names = [file.name for file in files]
    if not files or names != sorted(set(names)):
        fail(field, "one or more files with sorted names", names)
    return files


@dataclass(frozen=True)
class Artifact:
    """Something that a stage made.

    Attributes
    ----------
    record : str
        Name of the record that made it.
    files : tuple of ArtifactFile
        At least one, sorted by name.
    tensors : dict of str to TensorInfo
        The tensors in its safetensors files; empty if it has none.
    metadata : dict
        Facts that belong to the artifact, such as the direction of each score.
    digest : str
        See `artifact_digest`.
    """

    record: PlainPath
    files: Annotated[tuple[ArtifactFile, ...], _sorted_files]
    tensors: dict[str, TensorInfo]
    metadata: dict[str, Any]
    digest: Digest


@dataclass(frozen=True)
class Record:
    """One finished run of a stage.

    Attributes
    ----------
    stage : str
        Name of the stage.
    config : dict
        Every option, as plain JSON values.
    inputs : dict of str to str
        Artifact names to the digest they had; names that begin with ``external:`` are not artifacts.
    outputs : tuple of str
        Names of the artifacts that it made, sorted.
    versions : dict of str to str
        Package names to versions.
    seed : int or None
        Seed of every random choice; None where nothing is random.
    smoke : bool
        Whether the run was cut short to test the machinery.
    summary : dict
        What the stage wants to tell people.
    """

    stage: PlainPath
    config: dict[str, Any]
    inputs: Inputs
    outputs: tuple[PlainPath, ...]
    versions: dict[str, str]
    seed: int | None
    smoke: bool
    summary: dict[str, Any]


class Provenance(TypedDict):
    """What a commit says about how its artifacts were made.

    Attributes
    ----------
    stage : str
        Name of the stage.
    config : dict
        Every option, as plain JSON values.
    inputs : dict of str to str
        Artifact names to the digests they had; names that begin with ``external:`` are not artifacts.
    seed : int or None
        Seed of every random choice.
    smoke : bool
        Whether the run was cut short to test the machinery.
    summary : dict
        What the stage wants to tell people; plain JSON values.
    metadata : dict of str to dict
        Facts of each artifact; an artifact that is not named has none.
    run : dict
        Wall-clock facts: started, seconds, host, device.
    source_root : str or None
        Directory of the images; left as it is in the manifest where it is not given.
    versions : dict of str to str
        Package names to versions; those that are installed where it is not given.
    """

    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    seed: int | None
    smoke: bool
    summary: dict[str, Any]
    metadata: dict[str, dict[str, Any]]
    run: dict[str, Any]
    source_root: NotRequired[str | None]
    versions: NotRequired[dict[str, str]]


def artifact_digest(files: tuple[ArtifactFile, ...]) -> str:
    """Return the digest of an artifact.

    Parameters
    ----------
    files : tuple of ArtifactFile
        Its files, sorted by name.

    Returns
    -------
    str
        For one file its digest; for several the digest of the canonical JSON of their ``[name, digest]`` pairs.
    """
    if len(files) == 1:
        return files[0].digest
    return digest_json([[file.name, file.digest] for file in files])

"""The manifest: what a workspace holds, parsed field by field and refused where a field is not what it should be."""

import dataclasses
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from elfs.errors import CorruptArtifactError
from elfs.workspace.files import (
    MAX_JSON_BYTES,
    atomic_write,
    is_plain_path,
    json_bytes,
    parse_json,
    storage_errors,
)
from elfs.workspace.lock import HOLDER_NAME, LOCK_NAME
from elfs.workspace.records import Artifact, ArtifactFile, Record, TensorInfo, artifact_digest
from elfs.workspace.tensors import DTYPES

__all__ = [
    "EXTERNAL",
    "FORMAT",
    "FORMAT_VERSION",
    "JOURNAL_NAME",
    "MANIFEST_NAME",
    "PARTIAL_NAME",
    "RESERVED_NAMES",
    "Artifact",
    "ArtifactFile",
    "Manifest",
    "Record",
    "TensorInfo",
    "read_manifest",
    "write_manifest",
]

FORMAT = "elfs-workspace"
FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
PARTIAL_NAME = "partial"
JOURNAL_NAME = "partial/journal.json"
EXTERNAL = "external:"
"""Inputs whose name begins so lie outside the workspace and are not artifacts."""

RESERVED_NAMES = {MANIFEST_NAME, PARTIAL_NAME, LOCK_NAME, HOLDER_NAME}
"""Names in the workspace's directory that no artifact may have."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DTYPE_NAMES = {dtype.name for dtype in DTYPES.values()}

T = TypeVar("T")


def _fail(field: str, expected: str, got: Any) -> NoReturn:
    raise CorruptArtifactError(f"field '{field}': expected {expected}, got {reprlib.repr(got)}.")


def _text(value: Any, field: str) -> str:
    return value if isinstance(value, str) else _fail(field, "a string", value)


def _optional_text(value: Any, field: str) -> str | None:
    return value if value is None or isinstance(value, str) else _fail(field, "a string or null", value)


def _size(value: Any, field: str) -> int:
    return value if type(value) is int and value >= 0 else _fail(field, "an integer of 0 or more", value)


def _seed(value: Any, field: str) -> int | None:
    return value if value is None or type(value) is int else _fail(field, "an integer or null", value)


def _flag(value: Any, field: str) -> bool:
    return value if isinstance(value, bool) else _fail(field, "true or false", value)


def _digest(value: Any, field: str) -> str:
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else _fail(field, "sha256:<64 hex>", value)


def _dtype(value: Any, field: str) -> str:
    names = ", ".join(sorted(_DTYPE_NAMES))
    return value if isinstance(value, str) and value in _DTYPE_NAMES else _fail(field, f"one of {names}", value)


def _name(value: Any, field: str) -> str:
    if isinstance(value, str) and is_plain_path(value):
        return value
    return _fail(field, "a plain relative path", value)


def _file_name(value: Any, field: str) -> str:
    if _name(value, field).split("/")[0] in RESERVED_NAMES:
        _fail(field, "a name that is not reserved", value)
    return str(value)


def _object(value: Any, field: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else _fail(field, "an object", value)


def _fields(value: Any, field: str, cls: type) -> dict[str, Any]:
    """Return `value` if it is an object with exactly the fields of a dataclass."""
    names = {item.name for item in dataclasses.fields(cls)}
    if set(_object(value, field)) != names:
        _fail(field, f"exactly the fields {', '.join(sorted(names))}", sorted(value))
    return _object(value, field)


def _list(value: Any, field: str, parse: Callable[[Any, str], T]) -> tuple[T, ...]:
    if not isinstance(value, list):
        _fail(field, "a list", value)
    return tuple(parse(item, f"{field}.{index}") for index, item in enumerate(value))


def _mapping(
    value: Any, field: str, parse: Callable[[Any, str], T], key: Callable[[Any, str], str] = _text
) -> dict[str, T]:
    items = _object(value, field).items()
    return {key(name, field): parse(item, f"{field}.{reprlib.repr(name)[1:-1]}") for name, item in items}


def _inputs(value: Any, field: str) -> dict[str, str]:
    inputs = _mapping(value, field, _text)
    for name, digest in inputs.items():
        if not name.startswith(EXTERNAL):
            _digest(digest, f"{field}.{_name(name, field)}")
    return inputs


def _tensor(value: Any, field: str) -> TensorInfo:
    got = _fields(value, field, TensorInfo)
    return TensorInfo(_dtype(got["dtype"], f"{field}.dtype"), _list(got["shape"], f"{field}.shape", _size))


def _file(value: Any, field: str) -> ArtifactFile:
    got = _fields(value, field, ArtifactFile)
    return ArtifactFile(
        name=_file_name(got["name"], f"{field}.name"),
        num_bytes=_size(got["num_bytes"], f"{field}.num_bytes"),
        digest=_digest(got["digest"], f"{field}.digest"),
    )


def _artifact(value: Any, field: str) -> Artifact:
    got = _fields(value, field, Artifact)
    files = _list(got["files"], f"{field}.files", _file)
    names = [file.name for file in files]
    if not files or names != sorted(set(names)):
        _fail(f"{field}.files", "one or more files with sorted names", names)
    digest = _digest(got["digest"], f"{field}.digest")
    if digest != artifact_digest(files):
        _fail(f"{field}.digest", f"{artifact_digest(files)}, made from its files", digest)
    return Artifact(
        record=_name(got["record"], f"{field}.record"),
        files=files,
        tensors=_mapping(got["tensors"], f"{field}.tensors", _tensor),
        metadata=_object(got["metadata"], f"{field}.metadata"),
        digest=digest,
    )


def _record(value: Any, field: str) -> Record:
    got = _fields(value, field, Record)
    return Record(
        stage=_name(got["stage"], f"{field}.stage"),
        config=_object(got["config"], f"{field}.config"),
        inputs=_inputs(got["inputs"], f"{field}.inputs"),
        outputs=_list(got["outputs"], f"{field}.outputs", _name),
        versions=_mapping(got["versions"], f"{field}.versions", _text),
        seed=_seed(got["seed"], f"{field}.seed"),
        smoke=_flag(got["smoke"], f"{field}.smoke"),
        summary=_object(got["summary"], f"{field}.summary"),
    )


def _format_version(value: Any, field: str) -> None:
    if type(value) is int and value > FORMAT_VERSION:
        raise CorruptArtifactError(
            f"field '{field}': {value} is newer than {FORMAT_VERSION}, the newest that this elfs reads; upgrade elfs.",
            hint="pip install --upgrade elfs",
        )
    if type(value) is not int or value != FORMAT_VERSION:
        _fail(field, str(FORMAT_VERSION), value)


@dataclass(frozen=True)
class Manifest:
    """Everything that a workspace says about itself.

    Attributes
    ----------
    source_root : str or None
        Directory of the images when they were embedded; the only absolute path.
    records : dict of str to Record
        Finished runs by name: the stage's name, or ``select/<name>``, ``train/<name>``.
    artifacts : dict of str to Artifact
        What those runs made, by name.
    runs : dict of str to dict
        Wall-clock facts of each record (started, seconds, host, device), outside every digest.
    """

    source_root: str | None = None
    records: dict[str, Record] = dataclasses.field(default_factory=dict)
    artifacts: dict[str, Artifact] = dataclasses.field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Return the manifest that some bytes hold.

        Parameters
        ----------
        data : bytes
            Contents of ``manifest.json``.

        Returns
        -------
        Manifest
            Checked in every field and for agreement between its parts.

        Raises
        ------
        CorruptArtifactError
            If the bytes are no manifest, or one of a newer format; the message names field, expected and got.
        """
        value = _object(parse_json(data, MANIFEST_NAME), MANIFEST_NAME)
        if value.get("format") != FORMAT:
            _fail("format", repr(FORMAT), value.get("format"))
        _format_version(value.get("format_version"), "format_version")
        got = _fields(
            {name: item for name, item in value.items() if name not in ("format", "format_version")}, MANIFEST_NAME, cls
        )
        manifest = cls(
            source_root=_optional_text(got["source_root"], "source_root"),
            records=_mapping(got["records"], "records", _record, _name),
            artifacts=_mapping(got["artifacts"], "artifacts", _artifact, _name),
            runs=_mapping(got["runs"], "runs", _object, _name),
        )
        manifest._check_agreement()
        return manifest

    def _check_agreement(self) -> None:
        made = sorted((output, name) for name, record in self.records.items() for output in record.outputs)
        owned = sorted((name, artifact.record) for name, artifact in self.artifacts.items())
        if made != owned:
            _fail("artifacts", f"the outputs of the records, {reprlib.repr(made)}", owned)
        if not set(self.runs) <= set(self.records):
            _fail("runs", f"some of the records {sorted(self.records)}", sorted(self.runs))
        names = [file.name for artifact in self.artifacts.values() for file in artifact.files]
        if len(set(names)) != len(names):
            _fail("artifacts", "files that belong to one artifact each", sorted(names))

    def to_bytes(self) -> bytes:
        """Return the bytes of ``manifest.json``; equal manifests give equal bytes.

        Returns
        -------
        bytes
            UTF-8 JSON with sorted keys and a trailing newline; ``parse`` gives the equal manifest back.
        """
        return json_bytes({"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)})

    def without_record(self, name: str) -> "Manifest":
        """Return the manifest without a record, its artifacts and its run.

        Parameters
        ----------
        name : str
            The record, there or not.

        Returns
        -------
        Manifest
            A new manifest.
        """
        return dataclasses.replace(
            self,
            records={key: item for key, item in self.records.items() if key != name},
            artifacts={key: item for key, item in self.artifacts.items() if item.record != name},
            runs={key: item for key, item in self.runs.items() if key != name},
        )

    def with_record(
        self, name: str, record: Record, artifacts: Mapping[str, Artifact], run: dict[str, Any]
    ) -> "Manifest":
        """Return the manifest with a record, in place of the one of that name.

        Parameters
        ----------
        name : str
            The record's name.
        record : Record
            The record.
        artifacts : mapping of str to Artifact
            What it made.
        run : dict
            Its wall-clock facts.

        Returns
        -------
        Manifest
            A new manifest.
        """
        rest = self.without_record(name)
        return dataclasses.replace(
            rest,
            records={**rest.records, name: record},
            artifacts={**rest.artifacts, **artifacts},
            runs={**rest.runs, name: run},
        )

    def with_source_root(self, root: str | None) -> "Manifest":
        """Return the manifest with another source root.

        Parameters
        ----------
        root : str or None
            Directory of the images; None where there is none.

        Returns
        -------
        Manifest
            A new manifest.
        """
        return dataclasses.replace(self, source_root=root)


def read_manifest(root: Path) -> Manifest:
    """Return the manifest of a workspace.

    Parameters
    ----------
    root : Path
        The workspace's directory.

    Returns
    -------
    Manifest
        Its manifest, checked.

    Raises
    ------
    CorruptArtifactError
        If the manifest cannot be read as one; the message names the file.
    StorageError
        If the file may not be read.
    """
    path = root / MANIFEST_NAME
    with storage_errors("read", path), path.open("rb") as file:
        data = file.read(MAX_JSON_BYTES + 1)
    try:
        return Manifest.parse(data)
    except CorruptArtifactError as error:
        hint = error.hint or "elfs embed SOURCE --workspace NEW_DIRECTORY"
        raise CorruptArtifactError(f"{path} is not usable: {error.message}", hint=hint) from None


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Replace the manifest of a workspace, atomically.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    manifest : Manifest
        What it shall say.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    with atomic_write(root / MANIFEST_NAME) as file:
        file.write(manifest.to_bytes())

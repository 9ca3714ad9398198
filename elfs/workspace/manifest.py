"""The manifest: what a workspace holds, parsed by the annotations of its fields and refused where one does not fit."""

import dataclasses
import functools
import os
import pickle
import reprlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elfs.errors import CorruptArtifactError, MissingUpstreamError
from elfs.workspace.documents import MAX_JSON_BYTES, parse_json
from elfs.workspace.files import atomic_write, digest_json, json_bytes, storage_errors
from elfs.workspace.names import EXTERNAL, JOURNAL_NAME, MANIFEST_NAME, PARTIAL_NAME, RESERVED_NAMES
from elfs.workspace.parsing import PlainPath, fail, parse, parse_fields, plain
from elfs.workspace.records import Artifact, ArtifactFile, Record, TensorInfo, artifact_digest

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
    "open_manifest",
    "read_manifest",
    "write_manifest",
]

FORMAT = "elfs-workspace"
FORMAT_VERSION = 1


def _format_version(value: Any, field: str) -> None:
    if type(value) is int and value > FORMAT_VERSION:
        raise CorruptArtifactError(
            f"field '{field}': {value} is newer than {FORMAT_VERSION}, the newest that this elfs reads; upgrade elfs.",
            hint="pip install --upgrade elfs",
        )
    if type(value) is not int or value != FORMAT_VERSION:
        fail(field, str(FORMAT_VERSION), value)


def _check_digest(value: dict[str, Any]) -> None:
    """Refuse a manifest of which anything but the spaces is not as it was written."""
    expected = digest_json({name: item for name, item in value.items() if name != "digest"})
    if value["digest"] != expected:
        raise CorruptArtifactError(
            f"field 'digest': expected {expected}, made from all other fields, got {reprlib.repr(value['digest'])}; "
            f"it is damaged or was edited: restore it from a copy, or remove its field 'digest' to take it as it is."
        )


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
    records: dict[PlainPath, Record] = dataclasses.field(default_factory=dict)
    artifacts: dict[PlainPath, Artifact] = dataclasses.field(default_factory=dict)
    runs: dict[PlainPath, dict[str, Any]] = dataclasses.field(default_factory=dict)

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
        manifest: Manifest = pickle.loads(_parsed(data))
        return manifest

    def _check_agreement(self) -> None:
        for name, artifact in self.artifacts.items():
            expected = artifact_digest(artifact.files)
            if artifact.digest != expected:
                fail(f"artifacts.{name}.digest", f"{expected}, made from its files", artifact.digest)
        made = sorted((output, name) for name, record in self.records.items() for output in record.outputs)
        owned = sorted((name, artifact.record) for name, artifact in self.artifacts.items())
        if made != owned:
            fail("artifacts", f"the outputs of the records, {reprlib.repr(made)}", owned)
        if not set(self.runs) <= set(self.records):
            fail("runs", f"some of the records {sorted(self.records)}", sorted(self.runs))
        names = [file.name for artifact in self.artifacts.values() for file in artifact.files]
        if len(set(names)) != len(names):
            fail("artifacts", "files that belong to one artifact each", sorted(names))

    def to_bytes(self) -> bytes:
        """Return the bytes of ``manifest.json``; equal manifests give equal bytes.

        Returns
        -------
        bytes
            UTF-8 JSON with sorted keys and a trailing newline; ``parse`` gives the equal manifest back.
        """
        value = {"format": FORMAT, "format_version": FORMAT_VERSION, **plain(self)}
        return json_bytes({**value, "digest": digest_json(value)})

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


@functools.lru_cache(maxsize=2)
def _parsed(data: bytes) -> bytes:
    """Return a manifest, checked and pickled: one command reads the same bytes several times, and gets its own copy."""
    value: dict[str, Any] = parse(dict[str, Any], parse_json(data, MANIFEST_NAME), MANIFEST_NAME)
    if value.get("format") != FORMAT:
        fail("format", repr(FORMAT), value.get("format"))
    _format_version(value.get("format_version"), "format_version")
    rest = {name: item for name, item in value.items() if name not in ("format", "format_version", "digest")}
    manifest = Manifest(**parse_fields(Manifest, rest, MANIFEST_NAME))
    manifest._check_agreement()
    if "digest" in value:  # manifests of the first days have none
        _check_digest(value)
    return pickle.dumps(manifest)


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


def open_manifest(root: Path) -> Manifest:
    """Return the manifest of a workspace that may not be there.

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
    MissingUpstreamError
        If there is no workspace.
    CorruptArtifactError
        If its manifest cannot be used, or is of a newer format.
    StorageError
        If its manifest may not be read.
    """
    with storage_errors("read", root):
        found = (root / MANIFEST_NAME).is_file()
    if not found and os.path.lexists(root / MANIFEST_NAME):
        raise CorruptArtifactError(
            f"{root / MANIFEST_NAME} is no file.", hint="elfs embed SOURCE --workspace NEW_DIRECTORY"
        )
    if not found:
        raise MissingUpstreamError(
            f"there is no workspace at {root}: it has no {MANIFEST_NAME}.",
            hint=f"elfs embed SOURCE --workspace {shlex.quote(str(root))}",
        )
    return read_manifest(root)


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

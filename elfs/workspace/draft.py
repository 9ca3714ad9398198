"""Where a stage writes before its results count: finished files outlive a kill, and one commit publishes them all."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from elfs.errors import MissingUpstreamError
from elfs.workspace.description import describe_files, installed_versions
from elfs.workspace.files import atomic_write, make_directory, remove_file, remove_tree, storage_errors, sync_directory
from elfs.workspace.journal import settle_journal, write_journal
from elfs.workspace.manifest import PARTIAL_NAME, Manifest
from elfs.workspace.paths import is_plain_path, path_inside
from elfs.workspace.records import Artifact, Provenance, Record
from elfs.workspace.temporary import TEMPORARY_NAME
from elfs.workspace.tensors import TENSOR_SUFFIX, load_tensors, save_tensors
from elfs.workspace.workspace import Workspace

__all__ = ["REQUEST_NAME", "Draft", "open_draft"]

REQUEST_NAME = "request.json"
"""A draft that holds this file is filled by several commands, one part each, and outlasts what others are refused."""

_MAX_SHARDS = 99_999


def _tensor_file(artifact: str, shard: tuple[int, int] | None) -> str:
    """Return the workspace-relative name of an artifact's tensor file."""
    stem = f"{artifact}/indices" if artifact.startswith("selections/") else artifact
    if shard is None:
        return stem + TENSOR_SUFFIX
    index, count = shard
    if not 0 <= index < count <= _MAX_SHARDS:
        raise ValueError(
            f"shard {index} of {count}: expected an index from 0 to {count - 1}, and at most 99,999 shards."
        )
    return f"{stem}-{index + 1:05d}-of-{count:05d}{TENSOR_SUFFIX}"


class Draft:
    """The unpublished output of one run of a stage.

    What is saved here outlives a kill, so that the next run with the same key goes on where this one stopped. Every
    file is whole or absent. Anything else that a stage keeps in `directory` (a checkpoint) is dropped at the commit.

    Parameters
    ----------
    workspace : Workspace
        Where the commit goes.
    record : str
        Name of the record that the commit makes.
    directory : Path
        The draft's own directory, which exists.
    """

    def __init__(self, workspace: Workspace, record: str, directory: Path) -> None:
        self.directory = directory
        self.record = record
        self._workspace = workspace

    def _path(self, artifact: str, name: str) -> Path:
        """Return where a file waits: below a directory that names the artifact, reversibly."""
        for text in (artifact, name):
            if not is_plain_path(text):
                raise ValueError(f"{text!r} is not a plain relative path.")
        folder = artifact.replace("%", "%25").replace("/", "%2F")
        return self.directory / "artifacts" / folder / name

    def save(self, artifact: str, tensors: Mapping[str, np.ndarray], *, shard: tuple[int, int] | None = None) -> None:
        """Write an artifact's tensors, or one shard of them.

        Parameters
        ----------
        artifact : str
            Name of the artifact.
        tensors : mapping of str to ndarray
            The tensors by name. Shards of one artifact have equal names, dtypes and trailing shapes.
        shard : tuple of (int, int), optional
            Index of the shard, counted from 0, and the number of shards. Shard ``(0, 3)`` becomes the file
            ``<artifact>-00001-of-00003.safetensors``.

        Raises
        ------
        ValueError
            If the artifact's name is no plain path, or the shard's index is out of range.
        StorageError
            If the file cannot be written.
        """
        path = self._path(artifact, _tensor_file(artifact, shard))
        make_directory(path.parent)
        save_tensors(path, tensors)

    def save_bytes(self, artifact: str, filename: str, data: bytes) -> None:
        """Write one file of an artifact.

        Parameters
        ----------
        artifact : str
            Name of the artifact.
        filename : str
            Where the file goes, relative to the workspace.
        data : bytes
            Contents of the file.

        Raises
        ------
        ValueError
            If a name is no plain relative path.
        StorageError
            If the file cannot be written.
        """
        path = self._path(artifact, filename)
        make_directory(path.parent)
        with atomic_write(path) as file:
            file.write(data)

    def link(self, artifact: str, path: Path, *, shard: tuple[int, int] | None = None) -> None:
        """Take a finished file of tensors as an artifact's, or a shard of it, without a copy where possible.

        Parameters
        ----------
        artifact : str
            Name of the artifact.
        path : Path
            The file, on the same file system; nobody writes to it any more.
        shard : tuple of (int, int), optional
            Index of the shard, counted from 0, and the number of shards.

        Raises
        ------
        ValueError
            If the artifact's name is no plain path, or the shard's index is out of range.
        StorageError
            If the file cannot be written.
        """
        target = self._path(artifact, _tensor_file(artifact, shard))
        make_directory(target.parent)
        if target.exists() and target.samefile(path):
            return
        remove_file(target)
        try:
            os.link(path, target)
        except OSError:  # a file system without hard links
            with atomic_write(target) as file, storage_errors("read", path), path.open("rb") as content:
                shutil.copyfileobj(content, file)
        with storage_errors("write", target):
            sync_directory(target.parent)

    @property
    def is_shared(self) -> bool:
        """Whether several commands fill it, one part each."""
        return (self.directory / REQUEST_NAME).is_file()

    def has_shard(self, artifact: str, shard: tuple[int, int] | None = None) -> bool:
        """Return whether tensors were saved, by this run or an earlier one with the same key.

        Parameters
        ----------
        artifact : str
            Name of the artifact.
        shard : tuple of (int, int), optional
            Index of the shard, counted from 0, and the number of shards; None for an artifact of one file.

        Returns
        -------
        bool
            True if the file is there, and then it is whole.
        """
        return self._path(artifact, _tensor_file(artifact, shard)).is_file()

    def load(self, artifact: str, shard: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
        """Return tensors that were saved.

        Parameters
        ----------
        artifact : str
            Name of the artifact.
        shard : tuple of (int, int), optional
            Index of the shard, counted from 0, and the number of shards; None for an artifact of one file.

        Returns
        -------
        dict of str to ndarray
            Read-only memory maps.

        Raises
        ------
        MissingUpstreamError
            If nobody saved them.
        """
        name = _tensor_file(artifact, shard)
        path = self._path(artifact, name)
        if not path.is_file():
            raise MissingUpstreamError(f"the draft of '{self.record}' holds no {name}.", hint=f"elfs {self.record}")
        return load_tensors(path)

    def _saved(self) -> Iterator[tuple[str, list[tuple[str, Path]]]]:
        """Yield each artifact with its files (workspace-relative name, path), both in sorted order."""
        for folder in sorted((self.directory / "artifacts").iterdir()):
            paths = sorted(
                path for path in folder.rglob("*") if path.is_file() and not TEMPORARY_NAME.search(path.name)
            )
            artifact = folder.name.replace("%2F", "/").replace("%25", "%")
            yield artifact, sorted((path.relative_to(folder).as_posix(), path) for path in paths)

    def commit(self, record: str, **provenance: Unpack[Provenance]) -> None:
        """Publish everything that was saved as one record, and drop the draft.

        The caller holds the writer's lock. A crash at any moment leaves a workspace that opens, with the old record,
        none or the new one.

        Parameters
        ----------
        record : str
            Name of the record; the name that the draft was made for.
        **provenance : Provenance
            How the artifacts were made, field by field.

        Raises
        ------
        ValueError
            If nothing was saved, shards are missing or differ, or the names do not fit the workspace.
        CorruptArtifactError
            If the manifest that would result is not valid, or a link leads out of the workspace.
        StorageError
            If a file cannot be written.
        """
        self._workspace.reload()
        settle_journal(self._workspace.path, self._workspace.manifest)
        with storage_errors("read", self.directory):
            saved = dict(self._saved()) if (self.directory / "artifacts").is_dir() else {}
            metadata = provenance["metadata"]
            self._check_names(record, saved, metadata)
            artifacts = {
                name: describe_files(record, name, files, metadata.get(name, {})) for name, files in saved.items()
            }
        before = self._workspace.manifest.without_record(record)
        after = self._with_record(artifacts, provenance)
        self._publish(before, after, {name: path for files in saved.values() for name, path in files})

    def _check_names(
        self, record: str, saved: dict[str, list[tuple[str, Path]]], metadata: dict[str, dict[str, Any]]
    ) -> None:
        if record != self.record:
            raise ValueError(f"this is the draft of '{self.record}', not of '{record}'.")
        if not saved:
            raise ValueError(f"nothing was saved in the draft of '{record}'.")
        if not set(metadata) <= set(saved):
            raise ValueError(f"metadata for {sorted(set(metadata) - set(saved))}, but only {sorted(saved)} were saved.")
        for name in saved:
            owner = self._workspace.manifest.artifacts.get(name)
            if owner is not None and owner.record != record:
                raise ValueError(f"artifact '{name}' belongs to '{owner.record}', not to '{record}'.")

    def _with_record(self, artifacts: dict[str, Artifact], provenance: Provenance) -> Manifest:
        """Return the manifest after the commit, parsed once so that nothing unreadable is ever written."""
        record = Record(
            stage=provenance["stage"],
            config=provenance["config"],
            inputs=provenance["inputs"],
            outputs=tuple(sorted(artifacts)),
            versions=provenance["versions"] if "versions" in provenance else installed_versions(),
            seed=provenance["seed"],
            smoke=provenance["smoke"],
            summary=provenance["summary"],
        )
        manifest = self._workspace.manifest.with_record(self.record, record, artifacts, provenance["run"])
        if "source_root" in provenance:
            manifest = manifest.with_source_root(provenance["source_root"])
        return Manifest.parse(manifest.to_bytes())

    def _publish(self, before: Manifest, after: Manifest, files: dict[str, Path]) -> None:
        """Take the old record away, put the files in place, name them in the manifest, drop what was replaced."""
        workspace = self._workspace
        root = workspace.path
        targets = {name: path_inside(root, name) for name in sorted(files)}
        old = {file.name for item in workspace.manifest.artifacts.values() for file in item.files}
        kept = {file.name for item in before.artifacts.values() for file in item.files}
        write_journal(root, old - kept, {name: path.relative_to(root).as_posix() for name, path in files.items()})
        if before != workspace.manifest:
            workspace.write_manifest(before)
        for name, target in targets.items():
            make_directory(target.parent)
            with storage_errors("write", target):
                os.replace(files[name], target)
        for directory in sorted({target.parent for target in targets.values()}):
            with storage_errors("write", directory):
                sync_directory(directory)
        workspace.write_manifest(after)
        settle_journal(root, after)

    def discard(self) -> None:
        """Remove the draft and all that was saved in it.

        Raises
        ------
        StorageError
            If something in it cannot be removed.
        """
        remove_tree(self.directory)
        for parent in (self.directory.parent, self.directory.parent.parent):
            with suppress(OSError):  # something else waits there
                parent.rmdir()


def open_draft(workspace: Workspace, record: str, key: str, *, tidy: bool = True) -> Draft:
    """Return the draft of a record with a key, and remove those with other keys, unless several commands fill them.

    Parameters
    ----------
    workspace : Workspace
        Where the draft waits and is committed.
    record : str
        Name of the record that will be made.
    key : str
        Digest of everything that decides the result.
    tidy : bool, default True
        Whether to remove others; who does not hold the writer's lock must not.

    Returns
    -------
    Draft
        The draft, with what an interrupted run saved in it.

    Raises
    ------
    ValueError
        If `record` is no plain path, or `key` no digest.
    StorageError
        If the directory cannot be made.
    """
    short = key.removeprefix("sha256:")[:16]
    if not is_plain_path(record) or not re.fullmatch("[0-9a-f]{16}", short):
        raise ValueError(f"draft of {record!r} with key {key!r}: expected a plain relative path and a digest.")
    home = path_inside(workspace.path, f"{PARTIAL_NAME}/{record.replace('/', '-')}")
    directory = home / short
    make_directory(directory)
    if tidy:
        with storage_errors("remove old drafts in", home):
            for other in home.iterdir():
                if other != directory and not (other / REQUEST_NAME).is_file():
                    remove_tree(other)
    return Draft(workspace, record, directory)

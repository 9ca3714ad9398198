"""The workspace: one directory that says what it holds, what is stale, and which file is broken."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from elfs.errors import CorruptArtifactError, MissingUpstreamError
from elfs.workspace.checks import Checks
from elfs.workspace.commands import rebuilding
from elfs.workspace.directory import prepare_directory, remove_empty_directory
from elfs.workspace.documents import MAX_JSON_BYTES, parse_json
from elfs.workspace.files import remove_leftovers, storage_errors
from elfs.workspace.freshness import stale_reason
from elfs.workspace.journal import settle_journal, write_journal
from elfs.workspace.manifest import Manifest, open_manifest, read_manifest, write_manifest
from elfs.workspace.reading import Finding, artifact_problems, check_digest, checked_path, read_sound
from elfs.workspace.records import Artifact, ArtifactFile, Record
from elfs.workspace.tensors import TENSOR_SUFFIX, RowArray

__all__ = ["Finding", "Workspace"]


class Workspace:
    """A directory of artifacts with its manifest.

    Made by `create` or `open`. Reading needs no lock; whatever changes the workspace is called while the caller holds
    `elfs.workspace.lock.writer_lock`.

    Parameters
    ----------
    path : Path
        The directory; kept as an attribute.
    manifest : Manifest
        What it holds; kept as an attribute, which `reload` and every write of this object renew.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._checks = Checks(path)

    @classmethod
    def create(cls, path: Path) -> "Workspace":
        """Open a workspace, making it first if there is none.

        Parameters
        ----------
        path : Path
            The directory; made with its parents if need be.

        Returns
        -------
        Workspace
            The workspace, empty if it is new.

        Raises
        ------
        UsageError
            If `path` is a file, or a directory that holds other things.
        CorruptArtifactError
            If there is a manifest that cannot be used.
        StorageError
            If the directory cannot be made or written.
        """
        if prepare_directory(path):
            write_manifest(path, Manifest())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Workspace":
        """Open a workspace that exists.

        Parameters
        ----------
        path : Path
            The directory.

        Returns
        -------
        Workspace
            The workspace.

        Raises
        ------
        MissingUpstreamError
            If there is none.
        CorruptArtifactError
            If its manifest cannot be used, or is of a newer format.
        StorageError
            If its manifest may not be read.
        """
        return cls(path, open_manifest(path))

    def reload(self) -> None:
        """Read the manifest again.

        Raises
        ------
        CorruptArtifactError
            If it cannot be used.
        StorageError
            If it may not be read.
        """
        self.manifest = read_manifest(self.path)

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest, here and on the disk.

        Parameters
        ----------
        manifest : Manifest
            What the workspace shall say of itself.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        write_manifest(self.path, manifest)
        self.manifest = manifest

    def set_source_root(self, root: str | None) -> None:
        """Record where the images are now.

        Parameters
        ----------
        root : str or None
            Directory of the images.

        Raises
        ------
        StorageError
            If the manifest cannot be written.
        """
        self.reload()
        self.write_manifest(self.manifest.with_source_root(root))

    def has(self, artifact: str) -> bool:
        """Return whether the manifest names an artifact.

        Parameters
        ----------
        artifact : str
            Its name.

        Returns
        -------
        bool
            True if some stage made it; it may be stale.
        """
        return artifact in self.manifest.artifacts

    def _artifact(self, artifact: str) -> Artifact:
        if artifact not in self.manifest.artifacts:
            raise MissingUpstreamError(f"{self.path} holds no artifact '{artifact}'.", hint="elfs status")
        return self.manifest.artifacts[artifact]

    def _record(self, record: str) -> Record:
        if record not in self.manifest.records:
            raise MissingUpstreamError(f"{self.path} holds no record '{record}'.", hint=f"elfs {record.split('/')[0]}")
        return self.manifest.records[record]

    def _hint(self, entry: Artifact) -> str | None:
        return rebuilding(self.manifest, entry.record, self.path)

    @contextmanager
    def _hinted(self, entry: Artifact) -> Iterator[None]:
        """Add the command that makes `entry` anew to what is found to be wrong with it."""
        try:
            yield
        except CorruptArtifactError as error:
            raise CorruptArtifactError(error.message, hint=self._hint(entry)) from None

    def tensors(self, artifact: str) -> dict[str, np.ndarray | RowArray]:
        """Return an artifact's tensors, mapped into memory, once they were found to be what was written.

        Parameters
        ----------
        artifact : str
            Its name.

        Returns
        -------
        dict of str to ndarray or RowArray
            Read-only memory maps, by name; a `RowArray` where the artifact has several shards.

        Raises
        ------
        MissingUpstreamError
            If the manifest does not name the artifact.
        CorruptArtifactError
            If a file is missing or broken, its digest, names, dtypes, shapes or size are not those of the manifest, or
            a value is not one that the artifact may hold.
        StorageError
            If a file may not be read.
        """
        entry = self._artifact(artifact)
        with self._hinted(entry):
            return read_sound(self.path, self._checks, artifact, entry)

    def _plain_file(self, artifact: str) -> tuple[Artifact, ArtifactFile]:
        entry = self._artifact(artifact)
        plain = [file for file in entry.files if not file.name.endswith(TENSOR_SUFFIX)] or list(entry.files)
        if len(plain) != 1:
            raise ValueError(f"artifact '{artifact}' has {len(plain)} files to choose from, expected one.")
        return entry, plain[0]

    def arrays(self, artifact: str) -> dict[str, np.ndarray]:
        """Return an artifact's tensors as plain arrays; for what fits into memory many times over.

        Parameters
        ----------
        artifact : str
            Its name.

        Returns
        -------
        dict of str to ndarray
            As `tensors` gives them and refuses them, but the shards of an artifact are read and joined.
        """
        return {
            name: tensor.read(0, len(tensor)) if isinstance(tensor, RowArray) else tensor
            for name, tensor in self.tensors(artifact).items()
        }

    def check(self, artifacts: Iterable[str]) -> None:
        """Make sure that artifacts are what was written; what is known already, and was not touched, is not read again.

        Parameters
        ----------
        artifacts : iterable of str
            Their names. Selections are left out: what is read of them is compared whenever it is.

        Raises
        ------
        MissingUpstreamError
            If the manifest does not name one.
        CorruptArtifactError
            If one is not; the hint is the command that makes it anew.
        StorageError
            If a file may not be read.
        """
        for artifact in artifacts:
            if not artifact.startswith("selections/"):
                self.tensors(artifact)

    def contents(self, artifact: str) -> bytes:
        """Return the contents of an artifact's one file that holds no tensors, or of its only file.

        Parameters
        ----------
        artifact : str
            Its name.

        Returns
        -------
        bytes
            As the manifest states them.

        Raises
        ------
        MissingUpstreamError
            If the manifest does not name the artifact.
        CorruptArtifactError
            If the file is missing or differs from its digest.
        StorageError
            If the file may not be read.
        ValueError
            If the artifact has several such files.
        """
        entry, file = self._plain_file(artifact)
        with self._hinted(entry):
            path = checked_path(self.path, file)
            check_digest(path, file.digest)
            with storage_errors("read", path):
                return path.read_bytes()

    def json(self, artifact: str) -> Any:
        """Return the values of an artifact's JSON file.

        Parameters
        ----------
        artifact : str
            Its name.

        Returns
        -------
        Any
            Plain JSON values of `contents`, which says what is refused.

        Raises
        ------
        CorruptArtifactError
            If the file is no JSON, besides.
        """
        entry, file = self._plain_file(artifact)
        with self._hinted(entry):
            if file.num_bytes > MAX_JSON_BYTES:
                raise CorruptArtifactError(f"{self.path / file.name} is larger than any JSON document that is read.")
            return parse_json(self.contents(artifact), str(self.path / file.name))

    def stale_reason(self, record: str) -> str | None:
        """Return why a record no longer follows from its inputs.

        Parameters
        ----------
        record : str
            Name of the record.

        Returns
        -------
        str or None
            A clause for people, such as "embeddings were rebuilt after it (embed)"; None if the record is fresh, as
            every selection is.

        Raises
        ------
        MissingUpstreamError
            If there is no such record.
        """
        self._record(record)
        return stale_reason(self.manifest, record)

    def remove(self, record: str) -> None:
        """Remove a record, its artifacts and their files; the manifest goes first.

        Parameters
        ----------
        record : str
            Name of the record.

        Raises
        ------
        MissingUpstreamError
            If there is no such record.
        StorageError
            If a file cannot be removed.
        """
        self.reload()
        self._record(record)
        settle_journal(self.path, self.manifest)
        doomed = [entry for entry in self.manifest.artifacts.values() if entry.record == record]
        write_journal(self.path, {file.name for entry in doomed for file in entry.files}, {})
        self.write_manifest(self.manifest.without_record(record))
        settle_journal(self.path, self.manifest)

    def verify(self) -> list[Finding]:
        """Read every file in full and compare it with the manifest.

        Returns
        -------
        list of Finding
            What is wrong, in order of artifact and file; empty if all is well.
        """
        return [
            Finding(name, file, problem, self._hint(entry))
            for name, entry in sorted(self.manifest.artifacts.items())
            for file, problem in artifact_problems(self.path, name, entry)
        ]

    def clean_leftovers(self) -> None:
        """Put right what a crash left: an unfinished commit or removal, temporary files of dead processes.

        Raises
        ------
        CorruptArtifactError
            If the manifest or the journal cannot be used.
        StorageError
            If a file cannot be moved or removed.
        """
        self.reload()
        settle_journal(self.path, self.manifest)
        remove_leftovers(self.path)

    def remove_if_empty(self, *, keep_directory: bool = False) -> None:
        """Remove the workspace if no stage has finished in it and no draft waits in it.

        Parameters
        ----------
        keep_directory : bool, default False
            Leave the directory itself, empty: it was there before.

        Raises
        ------
        StorageError
            If it cannot be removed.
        """
        if not self.manifest.records:
            remove_empty_directory(self.path, keep=keep_directory)

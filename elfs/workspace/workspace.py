"""The workspace: one directory that says what it holds, what is stale, and which file is broken."""

from pathlib import Path

from elfs.errors import MissingUpstreamError
from elfs.workspace.artifacts import Artifacts
from elfs.workspace.commands import rebuilding
from elfs.workspace.directory import prepare_directory, remove_empty_directory
from elfs.workspace.files import remove_leftovers
from elfs.workspace.freshness import stale_reason
from elfs.workspace.journal import settle_journal, write_journal
from elfs.workspace.manifest import Manifest, open_manifest, read_manifest, write_manifest
from elfs.workspace.reading import Finding, artifact_problems
from elfs.workspace.records import Record

__all__ = ["Finding", "Workspace"]


class Workspace(Artifacts):
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

    def _record(self, record: str) -> Record:
        if record not in self.manifest.records:
            raise MissingUpstreamError(f"{self.path} holds no record '{record}'.", hint=f"elfs {record.split('/')[0]}")
        return self.manifest.records[record]

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
            Finding(name, file, problem, rebuilding(self.manifest, entry.record, self.path))
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

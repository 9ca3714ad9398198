"""What a workspace holds, read: every file is compared with the manifest before its contents are used."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from elfs.errors import CorruptArtifactError, MissingUpstreamError
from elfs.workspace.checks import Checks
from elfs.workspace.commands import rebuilding
from elfs.workspace.documents import MAX_JSON_BYTES, parse_json
from elfs.workspace.files import storage_errors
from elfs.workspace.manifest import Manifest
from elfs.workspace.parsing import Facts
from elfs.workspace.reading import check_digest, checked_path, read_sound
from elfs.workspace.records import Artifact, ArtifactFile
from elfs.workspace.tensors import TENSOR_SUFFIX, RowArray

__all__ = ["Artifacts"]

F = TypeVar("F", bound=Facts)


class Artifacts:
    """The artifacts that a manifest names, to be read; this needs no lock.

    Parameters
    ----------
    path : Path
        The directory; kept as an attribute.
    manifest : Manifest
        What it holds; kept as an attribute.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._checks = Checks(path)

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

    @contextmanager
    def _hinted(self, record: str) -> Iterator[None]:
        """Add the command that makes a record anew to what is found to be wrong with it, or that there is none."""
        try:
            yield
        except CorruptArtifactError as error:
            hint = rebuilding(self.manifest, record, self.path)
            message = error.message if hint else f"{error.message} No command makes it again: restore it from a copy."
            raise CorruptArtifactError(message, hint=hint) from None

    def metadata(self, artifact: str, kind: type[F]) -> F:
        """Return what a stage has noted about an artifact.

        Parameters
        ----------
        artifact : str
            Its name.
        kind : type
            The dataclass that reads it.

        Returns
        -------
        Facts
            Of that kind.

        Raises
        ------
        MissingUpstreamError
            If the manifest does not name the artifact.
        CorruptArtifactError
            If a field is not what it should be; the hint makes the artifact anew.
        """
        entry = self._artifact(artifact)
        with self._hinted(entry.record):
            return kind.of(entry.metadata, f"artifacts.{artifact}.metadata")

    def document(self, artifact: str, kind: type[F]) -> F:
        """Return what an artifact that is one JSON document says.

        Parameters
        ----------
        artifact : str
            Its name.
        kind : type
            The dataclass that reads it.

        Returns
        -------
        Facts
            Of that kind.

        Raises
        ------
        CorruptArtifactError
            As `json` does, and if a field is not what it should be; the hint makes the artifact anew.
        """
        entry, value = self._artifact(artifact), self.json(artifact)
        with self._hinted(entry.record):
            return kind.of(value, artifact)

    def summary(self, record: str, kind: type[F]) -> F:
        """Return what a stage has reported.

        Parameters
        ----------
        record : str
            A record of the manifest.
        kind : type
            The dataclass that reads it.

        Returns
        -------
        Facts
            Of that kind.

        Raises
        ------
        CorruptArtifactError
            If a field is not what it should be; the hint makes the record anew.
        """
        with self._hinted(record):
            return kind.of(self.manifest.records[record].summary, f"records.{record}.summary")

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
        with self._hinted(entry.record):
            return read_sound(self.path, self._checks, artifact, entry)

    def _plain_file(self, artifact: str, name: str | None = None) -> tuple[Artifact, ArtifactFile]:
        entry = self._artifact(artifact)
        plain = [file for file in entry.files if not file.name.endswith(TENSOR_SUFFIX)] or list(entry.files)
        plain = [file for file in plain if name in (None, file.name)]
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

    def contents(self, artifact: str, name: str | None = None) -> bytes:
        """Return the contents of an artifact's one file that holds no tensors, or of its only file.

        Parameters
        ----------
        artifact : str
            Its name.
        name : str, optional
            Of the file, below the workspace, where the artifact has several.

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
            If the artifact has several such files, or none of that name.
        """
        entry, file = self._plain_file(artifact, name)
        with self._hinted(entry.record):
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
        with self._hinted(entry.record):
            if file.num_bytes > MAX_JSON_BYTES:
                raise CorruptArtifactError(f"{self.path / file.name} is larger than any JSON document that is read.")
            return parse_json(self.contents(artifact), str(self.path / file.name))

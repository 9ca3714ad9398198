"""Which files were read in full and found to be what the manifest says, so that none is hashed more often than needed.

A process hashes a file when it first reads from it, and again where the file has been touched since. A large file that
was found sound is noted in ``.checked`` with its size, times and inode, and not hashed again by later commands while
these stay the same. The note is a convenience: it may be absent, damaged, or not writable.
"""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from elfs import __version__
from elfs.errors import CorruptArtifactError, StorageError
from elfs.workspace.documents import parse_json
from elfs.workspace.files import atomic_write, json_bytes, sha256_file, storage_errors
from elfs.workspace.names import CHECKED_NAME
from elfs.workspace.records import ArtifactFile

__all__ = ["LARGE_BYTES", "Checks", "State"]

LARGE_BYTES = 4 << 20
"""Files from this size on are noted in ``.checked``; smaller ones are hashed by every command that reads them."""

_SETTLED_SECONDS = 2.0
"""Age from which times tell two writes apart on every file system."""

_MAX_NOTE_BYTES = 16 << 20


class State(NamedTuple):
    """What changes when a file does.

    Attributes
    ----------
    num_bytes, modified, changed, inode : int
        Size; times of the last write and of the last change of anything about the file, in nanoseconds; number of the
        file in its file system.
    """

    num_bytes: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "State":
        """Return the state of a file.

        Parameters
        ----------
        path : Path
            The file, which is there.

        Returns
        -------
        State
            As the file system says.

        Raises
        ------
        StorageError
            If it may not be looked at.
        """
        with storage_errors("read", path):
            found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class Checks:
    """The files of one workspace that are known to be sound.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[State, str]] = {}
        self._noted: dict[str, tuple[State, str]] | None = None

    def knows(self, file: ArtifactFile) -> bool:
        """Return whether a file was found sound, by this process or an earlier one, and nobody has touched it since.

        Parameters
        ----------
        file : ArtifactFile
            What the manifest says; the file is there.

        Returns
        -------
        bool
            False where it has to be read.
        """
        seen = State.of(self._root / file.name), file.digest
        if self._known.get(file.name) == seen:
            return True
        return file.num_bytes >= LARGE_BYTES and self._notes().get(file.name) == seen

    def read(self, file: ArtifactFile) -> State:
        """Read a file in full and compare it with its digest.

        Parameters
        ----------
        file : ArtifactFile
            What the manifest says; the file is there.

        Returns
        -------
        State
            Of the file before it was read.

        Raises
        ------
        CorruptArtifactError
            If its digest is another one.
        StorageError
            If it cannot be read.
        """
        path = self._root / file.name
        state = State.of(path)
        digest = sha256_file(path)
        if digest != file.digest:
            raise CorruptArtifactError(f"{path} has digest {digest}, expected {file.digest}.")
        return state

    def keep(self, found: dict[ArtifactFile, State]) -> None:
        """Remember that files were found sound.

        Parameters
        ----------
        found : dict of ArtifactFile to State
            The files with the state in which they were read.
        """
        entries = {file.name: (state, file.digest) for file, state in found.items()}
        self._known |= entries
        settled = time.time_ns() - int(_SETTLED_SECONDS * 1e9)
        large = {
            name: (state, digest)
            for name, (state, digest) in entries.items()
            if state.num_bytes >= LARGE_BYTES and max(state.modified, state.changed) < settled
        }
        if large:
            self._noted = None  # others may have written meanwhile
            self._write({name: entry for name, entry in self._notes().items() if name not in large} | large)

    def _notes(self) -> dict[str, tuple[State, str]]:
        if self._noted is None:
            self._noted = _read_notes(self._root / CHECKED_NAME)
        return self._noted

    def _write(self, notes: dict[str, tuple[State, str]]) -> None:
        self._noted = {name: entry for name, entry in notes.items() if os.path.exists(self._root / name)}
        document = {name: [*state, digest] for name, (state, digest) in self._noted.items()}
        try:
            with atomic_write(self._root / CHECKED_NAME) as file:
                file.write(json_bytes({"elfs": __version__, "files": document}))
        except StorageError:  # a reader of what belongs to somebody else
            pass


def _read_notes(path: Path) -> dict[str, tuple[State, str]]:
    """Return what is noted; nothing where the note is not one of this version, which knows what to look at."""
    try:
        if path.stat().st_size > _MAX_NOTE_BYTES:
            return {}
        value: Any = parse_json(path.read_bytes(), str(path))
        if value["elfs"] != __version__:
            return {}
        return {
            str(name): (State(int(size), int(modified), int(changed), int(inode)), str(digest))
            for name, (size, modified, changed, inode, digest) in value["files"].items()
        }
    except (OSError, CorruptArtifactError, LookupError, TypeError, ValueError, AttributeError):
        return {}

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs import __version__
from elfs.errors import CorruptArtifactError, StorageError
from elfs.workspace import checks
from elfs.workspace.files import sha256_file
from elfs.workspace.names import CHECKED_NAME
from elfs.workspace.workspace import Workspace


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that are hashed from now on."""
    names: list[str] = []

    def note(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(checks, "sha256_file", note)
    return names


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every file a large one whose times are old enough."""
    monkeypatch.setattr(checks, "LARGE_BYTES", 1)
    monkeypatch.setattr(checks, "_SETTLED_SECONDS", -60.0)


FILE = "embeddings.safetensors"


@pytest.fixture
def path(builder: Any) -> Path:
    builder.commit("embed", "embeddings", {"embeddings": np.ones((4, 2), np.float32)})
    root: Path = builder.workspace.path
    return root


def change(path: Path, position: int = -1) -> None:
    """Change one byte and put the time of modification back."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_small_file_is_hashed_once_by_each_process_and_nothing_is_written(path: Path, hashed: list[str]) -> None:
    names = os.listdir(path)
    workspace = Workspace.open(path)
    workspace.tensors("embeddings")
    workspace.check(["embeddings"])
    assert hashed == [FILE]
    Workspace.open(path).tensors("embeddings")
    assert hashed == [FILE, FILE]
    assert os.listdir(path) == names


@pytest.mark.usefixtures("large")
def test_a_large_file_is_hashed_by_the_first_process_alone(path: Path, hashed: list[str]) -> None:
    for _ in range(3):
        Workspace.open(path).tensors("embeddings")
    assert hashed == [FILE]
    assert set(json.loads((path / CHECKED_NAME).read_bytes())) == {"elfs", "files"}


@pytest.mark.parametrize("is_large", [False, True])
def test_what_was_touched_is_hashed_again_even_with_its_old_time(
    path: Path, is_large: bool, request: pytest.FixtureRequest
) -> None:
    if is_large:
        request.getfixturevalue("large")
    workspace = Workspace.open(path)
    workspace.tensors("embeddings")
    change(path / FILE)
    for opened in (workspace, Workspace.open(path)):
        with pytest.raises(CorruptArtifactError, match="has digest sha256:"):
            opened.tensors("embeddings")


def test_young_files_are_not_noted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LARGE_BYTES", 1)
    Workspace.open(path).tensors("embeddings")
    assert not (path / CHECKED_NAME).exists()


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"elfs": 1, "files": {}}',
        b'{"elfs": "VERSION", "files": []}',
        b'{"elfs": "VERSION", "files": {"embeddings.safetensors": 3}}',
        b'{"elfs": "VERSION", "files": {"embeddings.safetensors": [1, 2, 3, "x", "sha256:"]}}',
        b"[" * 100_000,
    ],
)
def test_a_note_that_cannot_be_read_counts_as_none(path: Path, note: bytes, hashed: list[str]) -> None:
    (path / CHECKED_NAME).write_bytes(note.replace(b"VERSION", __version__.encode()))
    Workspace.open(path).tensors("embeddings")
    assert hashed == [FILE]


@pytest.mark.usefixtures("large")
def test_a_note_that_is_too_large_counts_as_none(
    path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Workspace.open(path).tensors("embeddings")
    monkeypatch.setattr(checks, "_MAX_NOTE_BYTES", 10)
    Workspace.open(path).tensors("embeddings")
    assert hashed == [FILE, FILE]


@pytest.mark.usefixtures("large")
def test_row_23_a_workspace_that_may_not_be_written_can_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Path) -> None:
        raise StorageError(f"cannot write {place}: Permission denied.")

    monkeypatch.setattr(checks, "atomic_write", refuse)
    Workspace.open(path).tensors("embeddings")
    assert not (path / CHECKED_NAME).exists()


def test_a_file_that_is_replaced_while_it_is_read_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replacing(file: Path) -> str:
        digest = sha256_file(file)
        (path / "new").write_bytes(file.read_bytes())
        os.replace(path / "new", file)
        return digest

    monkeypatch.setattr(checks, "sha256_file", replacing)
    with pytest.raises(CorruptArtifactError, match=r"'embeddings' in .* was changed while it was read"):
        Workspace.open(path).tensors("embeddings")

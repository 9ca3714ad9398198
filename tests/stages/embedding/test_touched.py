"""Files that are written again under the same name with the same size."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfs.pipeline.known import known
from elfs.stages.embedding import rows as embedding_rows
from elfs.workspace.names import TIMES_NAME
from elfs.workspace.workspace import Workspace
from tests.chain import artifacts_of, config, run_stage

NUM = 12


def draw(path: Path, level: int) -> None:
    Image.new("RGB", (8, 8), (level, 2 * level, 90)).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(NUM):
        draw(folder / f"{number:02d}.bmp", 5 * number)
    return folder


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of rows that are embedded from now on."""
    counts: list[int] = []
    original = embedding_rows.RowEncoder.encode

    def note(self: embedding_rows.RowEncoder, runs: list[tuple[int, int]], check: object) -> None:
        known = np.full(len(self.table), -1) if self.known is None else self.known.position
        counts.append(int(sum(np.count_nonzero(known[slice(*run)] < 0) for run in runs)))
        original(self, runs, check)  # type: ignore[arg-type]

    monkeypatch.setattr(embedding_rows.RowEncoder, "encode", note)
    return counts


def embed(workspace: Path, pictures: Path, encoder: str = "pixels") -> bool:
    return run_stage("embed", workspace, root=pictures, source="folder", encoder=encoder).ran


def later(path: Path, seconds: int = 5) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


def test_row_44_a_file_of_the_same_size_is_embedded_again_alone(
    pictures: Path, tmp_path: Path, workspace: Path, encoded: list[int]
) -> None:
    assert embed(workspace, pictures)
    assert (workspace / TIMES_NAME).is_file()
    size = (pictures / "03.bmp").stat().st_size
    draw(pictures / "03.bmp", 200)
    later(pictures / "03.bmp")
    assert (pictures / "03.bmp").stat().st_size == size
    encoded.clear()
    assert embed(workspace, pictures)
    assert encoded == [1]
    assert embed(tmp_path / "straight", pictures)
    assert artifacts_of(workspace) == artifacts_of(tmp_path / "straight")
    assert not embed(workspace, pictures)


def test_row_44_a_file_that_was_touched_alone_is_not_embedded_again(
    pictures: Path, workspace: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embed(workspace, pictures)
    for path in pictures.iterdir():
        later(path)
    before = Workspace.open(workspace).manifest
    encoded.clear()
    assert not embed(workspace, pictures)
    assert encoded == []
    assert Workspace.open(workspace).manifest == before
    monkeypatch.setattr("elfs.stages.embedding.batches.inspect_images", None)
    assert not embed(workspace, pictures)  # the new times are known now


def test_row_44_a_file_that_breaks_and_one_that_is_mended_are_noticed(pictures: Path, workspace: Path) -> None:
    good = (pictures / "03.bmp").read_bytes()
    (pictures / "03.bmp").write_bytes(bytes(len(good)))
    assert embed(workspace, pictures)
    (pictures / "03.bmp").write_bytes(good)
    later(pictures / "03.bmp")
    assert embed(workspace, pictures)
    assert Workspace.open(workspace).arrays("samples")["outcome"].tolist() == [0] * NUM
    (pictures / "04.bmp").write_bytes(bytes(len(good)))
    later(pictures / "04.bmp")
    assert embed(workspace, pictures)
    assert Workspace.open(workspace).arrays("samples")["outcome"][4] == 2


def test_what_was_added_does_not_hide_what_was_replaced(pictures: Path, tmp_path: Path, workspace: Path) -> None:
    assert embed(workspace, pictures)
    draw(pictures / "00a.bmp", 77)
    draw(pictures / "05.bmp", 201)
    later(pictures / "05.bmp")
    assert embed(workspace, pictures)
    assert embed(tmp_path / "straight", pictures)
    assert artifacts_of(workspace) == artifacts_of(tmp_path / "straight")


@pytest.mark.parametrize("note", [None, b"", b"\xff" * 100])
def test_without_times_nothing_is_known_and_nothing_is_done(
    pictures: Path, workspace: Path, note: bytes | None
) -> None:
    assert embed(workspace, pictures)
    (workspace / TIMES_NAME).unlink()
    if note is not None:
        (workspace / TIMES_NAME).write_bytes(note)
    assert not embed(workspace, pictures)
    draw(pictures / "05.bmp", 201)
    later(pictures / "05.bmp")
    assert embed(workspace, pictures)


def test_what_is_there_is_known_until_a_file_is_written_or_added(pictures: Path, workspace: Path) -> None:
    def is_known(root: Path | None = None, **changes: str) -> bool:
        told = config("embed", source="folder", **({"encoder": "pixels"} | changes))
        return known("embed", workspace, told, root) is not None

    assert not is_known(pictures)
    assert embed(workspace, pictures)
    assert is_known(pictures)
    assert is_known()
    assert not is_known(pictures, encoder="patches")
    (pictures / "more").mkdir()
    assert not is_known(pictures / "more")  # not even looked at: it holds no image
    assert is_known(pictures)
    later(pictures / "03.bmp")
    assert not is_known(pictures)
    assert not embed(workspace, pictures)
    assert is_known(pictures)  # the new time is noted
    (workspace / TIMES_NAME).unlink()
    assert not is_known(pictures)
    assert not embed(workspace, pictures)
    assert is_known(pictures)
    draw(pictures / "00a.bmp", 77)
    assert not is_known(pictures)

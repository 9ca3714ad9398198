import os
from pathlib import Path

import pytest

from elfs.delivery.places import publish_directory, publish_file
from elfs.errors import StorageError, UsageError
from elfs.workspace.temporary import host_mark


def nothing() -> bytes:
    raise AssertionError("the contents were made for nothing")


def fill(directory: Path) -> None:
    (directory / "deep").mkdir()
    (directory / "deep/new.txt").write_text("new")
    (directory / "top.txt").write_text("new")


def stop(directory: Path) -> None:
    fill(directory)
    raise StorageError("cannot write: no space left.")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    publish_file(tmp_path / "a/b/x.csv", lambda: b"data", force=False)
    assert (tmp_path / "a/b/x.csv").read_bytes() == b"data"
    assert names(tmp_path / "a/b") == ["x.csv"]


def test_a_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"x\.csv is there already: give another --output, or --force"):
        publish_file(path, nothing, force=False)
    assert path.read_bytes() == b"old"
    publish_file(path, lambda: b"new", force=True)
    assert path.read_bytes() == b"new"


def test_a_file_needs_a_place_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--output is the folder .*, expected a file"):
        publish_file(tmp_path, nothing, force=True)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_appears_where_nothing_is(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "made/out"
    if exists:
        path.mkdir(parents=True)
    publish_directory(path, fill, force=False)
    assert names(path) == ["deep", "deep/new.txt", "top.txt"]
    assert names(tmp_path / "made") == ["out", *(f"out/{name}" for name in names(path))]


def test_the_current_folder_is_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    publish_directory(Path(), fill, force=False)
    assert names(tmp_path / "here") == ["deep", "deep/new.txt", "top.txt"]
    assert names(tmp_path)[0] == "here"


def test_a_folder_that_is_not_empty_is_kept(tmp_path: Path) -> None:
    (tmp_path / "top.txt").write_text("old")
    with pytest.raises(UsageError, match="is not empty: give another --output, or --force"):
        publish_directory(tmp_path, fill, force=False)
    assert names(tmp_path) == ["top.txt"]


def test_force_replaces_the_same_names_and_keeps_the_others(tmp_path: Path) -> None:
    (tmp_path / "out/deep").mkdir(parents=True)
    for name in ("top.txt", "deep/other.txt"):
        (tmp_path / "out" / name).write_text("old")
    publish_directory(tmp_path / "out", fill, force=True)
    assert names(tmp_path / "out") == ["deep", "deep/new.txt", "deep/other.txt", "top.txt"]
    assert (tmp_path / "out/top.txt").read_text() == "new"
    assert (tmp_path / "out/deep/other.txt").read_text() == "old"
    assert names(tmp_path)[0] == "out"


def test_a_folder_needs_a_place_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match=r"--output is the file .*x, expected a folder"):
        publish_directory(tmp_path / "x", fill, force=True)


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no space left"):
        publish_directory(tmp_path / "out", stop, force=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_had_begun_under_the_same_name_goes(tmp_path: Path, kind: str) -> None:
    dead, alive, foreign = f"tmp-{2**22 + 1}", f"tmp-{os.getpid()}", "tmp-1-ffffffff"
    for name in ("x", "y"):
        for begun in (dead, alive, foreign):
            path = tmp_path / f"{name}.{begun}{'-' + host_mark() if begun != foreign else ''}01234567"
            if kind == "file":
                path.write_bytes(b"half")
            else:
                fill(make(path))
    if kind == "file":
        publish_file(tmp_path / "x", lambda: b"data", force=False)
    else:
        publish_directory(tmp_path / "x", fill, force=False)
    left = {path.name.rpartition("-")[0] for path in tmp_path.iterdir() if path.name.startswith("x.")}
    assert left == {f"x.{alive}", "x.tmp-1"}
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("y.")]) == 3


def make(path: Path) -> Path:
    path.mkdir()
    return path

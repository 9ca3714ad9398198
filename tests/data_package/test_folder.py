import errno
import io
import logging
import os
import pickle
import socket
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfs.data.decoding import BadImageError
from elfs.data.samples import Outcome, Split
from elfs.data.sources import folder as folder_module
from elfs.data.sources.folder import FolderSource
from elfs.errors import InputDataError

LIMIT = 1_000_000
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file kinds and names")


def save(path: Path, image_format: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(path, image_format)
    return path


def listed(root: Path) -> list[str]:
    table = FolderSource(root, LIMIT).list()
    return table.ids(range(len(table)))


def test_ids_are_relative_paths_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    names = ["a.png", "a/z.png", "a/b/c.png", "a0.png", "B/x.png", "b.png", "\xe9.png"]
    for name in names:
        save(tmp_path / name)
    assert listed(tmp_path) == sorted(names, key=lambda name: name.encode())


def test_sizes_and_flags(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    source = FolderSource(tmp_path, LIMIT)
    table = source.list()
    assert table.num_bytes.tolist() == [path.stat().st_size]
    assert table.split.tolist() == [Split.TRAIN]
    assert (source.name, source.channels, source.mirror, source.num_classes, source.has_images) == (
        "folder",
        3,
        True,
        None,
        True,
    )


def test_row_25_no_images_lists_the_extensions_seen(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"no image in .*: it has no files"):
        listed(tmp_path)
    for name in ("a.txt", "b.TXT", "c.json", "README"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputDataError, match=r"seen \.txt \(2\), .*\.json \(1\)") as caught:
        listed(tmp_path)
    assert "without extension (1)" in str(caught.value)
    assert "..." not in str(caught.value)
    for i in range(9):
        (tmp_path / f"x.{i}").write_text("x")
    with pytest.raises(InputDataError, match=r", \.\.\.\.$"):
        listed(tmp_path)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_row_25_a_folder_of_shards_names_the_command_for_them(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"0.{kind}").touch()
    with pytest.raises(InputDataError, match=rf"seen \.{kind} \(1\)") as caught:
        listed(tmp_path)
    assert caught.value.hint == f"elfs embed {kind}:{tmp_path}"


def test_row_25_root_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="absent does not exist; expected a folder of images") as caught:
        listed(tmp_path / "absent")
    assert caught.value.hint == "elfs embed --root FOLDER"
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputDataError, match="file is not a folder; expected a folder of images"):
        listed(tmp_path / "file")


def test_root_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: bytes) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(folder_module.os, "scandir", denied)  # type: ignore[attr-defined]
    with pytest.raises(InputDataError, match=r"cannot be listed: Permission denied \(EACCES\)"):
        listed(tmp_path)


def test_a_folder_that_cannot_be_listed_is_skipped_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "closed" / "b.png")
    scandir = os.scandir

    def denied(path: bytes) -> "os._ScandirIterator[bytes]":
        if path.endswith(b"closed/"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folder_module.os, "scandir", denied)  # type: ignore[attr-defined]
    assert listed(tmp_path) == ["a.png"]
    assert "skipped closed/: Permission denied (EACCES)" in caplog.text


def test_row_28_extensions_in_any_case_and_content_without_one(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.Jpg", "c", "d.picture", "e.txt"):
        save(tmp_path / name)
    (tmp_path / "f").write_text("no image")
    (tmp_path / "g.jpg").write_text("no image, but it says so")
    assert listed(tmp_path) == ["a.PNG", "b.Jpg", "c", "d.picture", "g.jpg"]


def test_files_beside_images_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.jpg", "JPEG")
    (tmp_path / "a.json").write_text("{}")
    monkeypatch.setattr(folder_module._Listing, "_looks_like_image", lambda *_: pytest.fail("opened"))
    assert listed(tmp_path) == ["a.jpg"]


def test_hidden_names_are_skipped(tmp_path: Path) -> None:
    for name in ("a.png", ".b.png", ".git/c.png", "d/.e.png"):
        save(tmp_path / name)
    assert listed(tmp_path) == ["a.png"]


@posix_only
def test_row_40_links_end_and_nothing_is_listed_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "root"
    save(root / "a" / "x.png")
    save(tmp_path / "outside" / "y.png")
    (root / "a" / "loop").symlink_to(root)
    (root / "up").symlink_to("..")
    (root / "far").symlink_to(tmp_path / "outside")
    (root / "twin").symlink_to(root / "a")
    (root / "file.png").symlink_to(root / "a" / "x.png")
    assert listed(root) == ["a/x.png", "far/y.png", "file.png"]
    assert "skipped a/loop/: it leads to ., listed already" in caplog.text
    assert "skipped twin/: it leads to a/, listed already" in caplog.text
    assert "skipped up/: it leads to .., listed already" in caplog.text


@posix_only
def test_row_40_dangling_links_are_missing(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "b.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "c").symlink_to("nowhere")
    (tmp_path / "d.png").symlink_to("d.png")
    table = FolderSource(tmp_path, LIMIT).list()
    assert table.ids(range(len(table))) == ["a.png", "b.jpg", "d.png"]
    assert table.outcome.tolist() == [Outcome.OK, Outcome.MISSING, Outcome.MISSING]
    assert "ENOENT" in table.reasons()[1]
    assert "ELOOP" in table.reasons()[2]
    assert table.num_bytes[1] == 0


@posix_only
def test_row_40_pipes_and_sockets_never_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert listed(tmp_path) == ["a.png"]


@posix_only
def test_row_40_a_file_that_became_a_pipe_is_broken_and_does_not_block(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    source = FolderSource(tmp_path, LIMIT)
    reader = source.reader(source.list())
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadImageError, match=r"^broken: not a regular file$"):
        reader.read(0)


@posix_only
def test_row_41_names_of_all_kinds_round_trip(tmp_path: Path) -> None:
    names = [
        b"new\nline.png",
        b'quo"te,comma.png',
        b"-lead.png",
        "\U0001f40d.png".encode(),
        b"e\xcc\x81.png",
        b"\xc3\xa9.png",
    ]
    if sys.platform == "linux":
        names.append(b"bad\xff.png")
    data = save(tmp_path / "seed").read_bytes()
    (tmp_path / "seed").unlink()
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(data)
    source = FolderSource(tmp_path, LIMIT)
    table = source.list()
    assert [table.names.encoded(row) for row in range(len(table))] == sorted(names)
    reader = source.reader(table)
    assert all(reader.read(row).size == (4, 4) for row in range(len(table)))


def test_row_42_equal_names_in_two_folders_are_two_ids(tmp_path: Path) -> None:
    save(tmp_path / "a" / "x.png")
    save(tmp_path / "b" / "x.png")
    assert listed(tmp_path) == ["a/x.png", "b/x.png"]


def test_row_44_a_deleted_file_is_missing_and_others_keep_their_rows(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{name}.png") for name in "abc"]
    source = FolderSource(tmp_path, LIMIT)
    reader = source.reader(source.list())
    paths[1].unlink()
    with pytest.raises(BadImageError, match=r"^missing: No such file or directory \(ENOENT\)$"):
        reader.read(1)
    assert reader.read(2).getpixel((0, 0)) == (255, 0, 0)


def test_row_45_permission_denied_is_broken_with_its_errno(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png")
    source = FolderSource(tmp_path, LIMIT)
    reader = source.reader(source.list())

    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(folder_module, "_read_regular_file", denied)
    with pytest.raises(BadImageError, match=r"^broken: Permission denied \(EACCES\)$"):
        reader.read(0)


@pytest.mark.parametrize(("failures", "is_read"), [(2, True), (3, False)])
def test_row_45_stale_handles_are_tried_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, is_read: bool
) -> None:
    save(tmp_path / "a.png")
    source = FolderSource(tmp_path, LIMIT)
    reader = source.reader(source.list())
    read, calls = folder_module._read_regular_file, []

    def flaky(path: bytes, limit: int) -> bytes:
        calls.append(path)
        if len(calls) <= failures:
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(path, limit)

    monkeypatch.setattr(folder_module, "_read_regular_file", flaky)
    monkeypatch.setattr(folder_module, "_RETRY_SECONDS", 0)
    if is_read:
        assert reader.read(0).size == (4, 4)
    else:
        with pytest.raises(BadImageError, match=r"^broken: Stale file handle \(ESTALE\)$"):
            reader.read(0)
    assert len(calls) == 3


def test_row_29_a_file_too_long_for_its_pixels_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_MAX_OVERHEAD_BYTES", 0)
    path = save(tmp_path / "a.png")
    size = path.stat().st_size
    source = FolderSource(tmp_path, 4)
    reader = source.reader(source.list())
    with pytest.raises(BadImageError, match=f"^too_large: a file of {size} bytes, expected at most 64$"):
        reader.read(0)


@pytest.mark.parametrize(
    ("names", "test_names"),
    [
        (["train/a.png", "test/b.png"], ["test/b.png"]),
        (["Train/c/a.png", "Val/c/b.png"], ["Val/c/b.png"]),
        (["train/a.png", "valid/b.png", "test/c.png"], ["test/c.png", "valid/b.png"]),
        (["train/a.png", "validation/b.png"], ["validation/b.png"]),
        (["train/a.png"], []),
        (["test/a.png"], []),
        (["train/a.png", "test/b.png", "other/c.png"], []),
        (["train/a.png", "test/b.png", "c.png"], []),
        (["x/train/a.png", "x/test/b.png"], []),
    ],
)
def test_splits(tmp_path: Path, names: list[str], test_names: list[str]) -> None:
    for name in names:
        save(tmp_path / name)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "note.txt").write_text("x")
    table = FolderSource(tmp_path, LIMIT).list()
    assert table.ids(np.flatnonzero(table.split == Split.TEST)) == test_names


def test_a_reader_can_be_pickled_and_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "root" / "a.png")
    monkeypatch.chdir(tmp_path)
    source = FolderSource(Path("root"), LIMIT)
    reader = pickle.loads(pickle.dumps(source.reader(source.list())))
    monkeypatch.chdir("/")
    assert reader.read(0).size == (4, 4)


@pytest.mark.slow
def test_a_very_deep_folder_is_walked(tmp_path: Path) -> None:
    depth = 1100  # more than Python's recursion limit
    deep = str(tmp_path)
    for _ in range(depth):
        deep += "/d"
        os.mkdir(deep)
    os.rename(save(tmp_path / "a.png"), f"{deep}/a.png")
    assert listed(tmp_path) == ["d/" * depth + "a.png"]
    os.unlink(f"{deep}/a.png")  # pytest's own cleaning would recurse
    for _ in range(depth):
        os.rmdir(deep)
        deep = os.path.dirname(deep)


class _Entry:
    def __init__(self, name: bytes) -> None:
        self.name = name

    def is_dir(self) -> bool:
        return False


class _Directory:
    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> "_Directory":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> "object":
        return (_Entry(b"image_%09d.jpg" % i) for i in range(self.count))


@pytest.mark.slow
def test_a_large_folder_costs_few_bytes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 50_000
    status = os.stat(save(tmp_path / "a.png"))
    here = os.stat(tmp_path)
    listing = folder_module._Listing(os.fsencode(tmp_path))
    monkeypatch.setattr(folder_module.os, "scandir", lambda _: _Directory(count))  # type: ignore[attr-defined]
    monkeypatch.setattr(folder_module.os, "stat", lambda path: status if path.endswith(b".jpg") else here)  # type: ignore[attr-defined]
    monkeypatch.setattr(folder_module, "_ancestors", lambda _: ())
    tracemalloc.start()
    listing.walk()
    table = listing.paths.table()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == count
    assert peak < 150 * count  # two million files in 300 MB


def test_skipping_is_logged_and_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "a.png")
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.png")
    with caplog.at_level(logging.INFO):
        listed(tmp_path)
    assert capsys.readouterr() == ("", "")
    assert sys.platform == "win32" or "skipped pipe.png: not a regular file" in caplog.text


def test_a_file_that_has_nothing_to_read_yet_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/kmsg: a regular file by its mode, whose reads return nothing instead of waiting."""

    class Waiting(io.BufferedReader):
        def read(self, size: int | None = -1) -> bytes:
            return None  # type: ignore[return-value]

    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    monkeypatch.setattr(folder_module, "open", lambda number, _: Waiting(io.FileIO(number)), raising=False)
    with pytest.raises(BadImageError, match="not a regular file"):
        folder_module.read_image(os.fsencode(path), 100)

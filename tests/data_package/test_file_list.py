import io
import logging
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfs.data.decoding import BadImageError
from elfs.data.samples import Outcome, SampleTable, Split
from elfs.data.sources import file_list, open_source
from elfs.data.sources.file_list import FileListSource, can_be_read_again
from elfs.errors import InputDataError

LIMIT = 1_000_000
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file kinds and names")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a.png, b.png and c/a.png, red, green and blue."""
    folder = tmp_path / "root"
    for name, color in (("a.png", "red"), ("b.png", "lime"), ("c/a.png", "blue")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), color).save(folder / name)
    return folder


def source(root: Path, text: str | bytes) -> FileListSource:
    path = root.parent / "list"
    path.write_bytes(os.fsencode(text) if isinstance(text, str) else text)
    return FileListSource(root, str(path), LIMIT)


def ids(table: SampleTable) -> list[str]:
    return table.ids(range(len(table)))


@pytest.mark.parametrize(
    "text",
    [
        "c/a.png\na.png\n",
        "a.png\nc/a.png",
        "\n\na.png\r\nc/a.png\r\n",
        "a.png\0c/a.png\0",
        "c/a.png\0a.png",
        "\ufeffa.png\nc/a.png\n",
        "./a.png\nc//x/../a.png\n",
        "{root}/c/a.png\n{root}/a.png\n",
        "{root}/./a.png\nc/a.png\n",
    ],
)
def test_ids_are_paths_below_the_root_however_they_are_written(root: Path, text: str) -> None:
    found = source(root, text.replace("{root}", str(root)))
    table = found.list()
    assert ids(table) == ["a.png", "c/a.png"]
    assert table.num_bytes.tolist() == [(root / name).stat().st_size for name in ids(table)]
    reader = pickle.loads(pickle.dumps(found.reader(table)))
    assert [reader.read(row).getpixel((0, 0)) for row in range(2)] == [(255, 0, 0), (0, 0, 255)]


def test_flags(root: Path) -> None:
    found = open_source("files", root, files="list", max_pixels=LIMIT)
    assert found == FileListSource(root, "list", LIMIT)
    assert (found.name, found.channels, found.mirror, found.num_classes) == ("files", 3, True, None)
    assert found.has_images


def test_later_stages_need_no_list(root: Path) -> None:
    table = source(root, "a.png\nb.png\n").list()
    reader = open_source("files", root).reader(table)
    assert reader.read(1).getpixel((0, 0)) == (0, 255, 0)


@posix_only
def test_a_list_that_is_a_pipe_can_be_read_once(tmp_path: Path) -> None:
    (tmp_path / "list").touch()
    os.mkfifo(tmp_path / "pipe")
    names = ("-", str(tmp_path / "list"), str(tmp_path / "pipe"), str(tmp_path / "none"))
    assert [can_be_read_again(name) for name in names] == [False, True, False, False]


def test_standard_input(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"b.png\0a.png\0")))
    assert ids(FileListSource(root, "-", LIMIT).list()) == ["a.png", "b.png"]
    assert not sys.stdin.closed


def test_a_list_that_is_longer_than_a_chunk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 5, 7):
        monkeypatch.setattr(file_list, "_CHUNK_BYTES", size)
        assert ids(source(root, "b.png\na.png\nc/a.png\n").list()) == ["a.png", "b.png", "c/a.png"]


@posix_only
def test_row_41_listed_names_of_all_kinds_round_trip(root: Path) -> None:
    names = [b"new\nline.png", b'quo"te,comma.png', b"-lead.png", "\U0001f40d.png".encode(), b"back\\slash.png", b" s "]
    if sys.platform == "linux":
        names.append(b"bad\xff.png")
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes((root / "a.png").read_bytes())
    found = source(root, b"\0".join(names))
    table = found.list()
    assert [table.names.encoded(row) for row in range(len(table))] == sorted(names)
    assert all(found.reader(table).read(row).size == (4, 4) for row in range(len(table)))


def test_row_43_a_file_that_is_listed_twice_is_one_sample_with_a_warning(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = source(root, f"b.png\na.png\n./b.png\n{root}/b.png\n")
    with caplog.at_level(logging.WARNING):
        assert ids(found.list()) == ["a.png", "b.png"]
    assert caplog.messages == ["--files: 2 entries repeat a path and do not count, such as b.png"]


@posix_only
def test_what_cannot_be_read_keeps_its_row(root: Path) -> None:
    os.mkfifo(root / "pipe.png")
    found = source(root, "a.png\nc\ngone.png\na.png/x\npipe.png\n")
    table = found.list()
    assert ids(table) == ["a.png", "a.png/x", "c", "gone.png", "pipe.png"]
    assert table.outcome.tolist() == [
        Outcome.OK,
        Outcome.MISSING,
        Outcome.BROKEN,
        Outcome.MISSING,
        Outcome.BROKEN,
    ]
    assert table.reasons()[2] == table.reasons()[4] == "not a regular file"
    assert "ENOENT" in table.reasons()[3]
    assert "ENOTDIR" in table.reasons()[1]


def test_a_nul_that_comes_late_is_no_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_list, "_CHUNK_BYTES", 6)
    table = source(root, b"a.png\nb\0.png\n").list()
    assert table.outcome.tolist() == [Outcome.OK, Outcome.MISSING]
    assert table.reasons() == {1: "no path of a file"}


def test_whatever_is_listed_is_taken(root: Path) -> None:
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.txt").write_text("no image")
    found = source(root, ".hidden/x.txt\n")
    table = found.list()
    assert table.usable().all()
    with pytest.raises(BadImageError, match="text, not an image"):
        found.reader(table).read(0)


def test_splits_are_those_of_a_folder(root: Path) -> None:
    text = "train/x.png\nVal/y.png\ntrain/z.png\n"
    table = source(root, text).list()
    assert table.ids(np.flatnonzero(table.split == Split.TEST)) == ["Val/y.png"]
    assert not source(root, text + "other.png\n").list().split.any()


@pytest.mark.parametrize("entry", ["../x.png", "a/../../x.png", "{above}/other/x.png", ".", "{root}"])
def test_a_path_outside_the_root_is_refused(root: Path, entry: str) -> None:
    entry = entry.replace("{above}", str(root.parent)).replace("{root}", str(root))
    with pytest.raises(InputDataError, match=r"lists '.*', expected paths below .*root\.$") as caught:
        source(root, f"a.png\n{entry}\n").list()
    assert caught.value.hint == f"elfs embed {root.parent} --files {root.parent / 'list'}"


@posix_only
def test_a_path_below_what_the_root_links_to_is_inside(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert ids(source(link, f"{root}/a.png\n{link}/b.png\n").list()) == ["a.png", "b.png"]


def test_nothing_listed(root: Path) -> None:
    with pytest.raises(InputDataError, match=r"--files .*list lists no file\.$"):
        source(root, "\n\r\n").list()


def test_a_list_that_is_not_there(root: Path) -> None:
    with pytest.raises(InputDataError, match=r"--files gone\.txt cannot be read: No such file or directory \(ENOENT\)"):
        FileListSource(root, "gone.txt", LIMIT).list()


def test_no_list_at_all(root: Path) -> None:
    with pytest.raises(InputDataError, match="the list of files is not known") as caught:
        open_source("files", root).list()
    assert caught.value.hint == "elfs embed FOLDER --files LIST"

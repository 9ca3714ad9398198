"""What is left out of a pool is said."""

from pathlib import Path

import pytest
from PIL import Image

from elfs.config import EmbedConfig
from elfs.data.embeddings_file import read_ids
from elfs.data.sources.file_list import FileListSource
from elfs.data.sources.folder import FolderSource
from elfs.errors import InputDataError
from elfs.stages.embedding.listing import prepare
from elfs.stages.embedding.rows import top_reasons


def test_files_of_unknown_formats_are_counted_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for name in ("a.tga", "b.tga", "c.psd", "d.exr", "labels.csv"):
        (tmp_path / name).write_bytes(b"8BPS and more")
    assert len(FolderSource(tmp_path, 100).list()) == 1
    assert "4 files are no images that elfs knows: .tga (2), .psd (1), .exr (1)" in caplog.text
    assert caplog.text.count("\n") == 1


def test_archives_among_images_are_counted_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for name in ("a.tar", "b.TAR", "c.tar.gz", "d.tar.zst", "e.zip", "labels.csv.gz", "f.tga"):
        (tmp_path / name).write_bytes(b"PK and more")
    assert len(FolderSource(tmp_path, 100).list()) == 1
    assert "5 archives are not looked into: .tar (2), .zip (1), .tar.gz (1), .tar.zst (1)" in caplog.text
    assert "1 files are no images that elfs knows: .tga (1)" in caplog.text


@pytest.mark.parametrize("entry", ["a.png,0", '"a.png"', "a.png  "])
def test_a_list_of_which_nothing_is_there_names_the_first_path(tmp_path: Path, entry: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "list").write_text(f"{entry}\n")
    config = EmbedConfig(source="files", files=str(tmp_path / "list"))
    with pytest.raises(InputDataError, match=r"none of the 1 files of --files .* can be read") as caught:
        prepare(config, tmp_path)
    assert repr(entry) in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_lists_in_utf_16_are_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list").write_bytes("a.png\r\nb.png\r\n".encode(encoding))
    if encoding == "utf-16":
        with pytest.raises(InputDataError, match="is UTF-16, expected UTF-8"):
            FileListSource(tmp_path, str(tmp_path / "list"), 100).list()
    with pytest.raises(InputDataError, match="holds NULs, as UTF-16 does"):
        read_ids(tmp_path / "list", 2)


def test_the_most_frequent_reasons_come_first() -> None:
    assert top_reasons({1: "torn", 2: "empty file", 3: "torn"}) == "2 x torn; 1 x empty file"
    assert top_reasons({}) == ""

from pathlib import Path

import pytest

from elfs.data.id_lists import read_ids
from elfs.errors import InputDataError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.png\nb/c.png\r\n\na.png\n", ["a.png", "b/c.png"]),
        ('rank,id,why\n1,a.png,x\n2,"b,c.png",y\n', ["a.png", "b,c.png"]),
        ("\ufeffid,label\nz.png,cat\n", ["z.png"]),
        ("name,label\nz.png,cat\n", ["name,label", "z.png,cat"]),  # no column id: every line is an id
        ("last line without an end", ["last line without an end"]),
    ],
)
def test_lists(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_ids(path) == expected


def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"na\xefve.png\n")
    assert read_ids(path)[0].encode("utf-8", "surrogateescape") == b"na\xefve.png"


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"nothing.txt: No such file or directory"):
        read_ids(tmp_path / "nothing.txt")


@pytest.mark.parametrize("text", ["", "\n\n", "id,label\n"])
def test_list_of_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputDataError, match="lists no image, expected one id a line or a CSV table"):
        read_ids(path)


def test_table_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,label\n" + "x" * 200_000 + ",y\n")
    with pytest.raises(InputDataError, match=r"is no CSV file that can be read: field larger than field limit"):
        read_ids(path)

from pathlib import Path

import pytest

from elfs.annotations.answers import Answer, UnknownFormatError
from elfs.annotations.folders import read_folders


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_what_lies_below_a_class_has_its_label(tmp_path: Path) -> None:
    make(tmp_path, "dog/b.png", "cat/x/a.png", "cat/.hidden", "cat/.git/c.png", ".trash/d.png", "readme.txt")
    assert read_folders(tmp_path) == [Answer("x/a.png", ("cat",)), Answer("b.png", ("dog",))]


@pytest.mark.parametrize("names", [["a.png"], ["cat/a.png"], ["all/cat/a.png"], ["cat/a.png", "note.txt"]])
def test_less_than_two_classes_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(UnknownFormatError, match=r"^is a folder without class folders, expected one folder for each"):
        read_folders(make(tmp_path, *names))

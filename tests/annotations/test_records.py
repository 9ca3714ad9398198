from pathlib import Path

import pytest

from elfs.annotations.answers import Answer
from elfs.annotations.reading import read_answers
from elfs.annotations.records import looks_like_picture, person


def answers(tmp_path: Path, text: str) -> list[Answer]:
    (tmp_path / "table.csv").write_text(text)
    return read_answers(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,label\na.png,\n", Answer("a.png", ())),
        ("rank,id,pseudo_label,score,why,label\n1,a.png,3,.5,x,cat\n", Answer("a.png", ("cat",))),
        ("id,filename,label\n1,a.png,cat\n", Answer("a.png", ("cat",))),  # numbers say less than names
        ("id,label\n1,cat\n", Answer("1", ("cat",))),
        ("Image;Category;Annotator\na.png;cat;ann\n", Answer("a.png", ("cat",), "ann")),
        ("id,label,was_cancelled\na.png,cat,True\n", Answer("a.png", ())),
        ("id,label,skipped\na.png,cat,no\n", Answer("a.png", ("cat",))),
        ('id,label\n"a\nb.png",cat\n', Answer("a\nb.png", ("cat",))),
        ("id,label\na.png\n,cat\n\n", Answer("a.png", ())),  # a short line; a line that names no image
        ("image,annotation_id,id,animal,lead_time\na.png,1,2,cat,3\n", Answer("a.png", ("cat",))),
        ('image,choice,id,annotation_id\na.png,"{""choices"": [""a"", ""b""]}",1,1\n', Answer("a.png", ("a", "b"))),
        ("id,label\na.png,[1\n", Answer("a.png", ("[1",))),
        ("id,label,updated_at\na.png,7,2026\n", Answer("a.png", ("7",), None, "2026")),
        ("elfs_id,image,id,choice,annotation_id\nb.png,/data/upload/1/x.png,1,cat,1\n", Answer("b.png", ("cat",))),
    ],
)
def test_columns_are_told_by_their_names(tmp_path: Path, text: str, expected: Answer) -> None:
    assert answers(tmp_path, text) == [expected]


def test_person() -> None:
    assert [person(value) for value in (3, " ann ", {"id": 3}, {}, "", None)] == ["3", "ann", "3", None, None, None]


def test_looks_like_picture() -> None:
    assert [looks_like_picture(value) for value in ("a.PNG", "/x/y", "word", 3)] == [True, True, False, False]

"""Which text is a table, and which an expression."""

from pathlib import Path

import pytest

from elfs.data.table_names import TableName, table_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("films.csv", TableName(Path("films.csv"))),
        ("a/films.tsv:patient", TableName(Path("a/films.tsv"), "patient")),
        ("films.csv:the patient", TableName(Path("films.csv"), "the patient")),
        ("^[^/]+", None),
        (r"^(film\d+)/.*\.png", None),
        ("(?:a|b)", None),
        ("", None),
        ("x" * 5000, None),
        ("a\0b", None),
    ],
)
def test_text(text: str, expected: TableName | None) -> None:
    assert table_name(text) == expected


def test_file_of_any_name(tmp_path: Path) -> None:
    file = tmp_path / "groups"
    file.write_text("id,group\n")
    assert table_name(str(file)) == TableName(file)
    assert table_name(f"{file}:group") == TableName(file, "group")
    assert table_name(str(tmp_path)) is None


def test_portable() -> None:
    assert TableName(Path("/home/me/films.csv")).portable == "films.csv"
    assert TableName(Path("/home/me/films.csv"), "film").portable == "films.csv:film"

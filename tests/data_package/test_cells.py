import pytest

from elfs.data.cells import csv_text, plain_cell, quoted_cell, safe_cell
from elfs.data.decoded_text import table_rows

STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'=", "'\uff1d", "''@", "'\r"]


@pytest.mark.parametrize("start", STARTS)
def test_formulas_are_made_safe_and_come_back(start: str) -> None:
    text = start + "cmd|' /C calc'!A0"
    safe = safe_cell(text)
    assert safe == "'" + text
    assert plain_cell(safe) == text


@pytest.mark.parametrize("text", ["", "a=b", "'", "'a'", "c0/img 1.png", "1-2", "ünï", " =x"])
def test_other_text_stays(text: str) -> None:
    assert safe_cell(text) == text
    assert plain_cell(text) == text


def test_tables_that_are_read_have_the_names_as_they_were() -> None:
    ids = [start + "x.png" for start in STARTS] + ["plain.png", "a\rb", "a\nb", 'a"b,c', "a\x85b", "a\u2028b"]
    header, lines = table_rows(csv_text([["id", "label"], *([safe_cell(name), ""] for name in ids)]))
    assert header == ["id", "label"]
    assert [line[0] for line in lines] == ids


def test_lines_end_with_a_line_feed() -> None:
    assert csv_text([["id", "n"], ["a,b", 1], ["", None]]) == 'id,n\n"a,b",1\n,\n'


@pytest.mark.parametrize("text", ["plain", "a,b", 'a "b"', "a\nb", "a\rb", "", "'=1", " a ", ";\t|"])
def test_quoted_cell_stands_as_in_a_table(text: str) -> None:
    assert f"{quoted_cell(text)},1\n" == csv_text([[text, 1]])

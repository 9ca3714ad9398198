"""Groups of images, as people name them and as the workspace keeps them."""

from pathlib import Path

import numpy as np
import pytest

from elfs.annotations.groups import Groups, expression, keep_groups, kept_groups, read_groups
from elfs.annotations.image_tables import read_image_table
from elfs.data.samples import SampleTable
from elfs.errors import ElfsError, InputDataError, UsageError
from elfs.workspace.workspace import Workspace

IDS = ("f1/0.png", "f1/1.png", "f2/0.png", "f2/1.png", "odd.png")


@pytest.fixture
def table() -> SampleTable:
    return SampleTable.from_ids(IDS, 0, 1)


def csv(folder: Path, text: str, name: str = "films.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def named(groups: Groups) -> list[str]:
    return [groups.names[number] if number >= 0 else "" for number in groups.number]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"^(f\d)/", ["f1", "f1", "f2", "f2", ""]),
        (r"^f\d", ["f1", "f1", "f2", "f2", ""]),
        (r"\d\.png", ["0.png", "1.png", "0.png", "1.png", ""]),
        (r"f(\d)?", ["1", "1", "2", "2", ""]),
        (r"(x)?\.png", ["", "", "", "", ""]),
    ],
)
def test_expression(table: SampleTable, text: str, expected: list[str]) -> None:
    """The first group, or all that matches; what matches nothing has no group."""
    if any(expected):
        assert named(read_groups(text, table, None)) == expected
    else:
        with pytest.raises(UsageError, match="it matches no image id"):
            read_groups(text, table, None)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("id,film\nf1/0.png,A\nf1/1.png, A \nf2/0.png,B\nodd.png,\n", None),
        ("image;weather;group\nf1/0.png;sun;A\nf1/1.png;rain;A\nf2/0.png;sun;B\n", None),
        ("file\tfilm\tweather\n/data/f1/0.png\tA\tsun\n/data/f1/1.png\tA\tsun\n/data/f2/0.png\tB\tsun\n", "film"),
        ("film,id\nA,f1/0.png\nA,f1/0.png\nA,f1/1.png\nB,f2/0.png\n,f2/1.png\n", "FILM"),
    ],
)
def test_table(table: SampleTable, tmp_path: Path, text: str, column: str | None) -> None:
    file = csv(tmp_path, text)
    found = read_groups(file if column is None else f"{file}:{column}", table, None)
    assert named(found) == ["A", "A", "B", "", ""]
    assert found.said_by.startswith("films.csv:")


def test_rows_of_which_nothing_is_said_are_groups_of_their_own(table: SampleTable) -> None:
    found = read_groups(r"^f1", table, None)
    assert found.of_rows(np.array([4, 1, 0, 2])).tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "(",
            UsageError,
            r"--groups '\(' is neither a file nor a regular expression: .*Expected FILE\.csv, or --groups",
        ),
        ("film", UsageError, r"--groups 'film' is no file, and .* matches no image id; ids look like 'f1/0\.png'"),
        ("none.csv", InputDataError, r"--groups none\.csv: No such file"),
        ("none.csv:film", InputDataError, r"--groups none\.csv: No such file"),
    ],
)
def test_text_that_is_neither(table: SampleTable, text: str, error: type[ElfsError], message: str) -> None:
    with pytest.raises(error, match=message):
        read_groups(text, table, None)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("id\nf1/0.png\n", UsageError, "has no column besides that of the images, expected one that names their group"),
        (
            "id,film,day\nf1/0.png,A,B\n",
            UsageError,
            r"has the columns film, day: say which one names .*films\.csv:film",
        ),
        ("id,film\nf1/0.png,\n", UsageError, "the column film is empty for every image of the workspace"),
        ("id,film\nf1/0.png,A\nf1/0.png,B\n", InputDataError, r"gives 'f1/0\.png' two values .* film: 'A' and 'B'"),
        (
            "id,film\nx.png,A\ny.png,A\n",
            InputDataError,
            r"names no image of the workspace: 'x\.png', 'y\.png'; ids look",
        ),
        ("a,b\nf1/0.png,A\n", InputDataError, "has the columns a, b, expected id and one or more others"),
        ("", InputDataError, "has the columns none, expected id and one or more others"),
        ('id,film\n"f1/0.png,A\n' + "x" * 200_000, InputDataError, "is no CSV file that can be read"),
    ],
)
def test_table_that_says_no_groups(
    table: SampleTable, tmp_path: Path, text: str, error: type[ElfsError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_groups(csv(tmp_path, text), table, None)


def test_column_that_is_not_there(table: SampleTable, tmp_path: Path) -> None:
    file = csv(tmp_path, "id,film,weather\nf1/0.png,A,sun\n")
    with pytest.raises(UsageError, match=r"no column 'weathr'\. Did you mean 'weather'\? Available: film, weather\."):
        read_groups(f"{file}:weathr", table, None)
    with pytest.raises(UsageError, match=r"has no column 'film'\. Available: none but that of the images\."):
        read_image_table(Path(csv(tmp_path, "id\nf1/0.png\n")), table, root=None, option="--metadata").column("film")


def test_images_that_are_unknown_are_named(table: SampleTable, tmp_path: Path) -> None:
    found = read_groups(csv(tmp_path, "id,film\nf1/0.png,A\nx.png,A\nx.png,A\n"), table, None)
    assert found.unknown == ("x.png",)


def test_expression_by_itself() -> None:
    assert expression("a(b)").groups == 1
    with pytest.raises(UsageError, match="neither a file nor a regular expression"):
        expression("[")


def test_what_is_kept_comes_back_after_images_have_come_and_gone(table: SampleTable, tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    assert kept_groups(workspace, table) is None
    groups = read_groups(r"^(f\d)/", table, None)
    keep_groups(workspace, table, groups)
    again = kept_groups(Workspace.open(tmp_path / "workspace"), table)
    assert groups.same_as(again)
    assert not groups.same_as(None)
    other = SampleTable.from_ids(("f2/1.png", "new.png", "f1/0.png"), 0, 1)
    kept = kept_groups(workspace, other)
    assert kept is not None
    assert named(kept) == ["f2", "", "f1"]
    replaced = read_groups(r"^f", table, None)
    keep_groups(workspace, table, replaced)
    assert replaced.same_as(kept_groups(workspace, table))
    assert not groups.same_as(kept_groups(workspace, table))

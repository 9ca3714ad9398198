import os
import re
from pathlib import Path

import numpy as np
import pytest

from elfs.config import CONFIGS, as_json, from_json
from elfs.data.samples import Outcome, SampleTable, Split
from elfs.errors import CorruptArtifactError, MissingUpstreamError, UsageError
from elfs.pipeline.selections import (
    SelectedImage,
    read_images,
    remark,
    restoring_hint,
    rows_in_pool,
    selected_rows,
    selection_name,
)
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace


def commit(path: Path, record: str, makes: str, reads: tuple[str, ...], version: int = 0, day: int = 1) -> None:
    workspace = Workspace.create(path)
    draft = open_draft(workspace, record, digest_json([record, version]))
    draft.save(makes, {"values": np.full(3, version, np.int64)})
    stage, _, name = record.partition("/")
    draft.commit(
        record,
        stage=stage,
        config=as_json(from_json(CONFIGS[stage], {"name": name} if name else {})),
        inputs={item: workspace.manifest.artifacts[item].digest for item in reads},
        seed=None,
        smoke=False,
        summary={},
        metadata={},
        run={"started": f"2025-01-0{day}T00:00:00+00:00"},
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The chain of stages in short, with two selections of which "b" was made first."""
    path = tmp_path / "ws"
    reads: tuple[str, ...] = ()
    for stage, makes in (
        ("embed", "samples"),
        ("cluster", "heads"),
        ("label", "pseudo_labels"),
        ("dynamics", "dynamics"),
        ("score", "scores"),
    ):
        commit(path, stage, makes, reads)
        reads = (makes,)
    commit(path, "select/a", "selections/a", ("scores",), day=3)
    commit(path, "select/b", "selections/b", ("scores",), day=2)
    return Workspace.open(path)


def test_the_selection_made_last_is_the_default(workspace: Workspace) -> None:
    assert selection_name(workspace, None) == "a"
    assert selection_name(workspace, "b") == "b"


def test_selections_of_a_comparison_come_after_all_others(workspace: Workspace) -> None:
    commit(workspace.path, "select/compare-x", "selections/compare-x", ("scores",), day=4)
    workspace.reload()
    assert selection_name(workspace, None) == "a"
    workspace.remove("select/a")
    workspace.remove("select/b")
    assert selection_name(workspace, None) == "compare-x"


def test_an_unknown_selection_gets_a_suggestion(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match=r"unknown selection 'bb'\. Did you mean 'b'\? Available: a, b\."):
        selection_name(workspace, "bb")


def test_no_selection_yet(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "ws")
    with pytest.raises(MissingUpstreamError, match="holds no selection yet") as caught:
        selection_name(workspace, None)
    assert caught.value.hint == f"elfs select --workspace {workspace.path}"


TABLE = b"rank,id,pseudo_label,score,why\n1,b.png,,,chance\n2,a.png,1,0.5,hard\n"


def test_a_name_that_is_no_text_is_read_as_the_system_gives_it(workspace: Workspace) -> None:
    found = read_images(write_list(workspace.path, TABLE.replace(b"b.png", b"b\xff.png"), name="odd"), "odd")
    assert [image.id for image in found] == [os.fsdecode(b"b\xff.png"), "a.png"]


def write_list(path: Path, data: bytes = TABLE, name: str = "a") -> Workspace:
    """Make a selection whose table holds `data`, from scores that are there."""
    workspace = Workspace.open(path)
    draft = open_draft(workspace, f"select/{name}", digest_json([name, data.hex()]))
    draft.save_bytes(f"selections/{name}", f"selections/{name}/selection.csv", data)
    draft.commit(
        f"select/{name}",
        stage="select",
        config=as_json(from_json(CONFIGS["select"], {"budget": "2"})),
        inputs={"scores": workspace.manifest.artifacts["scores"].digest},
        seed=None,
        smoke=False,
        summary={},
        metadata={},
        run={},
    )
    return workspace


def test_images_are_read_in_rank_order(workspace: Workspace) -> None:
    found = read_images(write_list(workspace.path), "a")
    assert found == (
        SelectedImage(1, "b.png", None, None, "chance"),
        SelectedImage(2, "a.png", 1, 0.5, "hard"),
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"rank,id", b"rang,id", "its columns are"),
        (b"2,a.png", b"7,a.png", "line 2 is 'a.png' of rank 7, expected each rank and each id once"),
        (b"2,a.png", b"2,b.png", "line 2 is 'b.png' of rank 2, expected each rank and each id once"),
        (b",chance", b",chance,again", "too many values"),
        (b"1,0.5", b"x,0.5", "invalid literal for int"),
    ],
)
def test_what_is_no_table_of_a_selection_is_refused(workspace: Workspace, old: bytes, new: bytes, problem: str) -> None:
    assert old in TABLE
    found = write_list(workspace.path, TABLE.replace(old, new))
    with pytest.raises(CorruptArtifactError, match=re.escape(problem)) as caught:
        read_images(found, "a")
    assert caught.value.hint == f"elfs select --budget 2 --name a --workspace {workspace.path} --force"


def test_a_table_that_was_changed_is_refused(workspace: Workspace) -> None:
    found = write_list(workspace.path)
    path = workspace.path / "selections/a/selection.csv"
    path.write_bytes(TABLE.replace(b"a.png", b"c.png"))
    with pytest.raises(CorruptArtifactError, match=r"selection\.csv has digest") as caught:
        read_images(found, "a")
    assert restoring_hint(found, "a") is not None
    assert caught.value.hint == restoring_hint(found, "a")


def test_a_damaged_list_that_nothing_makes_again_is_not_made_again(workspace: Workspace) -> None:
    found = write_list(workspace.path)
    commit(workspace.path, "score", "scores", ("dynamics",), version=1)
    found.reload()
    (workspace.path / "selections/a/selection.csv").write_bytes(TABLE.replace(b"a.png", b"c.png"))
    with pytest.raises(CorruptArtifactError, match="has changed since: restore the file from a copy") as caught:
        read_images(found, "a")
    assert caught.value.hint is None


def table_of(*names: str, broken: int) -> SampleTable:
    """Return a table in which the last sample is a test image and one is broken."""
    split = [Split.TRAIN] * (len(names) - 1) + [Split.TEST]
    outcome = [Outcome.BROKEN if row == broken else Outcome.OK for row in range(len(names))]
    return SampleTable.from_ids(names, split, 1).with_outcomes(outcome, {})


def test_rows_of_images_that_are_in_the_pool(workspace: Workspace) -> None:
    table = table_of("0", "1", "2", "t", broken=1)
    assert rows_in_pool(table, ["2", "x", "1", "t", "0"]).tolist() == [2, -1, -1, -1, 0]
    rows, said = selected_rows(write_list(workspace.path), table_of("c.png", "b.png", "t", broken=0), "a")
    assert rows.tolist() == [1]
    assert said == "selection 'a' is taken as it is: 1 of its images are not in the pool any more: 'a.png'."


def test_what_has_changed_is_said_in_one_line(workspace: Workspace) -> None:
    found = write_list(workspace.path)
    assert remark(found, "a", []) is None
    commit(workspace.path, "score", "scores", ("dynamics",), version=1)
    found.reload()
    assert remark(found, "a", ["x", "y", "z", "w"]) == (
        "selection 'a' is taken as it is: it was made from older scores; 4 of its images are not in the pool any more: "
        "'x', 'y', 'z' and 1 more."
    )

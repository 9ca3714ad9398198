"""Annotations that are likely wrong."""

import csv
from pathlib import Path

import numpy as np
import pytest

from elfs.annotations.annotating import annotate
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError, MissingUpstreamError
from elfs.stages.doubtful_annotations import Doubt, doubtful_annotations, doubts_csv
from elfs.workspace.workspace import Workspace
from tests.chain import NUM_PICTURES, Finished


@pytest.fixture
def used(embeddings: Finished, workspace: Path) -> Path:
    return embeddings.copy(workspace)


def take_in(workspace: Path, names: list[str], folder: Path) -> list[str]:
    table = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples"))
    ids = table.ids(np.arange(len(table)))
    (folder / "l.csv").write_text("id,label\n" + "".join(f"{i},{n}\n" for i, n in zip(ids, names, strict=False)))
    annotate(workspace, folder / "l.csv")
    return ids


@pytest.mark.slow
def test_wrong_ones_are_found_and_right_ones_left_alone(used: Path, tmp_path: Path) -> None:
    names = ["xyz"[row * 3 // NUM_PICTURES] for row in range(NUM_PICTURES)]
    wrong = {3: "y", 27: "z", 50: "x"}
    ids = take_in(used, [wrong.get(row, name) for row, name in enumerate(names)], tmp_path)
    found = doubtful_annotations(used)
    assert {doubt.image: (doubt.name, doubt.taken_for) for doubt in found} == {
        ids[row]: (name, names[row]) for row, name in wrong.items()
    }
    assert [doubt.support for doubt in found] == sorted(doubt.support for doubt in found)
    assert doubtful_annotations(used) == found


@pytest.mark.slow
def test_of_many_the_result_is_noted(used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["xyz"[row * 3 // NUM_PICTURES] for row in range(NUM_PICTURES)]
    ids = take_in(used, ["y", *names[1:]], tmp_path)
    worked_out = doubtful_annotations(used)
    note = used / ".doubtful"
    assert not note.exists()
    monkeypatch.setattr("elfs.stages.doubtful_annotations._MANY", 10)
    assert doubtful_annotations(used) == worked_out
    kept = note.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("elfs.train.annotated.AnnotatedClassifier.fit", pytest.fail)
        assert doubtful_annotations(used) == worked_out
        assert [doubt.image for doubt in worked_out] == ids[:1]
    for damaged in (
        b"",
        kept[:-9],
        b"[]",
        b"{}",
        kept.replace(b"sha256:", b"sha256:0"),
        kept.replace(b'"doubts"', b'"d"'),
    ):
        note.write_bytes(damaged)
        assert doubtful_annotations(used) == worked_out
        assert note.read_bytes() == kept
    take_in(used, ["z", *names[1:]], tmp_path)
    assert [(doubt.image, doubt.name) for doubt in doubtful_annotations(used)] == [(ids[0], "z")]
    note.unlink()
    note.mkdir()  # what cannot be written costs time alone
    assert [(doubt.image, doubt.name) for doubt in doubtful_annotations(used)] == [(ids[0], "z")]


def test_right_ones_are_not_doubtful(used: Path, tmp_path: Path) -> None:
    take_in(used, ["xyz"[row * 3 // NUM_PICTURES] for row in range(NUM_PICTURES)], tmp_path)
    assert doubtful_annotations(used) == ()


@pytest.mark.parametrize("names", [["x"], ["x", "x", "x"], ["x", "x", "y"]])
def test_too_few_say_nothing(used: Path, tmp_path: Path, names: list[str]) -> None:
    take_in(used, names, tmp_path)
    with pytest.raises(InputDataError, match="without two classes of two images each"):
        doubtful_annotations(used)


def test_none_at_all(used: Path, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="annotations of 0 images"):
        doubtful_annotations(used)
    with pytest.raises(MissingUpstreamError, match="there is no workspace"):
        doubtful_annotations(tmp_path / "none")


def test_the_list_can_be_read_and_is_no_formula() -> None:
    lines = list(csv.reader(doubts_csv((Doubt("=a", "-b", "c", 0.25),)).decode().splitlines()))
    assert lines == [["id", "class", "taken_for", "support"], ["'=a", "'-b", "c", "0.25"]]

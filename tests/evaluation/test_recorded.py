"""Results of finished trainings."""

from pathlib import Path

import pytest

from elfs.evaluation.recorded import Journal, published, trainings_csv
from elfs.evaluation.training import Accuracy
from elfs.workspace.draft import open_draft
from elfs.workspace.workspace import Workspace

FIRST, SECOND = "sha256:" + 64 * "a", "sha256:" + 64 * "b"


def test_accuracy_is_a_share() -> None:
    assert Accuracy(3, 4).share == 0.75
    assert Accuracy(0, 4).share == 0.0
    assert Accuracy(0, 0).share is None


def test_journal_outlives_the_process(tmp_path: Path) -> None:
    assert Journal(tmp_path / "draft").get(FIRST) is None
    Journal(tmp_path / "draft").put(FIRST, Accuracy(3, 4))
    Journal(tmp_path / "draft").put(SECOND, Accuracy(0, 0))
    assert Journal(tmp_path / "draft").get(FIRST) == Accuracy(3, 4)
    assert Journal(tmp_path / "draft").get(SECOND) == Accuracy(0, 0)
    assert Journal(tmp_path / "draft").everything() == {FIRST: Accuracy(3, 4), SECOND: Accuracy(0, 0)}
    assert Journal(tmp_path / "none").everything() == {}


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"{}", b'{"correct": null, "total": 3}', b"\xff"])
def test_damaged_note_counts_as_none(tmp_path: Path, damaged: bytes) -> None:
    journal = Journal(tmp_path)
    journal.put(FIRST, Accuracy(3, 4))
    (path,) = (tmp_path / "trainings").iterdir()
    path.write_bytes(damaged)
    assert journal.get(FIRST) is None
    assert journal.everything() == {}


def test_published_trainings_are_read_back(workspace: Path) -> None:
    trainings = {SECOND: Accuracy(1, 5), FIRST: Accuracy(3, 4)}
    data = trainings_csv(trainings)
    assert data.decode() == f"digest,correct,test_images\n{FIRST},3,4\n{SECOND},1,5\n"
    made = Workspace.create(workspace)
    assert published(made) == {}
    draft = open_draft(made, "compare", FIRST)
    draft.save_bytes("trainings", "comparison/trainings.csv", data)
    draft.commit("compare", stage="compare", config={}, inputs={}, seed=0, smoke=False, summary={}, metadata={}, run={})
    assert published(made) == trainings

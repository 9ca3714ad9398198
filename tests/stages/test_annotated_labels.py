"""What people said of a few images becomes a class for every one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from elfs.annotations.annotating import annotate, remove_annotations
from elfs.annotations.kept import kept_annotations
from elfs.data.samples import SampleTable
from elfs.errors import StaleUpstreamError
from elfs.parallel.runtime import Runtime
from elfs.pipeline.job import Outcome
from elfs.stages.annotated_labels import learn_classes
from elfs.stages.selection.trust import witnesses
from elfs.workspace.workspace import Workspace
from tests.chain import NUM_PICTURES, Finished, make_embeddings, run_chain, run_stage

NONE = (np.zeros(0, np.int64), None, None)


@pytest.fixture
def used(embeddings: Finished, workspace: Path) -> Path:
    path = embeddings.copy(workspace)
    run_stage("cluster", path, method="kmeans")
    run_stage("label", path)
    return path


def ids_of(workspace: Path) -> list[str]:
    table = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples"))
    return table.ids(np.arange(len(table)))


def take_in(workspace: Path, named: dict[int, str], folder: Path) -> None:
    ids = ids_of(workspace)
    (folder / "l.csv").write_text("id,label\n" + "".join(f"{ids[row]},{name}\n" for row, name in named.items()))
    annotate(workspace, folder / "l.csv")


def named_rows(workspace: Path) -> list[str]:
    """Return the name of each row's class."""
    opened = Workspace.open(workspace)
    names = opened.manifest.artifacts["pseudo_labels"].metadata["names"]
    return [names[number] for number in opened.arrays("pseudo_labels")["pseudo_labels"]]


def true_names(rows: Sequence[int] = range(NUM_PICTURES)) -> dict[int, str]:
    """Return which of the three groups of the made-up embeddings a row is in."""
    return {row: "xyz"[row * 3 // NUM_PICTURES] for row in rows}


def label(workspace: Path) -> Outcome:
    return run_stage("label", workspace)


def test_every_image_gets_the_class_of_its_group(used: Path, tmp_path: Path) -> None:
    take_in(used, true_names(range(0, NUM_PICTURES, 5)), tmp_path)
    outcome = label(used)
    assert named_rows(used) == list(true_names().values())
    facts = outcome.summary
    assert (facts["annotated"], facts["classes"], facts["kept_clusters"]) == (12, 3, 0)
    assert (facts["estimated_wrong"], facts["estimated_from"], facts["judged"]) == (0.0, "cross-validation", 12)
    assert facts["estimated_wrong_interval"] == [0.0, pytest.approx(0.2425, abs=1e-3)]
    assert facts["headline"] == "3 classes from 12 annotations, linear   0% wrong (0% to 24%)"
    arrays = Workspace.open(used).arrays("pseudo_labels")
    assert (arrays["confidence"][::5] == 1).all()
    assert ((arrays["confidence"] > 0) & (arrays["confidence"] <= 1)).all()
    metadata = Workspace.open(used).manifest.artifacts["pseudo_labels"].metadata
    assert metadata["names"] == ["x", "y", "z"]
    assert Workspace.open(used).verify() == []


def test_annotated_rows_keep_what_people_said_even_where_it_is_odd(used: Path, tmp_path: Path) -> None:
    take_in(used, true_names(range(0, NUM_PICTURES, 3)) | {3: "z"}, tmp_path)
    label(used)
    assert named_rows(used)[3] == "z"
    assert named_rows(used)[4] == "x"


def test_a_class_that_no_cluster_had_is_found(tmp_path: Path, workspace: Path) -> None:
    """Two clusters over three groups: people name the third."""
    run_chain(workspace, stages=("embed",), source="embeddings", embeddings=str(make_embeddings(tmp_path / "e.npy")),
              encoder=None)  # fmt: skip
    run_stage("cluster", workspace, clusters=2, method="kmeans")
    take_in(workspace, true_names(range(0, NUM_PICTURES, 4)), tmp_path)
    label(workspace)
    assert named_rows(workspace) == list(true_names().values())


def test_parts_without_an_annotation_keep_their_cluster(used: Path, tmp_path: Path) -> None:
    """The groups lie so far apart that no path of five neighbours leads from one to another."""
    take_in(used, true_names(range(0, 40, 4)), tmp_path)
    before = Workspace.open(used).arrays("pseudo_labels")
    number, sure = int(before["pseudo_labels"][50]), np.array(before["confidence"][40:])
    outcome = label(used)
    assert outcome.summary["kept_clusters"] == len(set(before["pseudo_labels"][40:].tolist()))
    found = named_rows(used)
    assert found[:40] == list(true_names(range(40)).values())
    assert found[50] == f"cluster {number}"
    assert np.array_equal(Workspace.open(used).arrays("pseudo_labels")["confidence"][40:], sure)
    assert outcome.summary["clusters"] == 2 + outcome.summary["kept_clusters"]


@pytest.mark.slow
def test_new_annotations_make_the_labels_stale(used: Path, tmp_path: Path) -> None:
    take_in(used, true_names(range(0, NUM_PICTURES, 5)), tmp_path)
    opened = Workspace.open(used)
    assert opened.stale_reason("label") == "annotations were added after it (annotate)"
    with pytest.raises(StaleUpstreamError, match="annotations were added after it") as error:
        run_stage("score", used, force=True)
    assert error.value.hint is not None
    assert error.value.hint.startswith("elfs label")
    assert label(used).ran
    assert not label(used).ran
    assert Workspace.open(used).stale_reason("label") is None
    take_in(used, {1: "x"}, tmp_path)
    assert Workspace.open(used).stale_reason("label") == "annotations were rebuilt after it (annotate)"
    label(used)
    remove_annotations(used, ",".join(kept_annotations(Workspace.open(used)).of_image))
    assert Workspace.open(used).stale_reason("label") == "annotations were removed after it"


def test_taken_back_they_leave_the_clusters_as_they_were(used: Path, tmp_path: Path) -> None:
    before = Workspace.open(used).manifest.artifacts["pseudo_labels"]
    take_in(used, true_names(range(0, NUM_PICTURES, 5)), tmp_path)
    label(used)
    remove_annotations(used, ",".join(kept_annotations(Workspace.open(used)).of_image))
    label(used)
    assert Workspace.open(used).manifest.artifacts["pseudo_labels"] == before


@pytest.mark.parametrize("named", [{0: "x"}, {0: "x", 1: "x", 40: "x"}])
def test_one_class_alone_changes_nothing(used: Path, tmp_path: Path, named: dict[int, str]) -> None:
    before = Workspace.open(used).manifest.artifacts["pseudo_labels"]
    take_in(used, named, tmp_path)
    said: list[str] = []
    run_stage("label", used, runtime=Runtime(devices="cpu", warn=said.append))
    assert any("fewer than two classes: the clusters stay as they are" in text for text in said)
    assert Workspace.open(used).manifest.artifacts["pseudo_labels"].digest == before.digest


def test_one_image_a_class_names_but_estimates_nothing(used: Path, tmp_path: Path) -> None:
    take_in(used, true_names([5, 25, 45]), tmp_path)
    said: list[str] = []
    outcome = run_stage("label", used, runtime=Runtime(devices="cpu", warn=said.append))
    assert any("no class has two annotated images" in text for text in said)
    assert outcome.summary["estimated_wrong"] is None
    assert np.mean(np.array(named_rows(used)) == list(true_names().values())) > 0.9


def test_test_sets_are_not_learned_from_but_tell_how_many_are_wrong(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, holdout="25", name="test")
    opened = Workspace.open(used)
    held = set(opened.arrays("selections/test")["indices"].tolist())
    others = [row for row in range(NUM_PICTURES) if row not in held]
    wrong = {row: "q" for row in sorted(held)[:5]}
    take_in(used, true_names(others) | true_names(sorted(held)) | wrong, tmp_path)
    facts = label(used).summary
    assert (facts["annotated"], facts["classes"]) == (len(others), 3)
    assert (facts["estimated_from"], facts["judged"], facts["estimated_wrong"]) == ("test set", 25, 0.2)
    assert named_rows(used) == list(true_names().values())


@pytest.mark.slow
def test_trust_and_hard_rate_follow_the_estimate(used: Path, tmp_path: Path) -> None:
    assert "annotations" not in witnesses(Workspace.open(used), *NONE)
    odd = {row: "xyz"[row % 3] for row in range(0, NUM_PICTURES, 2)}
    take_in(used, odd, tmp_path)
    wrong = label(used).summary["estimated_wrong"]
    assert wrong > 0.3
    assert witnesses(Workspace.open(used), *NONE) == {"annotations": round(1 - wrong, 4)}


@pytest.mark.slow
def test_equal_runs_give_equal_bytes(used: Path, tmp_path: Path) -> None:
    take_in(used, true_names(range(0, NUM_PICTURES, 5)), tmp_path)
    label(used)
    first = Workspace.open(used).manifest.artifacts["pseudo_labels"]
    run_stage("label", used, force=True)
    assert Workspace.open(used).manifest.artifacts["pseudo_labels"] == first


def test_propagation_is_taken_where_it_names_more_rightly(tmp_path: Path, workspace: Path) -> None:
    """Classes take turns along a circle: neighbours follow it, no plane divides them."""
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    inner = np.arange(240) // 30 % 2
    values = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.save(tmp_path / "e.npy", values.astype(np.float32))
    run_chain(workspace, stages=("embed",), source="embeddings", embeddings=str(tmp_path / "e.npy"), encoder=None)
    run_stage("cluster", workspace, clusters=2, method="kmeans")
    run_stage("label", workspace)
    take_in(workspace, {row: "ab"[int(inner[row])] for row in range(0, 240, 3)}, tmp_path)
    opened = Workspace.open(workspace)
    table = SampleTable.from_tensors(opened.arrays("samples"))
    arrays = opened.arrays("pseudo_labels")
    clusters = (np.array(arrays["pseudo_labels"]), np.array(arrays["confidence"]))
    learned = learn_classes(opened, table, kept_annotations(opened), clusters)
    assert learned is not None
    assert learned.facts["learned_by"] == "propagation"
    right = learned.facts["cross_validated"]
    assert right["propagation"] > right["linear"]
    assert float((learned.classes == inner).mean()) > 0.8

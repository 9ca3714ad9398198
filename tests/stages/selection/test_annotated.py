"""Nobody is asked twice: images that people have annotated are not selected again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.annotations.annotating import annotate, remove_annotations
from elfs.data.samples import SampleTable
from elfs.errors import UsageError
from elfs.pipeline.facts import SelectionFacts
from elfs.pipeline.selections import read_images, restoring_hint
from elfs.pipeline.verdict import GOOD, verdict
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, artifacts_of, run_stage


@pytest.fixture
def used(folder: Finished, workspace: Path) -> Path:
    return folder.copy(workspace)


def selected(workspace: Path, name: str) -> set[str]:
    return {image.id for image in read_images(Workspace.open(workspace), name)}


def take_in(workspace: Path, ids: set[str], folder: Path) -> None:
    (folder / "l.csv").write_text("id,label\n" + "".join(f"{name},{name[0]}\n" for name in sorted(ids)))
    annotate(workspace, folder / "l.csv")


def test_the_next_selection_takes_others_and_says_so(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, method="random", budget="12", name="first")
    take_in(used, selected(used, "first"), tmp_path)
    outcome = run_stage("select", used, method="random", budget="12", name="second")
    assert not selected(used, "first") & selected(used, "second")
    assert outcome.summary["annotated"] == 12
    assert outcome.summary["excluded"] == 12


@pytest.mark.parametrize("how", ["excluded", "included"])
def test_clusters_of_earlier_rounds_are_not_missed(used: Path, tmp_path: Path, how: str) -> None:
    found = Workspace.open(used)
    names = SampleTable.from_tensors(found.arrays("samples")).ids(range(60))
    of_image = dict(zip(names, found.arrays("pseudo_labels")["pseudo_labels"].tolist(), strict=True))
    one_each = {cluster: name for name, cluster in of_image.items() if cluster >= 0}
    (tmp_path / "first.txt").write_text("\n".join(one_each.values()))
    settings: dict[str, Any] = {how.removesuffix("d"): str(tmp_path / "first.txt")}
    budget = str(1 + len(one_each) * (how == "included"))
    summary = run_stage("select", used, budget=budget, name="second", **settings).summary
    assert summary["clusters_missed"] == 0
    assert summary["clusters"] == len(one_each) > 1
    assert verdict(SelectionFacts.of(summary)).findings[1].level == GOOD


def test_the_same_command_again_makes_the_next_list(used: Path, tmp_path: Path) -> None:
    first = run_stage("select", used, method="random", budget="9")
    take_in(used, selected(used, "random-9"), tmp_path)
    second = run_stage("select", used, method="random", budget="9")
    assert (first.record, second.record, second.ran) == ("select/random-9", "select/random-9-2", True)
    assert not selected(used, "random-9") & selected(used, "random-9-2")
    assert not run_stage("select", used, method="random", budget="9").ran


def test_included_ones_are_not_left_out(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, method="random", budget="6", name="first")
    take_in(used, selected(used, "first"), tmp_path)
    both = run_stage("select", used, method="random", budget="9", name="both", include="selections/first")
    assert selected(used, "first") < selected(used, "both")
    assert "annotated" not in both.summary


def test_a_test_set_takes_none_of_them(used: Path, tmp_path: Path) -> None:
    ids = {f"{folder}/{number:02d}.png" for folder in "ac" for number in range(20)}
    take_in(used, ids, tmp_path)
    run_stage("select", used, holdout="10", name="test")
    assert not ids & selected(used, "test")


def test_annotated_test_images_count_as_held_out(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, holdout="6", name="test")
    take_in(used, selected(used, "test") | {"a/00.png"}, tmp_path)
    outcome = run_stage("select", used, method="random", budget="6", name="next")
    assert outcome.summary["annotated"] == len({"a/00.png"} - selected(used, "test"))


def test_a_pool_that_is_annotated_has_nothing_to_select(used: Path, tmp_path: Path) -> None:
    take_in(used, {f"{folder}/{number:02d}.png" for folder in "abc" for number in range(20)}, tmp_path)
    with pytest.raises(UsageError, match="no image is left to select: of 59, 59 are included, excluded or annotated"):
        run_stage("select", used, method="random", budget="6", name="more")


def test_a_list_from_before_cannot_be_made_again(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, method="random", budget="6", name="first")
    assert restoring_hint(Workspace.open(used), "first") is not None
    take_in(used, {"a/01.png", "b/01.png"}, tmp_path)
    assert restoring_hint(Workspace.open(used), "first") is None


def test_without_annotations_every_artifact_is_as_before(used: Path, tmp_path: Path, folder: Finished) -> None:
    """Annotate, take it all back, and run the chain again: byte for byte what a workspace has that was never told."""
    take_in(used, {"a/01.png", "b/01.png", "c/01.png"}, tmp_path)
    remove_annotations(used, "a/01.png,b/01.png,c/01.png")
    for stage in ("label", "dynamics", "score", "select"):
        run_stage(stage, used, force=True)
    assert artifacts_of(used) == artifacts_of(folder.path)
    ours, theirs = Workspace.open(used).manifest, Workspace.open(folder.path).manifest
    assert ours.artifacts == theirs.artifacts
    assert ours.records == theirs.records


def test_the_plan_of_budgets_counts_what_is_left(used: Path, tmp_path: Path) -> None:
    from elfs.config import PlanConfig
    from elfs.parallel.runtime import Runtime
    from elfs.stages.selection.plan import plan_budgets

    config = PlanConfig(budgets="6,50", method="random", dedup="off")
    plan_budgets(used, config, Runtime(devices="cpu"))
    take_in(used, {f"a/{number:02d}.png" for number in range(20)}, tmp_path)
    outcome = plan_budgets(used, config, Runtime(devices="cpu"))
    assert outcome.ran
    assert [item["budget"] for item in outcome.summary["left_out"]] == ["50"]
    assert np.isfinite(outcome.summary["budgets"][0]["coverage"])


def test_rare_classes_are_topped_up(used: Path, tmp_path: Path) -> None:
    """15 annotated images of a, 3 of b and 3 of c: all classes come to have equally many."""
    ids = {f"a/{number:02d}.png" for number in range(15)} | {f"{folder}/0{n}.png" for folder in "bc" for n in range(3)}
    take_in(used, ids, tmp_path)
    run_stage("label", used)
    outcome = run_stage("select", used, method="random", budget="20", balance="class")
    assert outcome.record == "select/random-20-balanced-class"
    labels = Workspace.open(used).arrays("pseudo_labels")["pseudo_labels"]
    counts = np.bincount(labels[read_rows_of(used, "random-20-balanced-class")], minlength=3)
    assert counts[0] == 0  # of a there are enough
    assert abs(counts[1] - counts[2]) <= 1
    with (used / "selections" / "random-20-balanced-class" / "selection.csv").open() as stream:
        assert "inside its class" in stream.read()


@pytest.mark.parametrize("annotated", [set(), {"a/00.png", "a/01.png"}], ids=["none", "one class"])
def test_classes_that_nobody_has_named_cannot_be_balanced(used: Path, tmp_path: Path, annotated: set[str]) -> None:
    if annotated:
        take_in(used, annotated, tmp_path)
        run_stage("label", used)
    with pytest.raises(UsageError, match="--balance class needs pseudo-labels that have learned the classes of people"):
        run_stage("select", used, method="random", budget="9", balance="class")


def read_rows_of(workspace: Path, name: str) -> np.ndarray:
    return Workspace.open(workspace).arrays(f"selections/{name}")["indices"]

"""Training on what people have annotated."""

import json
from pathlib import Path

import numpy as np
import pytest

from elfs.annotations.annotating import annotate
from elfs.config import TrainConfig
from elfs.data.samples import SampleTable, Split
from elfs.errors import UsageError
from elfs.evaluation.labels import annotated_labels, true_labels
from elfs.evaluation.train import train
from elfs.evaluation.train_report import TrainReport
from elfs.parallel.runtime import Runtime
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage


def trained(path: Path, **settings: object) -> TrainReport:
    config = TrainConfig(**({"network": "linear", "iterations": 20} | settings))  # type: ignore[arg-type]
    return train(path, config, Runtime(devices="cpu"))


def take_in(workspace: Path, named: dict[str, str], folder: Path) -> None:
    (folder / "l.csv").write_text("id,label\n" + "".join(f"{image},{name}\n" for image, name in named.items()))
    annotate(workspace, folder / "l.csv")


def test_without_a_selection_all_that_is_annotated_is_learned_from(
    folder: Finished, workspace: Path, tmp_path: Path
) -> None:
    used = folder.copy(workspace)
    run_stage("select", used, holdout="9", name="test")
    held = Workspace.open(used).arrays("selections/test")["indices"]
    table = SampleTable.from_tensors(Workspace.open(used).arrays("samples"))
    tests = set(table.ids(held))
    named = {f"{name}/{number:02d}.png": name for name in "abc" for number in range(10)}
    take_in(used, named | {name: name[0] for name in tests}, tmp_path)
    report = trained(used)
    assert report.ran
    assert report.summary["selection"] == "annotations"
    assert report.summary["images"] == len(set(named) - tests)
    assert (report.summary["held_out"], report.summary["test_images"]) == (9, 9)
    learned = json.loads((used / "models/annotations.json").read_text())["learned_from"]
    assert {image for image, _ in learned} == set(named) - tests
    assert not trained(used).ran
    take_in(used, {"a/15.png": "a", "a/16.png": "a"}, tmp_path)
    assert trained(used).ran


def test_a_selection_that_is_named_alone_counts(folder: Finished, workspace: Path, tmp_path: Path) -> None:
    used = folder.copy(workspace)
    table = SampleTable.from_tensors(Workspace.open(used).arrays("samples"))
    ids = table.ids(Workspace.open(used).arrays("selections/aum-0.2")["indices"])
    others = {name: name[0] for name in table.ids(np.arange(len(table))) if name != "b/19.png"}
    take_in(used, others, tmp_path)
    report = trained(used, selection="aum-0.2", folds=2)
    assert report.summary["images"] == len(ids)
    with pytest.raises(UsageError, match="unknown selection 'annotations'"):
        trained(used, selection="annotations")


def test_labels_that_are_named_come_first(folder: Finished, workspace: Path, tmp_path: Path) -> None:
    used = folder.copy(workspace)
    take_in(used, {"a/01.png": "x", "b/01.png": "y"}, tmp_path)
    report = trained(used, labels="folders", folds=2)
    assert (report.summary["selection"], report.summary["classes"]) == ("aum-0.2", ["a", "b", "c"])


@pytest.mark.parametrize(("first", "tested"), [("3", True), ("three", False)])
def test_the_test_split_of_a_data_set_keeps_its_own_labels(
    digits: Finished, workspace: Path, tmp_path: Path, first: str, tested: bool
) -> None:
    """Where the names are those of the data set; people may have others."""
    used = digits.copy(workspace)
    opened = Workspace.open(used)
    table = SampleTable.from_tensors(opened.arrays("samples"))
    train_rows = table.rows(Split.TRAIN)[:20]
    take_in(
        used,
        dict.fromkeys(table.ids(train_rows[:10]), first) | dict.fromkeys(table.ids(train_rows[10:]), "8"),
        tmp_path,
    )
    opened = Workspace.open(used)
    found, truth = annotated_labels(opened, table), true_labels(opened, table, None)
    tests = table.rows(Split.TEST)
    assert bool((found.values[tests] == truth.values[tests]).all()) == tested
    assert bool((found.values[tests] >= 0).any()) == tested
    assert [found.names[value] for value in found.values[train_rows]] == [first] * 10 + ["8"] * 10
    assert (found.values[np.setdiff1d(table.rows(Split.TRAIN), train_rows)] == -1).all()

"""Cross-validation that splits no group, and test sets that share none with what is learned from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.annotations.annotating import annotate
from elfs.annotations.groups import keep_groups, read_groups
from elfs.config import TrainConfig
from elfs.data.samples import SampleTable
from elfs.evaluation import train as module
from elfs.evaluation.train import train
from elfs.ops.folds import deal_folds
from elfs.parallel.runtime import Runtime, Silence
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage

SETTINGS = {"network": "linear", "iterations": 5}


def name_all(workspace: Path, folder: Path) -> None:
    lines = [f"{name}/{number:02d}.png,{name}\n" for name in "abc" for number in range(20)]
    (folder / "l.csv").write_text("id,label\n" + "".join(lines))
    annotate(workspace, folder / "l.csv")


def keep(workspace: Path, text: str) -> None:
    opened = Workspace.open(workspace)
    table = SampleTable.from_tensors(opened.arrays("samples"))
    keep_groups(opened, table, read_groups(text, table, None))


@pytest.fixture
def annotated(folder: Finished, workspace: Path, tmp_path: Path) -> Path:
    used = folder.copy(workspace)
    name_all(used, tmp_path)
    return used


def test_no_group_is_split(annotated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dealt: list[tuple[np.ndarray, np.ndarray]] = []

    def spy(classes: Tensor, num_folds: int, generator: torch.Generator, groups: Tensor) -> Tensor:
        found = deal_folds(classes, num_folds, generator, groups)
        dealt.append((found.numpy(), groups.numpy()))
        return found

    monkeypatch.setattr(module, "deal_folds", spy)
    keep(annotated, r"^(./.)")
    report = train(annotated, TrainConfig(**SETTINGS, folds=3), Runtime(devices="cpu"))  # type: ignore[arg-type]
    ((folds, groups),) = dealt
    assert len(np.unique(groups)) == report.summary["groups"] == 6
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    assert any("3-fold cross-validation that splits none of 6 groups" in line for line in report.lines())


def test_images_of_one_group_are_not_cross_validated(annotated: Path) -> None:
    keep(annotated, "png")
    report = train(annotated, TrainConfig(**SETTINGS, folds=3), Runtime(devices="cpu"))  # type: ignore[arg-type]
    assert report.summary["accuracies"] == []
    assert any("all images are of one group, which cross-validation would split" in line for line in report.lines())


def test_groups_that_the_test_set_shares_are_told(folder: Finished, workspace: Path, tmp_path: Path) -> None:
    used = folder.copy(workspace)
    run_stage("select", used, holdout="10", name="test")
    name_all(used, tmp_path)
    keep(used, r"^.")
    said: list[str] = []
    train(used, TrainConfig(**SETTINGS), Runtime(devices="cpu", progress=Silence(), warn=said.append))  # type: ignore[arg-type]
    assert any("49 of 49 images are of groups that the test set has images of, too" in text for text in said)

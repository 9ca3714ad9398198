"""Rounds on the tiny pool of digits, with its labels as the annotator."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.config import CompareConfig
from elfs.errors import InputDataError, MissingUpstreamError, UsageError
from elfs.evaluation import rounds
from elfs.evaluation.compare import CompareReport, compare
from elfs.evaluation.comparison_forecast import planned_cells
from elfs.evaluation.training import Trainer
from elfs.parallel.runtime import Runtime
from elfs.train.annotated import AnnotatedClassifier
from elfs.workspace.workspace import Workspace
from tests.chain import Finished

pytestmark = pytest.mark.usefixtures("few_penalties", "no_drawing")

CPU = Runtime(devices="cpu")
SMALL: dict[str, Any] = {
    "methods": "random,margin,uherding,auto,badge,dropquery,entropy",
    "rounds": 3,
    "batch": "12",
    "seeds": 2,
    "iterations": 4,
    "network": "linear",
    "reference": False,
}


def played(path: Path, **changes: Any) -> CompareReport:
    return compare(path, CompareConfig(**(SMALL | changes)), CPU)


@pytest.fixture
def used(digits: Finished, workspace: Path) -> Path:
    return digits.copy(workspace)


@pytest.mark.slow
def test_rounds_grow_from_one_opening_and_every_method_goes_its_way(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    play = rounds._Simulation.everything

    def watched(game: Any) -> Any:
        kept.append((game.setting.plans, play(game)))
        return kept[-1][1]

    monkeypatch.setattr(rounds._Simulation, "everything", watched)
    report = played(used)
    ((plans, rows),) = kept
    sets = {(plan.seed, plan.entry.method, plan.budget): set(found) for plan, found in zip(plans, rows, strict=True)}
    methods = dict.fromkeys(plan.entry.method for plan in plans)
    for seed in (0, 1):
        assert len({frozenset(sets[seed, method, "1 x 12"]) for method in methods}) == 1
        for method in methods:
            first, second, third = (sets[seed, method, f"{number} x 12"] for number in (1, 2, 3))
            assert first < second < third
            assert [len(first), len(second), len(third)] == [12, 24, 36]
        assert len({frozenset(sets[seed, method, "3 x 12"]) for method in methods}) == len(methods)
    assert [cell.images for cell in report.comparison.cells[:3]] == [12, 24, 36]
    assert len(report.as_json()["curves"]) == len(methods)
    lines = list(csv.DictReader((used / "comparison" / "cells.csv").read_text().splitlines()))
    assert len(lines) == 2 * 3 * len(methods)


@pytest.mark.slow
def test_the_classifier_sees_the_labels_of_what_was_asked_for_alone(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    fit = AnnotatedClassifier.fit.__func__  # type: ignore[attr-defined]

    def watched(cls: Any, embeddings: Any, pool: Any, annotated: Any, seed: int) -> Any:
        seen.append(len(annotated.rows))
        return fit(cls, embeddings, pool, annotated, seed)

    monkeypatch.setattr(AnnotatedClassifier, "fit", classmethod(watched))
    played(used, methods="margin", seeds=1)
    assert seen == [12, 24]


@pytest.mark.slow
def test_a_second_run_trains_nothing_and_another_method_only_its_own(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = played(used, methods="random,margin")
    trained: list[str] = []
    train_on_rows = Trainer.train_on_rows

    def watched(trainer: Trainer, rows: Any, *, seed: int, label: str = "train") -> Any:
        trained.append(label.partition(" ")[0])
        return train_on_rows(trainer, rows, seed=seed, label=label)

    monkeypatch.setattr(Trainer, "train_on_rows", watched)
    assert played(used, methods="random,margin").ran is False
    second = played(used, methods="random,margin,entropy")
    assert set(trained) == {"entropy"}
    assert second.comparison.cells[: len(first.comparison.cells)] == first.comparison.cells


@pytest.mark.slow
def test_the_opening_may_be_random(used: Path) -> None:
    opened = played(used, methods="random,margin", first="random")
    assert opened.comparison.cell("margin", "1 x 12").images == 12
    assert "selections/compare-random-12" not in Workspace.open(used).manifest.artifacts


def test_the_plan_says_how_much_there_is_to_do(used: Path) -> None:
    cells = planned_cells(used, CompareConfig(**SMALL), CPU)
    assert len(cells) == 7 * 3 * 2
    assert {cell["action"] for cell in cells} == {"select and train"}
    assert cells[0]["budget"] == "1 x 12"


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"batch": "60"}, UsageError, "--budget asks for 60 images, but only 40 can be"),
        ({"batch": "0"}, UsageError, "--batch is 0, expected a share"),
        ({"first": "margin"}, UsageError, "--first is margin, which needs annotations"),
        ({"rounds": None, "methods": "margin"}, MissingUpstreamError, "no image is annotated yet"),
    ],
)
def test_what_cannot_be_played(used: Path, changes: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        played(used, **changes)


def test_an_image_without_a_label_cannot_be_asked_for(used: Path, tmp_path: Path) -> None:
    opened = Workspace.open(used)
    from elfs.data.samples import SampleTable
    from elfs.evaluation.labels import true_labels

    table = SampleTable.from_tensors(opened.arrays("samples"))
    values = true_labels(opened, table, None).values
    names = table.ids(np.arange(len(table)))
    lines = [f"{name},{value}" for row, (name, value) in enumerate(zip(names, values, strict=True)) if row % 2]
    (tmp_path / "some.csv").write_text("\n".join(["id,label", *lines]) + "\n")
    with pytest.raises(InputDataError, match="selected images have no label"):
        played(used, labels=str(tmp_path / "some.csv"))

"""What `train` and `compare` say that they would do, held against what they do."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.config import CompareConfig, TrainConfig
from elfs.errors import InputDataError, MissingUpstreamError
from elfs.evaluation import training_time
from elfs.evaluation.compare import compare
from elfs.evaluation.comparison_forecast import planned_cells
from elfs.evaluation.train import train
from elfs.evaluation.train_plan import forecast
from elfs.evaluation.training import Trainer
from elfs.parallel.runtime import Runtime
from elfs.stages.estimates.costs import START_SECONDS
from elfs.stages.estimates.pool_facts import facts_of
from elfs.stages.estimates.training_costs import training_seconds
from elfs.train.recipes import RECIPES
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, bytes_of

pytestmark = pytest.mark.usefixtures("no_drawing")

CPU = Runtime(devices="cpu", num_workers=0)


@pytest.fixture
def used(digits: Finished, workspace: Path) -> Path:
    return digits.copy(workspace)


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each training learned from."""
    found: list[int] = []
    original = Trainer.train_on_rows

    def watched(trainer: Trainer, rows: Any, *, seed: int, label: str = "train") -> Any:
        found.append(len(rows))
        return original(trainer, rows, seed=seed, label=label)

    monkeypatch.setattr(Trainer, "train_on_rows", watched)
    return found


def settings(**options: Any) -> TrainConfig:
    given: dict[str, Any] = {"network": "mlp", "iterations": 4, "batch_size": 8}
    return TrainConfig(**(given | options))


@pytest.mark.parametrize("options", [{}, {"seeds": 3}, {"seeds": 3, "network": "linear", "batch_size": None}])
def test_train_does_what_its_forecast_says(used: Path, learned: list[int], options: dict[str, Any]) -> None:
    before = bytes_of(used)
    said = forecast(used, settings(**options), CPU)
    assert bytes_of(used) == before
    report = train(used, settings(**options), CPU)
    assert said["action"] == "run"
    assert (said["trainings"], said["steps"]) == (len(learned), 4)
    assert {said["images"]} == {*learned} == {report.summary["images"]}
    assert (said["selection"], said["network"]) == ("aum-0.2", report.summary["network"])
    assert said["test_images"] == report.summary["test_images"]
    kept = forecast(used, settings(**options), CPU)
    assert (kept["action"], kept["trainings"], kept["seconds"]) == ("keep", 0, 0)
    again = forecast(used, settings(**options), CPU, force=True)
    assert {name: again[name] for name in again if name != "seconds"} == {
        name: said[name] for name in said if name != "seconds"
    }


def test_without_a_test_image_the_forecast_counts_the_folds(
    embeddings: Finished, workspace: Path, learned: list[int], tmp_path: Path
) -> None:
    path = embeddings.copy(workspace)
    found = Workspace.open(path)
    [name] = [name for name in found.manifest.artifacts if name.startswith("selections/")][-1:]
    names = (path / f"{name}/selection.csv").read_text().splitlines()[1:]
    labels = tmp_path / "labels.csv"
    rows = [f"{line.split(',')[1]},{number % 2}" for number, line in enumerate(names)]
    labels.write_text("\n".join(["id,label", *rows]))
    config = settings(labels=str(labels), folds=3, seeds=2, selection=name.partition("/")[2])
    said = forecast(path, config, CPU)
    train(path, config, CPU)
    assert (said["folds"], said["test_images"], said["trainings"]) == (3, 0, len(learned))
    assert said["images"] == max(learned)


def test_times_are_those_of_the_rates(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_time, "core_speed", lambda: 2.0)
    facts = dataclasses.replace(facts_of(used), num_clusters=10)
    said = forecast(used, settings(seeds=3, iterations=700, batch_size=16), CPU)
    recipe = dataclasses.replace(RECIPES["small"], network="mlp", iterations=700, batch_size=16)
    one = training_seconds(recipe, facts, num_learned=said["images"], num_asked=said["test_images"])
    assert one is not None
    assert said["seconds"] == pytest.approx(START_SECONDS + 3 * one / 2)
    assert forecast(used, settings(network="resnet50"), CPU)["seconds"] is None


def test_nothing_is_said_of_the_time_on_a_gpu(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "on_cpu", False)
    assert forecast(used, settings(), CPU)["seconds"] is None


def test_train_refuses_in_a_forecast_what_it_refuses(used: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("id,label\ndigits/train/0000,0\n")
    for file, reason in ((str(few), "32 of 32 selected images have no label"), ("none.csv", "there is no such file")):
        with pytest.raises(InputDataError, match=reason) as said:
            forecast(used, settings(labels=file), CPU)
        with pytest.raises(InputDataError, match=reason) as done:
            train(used, settings(labels=file), CPU)
        assert str(said.value) == str(done.value)
    with pytest.raises(MissingUpstreamError, match=r"^there is no workspace"):
        forecast(tmp_path / "nowhere", settings(), CPU)


def test_compare_learns_from_as_many_images_as_its_forecast_says(used: Path, learned: list[int]) -> None:
    options: dict[str, Any] = {"methods": "random,auto", "budgets": "0.1,32", "seeds": 2, "network": "linear"}
    cells = planned_cells(used, CompareConfig(**options), CPU)
    assert all(cell["seconds"] > 0 for cell in cells)
    compare(used, CompareConfig(**options), CPU)
    assert {*learned} == {cell["images"] for cell in cells}
    done = planned_cells(used, CompareConfig(**options), CPU)
    assert [cell["images"] for cell in done] == [cell["images"] for cell in cells]
    assert {cell["seconds"] for cell in done} == {None}


def test_rounds_learn_from_all_that_was_annotated_before(used: Path) -> None:
    cells = planned_cells(used, CompareConfig(methods="random", rounds=3, batch="12", seeds=1, network="mlp"), CPU)
    assert [cell["images"] for cell in cells[:3]] == [12, 24, 36]
    pool = cells[-1]["images"]
    shares = planned_cells(used, CompareConfig(methods="random", rounds=2, batch="60%", seeds=1, network="mlp"), CPU)
    assert [cell["images"] for cell in shares[:2]] == [round(0.6 * pool), pool]
    assert np.all(np.diff([cell["seconds"] for cell in cells[:3]]) >= 0)

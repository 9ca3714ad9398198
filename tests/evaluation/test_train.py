"""Training on an annotated selection."""

import csv
import dataclasses
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.cli.app import run as run_command
from elfs.config import TrainConfig
from elfs.data.samples import SampleTable, Split
from elfs.errors import InputDataError, MissingUpstreamError, UsageError
from elfs.evaluation.labels import TrueLabels, true_labels
from elfs.evaluation.train import train
from elfs.evaluation.train_report import TrainReport
from elfs.evaluation.training import Trainer
from elfs.models.networks import build_network
from elfs.parallel.runtime import Runtime, Silence
from elfs.train.classifier import _FitState, predict
from elfs.train.inputs import InputBuilder
from elfs.train.recipes import RECIPES
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, bytes_of, run_stage

CPU = Runtime(devices="cpu")


def trained(path: Path, **settings: Any) -> TrainReport:
    return train(path, TrainConfig(**({"iterations": 5, "batch_size": 16} | settings)), CPU)


@pytest.fixture
def used(digits: Finished, workspace: Path) -> Path:
    return digits.copy(workspace)


def label_table(path: Path, workspace: Path, num_missing: int = 0) -> str:
    """Write the labels of the selected images, as an annotator fills in the selection's table; return the file."""
    rows = Workspace.open(workspace).arrays("selections/aum-0.2")["indices"]
    table = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples"))
    names = table.ids(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        writer.writerows((name, "" if index < num_missing else name.split("/")[0]) for index, name in enumerate(names))
    return str(path)


def test_a_network_on_the_embeddings_sees_one_scale_for_all(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    build = InputBuilder.build

    def watched(builder: InputBuilder, rows: Any, label: str) -> Any:
        asked.append(builder.recipe.standardize)
        return build(builder, rows, label)

    monkeypatch.setattr(InputBuilder, "build", watched)
    trained(used, network="linear", batch_size=None)
    assert set(asked) == {False}


@pytest.mark.parametrize("option", ["batch_size", "learning_rate"])
def test_a_linear_network_takes_no_option_about_steps(used: Path, option: str) -> None:
    name = "--" + option.replace("_", "-")
    message = f"^{name} is 16, but a linear network is no matter of steps: .* Leave {name} out, or use --network mlp.$"
    with pytest.raises(UsageError, match=message):
        trained(used, **{"batch_size": None, "network": "linear", option: 16})


def test_two_seeds_of_a_linear_network_are_one_training(used: Path) -> None:
    report = trained(used, network="linear", seeds=2, batch_size=None)
    first, again = report.summary["accuracies"]
    assert first == again > 0.5


def test_accuracy_is_that_of_the_network_that_is_kept(used: Path) -> None:
    """Load the network again, let it look at the test images, count."""
    report = trained(used)
    workspace = Workspace.open(used)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    truth = true_labels(workspace, table, None)
    network = build_network("resnet8", num_classes=10, image_size=8, dim=None, seed=0)
    state = {name: torch.from_numpy(np.array(value)) for name, value in workspace.arrays("models/aum-0.2").items()}
    network.load_state_dict(state)
    builder = InputBuilder(workspace, table, RECIPES["small"], CPU, None)
    rows = table.rows(Split.TEST)
    batches = builder.build(rows, "x").batches(
        torch.arange(40), batch_size=9, augment=False, generator=torch.Generator(), device=torch.device("cpu")
    )
    with torch.no_grad():
        predicted = torch.cat([network.eval()(batch).argmax(dim=1) for _, batch in batches])
    accuracy = float((predicted.numpy() == truth.values[rows]).mean())
    assert report.summary["accuracies"] == [pytest.approx(accuracy)]
    assert (report.summary["mean"], report.summary["test_images"]) == (pytest.approx(accuracy), 40)


def test_last_iterate_is_reported_after_exactly_so_many_steps(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test images are looked at once, when the training is over."""
    events: list[str] = []

    step = _FitState.step

    def watched_step(*arguments: Any) -> Any:
        events.append("step")
        return step(*arguments)

    def watched_predict(*arguments: Any, **options: Any) -> Any:
        events.append("test")
        return predict(*arguments, **options)

    monkeypatch.setattr(_FitState, "step", watched_step)
    monkeypatch.setattr("elfs.evaluation.training.predict", watched_predict)
    trained(used, iterations=7)
    assert events == 7 * ["step"] + ["test"]


@pytest.mark.slow
def test_seeds_give_mean_and_spread(used: Path) -> None:
    report = trained(used, seeds=3, seed=4, iterations=20)
    accuracies = report.summary["accuracies"]
    assert len(accuracies) == 3
    assert len(set(accuracies)) > 1
    assert report.summary["mean"] == pytest.approx(statistics.fmean(accuracies))
    assert report.summary["deviation"] == pytest.approx(statistics.stdev(accuracies))
    alone = trained(used, seed=5, iterations=20)
    assert alone.summary["accuracies"] == accuracies[1:2]
    assert alone.summary["deviation"] is None


def test_rerun_does_nothing_and_force_gives_the_same(used: Path) -> None:
    first = trained(used)
    again = trained(used)
    assert (first.ran, again.ran, again.summary) == (True, False, first.summary)
    forced = train(used, TrainConfig(iterations=5, batch_size=16), CPU, force=True)
    assert (forced.ran, forced.summary) == (True, first.summary)
    assert trained(used, iterations=6).ran


def test_rank_order_does_not_matter(used: Path) -> None:
    """A set of images gives one network."""
    first = trained(used)
    rows = np.array(Workspace.open(used).arrays("selections/aum-0.2")["indices"])
    workspace = Workspace.open(used)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    builder = InputBuilder(
        workspace, table, dataclasses.replace(RECIPES["small"], batch_size=16, learning_rate=0.025), CPU, None
    )
    trainer = Trainer(builder, true_labels(workspace, table, None), 5, np.sort(rows))
    shuffled = np.random.default_rng(0).permutation(rows)
    assert trainer.digest(rows, 0) == trainer.digest(shuffled, 0)
    for order in (rows, shuffled):
        assert trainer.train_on_rows(order, seed=0)[1].share == first.summary["mean"]


def test_digest_covers_what_decides_the_result(used: Path) -> None:
    workspace = Workspace.open(used)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    truth = true_labels(workspace, table, None)
    rows = np.flatnonzero(table.eligible())[:20]

    def digest(rows: Any = rows, truth: TrueLabels = truth, seed: int = 0, steps: int = 5, **recipe: Any) -> str:
        builder = InputBuilder(workspace, table, dataclasses.replace(RECIPES["small"], **recipe), CPU, None)
        return Trainer(builder, truth, steps, rows).digest(rows, seed)

    def relabelled(row: int, value: int) -> TrueLabels:
        values = truth.values.copy()
        values[row] = value
        return TrueLabels(values, truth.names)

    other, test_row = int(np.flatnonzero(table.eligible())[30]), int(table.rows(Split.TEST)[0])
    assert digest() == digest(name="another name", epochs=7) == digest(truth=relabelled(other, -1))
    changed = [
        digest(rows=rows[:19]),
        digest(seed=1),
        digest(steps=6),
        digest(batch_size=16),
        digest(image_size=4),
        digest(network="mlp"),
        digest(truth=relabelled(int(rows[0]), 9 - int(truth.values[rows[0]]))),
        digest(truth=relabelled(test_row, -1)),
        digest(truth=relabelled(test_row, 9 - int(truth.values[test_row]))),
        digest(truth=TrueLabels(truth.values, (*truth.names, "more"))),
    ]
    assert len({digest(), *changed}) == 1 + len(changed)


def test_images_are_read_once_for_all_seeds(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    build = InputBuilder.build

    def watched(builder: InputBuilder, rows: Any, label: str) -> Any:
        read.append(label)
        return build(builder, rows, label)

    monkeypatch.setattr(InputBuilder, "build", watched)
    trained(used, seeds=3)
    assert sorted(read) == ["test", "train"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 2])
def test_killed_training_goes_on_at_the_next_seed(
    used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    expected = trained(Path(shutil.copytree(used, tmp_path / "straight")), seeds=3)
    seeds: list[int] = []
    train_on_rows = Trainer.train_on_rows

    def watched(trainer: Trainer, rows: Any, *, seed: int, label: str = "train") -> Any:
        if len(seeds) == after and after < 3:
            seeds.append(-1)
            raise KeyboardInterrupt
        seeds.append(seed)
        return train_on_rows(trainer, rows, seed=seed, label=label)

    monkeypatch.setattr(Trainer, "train_on_rows", watched)
    with pytest.raises(KeyboardInterrupt):
        trained(used, seeds=3)
    report = trained(used, seeds=3)
    assert seeds == [*range(after), -1, *range(after, 3)]
    assert report.summary == expected.summary
    for name in ("models/aum-0.2.safetensors", "models/aum-0.2.json"):
        assert (used / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert not (used / "partial").exists()


def test_report_lines() -> None:
    facts: dict[str, Any] = {
        "name": "large",
        "network": "resnet18",
        "iterations": 40_000,
        "selection": "aum-0.1",
        "images": 5000,
    }
    facts |= {"accuracies": [0.9, 0.92], "mean": 0.91, "deviation": 0.0141421, "test_images": 10_000}
    assert TrainReport(facts, True).lines() == [
        "selection   aum-0.1, 5,000 images",
        "protocol    resnet18, 40,000 iterations whatever the budget, last iterate",
        "accuracy    91.00 % +- 1.41   (2 seeds: 90.00 92.00; 10,000 test images)",
    ]
    one = TrainReport(facts | {"accuracies": [0.9], "mean": 0.9, "deviation": None}, True)
    assert one.lines()[2] == "accuracy    90.00 %   (1 seed: 90.00; 10,000 test images)"
    none = TrainReport(facts | {"accuracies": [], "mean": None, "deviation": None, "test_images": 0}, True)
    assert none.lines()[2] == "accuracy    not measured: no test image has a label"
    assert none.as_json()["selection"] == "aum-0.1"


def test_annotators_table(used: Path, tmp_path: Path) -> None:
    """One class, no test labels: trained, nothing to measure, and said; the table's folder is no part of the record."""
    said: list[str] = []
    runtime = Runtime(devices="cpu", progress=Silence(), warn=said.append)
    config = TrainConfig(iterations=5, batch_size=16, labels=label_table(tmp_path / "labels.csv", used))
    report = train(used, config, runtime)
    assert said == ["all 32 labelled images are of one class, 'digits': the network can name no other."]
    assert (report.summary["mean"], report.summary["test_images"]) == (None, 0)
    record = Workspace.open(used).manifest.records["train/aum-0.2"]
    assert record.config["labels"] == "labels.csv"
    assert str(tmp_path) not in json.dumps(record.config)
    (tmp_path / "moved").mkdir()
    (tmp_path / "labels.csv").rename(tmp_path / "moved" / "labels.csv")
    assert not trained(used, labels=str(tmp_path / "moved" / "labels.csv")).ran
    (tmp_path / "moved" / "labels.csv").write_bytes((tmp_path / "moved" / "labels.csv").read_bytes() + b"\r\n")
    assert trained(used, labels=str(tmp_path / "moved" / "labels.csv")).ran


@pytest.mark.parametrize("num_missing", [1, 5])
def test_a_part_of_the_labels_is_trained_on_and_the_rest_is_named(used: Path, tmp_path: Path, num_missing: int) -> None:
    report = trained(used, labels=label_table(tmp_path / "labels.csv", used, num_missing))
    table = SampleTable.from_tensors(Workspace.open(used).arrays("samples"))
    missing = table.ids(np.array(Workspace.open(used).arrays("selections/aum-0.2")["indices"][:num_missing]))
    assert report.summary["images"] == 32 - num_missing
    shown = ", ".join(map(repr, missing[:3])) + (" and 2 more" if num_missing == 5 else "")
    assert report.lines()[:2] == [
        f"selection   aum-0.2, {32 - num_missing} images",
        f"labels      {32 - num_missing} of 32 selected have a label (without: {shown})",
    ]


@pytest.mark.parametrize("num_labelled", [0, 1])
def test_too_few_labels_are_refused(used: Path, tmp_path: Path, num_labelled: int) -> None:
    labels = label_table(tmp_path / "labels.csv", used, 32 - num_labelled)
    before = bytes_of(used)
    with pytest.raises(InputDataError, match=rf"^{32 - num_labelled} of 32 selected images have no label: 'digits/"):
        trained(used, labels=labels)
    assert bytes_of(used) == before


def test_labels_of_other_images_are_ignored_and_counted(used: Path, tmp_path: Path) -> None:
    labels = Path(label_table(tmp_path / "labels.csv", used))
    table = SampleTable.from_tensors(Workspace.open(used).arrays("samples"))
    selected = Workspace.open(used).arrays("selections/aum-0.2")["indices"]
    others = np.setdiff1d(np.flatnonzero(table.eligible()), selected)[:2]
    alone = trained(used, labels=str(labels))
    labels.write_text(labels.read_text() + "".join(f"{name},digits\n" for name in [*table.ids(others), "gone.png"]))
    report = trained(used, labels=str(labels))
    assert report.lines()[1:3] == [
        "labels      32 of 32 selected have a label; 2 labels of images outside the selection ignored",
        "            1 label of an image ignored (not in the workspace): 'gone.png'",
    ]
    assert report.summary["images"] == alone.summary["images"] == 32


def annotated(path: Path, workspace: Path, num_rows: int | None = None) -> tuple[str, dict[str, str]]:
    """Write the true labels of selected images alone, as if the digits had no test split; return file and labels."""
    opened = Workspace.open(workspace)
    table = SampleTable.from_tensors(opened.arrays("samples"))
    truth = true_labels(opened, table, None)
    rows = np.array(opened.arrays("selections/aum-0.2")["indices"])[:num_rows]
    labels = {name: truth.names[value] for name, value in zip(table.ids(rows), truth.values[rows], strict=True)}
    path.write_text("id,label\n" + "".join(f"{name},{label}\n" for name, label in labels.items()))
    return str(path), labels


@pytest.mark.parametrize(
    ("unlabelled", "count"), [(10_000, 200), (1_000, 200), (999, 190), (270, 50), (50, 10), (49, None), (0, None)]
)
def test_the_test_set_that_is_advised_fits_what_is_left_of_the_pool(unlabelled: int, count: int | None) -> None:
    facts: dict[str, Any] = {
        "name": "linear",
        "selection": "a b",
        "images": 30,
        "network": "linear",
        "iterations": 5,
        "test_images": 0,
        "folds": 5,
    }
    facts |= {"accuracies": [0.9], "mean": 0.9, "deviation": None, "unlabelled": unlabelled}
    text = "\n".join(TrainReport(facts, True, Path("my place")).lines())
    assert "named by a network that has not seen it" in text
    assert ("--holdout" in text) == (count is not None)
    if count is not None:
        assert text.count(f"elfs select --holdout {count} --name test --workspace 'my place'\n") == 1


def test_cross_validation_names_each_image_by_a_network_that_has_not_seen_it(
    used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, labels = annotated(tmp_path / "labels.csv", used)
    seen: list[np.ndarray] = []
    tested: list[np.ndarray] = []
    train_on_rows, test = Trainer.train_on_rows, Trainer.test

    def watched(trainer: Trainer, rows: Any, **options: Any) -> Any:
        seen.append(rows)
        return train_on_rows(trainer, rows, **options)

    def watched_test(trainer: Trainer, network: Any, held_out: Any = None) -> Any:
        if held_out is not None:
            tested.append(held_out)
            assert not np.isin(held_out, seen[-1]).any()
        return test(trainer, network, held_out)

    monkeypatch.setattr(Trainer, "train_on_rows", watched)
    monkeypatch.setattr(Trainer, "test", watched_test)
    report = trained(used, labels=file, folds=4)
    assert [len(rows) for rows in seen] == [32, 24, 24, 24, 24]
    assert sorted(np.concatenate(tested)) == list(seen[0])
    facts = report.summary
    right = sum(count for true, named, count in facts["confusion"] if true == named)
    assert sum(count for *_, count in facts["confusion"]) == 32
    assert facts["mean"] == right / 32
    by_class = {name: 0 for name in facts["classes"]}
    for true, _, count in facts["confusion"]:
        by_class[facts["classes"][true]] += count
    assert by_class == {name: list(labels.values()).count(name) for name in facts["classes"]}
    text = "\n".join(report.lines())
    assert "(1 seed: " in text
    assert "; 4-fold cross-validation)" in text
    assert facts["unlabelled"] > 0
    assert f"elfs select --holdout {facts['unlabelled'] // 50 * 10} --name test --workspace {used}" in text
    assert (used / "models/aum-0.2.safetensors").is_file()
    seen.clear()
    assert not trained(used, labels=file, folds=4).ran


@pytest.mark.slow
def test_cross_validation_goes_on_where_it_was_killed(
    used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = annotated(tmp_path / "labels.csv", used)
    expected = trained(Path(shutil.copytree(used, tmp_path / "straight")), labels=file, folds=3, seeds=2)
    assert len(expected.summary["accuracies"]) == 2
    calls: list[int] = []
    train_on_rows = Trainer.train_on_rows

    def watched(trainer: Trainer, rows: Any, **options: Any) -> Any:
        calls.append(len(rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_on_rows(trainer, rows, **options)

    monkeypatch.setattr(Trainer, "train_on_rows", watched)
    with pytest.raises(KeyboardInterrupt):
        trained(used, labels=file, folds=3, seeds=2)
    report = trained(used, labels=file, folds=3, seeds=2)
    assert len(calls) == 3 + 5
    assert report.summary == expected.summary


@pytest.mark.slow
@pytest.mark.parametrize(("num_rows", "folds", "expected"), [(4, 5, 2), (3, 5, 0), (32, 1, 0), (32, 5, 5)])
def test_as_many_folds_as_there_are_images_for(
    used: Path, tmp_path: Path, num_rows: int, folds: int, expected: int
) -> None:
    file, _ = annotated(tmp_path / "labels.csv", used, num_rows)
    report = trained(used, labels=file, folds=folds)
    assert report.summary["folds"] == expected
    assert (report.summary["mean"] is None) == (expected == 0)


def test_one_image_is_not_enough(used: Path) -> None:
    run_stage("select", used, budget="1", name="one")
    with pytest.raises(InputDataError, match=r"^selection 'one' has 1 of its images in the pool: a network needs"):
        trained(used, selection="one")


def test_network_on_embeddings(embeddings: Finished, workspace: Path, tmp_path: Path) -> None:
    embeddings.copy(workspace)
    report = trained(workspace, labels=label_table(tmp_path / "labels.csv", workspace))
    assert report.summary["network"] == "mlp"


def test_settings_by_hand(used: Path) -> None:
    report = trained(used, recipe="cifar", network="resnet8", learning_rate=0.01, weight_decay=0.0, image_size=4)
    wanted = {"network": "resnet8", "learning_rate": 0.01, "weight_decay": 0.0, "image_size": 4, "name": "cifar"}
    assert {name: report.summary[name] for name in wanted} == wanted
    assert "epochs" not in report.summary


def test_selection_is_found_or_refused(used: Path, digits: Finished) -> None:
    with pytest.raises(UsageError, match=r"^unknown selection 'aum-0\.1'\. Did you mean 'aum-0\.2'\?"):
        trained(used, selection="aum-0.1")
    with pytest.raises(InputDataError, match=r"^--labels none\.csv: there is no such file\.$"):
        trained(used, labels="none.csv")
    assert trained(used, selection="aum-0.2").summary["selection"] == "aum-0.2"
    assert "models/aum-0.2" in Workspace.open(used).manifest.artifacts
    assert (used / "models" / "aum-0.2.json").is_file()


def test_without_a_selection(workspace: Path) -> None:
    run_stage("embed", workspace, source="digits", limit=60)
    with pytest.raises(MissingUpstreamError, match=r"holds no selection yet\.$") as caught:
        trained(workspace)
    assert caught.value.hint == f"elfs select --workspace {workspace}"


def test_selection_is_trained_on_as_it_is(used: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever has changed since it was made; of its images it trains on those that are there."""
    before = (used / "selections/aum-0.2/selection.csv").read_bytes()
    run_stage("embed", used, source="digits", limit=1200)
    arguments = ["train", "--iterations", "5", "--batch-size", "16", "--devices", "cpu", "--workspace", str(used)]
    assert run_command(arguments) == 0
    said = capsys.readouterr()
    assert said.err.startswith("selection 'aum-0.2' is taken as it is: it was made from older ")
    assert "selection   aum-0.2, 32 images" in said.out
    run_stage("embed", used, source="digits", limit=60)
    assert run_command(arguments) == 3
    assert "32 of its images are not in the pool any more: 'digits/" in capsys.readouterr().err
    assert (used / "selections/aum-0.2/selection.csv").read_bytes() == before


def test_smoke_is_recorded(used: Path) -> None:
    train(used, TrainConfig(iterations=2), CPU, smoke=True)
    assert Workspace.open(used).manifest.records["train/aum-0.2"].smoke

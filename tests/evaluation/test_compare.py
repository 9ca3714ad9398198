"""Methods x budgets x seeds on the tiny pool of digits."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.catalog import SELECTORS
from elfs.config import CompareConfig, TrainConfig
from elfs.data.samples import SampleTable, Split
from elfs.errors import InputDataError, MissingUpstreamError, StaleUpstreamError, UsageError
from elfs.evaluation.compare import CompareReport, compare
from elfs.evaluation.comparison_forecast import planned_cells
from elfs.evaluation.labels import true_labels
from elfs.evaluation.train import train
from elfs.evaluation.training import Trainer
from elfs.parallel.runtime import Runtime
from elfs.train.inputs import InputBuilder
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, artifacts_of, bytes_of, run_stage

CPU = Runtime(devices="cpu")
SMALL: dict[str, Any] = {
    "methods": "elfs:0.2,random",
    "budgets": "0.1,32",
    "seeds": 2,
    "iterations": 4,
    "batch_size": 16,
}
FILES = ["cells.csv", "figure.svg", "table.csv", "trainings.csv"]


def settings(**changes: Any) -> CompareConfig:
    return CompareConfig(**(SMALL | changes))


def compared(
    path: Path, *, force: bool = False, say: Callable[[str], None] | None = None, **changes: Any
) -> CompareReport:
    return compare(path, settings(**changes), CPU, force=force, say=say or (lambda text: None))


def no_figure(comparison: object) -> bytes:
    """Stand for the figure, which takes longer to draw than these networks to train."""
    return b"<svg/>"


@pytest.fixture(autouse=True)
def _no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.evaluation.compare.accuracy_figure", no_figure)


@pytest.fixture
def used(digits: Finished, workspace: Path) -> Path:
    return digits.copy(workspace)


@pytest.fixture(scope="module")
def compared_once(digits: Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CompareReport]:
    """A workspace in which the comparison has run, to be read or copied; and what it reported."""
    path = digits.copy(tmp_path_factory.mktemp("compared") / "workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elfs.evaluation.compare.accuracy_figure", no_figure)
        return path, compared(path)


@pytest.fixture
def done(compared_once: tuple[Path, CompareReport], workspace: Path) -> Path:
    """A copy of that workspace."""
    return Path(shutil.copytree(compared_once[0], workspace))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Note every training, by label and seed."""
    found: list[tuple[str, int]] = []
    train_on_rows = Trainer.train_on_rows

    def watched(trainer: Trainer, rows: Any, *, seed: int, label: str = "train") -> Any:
        found.append((label, seed))
        return train_on_rows(trainer, rows, seed=seed, label=label)

    monkeypatch.setattr(Trainer, "train_on_rows", watched)
    return found


def lines_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def labels_without(path: Path, workspace: Path, missing: Callable[[SampleTable], Any]) -> str:
    """Write a table of all true labels but some; return its name."""
    opened = Workspace.open(workspace)
    table = SampleTable.from_tensors(opened.arrays("samples"))
    values = true_labels(opened, table, None).values.copy()
    values[missing(table)] = -1
    rows = zip(table.ids(np.arange(len(table))), values, strict=True)
    path.write_text("id,label\n" + "".join(f"{name},{value if value >= 0 else ''}\n" for name, value in rows))
    return str(path)


ALL_CELLS = [
    ("elfs@aum:0.2 0.1", 0),
    ("elfs@aum:0.2 32", 0),
    ("random 0.1", 0),
    ("random 32", 0),
    ("elfs@aum:0.2 0.1", 1),
    ("elfs@aum:0.2 32", 1),
    ("random 0.1", 1),
    ("random 32", 1),
    ("all images", 0),
    ("all images", 1),
]


@pytest.mark.slow
def test_every_cell_is_what_train_says_of_its_selection(done: Path, compared_once: tuple[Path, CompareReport]) -> None:
    report = compared_once[1]
    assert report.ran
    cells = lines_of(done / "comparison" / "cells.csv")
    assert [
        (f"{cell['method']} {cell['budget']}".removesuffix(" 1.0"), int(cell["seed"])) for cell in cells
    ] == ALL_CELLS
    for cell in cells:
        assert float(cell["accuracy"]) == pytest.approx(int(cell["correct"]) / int(cell["test_images"]), abs=1e-6)
        assert cell["test_images"] == "40"
        if cell["selection"]:
            config = TrainConfig(selection=cell["selection"], seed=int(cell["seed"]), iterations=4, batch_size=16)
            summary = train(done, config, CPU).summary
            assert summary["images"] == int(cell["images"]) == {"0.1": 16, "32": 32}[cell["budget"]]
            assert summary["mean"] == int(cell["correct"]) / 40
    assert [cell["images"] for cell in cells if not cell["selection"]] == ["160", "160"]
    named = {cell["selection"] for cell in cells} - {""}
    assert named == {f"{name}{seed}" for name in NAMES for seed in ("", "-seed1")}
    shares = {(cell.method, cell.budget): cell.accuracies for cell in report.comparison.cells}
    for cell in cells[:8]:
        assert shares[cell["method"], cell["budget"]][int(cell["seed"])] == int(cell["correct"]) / 40
    assert report.comparison.reference is not None
    assert report.comparison.reference.accuracies == tuple(int(cell["correct"]) / 40 for cell in cells[8:])


NAMES = ("compare-elfs-aum-0.1-hard0.2", "compare-elfs-aum-32-hard0.2", "compare-random-0.1", "compare-random-32")


def test_what_is_written(compared_once: tuple[Path, CompareReport]) -> None:
    used, report = compared_once
    assert report.files == tuple(str(used / "comparison" / name) for name in ("table.csv", "cells.csv", "figure.svg"))
    assert sorted(path.name for path in (used / "comparison").iterdir()) == FILES
    table = lines_of(used / "comparison" / "table.csv")
    assert [(line["method"], line["budget"]) for line in table] == [
        ("elfs@aum:0.2", "0.1"),
        ("elfs@aum:0.2", "32"),
        ("random", "0.1"),
        ("random", "32"),
        ("all images", "1.0"),
    ]
    assert {line["protocol"] for line in table} == {"resnet8, 4 iterations whatever the budget, last iterate"}
    workspace = Workspace.open(used)
    assert set(workspace.manifest.records["compare"].outputs) == {"comparison", "trainings"}
    assert workspace.verify() == []
    document = report.as_json()
    assert json.loads(json.dumps(document)) == document
    assert document["protocol"]["iterations"] == 4
    assert not (used / "partial").exists()


def test_rerun_does_nothing(done: Path, compared_once: tuple[Path, CompareReport], seen: list[tuple[str, int]]) -> None:
    before = bytes_of(done)
    again = compared(done)
    assert (again.ran, again.comparison) == (False, compared_once[1].comparison)
    assert bytes_of(done) == before
    assert seen == []


@pytest.mark.slow
def test_equal_runs_are_equal_bytes(
    used: Path, compared_once: tuple[Path, CompareReport], seen: list[tuple[str, int]]
) -> None:
    compared(used)
    assert seen == ALL_CELLS
    assert artifacts_of(used) == artifacts_of(compared_once[0])


@pytest.mark.slow
def test_force_trains_again(done: Path, compared_once: tuple[Path, CompareReport], seen: list[tuple[str, int]]) -> None:
    assert compared(done, force=True).ran
    assert seen == ALL_CELLS
    assert artifacts_of(done) == artifacts_of(compared_once[0])


@pytest.mark.parametrize("after", [0, 2, 9])
@pytest.mark.slow
def test_killed_comparison_goes_on_after_the_last_cell(
    used: Path,
    compared_once: tuple[Path, CompareReport],
    seen: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    watched = Trainer.train_on_rows

    def stopping(trainer: Trainer, rows: Any, *, seed: int, label: str = "train") -> Any:
        if len(seen) == after:
            raise KeyboardInterrupt
        return watched(trainer, rows, seed=seed, label=label)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_on_rows", stopping)
        said: list[str] = []
        with pytest.raises(KeyboardInterrupt):
            compare(used, settings(), CPU, say=said.append)
    assert said[-1].startswith("with -n the same command shows")
    assert seen == ALL_CELLS[:after]
    planned = planned_cells(used, settings(), CPU)
    assert [cell["action"] for cell in planned] == ["recorded"] * after + ["train"] * (10 - after)
    finished = compared(used).comparison
    assert finished.reference is not None
    assert seen == ALL_CELLS
    cells = {(cell.method, cell.budget): cell for cell in (*finished.cells, finished.reference)}
    accuracies = [cells[cell["method"], cell["budget"]].accuracies[cell["seed"]] for cell in planned]
    assert [cell["accuracy"] for cell in planned] == accuracies[:after] + [None] * (10 - after)
    assert artifacts_of(used) == artifacts_of(compared_once[0])


@pytest.mark.slow
def test_killed_comparison_goes_on_with_other_settings_too(
    used: Path, seen: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds that it takes too long and asks for less loses nothing."""
    watched = Trainer.train_on_rows

    def stopping(trainer: Trainer, rows: Any, *, seed: int, label: str = "train") -> Any:
        if len(seen) == 5:
            raise KeyboardInterrupt
        return watched(trainer, rows, seed=seed, label=label)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_on_rows", stopping)
        with pytest.raises(KeyboardInterrupt):
            compared(used)
    said: list[str] = []
    compared(used, budgets="0.1", reference=False, say=said.append)
    assert seen[5:] == [("random 0.1", 1)]
    assert said == ["1 training of 4 steps, 3 recorded already"]
    compared(used, reference=False)
    assert seen[6:] == [("elfs@aum:0.2 32", 1), ("random 32", 1)]


@pytest.mark.slow
def test_another_method_and_budget_train_only_new_cells(done: Path, seen: list[tuple[str, int]]) -> None:
    said: list[str] = []
    compared(done, methods="elfs:0.2,random,hardest", say=said.append)
    assert sorted(set(seen)) == [(f"hardest@aum {budget}", seed) for budget in ("0.1", "32") for seed in (0, 1)]
    assert said[0] == "4 trainings of 4 steps, 10 recorded already"
    assert said[1].startswith("the first took ")
    assert said[1].endswith(" for the other 3")
    seen.clear()
    compared(done, methods="hardest", budgets="0.05", seeds=1)
    assert seen == [("hardest@aum 0.05", 0)]
    seen.clear()
    report = compared(done, methods="elfs:0.2,random,hardest", budgets="0.1,32,0.05", seeds=1)  # none was forgotten
    assert sorted(seen) == [("elfs@aum:0.2 0.05", 0), ("random 0.05", 0)]
    assert report.comparison.budgets == ["0.1", "32", "0.05"]


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"iterations": 5}, {"batch_size": 8}, {"network": "mlp"}, {"seed": 2}])
def test_another_protocol_trains_everything_again(
    used: Path, seen: list[tuple[str, int]], change: dict[str, Any]
) -> None:
    small: dict[str, Any] = {"methods": "random", "budgets": "0.1"}
    compared(used, **small)
    seen.clear()
    compared(used, **small, **change)
    assert len(seen) == 4


@pytest.mark.slow
def test_equal_rows_are_trained_once_for_each_seed(used: Path, seen: list[tuple[str, int]]) -> None:
    """All images by any method are the whole pool."""
    report = compared(used, methods="hardest,random", budgets="1.0")
    assert seen == [("hardest@aum 1.0", 0), ("hardest@aum 1.0", 1)]
    first, second = report.comparison.cells
    assert report.comparison.reference is not None
    assert first.accuracies == second.accuracies == report.comparison.reference.accuracies


@pytest.mark.slow
def test_images_are_read_once(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, int]] = []
    build = InputBuilder.build

    def watched(builder: InputBuilder, rows: Any, label: str) -> Any:
        read.append((label, len(rows)))
        return build(builder, rows, label)

    monkeypatch.setattr(InputBuilder, "build", watched)
    compared(used)
    assert read == [("train", 160), ("test", 40)]
    compared(used, methods="elfs:0.2,random,hardest", budgets="16", seeds=1, reference=False)
    assert read[2][1] <= 48
    read.clear()
    compared(used)
    assert read == []


@pytest.mark.slow
def test_budget_that_does_not_fit_leaves_a_gap(used: Path, seen: list[tuple[str, int]]) -> None:
    report = compared(used, methods="elfs:0.95,random", budgets="0.1,500,1")
    reasons = {(cell.method, cell.budget): cell.reason for cell in report.comparison.cells}
    assert reasons["random", "0.1"] is None
    assert str(reasons["elfs@aum:0.95", "0.1"]).startswith("a hard rate of 0.95 leaves 8 of 160 images")
    assert "500" in str(reasons["random", "500"])
    assert reasons["random", "1"] == "the selection has one image: a network needs at least 2 to learn from."
    assert [row[1:] for row in report.comparison.rows()[1:2]] == [("-", "-", "-")]
    assert {label for label, _ in seen} == {"random 0.1", "all images"}
    assert not compared(used, methods="elfs:0.95,random", budgets="0.1,500,1").ran


def test_selection_of_the_same_name_that_no_longer_fits_is_not_used(used: Path) -> None:
    """The name is taken by another selection, which keeps it: the comparison takes the next one, and finds it again."""
    run_stage("select", used, budget="0.1", method="hardest", name="compare-random-0.1")
    compared(used, methods="random", budgets="0.1", seeds=1)
    records = Workspace.open(used).manifest.records
    assert records["select/compare-random-0.1"].config["method"] == "hardest"
    assert records["select/compare-random-0.1-2"].config["method"] == "random"
    assert "selections/compare-random-0.1-2" in records["compare"].inputs
    assert "compare-random-0.1-2" in (used / "comparison/cells.csv").read_text()
    assert not compared(used, methods="random", budgets="0.1", seeds=1).ran


def test_nothing_that_fits_is_an_error(used: Path) -> None:
    with pytest.raises(UsageError, match=r"^nothing to compare: random at 500: .*500"):
        compared(used, methods="random", budgets="500")


def test_whole_pool_is_left_out_on_request(used: Path, seen: list[tuple[str, int]]) -> None:
    report = compared(used, methods="random", budgets="0.1", reference=False)
    assert report.comparison.reference is None
    assert seen == [("random 0.1", 0), ("random 0.1", 1)]


def test_whole_pool_without_all_labels_is_left_out_with_the_reason(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, budget="0.1", method="random", name="compare-random-0.1")
    chosen = np.array(Workspace.open(used).arrays("selections/compare-random-0.1")["indices"])

    def others(table: SampleTable) -> Any:
        return np.setdiff1d(np.flatnonzero(table.eligible()), chosen)

    labels = labels_without(tmp_path / "labels.csv", used, others)
    report = compared(used, methods="random", budgets="0.1", seeds=1, labels=labels)
    assert report.comparison.reference is not None
    assert report.comparison.reference.reason == "144 of 160 images have no label."
    assert Workspace.open(used).manifest.records["compare"].config["labels"] == "labels.csv"
    cells = planned_cells(used, settings(methods="random", budgets="0.1", seeds=1, labels=labels), CPU)
    assert [cell["method"] for cell in cells] == ["random"]


@pytest.mark.slow
def test_selected_images_without_labels_are_named_before_any_training(
    used: Path, tmp_path: Path, seen: list[tuple[str, int]]
) -> None:
    labels = labels_without(tmp_path / "labels.csv", used, lambda table: np.flatnonzero(table.eligible())[7:])
    with pytest.raises(InputDataError, match=r"^\d+ of \d+ selected images have no label: 'digits/train/\d+', "):
        compared(used, labels=labels)
    assert seen == []
    assert "compare" not in Workspace.open(used).manifest.records


def test_test_images_need_labels(used: Path, tmp_path: Path) -> None:
    labels = labels_without(tmp_path / "labels.csv", used, lambda table: table.rows(Split.TEST))
    before = bytes_of(used)
    with pytest.raises(InputDataError, match=r"^no test image has a label: compare tests every network"):
        compared(used, labels=labels)
    with pytest.raises(InputDataError, match=r"^--labels none\.csv: there is no such file\.$"):
        compared(used, labels="none.csv")
    assert bytes_of(used) == before


def test_needs_are_checked_before_anything_is_selected(workspace: Path, digits: Finished) -> None:
    run_stage("embed", workspace, source="digits", limit=200)
    before = bytes_of(workspace)
    with pytest.raises(MissingUpstreamError, match=r"^compare needs scores, which score has not made") as caught:
        compared(workspace, methods="random,hardest")
    assert caught.value.hint is not None
    assert [part.split()[1] for part in caught.value.hint.split(" && ")] == ["cluster", "label", "dynamics", "score"]
    assert bytes_of(workspace) == before


def test_stale_needs(used: Path) -> None:
    run_stage("embed", used, source="digits", limit=200, neighbors=4)
    with pytest.raises(StaleUpstreamError, match=r"^scores (is|are) stale: ") as caught:
        compared(used, methods="random,hardest")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("elfs cluster ")


def test_score_that_is_not_there(used: Path) -> None:
    """Three epochs are too few for windows of five; the hint says how many it takes."""
    run_stage("score", used, window=5)
    assert "tdds" not in Workspace.open(used).manifest.artifacts["scores"].tensors
    with pytest.raises(
        MissingUpstreamError, match=r"^hardest@tdds needs the score 'tdds', which is not among the scores: "
    ) as caught:
        compared(used, methods="hardest@tdds,random")
    assert caught.value.hint is not None
    dynamics, score = caught.value.hint.split(" && ")
    assert dynamics == f"elfs dynamics --recipe small --epochs 6 --batch-size 32 --workspace {used}"
    assert score == f"elfs score --window 5 --workspace {used}"


def test_all_methods_are_those_whose_needs_are_met(digits: Finished, used: Path) -> None:
    wanted = settings(methods="all", budgets="0.1", seeds=1, reference=False)
    labels = [cell["method"] for cell in planned_cells(used, wanted, CPU)]
    assert {"elfs@aum", "random", "k-center"} <= set(labels)
    assert len(labels) == len(set(labels)) <= len(SELECTORS)
    Workspace.open(used).remove("score")
    fewer = [cell["method"] for cell in planned_cells(used, wanted, CPU)]
    assert set(fewer) == {label for label in labels if "scores" not in SELECTORS[label.partition("@")[0]].reads}


@pytest.mark.slow
def test_plan_does_nothing(used: Path) -> None:
    before = bytes_of(used)
    cells = planned_cells(used, settings(), CPU)
    assert bytes_of(used) == before
    assert cells[0].pop("seconds") > 0
    assert cells[0] == {
        "method": "elfs@aum:0.2",
        "budget": "0.1",
        "seed": 0,
        "selection": "compare-elfs-aum-0.1-hard0.2",
        "images": 16,
        "action": "select and train",
        "accuracy": None,
    }
    assert [cell["action"] for cell in cells[8:]] == ["train", "train"]
    compared(used, seeds=1)
    actions = [cell["action"] for cell in planned_cells(used, settings(), CPU)]
    assert actions == ["recorded"] * 4 + ["select and train"] * 4 + ["recorded", "train"]
    forced = [cell["action"] for cell in planned_cells(used, settings(), CPU, force=True)]
    assert forced == ["train"] * 4 + ["select and train"] * 4 + ["train"] * 2


def test_selections_of_a_comparison_are_replaced_by_nothing(used: Path) -> None:
    """Another list under one of their names takes the next free one, and the comparison stands."""
    compared(used, methods="random", budgets="0.1", seeds=1)
    before = (used / "selections/compare-random-0.1/selection.csv").read_bytes()
    outcome = run_stage("select", used, budget="0.1", method="hardest", name="compare-random-0.1")
    assert outcome.record == "select/compare-random-0.1-2"
    assert (used / "selections/compare-random-0.1/selection.csv").read_bytes() == before
    assert Workspace.open(used).stale_reason("compare") is None


@pytest.mark.slow
def test_refusal_keeps_the_cells_that_are_done(
    used: Path, seen: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learning rate diverges, an image is gone: what is trained is not lost."""
    watched = Trainer.train_on_rows

    def refusing(trainer: Trainer, rows: Any, *, seed: int, label: str = "train") -> Any:
        if len(seen) == 1:
            raise InputDataError("gone")
        return watched(trainer, rows, seed=seed, label=label)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_on_rows", refusing)
        with pytest.raises(InputDataError, match=r"^gone$"):
            compared(used)
    compared(used)
    assert seen == ALL_CELLS
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_on_rows", refusing)
        seen[:] = seen[:1]
        with pytest.raises(InputDataError, match=r"^gone$"):
            compared(used, iterations=3)
    assert not (used / "partial").exists()


def test_network_on_embeddings(embeddings: Finished, workspace: Path, tmp_path: Path) -> None:
    """Rows without images and without a test split cannot be compared."""
    embeddings.copy(workspace)
    names = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples")).ids(np.arange(60))
    path = tmp_path / "labels.csv"
    path.write_text("id,label\n" + "".join(f"{name},{index % 3}\n" for index, name in enumerate(names)))
    with pytest.raises(InputDataError, match=r"^no test image has a label"):
        compared(workspace, labels=str(path))


def test_smoke_is_recorded(used: Path) -> None:
    report = compare(used, settings(methods="random", budgets="0.1", seeds=1), CPU, smoke=True)
    assert report.smoke
    assert report.as_json()["smoke"] is True
    assert Workspace.open(used).manifest.records["compare"].smoke

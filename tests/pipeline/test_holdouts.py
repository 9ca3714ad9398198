"""A test set that no later selection touches."""

from collections import Counter
from pathlib import Path

import pytest

from elfs.config import SelectConfig, TrainConfig
from elfs.data.samples import SampleTable
from elfs.errors import UsageError
from elfs.evaluation.train import train
from elfs.parallel.runtime import Runtime, Silence
from elfs.pipeline.graph import default_selection_name
from elfs.pipeline.holdouts import holdouts, rows_of_selections, selections_but
from elfs.pipeline.selections import read_images, selection_name
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, make_pictures, run_stage

CPU = Runtime(devices="cpu")


@pytest.fixture
def used(tmp_path: Path, workspace: Path) -> Path:
    run_stage("embed", workspace, root=make_pictures(tmp_path / "pool"), source="folder")
    return workspace


def ids(workspace: Path, name: str) -> list[str]:
    return [image.id for image in read_images(Workspace.open(workspace), name)]


def heard() -> tuple[Runtime, list[str]]:
    said: list[str] = []
    return Runtime(devices="cpu", progress=Silence(), warn=said.append), said


def test_no_later_selection_takes_any_of_it(used: Path) -> None:
    run_stage("select", used, holdout="15", name="test")
    run_stage("select", used, method="random", budget="1.0", name="rest")
    assert len(ids(used, "test")) == 15
    assert len(ids(used, "rest")) == 45
    assert not set(ids(used, "test")) & set(ids(used, "rest"))


@pytest.mark.parametrize("method", ["auto", "elfs", "k-center", "easiest"])
def test_whatever_the_method(folder: Finished, workspace: Path, method: str) -> None:
    folder.copy(workspace)
    run_stage("select", workspace, holdout="0.25", name="test")
    run_stage("select", workspace, method=method, budget="20", name="mine")
    assert not set(ids(workspace, "test")) & set(ids(workspace, "mine"))


@pytest.mark.slow
def test_it_is_drawn_evenly(used: Path) -> None:
    """Over several seeds each image is drawn about as often as any other."""
    counts: Counter[str] = Counter()
    for seed in range(16):
        run_stage("select", used, holdout="30", seed=seed, name="test", force=True)
        counts.update(ids(used, "test"))
    assert len(counts) == 60
    assert max(counts.values()) <= 15  # 8 +- 2


def test_what_is_selected_already_is_not_drawn_and_that_is_said(used: Path) -> None:
    run_stage("select", used, method="random", budget="40", name="first")
    runtime, said = heard()
    run_stage("select", used, holdout="20", name="test", runtime=runtime)
    assert not set(ids(used, "first")) & set(ids(used, "test"))
    assert any("40 images are in selections already and are not drawn" in text for text in said)
    with pytest.raises(UsageError, match=r"^no image is left to select: of 60, 60 are included or excluded\.$"):
        run_stage("select", used, holdout="1", name="third")


def test_included_images_of_a_test_set_stay_out(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, holdout="15", name="test")
    run_stage("select", used, method="random", budget="10", name="one")
    (tmp_path / "all.csv").write_text("\n".join(["id", *ids(used, "test"), *ids(used, "one")]))
    runtime, said = heard()
    run_stage(
        "select", used, method="random", budget="20", name="two", include=str(tmp_path / "all.csv"), runtime=runtime
    )
    assert ids(used, "two")[:10] == ids(used, "one")
    assert not set(ids(used, "test")) & set(ids(used, "two"))
    assert any("--include names 15 images of a test set, which stay out" in text for text in said)


def test_it_is_not_the_selection_that_other_commands_take(used: Path) -> None:
    run_stage("select", used, method="random", budget="10", name="one")
    run_stage("select", used, holdout="15", name="test")
    opened = Workspace.open(used)
    assert selection_name(opened, None) == "one"
    assert (holdouts(opened), holdouts(opened, but="test")) == (["test"], [])
    assert selections_but(opened, "one") == ["test"]
    table = SampleTable.from_tensors(opened.arrays("samples"))
    assert sorted(table.ids(rows_of_selections(opened, table, ["one", "test"]))) == sorted(
        ids(used, "one") + ids(used, "test")
    )


@pytest.mark.slow
def test_training_tests_on_it(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, holdout="15", name="test")
    run_stage("select", used, method="random", budget="20", name="mine")
    names = [*ids(used, "mine"), *ids(used, "test")[:-1]]
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *(f"{name},{name[0]}" for name in names)]))
    config = TrainConfig(iterations=30, batch_size=16, labels=str(tmp_path / "labels.csv"))
    report = train(used, config, CPU)
    facts = report.summary
    assert (facts["selection"], facts["images"], facts["test_images"], facts["folds"]) == ("mine", 20, 14, 0)
    assert sum(count for *_, count in facts["confusion"]) == 14
    assert facts["labels"]["outside"] == 0
    assert any("14 test images, drawn at random from the pool)" in line for line in report.lines())
    assert not train(used, config, CPU).ran
    run_stage("select", used, holdout="5", name="more")
    assert train(used, config, CPU).ran


def test_options_of_a_test_set() -> None:
    config = SelectConfig(holdout="10%", method="elfs", balance="cluster", budget="3")
    assert (config.method, config.balance, config.budget) == ("random", "none", "10%")
    assert default_selection_name(config) == "holdout-10pct"
    assert default_selection_name(SelectConfig(holdout="200", seed=3)) == "holdout-200-seed3"
    with pytest.raises(UsageError, match=r"^--holdout draws a test set of its own, and --include names images"):
        SelectConfig(holdout="200", include="a.csv")
    with pytest.raises(UsageError, match=r"^--holdout is 0, expected a share"):
        SelectConfig(holdout="0")

"""What the next annotations are expected to bring, from those that there are."""

from pathlib import Path

import numpy as np
import pytest

from elfs.annotations.annotating import annotate
from elfs.config import PlanConfig
from elfs.data.samples import SampleTable
from elfs.parallel.runtime import Runtime
from elfs.pipeline.plan_facts import MoreFacts, PlanFacts
from elfs.stages.selection.gain import gain_of_more
from elfs.stages.selection.plan import plan_budgets
from elfs.workspace.workspace import Workspace
from tests.chain import make_embeddings, run_stage

NUM_ROWS = 180


@pytest.fixture
def path(tmp_path: Path, workspace: Path) -> Path:
    file = make_embeddings(tmp_path / "x.npy", NUM_ROWS)
    noise = np.random.default_rng(1).normal(size=(NUM_ROWS, 6)).astype(np.float32)
    np.save(file, np.load(file).astype(np.float32) + 1.5 * noise)
    run_stage("embed", workspace, source="embeddings", encoder=None, embeddings=str(file))
    return workspace


def take_in(path: Path, rows: range, folder: Path) -> None:
    ids = table(path).ids(np.arange(NUM_ROWS))
    lines = [f"{ids[row]},{'xyz'[row * 3 // NUM_ROWS]}" for row in rows]
    (folder / "l.csv").write_text("\n".join(["id,label", *lines]) + "\n")
    annotate(path, folder / "l.csv")


def table(path: Path) -> SampleTable:
    return SampleTable.from_tensors(Workspace.open(path).arrays("samples"))


def gain(path: Path) -> MoreFacts | None:
    return gain_of_more(Workspace.open(path), table(path), 0)


@pytest.mark.slow
def test_many_annotations_tell_and_the_plan_says_it_made_anew_with_more(path: Path, tmp_path: Path) -> None:
    config, runtime = PlanConfig(budgets="5", method="facility-location"), Runtime(devices="cpu")
    assert gain(path) is None
    assert "annotations" not in plan_budgets(path, config, runtime).summary
    take_in(path, range(0, NUM_ROWS, 3), tmp_path)
    found = gain(path)
    assert found is not None
    assert (found.annotated, found.classes, found.more) == (60, 3, 100)
    assert found.judged_by == "cross-validation"
    assert [point.annotations for point in found.points] == [6, 12, 24, 36, 48]
    assert found.points[-1].accuracy > found.points[0].accuracy
    assert found.gain is not None
    assert 0 <= found.gain.low <= found.gain.estimate <= found.gain.high <= 1
    outcome = plan_budgets(path, config, runtime)
    assert outcome.ran
    assert PlanFacts.of(outcome.summary).annotations == found  # worked out twice
    assert not plan_budgets(path, config, runtime).ran


@pytest.mark.parametrize("rows", [range(1), range(0, NUM_ROWS, 20), range(8)])
def test_few_annotations_or_one_class_cannot_tell(path: Path, rows: range, tmp_path: Path) -> None:
    take_in(path, rows, tmp_path)
    found = gain(path)
    assert found is not None
    assert found.gain is None
    assert len(found.points) < 4


@pytest.mark.slow
def test_an_annotated_test_set_is_the_judge_and_is_not_learned_from(path: Path, tmp_path: Path) -> None:
    run_stage("select", path, holdout="60", name="test")
    take_in(path, range(NUM_ROWS), tmp_path)
    found = gain(path)
    assert found is not None
    assert (found.annotated, found.judged_by) == (120, "test set")
    assert [point.annotations for point in found.points] == [8, 15, 30, 60, 90, 120]
    share = (60 * found.points[-1].accuracy + 2) / 64
    assert found.points[-1].error == pytest.approx((share * (1 - share) / 64) ** 0.5, abs=1e-5)

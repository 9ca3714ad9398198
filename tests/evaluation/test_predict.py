"""A trained network names the rest of the pool."""

import json
from pathlib import Path

import numpy as np
import pytest

from elfs.annotations.annotating import annotate
from elfs.cli.app import run as run_command
from elfs.config import TrainConfig
from elfs.data.samples import SampleTable
from elfs.errors import MissingUpstreamError, StaleUpstreamError, UsageError
from elfs.evaluation.predict import predict_pool
from elfs.evaluation.train import train
from elfs.parallel.runtime import Runtime
from elfs.pipeline.selections import read_images
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage

CPU = Runtime(devices="cpu")


@pytest.fixture
def used(folder: Finished, workspace: Path) -> Path:
    """Pictures in three colours, a fifth of them annotated, but one."""
    folder.copy(workspace)
    opened = Workspace.open(workspace)
    table = SampleTable.from_tensors(opened.arrays("samples"))
    names = table.ids(opened.arrays("selections/aum-0.2")["indices"])[:-1]
    lines = [f"{name},{name[0]}" for name in names]
    (workspace.parent / "labels.csv").write_text("\n".join(["id,label", *lines]))
    config = TrainConfig(iterations=40, batch_size=16, labels=str(workspace.parent / "labels.csv"), folds=1)
    train(workspace, config, CPU)
    return workspace


def test_the_rest_of_the_pool_is_named(used: Path) -> None:
    found = predict_pool(used, None, CPU)
    table = found.table
    learned = json.loads((used / "models/aum-0.2.json").read_text())["learned_from"]
    names = table.ids(found.rows)
    assert len(names) + len(learned) == np.count_nonzero(table.eligible())
    assert not set(names) & {name for name, _ in learned}
    assert np.mean([found.classes[value] == name[0] for value, name in zip(found.predicted, names, strict=True)]) > 0.9
    assert ((found.confidence > 1 / 3 - 1e-6) & (found.confidence <= 1)).all()
    facts = found.facts()
    assert facts.images == sum(facts.by_class.values()) == len(names)
    assert facts.confident == (found.confidence >= 0.9).sum()


def test_everything_can_be_named_and_parts_say_the_same(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest, everything = predict_pool(used, "aum-0.2", CPU), predict_pool(used, "aum-0.2", CPU, everything=True)
    assert len(everything.rows) == np.count_nonzero(everything.table.eligible())
    monkeypatch.setattr("elfs.evaluation.predict._ROWS_AT_ONCE", 7)
    parts = predict_pool(used, None, CPU)
    np.testing.assert_array_equal(parts.predicted, rest.predicted)
    np.testing.assert_allclose(parts.confidence, rest.confidence, rtol=1e-5)
    same = np.isin(everything.rows, rest.rows)
    np.testing.assert_array_equal(everything.predicted[same], rest.predicted)


def test_annotated_images_and_test_sets_are_not_asked_for_again(used: Path) -> None:
    rest = predict_pool(used, None, CPU)
    assert rest.left_out == 0
    assert np.array_equal(predict_pool(used, None, CPU, unasked=True).rows, rest.rows)
    run_stage("select", used, holdout="8", name="test")
    others = [name for name in rest.table.ids(rest.rows) if name not in _test_set(used)]
    (used.parent / "more.csv").write_text("\n".join(["id,label", *(f"{name},{name[0]}" for name in others[:5])]))
    annotate(used, used.parent / "more.csv")
    found = predict_pool(used, None, CPU, unasked=True)
    assert found.table.ids(found.rows) == others[5:]
    assert found.left_out == len(rest.rows) - len(found.rows) == 8 + 5
    assert np.array_equal(predict_pool(used, None, CPU).rows, rest.rows)
    everything = predict_pool(used, None, CPU, everything=True, unasked=True)
    assert len(everything.rows) == np.count_nonzero(everything.table.eligible())
    assert everything.left_out == 0


def _test_set(path: Path) -> set[str]:
    return {image.id for image in read_images(Workspace.open(path), "test")}


def test_which_network_is_found_or_refused(used: Path, embeddings: Finished) -> None:
    with pytest.raises(UsageError, match=r"^no network was trained on 'aum-0\.3'\. Did you mean 'aum-0\.2'\?"):
        predict_pool(used, "aum-0.3", CPU)
    with pytest.raises(MissingUpstreamError, match=r"holds no trained network yet\.$"):
        predict_pool(embeddings.path, None, CPU)


def test_a_network_on_embeddings(embeddings: Finished, workspace: Path) -> None:
    embeddings.copy(workspace)
    opened = Workspace.open(workspace)
    table = SampleTable.from_tensors(opened.arrays("samples"))
    rows = opened.arrays("selections/aum-0.2")["indices"]
    lines = [f"{name},{row // 20}" for name, row in zip(table.ids(rows), rows.tolist(), strict=True)]
    (workspace.parent / "labels.csv").write_text("\n".join(["id,label", *lines]))
    train(workspace, TrainConfig(iterations=30, batch_size=16, labels=str(workspace.parent / "labels.csv")), CPU)
    found = predict_pool(workspace, None, CPU)
    names = [int(found.classes[value]) for value in found.predicted]
    assert np.mean(np.array(names) == found.rows // 20) > 0.9


def test_a_network_of_other_images_is_refused(used: Path, folder: Finished) -> None:
    run_stage("embed", used, root=folder.root, source="folder", limit=30)
    with pytest.raises(StaleUpstreamError, match=r"^models/aum-0\.2 is stale: ") as caught:
        predict_pool(used, None, CPU)
    assert caught.value.hint == f"elfs train --selection aum-0.2 --workspace {used}"


def test_what_makes_a_stale_network_anew_can_be_typed(used: Path, tmp_path: Path) -> None:
    names = SampleTable.from_tensors(Workspace.open(used).arrays("samples")).ids(np.arange(60))
    for count in (12, 14):
        (tmp_path / "l.csv").write_text("id,label\n" + "".join(f"{name},{name[0]}\n" for name in names[::3][:count]))
        annotate(used, tmp_path / "l.csv")
        if count == 12:
            train(used, TrainConfig(network="linear", folds=1), CPU)
    with pytest.raises(StaleUpstreamError, match=r"^models/annotations is stale: ") as caught:
        predict_pool(used, "annotations", CPU)
    assert caught.value.hint == f"elfs train --network linear --workspace {used}"
    assert run_command(["train", *(caught.value.hint or "").split()[2:]]) == 0
    assert len(predict_pool(used, "annotations", CPU).rows) == 60 - 14

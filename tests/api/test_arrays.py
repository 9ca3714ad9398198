from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elfs
from elfs.errors import InputDataError, UsageError
from elfs.ops.scores import compute_scores
from elfs.ops.traces import TRACES, trace_batch
from elfs.workspace.workspace import Workspace
from tests.chain import make_embeddings, run_chain, run_stage

METHODS = ["random", "k-center", "facility-location", "herding", "typiclust", "moderate", "prototypicality"]
POINTS = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    file = make_embeddings(folder / "embeddings.npy", 90)
    values = np.load(file)
    values[7] = values[8]
    values[11] = np.nan
    np.save(file, values)
    run_chain(
        folder / "w",
        stages=("embed", "cluster", "label", "dynamics", "score"),
        source="embeddings",
        embeddings=str(file),
        encoder=None,
    )
    return folder


@pytest.mark.parametrize("budget", ["0.2", "15", "1.0"])
@pytest.mark.parametrize(
    "method", ["random", "k-center", "facility-location", "herding", "typiclust", "prototypicality"]
)
def test_the_list_is_that_of_the_command(workspace: Path, method: str, budget: str) -> None:
    outcome = run_stage("select", workspace / "w", budget=budget, method=method, seed=3)
    name = outcome.record.partition("/")[2]
    opened = elfs.open_workspace(workspace / "w")
    expected = opened.selection(name).indices
    values = np.load(workspace / "embeddings.npy")
    found = elfs.select(values, budget, method=method, pseudo_labels=opened.pseudo_labels, seed=3)
    assert found.dtype == np.int64
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("method", ["hardest", "easiest", "elfs"])
def test_so_is_that_of_methods_with_scores(workspace: Path, method: str) -> None:
    opened = elfs.open_workspace(workspace / "w")
    options: dict[str, Any] = {"hard_rate": "0.3"} if method == "elfs" else {}
    expected = opened.select(12, method=method, key="loss", name=f"by-{method}", **options).indices
    rate = 0.3 if method == "elfs" else None
    values = np.load(workspace / "embeddings.npy")
    found = elfs.select(values, 12, method=method, hardness=opened.scores["loss"], hard_rate=rate)
    assert found.tolist() == expected.tolist()


def test_without_hardness_auto_covers_the_pool(workspace: Path) -> None:
    values = np.load(workspace / "embeddings.npy")
    assert elfs.select(values, 20).tolist() == elfs.select(values, 20, method="facility-location").tolist()


def test_hardness_counts_as_far_as_the_labels_are_believed() -> None:
    values = np.random.default_rng(0).normal(size=(200, 4)) + np.repeat(np.eye(4) * 6, 50, axis=0)
    hardness, labels = np.arange(200.0), np.repeat(np.arange(4), 50)
    mean = {
        name: hardness[elfs.select(values, 60, hardness=hardness, pseudo_labels=given)].mean()
        for name, given in {"right": labels, "none": None, "by chance": np.arange(200) % 4}.items()
    }
    assert mean["right"] > mean["by chance"] + 5
    assert mean["none"] > mean["by chance"] + 5


def test_a_hard_rate_is_found(workspace: Path) -> None:
    opened = elfs.open_workspace(workspace / "w")
    found = elfs.select(opened.embeddings, 9, method="elfs", hardness=-opened.scores["aum"])
    assert len(set(found.tolist())) == 9


def test_copies_and_rows_that_are_not_finite_are_left_out(workspace: Path) -> None:
    found = elfs.select(np.load(workspace / "embeddings.npy"), 1.0, method="random").tolist()
    assert len(found) == 88
    assert 11 not in found
    assert len({7, 8} & set(found)) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"embeddings": POINTS[0]}, InputDataError, r"embeddings is float64 of shape \(2,\), expected floating"),
        ({"embeddings": POINTS.astype(int)}, InputDataError, "embeddings is int64"),
        ({"embeddings": POINTS * np.nan}, InputDataError, "no row is finite"),
        ({"hardness": [1.0]}, InputDataError, r"hardness is float64 of shape \(1,\), expected numbers"),
        ({"pseudo_labels": [0.0] * 4}, InputDataError, "pseudo_labels is float64 .* expected whole numbers"),
        ({"pseudo_labels": [-1, 0, 0, 0]}, InputDataError, "pseudo_labels holds -1, expected numbers of at least 0"),
        ({"method": "randm"}, UsageError, "Did you mean 'random'"),
        ({"method": "hardest"}, UsageError, "method 'hardest' needs hardness"),
        ({"method": "moderate"}, UsageError, "method 'moderate' needs pseudo_labels"),
        ({"method": "badge"}, UsageError, r"method 'badge' needs a workspace, for .*open_workspace"),
        ({"method": "ccs", "hardness": [0.0] * 4}, UsageError, "method 'ccs' needs a workspace, for aum"),
        ({"budget": 5}, UsageError, "the budget is 5 images, expected 1 to 4"),
        ({"budget": 0}, UsageError, "must be above 0"),
        ({"budget": 1.5}, UsageError, "a share is at most 1.0"),
        ({"method": "elfs", "hardness": [0.0] * 4, "hard_rate": 2}, UsageError, "expected a share from 0 to 1"),
        ({"seed": -1}, UsageError, "seed"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"embeddings": POINTS, "budget": 2} | arguments
    with pytest.raises(error, match=message):
        elfs.select(**given)


def test_scores_of_traces_are_those_of_the_command(workspace: Path) -> None:
    opened = elfs.open_workspace(workspace / "w")
    found = elfs.scores(opened.dynamics, window=2)
    for key, score in found.items():
        assert score.tobytes() == opened.scores[key].tobytes(), key
    assert set(found) <= set(Workspace.open(workspace / "w").arrays("scores"))
    assert {"aum", "el2n", "forgetting", "loss"} <= set(found)


def test_scores_of_logits() -> None:
    logits, labels = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32), np.array([0, 1, 2, 0, 1, 2])
    epochs = [trace_batch(torch.from_numpy(epoch), torch.from_numpy(labels)) for epoch in logits]
    expected = compute_scores({name: torch.stack([epoch[name] for epoch in epochs]) for name in TRACES}, 2)
    found = elfs.scores(logits, labels, window=2)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key].numpy()) for key in expected)
    one = elfs.scores(logits[0], labels)
    right = (logits[0].argmax(axis=1) == labels).astype(np.float32)
    assert one["correctness"].tolist() == right.tolist()
    assert "forgetting" not in one


@pytest.mark.parametrize(
    ("traces", "labels", "message"),
    [
        ({"margin": np.zeros((2, 3))}, None, "traces lack target_probability"),
        (np.zeros(3), [0, 0, 0], r"logits are float64 of shape \(3,\)"),
        (np.zeros((2, 3, 2), int), [0, 0, 0], "logits are int64"),
        (np.zeros((2, 3, 2)), None, "logits need labels"),
        (np.zeros((2, 3, 2)), [0, 0], r"labels is int64 of shape \(2,\)"),
        (np.zeros((2, 3, 2)), [0, 0, -1], "labels holds -1, expected numbers of at least 0"),
        (np.zeros((2, 3, 2)), [0, 0, 2], "labels hold 2, expected numbers below 2"),
    ],
)
def test_what_scores_refuse(traces: Any, labels: Any, message: str) -> None:
    with pytest.raises(InputDataError, match=message):
        elfs.scores(traces, labels)


def test_a_window_has_an_epoch() -> None:
    with pytest.raises(UsageError, match="window is 0, expected at least 1"):
        elfs.scores(np.zeros((2, 3, 2)), [0, 0, 0], window=0)


def test_a_budget_above_the_pool_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.api.arrays._pool", pytest.fail)
    with pytest.raises(UsageError, match="the budget is 5 images, expected 1 to 4: that many are eligible"):
        elfs.select(POINTS, 5, hardness=[1.0, 2.0, 3.0, 4.0], pseudo_labels=[0, 0, 1, 1])

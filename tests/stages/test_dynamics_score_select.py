"""Traces, scores and selections as artifacts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.errors import InputDataError
from elfs.ops.scores import compute_scores
from elfs.ops.traces import TRACES
from elfs.parallel.runtime import Runtime
from elfs.stages import dynamics, label, score
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, make_embeddings, run_stage


def test_traces_are_laid_out_by_row(digits: Finished) -> None:
    traces = Workspace.open(digits.path).arrays("dynamics")
    assert {name: trace.dtype.name for name, trace in traces.items()} == {
        name: "uint8" if name == "correct" else "float16" for name in TRACES
    }
    assert (traces["correct"][:, 160:] == 255).all()
    assert np.isnan(traces["margin"][:, 160:].astype(np.float32)).all()
    summary = Workspace.open(digits.path).manifest.records["dynamics"].summary
    assert summary["agreement"] == pytest.approx(traces["correct"][-1, :160].mean(), abs=1e-6)
    assert (summary["samples"], summary["epochs"], summary["batch_size"]) == (160, 3, 32)


def test_traces_belong_to_their_samples(tmp_path: Path) -> None:
    """Two rows swap their embeddings and labels' places: with a linear view of the traces they swap theirs too."""
    values = np.load(make_embeddings(tmp_path / "own.npy"))
    values[57] = values[2] + 1e-3  # lies in the first group, so what the third group says of it is wrong
    np.save(tmp_path / "own.npy", values)
    options: dict[str, Any] = {"source": "embeddings", "encoder": None, "embeddings": str(tmp_path / "own.npy")}
    run_stage("embed", tmp_path / "w", **options)
    run_stage("cluster", tmp_path / "w", method="kmeans")
    run_stage("label", tmp_path / "w")
    run_stage("dynamics", tmp_path / "w", epochs=8, batch_size=8)
    run_stage("score", tmp_path / "w")
    found = Workspace.open(tmp_path / "w")
    labels = found.arrays("pseudo_labels")["pseudo_labels"]
    assert labels[57] == labels[2] != labels[56]
    traces = found.arrays("dynamics")
    assert (traces["correct"][-1] == 1).all()
    assert traces["margin"][-1].min() > 0.5


def test_one_cluster_has_no_difficulty(digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits.copy(workspace)
    ones = np.ones(200, np.int64), np.ones(200, np.float32)
    monkeypatch.setattr(label._Labeller, "__call__", lambda self, inputs: ones)
    run_stage("label", workspace, force=True)
    said: list[str] = []
    outcome = run_stage("dynamics", workspace, runtime=Runtime(devices="cpu", warn=said.append))
    assert outcome.summary["agreement"] == 1.0
    (text,) = said
    assert text.startswith("all images have the same pseudo-label: there is nothing to learn")
    correct = Workspace.open(workspace).arrays("dynamics")["correct"]
    assert set(correct[-1].tolist()) <= {1, 255}


def test_network_on_images_is_refused_without_any(embeddings: Finished, workspace: Path) -> None:
    embeddings.copy(workspace)
    with pytest.raises(InputDataError, match=r"^network 'resnet8' needs images, but this workspace was made from"):
        run_stage("dynamics", workspace, network="resnet8")


def test_several_files_of_traces_give_the_same_scores(
    digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    monkeypatch.setattr(dynamics, "_FILE_BYTES", 200 * 9 * 2)  # two epochs a file
    monkeypatch.setattr(score, "_BLOCK_ROWS", 33)
    run_stage("dynamics", workspace, force=True)
    run_stage("score", workspace, force=True)
    assert {path.name for path in workspace.glob("dynamics*")} == {
        "dynamics-00001-of-00002.safetensors",
        "dynamics-00002-of-00002.safetensors",
    }
    ours, theirs = Workspace.open(workspace), Workspace.open(digits.path)
    for name, trace in theirs.arrays("dynamics").items():
        np.testing.assert_array_equal(ours.arrays("dynamics")[name], trace)
    for key, values in theirs.arrays("scores").items():
        np.testing.assert_array_equal(ours.arrays("scores")[key], values)


def test_scores_are_those_of_the_traces(digits: Finished) -> None:
    workspace = Workspace.open(digits.path)
    traces = {name: torch.from_numpy(np.array(trace)) for name, trace in workspace.arrays("dynamics").items()}
    expected = compute_scores(traces, 2)
    found = workspace.arrays("scores")
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values.numpy())
    entry = workspace.manifest.artifacts["scores"]
    assert entry.metadata["directions"]["aum"] == "lower = harder"
    assert entry.metadata["directions"]["el2n"] == "higher = harder"
    assert workspace.manifest.records["score"].summary["samples"] == 160

"""What takes more than ten minutes on a CPU says so, and what takes less."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.config import TrainConfig, cheaper
from elfs.evaluation.train import train
from elfs.parallel.runtime import Runtime
from elfs.stages.clustering import graph
from elfs.stages.embedding import neighbors
from elfs.train import window_search
from tests.chain import Finished, run_stage


def slow(told: list[str]) -> Runtime:
    """Return a runtime whose every look at the clock is four minutes after the one before."""
    ticks = itertools.count(0.0, 240.0)
    return Runtime(devices="cpu", num_workers=0, warn=told.append, clock=lambda: next(ticks))


@pytest.mark.slow
def test_embedding_and_its_neighbors(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(neighbors, "queries_at_once", lambda num_dims, k: 5)
    source: dict[str, Any] = {
        "source": "synthetic:clean,images=60,test=0,size=12",
        "encoder": "pixels",
        "batch_size": 4,
    }
    run_stage("embed", workspace, runtime=slow(told), **source)
    assert [(line.split(" will take ")[0], line.partition(". ")[2]) for line in told] == [
        ("embed", cheaper.than_encoder("pixels")),
        ("embed: neighbours", cheaper.than_exact_neighbors()),
    ]


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"method": "graph"}, cheaper.CLUSTER_GRAPH),
        ({"method": "temi", "epochs": 20}, cheaper.CLUSTER_HEADS),
        ({"method": "turtle"}, cheaper.CLUSTER_TURTLE),
    ],
)
@pytest.mark.slow
def test_clustering(embeddings: Finished, workspace: Path, options: dict[str, Any], advice: str) -> None:
    embeddings.copy(workspace)
    told: list[str] = []
    run_stage("cluster", workspace, runtime=slow(told), force=True, **options)
    assert next(line for line in told if line.startswith("cluster will take ")).endswith(advice)


@pytest.mark.slow
def test_clustering_looks_for_neighbors_anew(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4)) + 100
    np.save(tmp_path / "own.npy", rows.astype(np.float32))
    monkeypatch.setattr(graph, "queries_at_once", lambda num_dims, k: 5)
    told: list[str] = []
    run_stage("embed", workspace, source="embeddings", embeddings=str(tmp_path / "own.npy"), encoder=None)
    run_stage("cluster", workspace, runtime=slow(told), clusters=3, method="graph")
    assert [line.split(" will take ")[0] for line in told if "will take" in line] == ["cluster: neighbours", "cluster"]
    assert told[0].endswith(cheaper.CLUSTER_GRAPH)


@pytest.mark.slow
def test_search_of_the_hard_rate_is_one_piece_of_work(
    embeddings: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings.copy(workspace)
    told: list[str] = []
    monkeypatch.setattr(window_search, "train_on_labels", lambda fit, steps, task: [task.advance() for _ in range(9)])
    run_stage("select", workspace, runtime=slow(told), method="elfs", budget="0.5", hard_rate="search", name="search")
    [line] = [line for line in told if "will take" in line]
    assert line.startswith("select: search will take about ")
    assert line.endswith(cheaper.HARD_RATE_SEARCH)


def test_of_many_trainings_the_first_says_it(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    told: list[str] = []
    train(workspace, TrainConfig(network="mlp", iterations=40, seeds=2, batch_size=8), slow(told))
    [line] = [line for line in told if "will take" in line]
    assert line.startswith("train, seed 0 will take about ")
    assert line.endswith(cheaper.TRAINING)


def test_nothing_is_said_of_what_takes_minutes(workspace: Path) -> None:
    told: list[str] = []
    source: dict[str, Any] = {
        "source": "synthetic:clean,images=60,test=0,size=12",
        "encoder": "pixels",
        "batch_size": 4,
    }
    run_stage("embed", workspace, runtime=Runtime(devices="cpu", num_workers=0, warn=told.append), **source)
    assert told == []

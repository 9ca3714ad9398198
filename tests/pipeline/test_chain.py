"""The six stages end to end, on every kind of source; equal runs give equal bytes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.catalog import SCORES, STAGES
from elfs.data.samples import Outcome, SampleTable, Split
from elfs.ops.traces import TRACES
from elfs.workspace.workspace import Workspace
from tests.chain import (
    CORRUPT,
    Finished,
    artifacts_of,
    make_embeddings,
    make_pictures,
    run_chain,
    run_stage,
)

pytestmark = pytest.mark.usefixtures("few_atoms")


def table_of(workspace: Workspace) -> SampleTable:
    return SampleTable.from_tensors(workspace.arrays("samples"))


def check_whole(path: Path, num_rows: int, num_dims: int, budget: int) -> Workspace:
    """Check what must hold of every finished workspace."""
    workspace = Workspace.open(path)
    assert workspace.verify() == []
    assert not (path / "partial").exists()
    assert set(workspace.manifest.records) == {*STAGES[:-1], "select/aum-0.2"}
    assert all(workspace.stale_reason(record) is None for record in workspace.manifest.records)
    table = table_of(workspace)
    pool, usable = table.eligible(), table.usable()
    assert len(table) == num_rows
    embeddings = workspace.arrays("embeddings")["embeddings"]
    assert embeddings.shape == (num_rows, num_dims)
    assert np.isfinite(embeddings[usable]).all()
    neighbors = workspace.arrays("neighbors")
    assert neighbors["indices"].shape == neighbors["similarity"].shape == (num_rows, 5)
    assert pool[neighbors["indices"][pool]].all()
    assert (neighbors["indices"][pool] != np.flatnonzero(pool)[:, None]).all()
    assert (neighbors["indices"][~pool] == -1).all()
    assert np.isnan(neighbors["similarity"][~pool]).all()
    labels = workspace.arrays("pseudo_labels")
    assert set(np.unique(labels["pseudo_labels"][usable])) <= {0, 1, 2}
    assert (labels["pseudo_labels"][~usable] == -1).all()
    assert ((labels["confidence"][usable] > 0) & (labels["confidence"][usable] <= 1)).all()
    assert np.isnan(labels["confidence"][~usable]).all()
    check_traces_and_scores(workspace, pool)
    picked = workspace.arrays("selections/aum-0.2")["indices"]
    assert (len(picked), len(set(picked.tolist()))) == (budget, budget)
    assert pool[picked].all()
    return workspace


def check_traces_and_scores(workspace: Workspace, pool: np.ndarray) -> None:
    traces, scores = workspace.arrays("dynamics"), workspace.arrays("scores")
    assert set(traces) == set(TRACES)
    for name, trace in traces.items():
        assert trace.shape == (3, len(pool))
        recorded = trace != 255 if name == "correct" else np.isfinite(trace)
        assert (recorded == pool).all(), name
    assert traces["correct"][:, pool].max() <= 1
    assert set(scores) == set(SCORES)
    for key, score in scores.items():
        assert score.dtype == np.float32
        assert (np.isfinite(score) == pool).all(), key
    np.testing.assert_allclose(scores["aum"][pool], traces["margin"][:, pool].astype(np.float32).sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(scores["correctness"][pool], traces["correct"][:, pool].sum(axis=0))


def test_folder(folder: Finished) -> None:
    """One of the images is cut off: it keeps its row, is marked, and is never selected."""
    workspace = check_whole(folder.path, num_rows=60, num_dims=8 * 8 * 3, budget=12)
    table = table_of(workspace)
    row = int(table.rows_of([CORRUPT])[0])
    assert row == 39
    assert (table.outcome == Outcome.BROKEN).nonzero()[0].tolist() == [row]
    assert table.reasons()[row]
    assert np.isnan(workspace.arrays("embeddings")["embeddings"][row]).all()
    assert workspace.manifest.source_root == str(folder.root)
    assert workspace.manifest.artifacts["samples"].metadata == {
        "source": "folder",
        "channels": 3,
        "mirror": True,
        "num_classes": None,
        "has_images": True,
        "image_side": 8,
    }
    summary = workspace.manifest.records["embed"].summary
    assert (summary["images"], summary["train"], summary["broken"], summary["encoder"]) == (60, 59, 1, "pixels")


def test_digits(digits: Finished) -> None:
    """The test split gets embeddings and pseudo-labels, but no dynamics and no place in a selection."""
    workspace = check_whole(digits.path, num_rows=200, num_dims=64, budget=32)
    table = table_of(workspace)
    assert int((table.split == Split.TEST).sum()) == 40
    assert (workspace.arrays("pseudo_labels")["pseudo_labels"][table.split == Split.TEST] >= 0).all()
    assert workspace.manifest.source_root is None


def test_own_embeddings(embeddings: Finished) -> None:
    """There is nothing to look at, so the proxy is a network on embeddings; three groups are found."""
    workspace = check_whole(embeddings.path, num_rows=60, num_dims=6, budget=12)
    assert table_of(workspace).ids([0, 59]) == ["row/00000000", "row/00000059"]
    assert workspace.arrays("embeddings")["embeddings"].dtype == np.float32
    assert workspace.manifest.records["dynamics"].summary["network"] == "mlp"
    record = workspace.manifest.records["embed"]
    assert record.config["embeddings"] == "own.npy"  # no machine's paths in a manifest
    assert record.inputs["external:embeddings"].startswith("sha256:")


@pytest.mark.slow
def test_folder_with_embeddings_of_ones_own(tmp_path: Path) -> None:
    """Ids bring the rows into the order of the samples; the proxy looks at the images, which must be readable."""
    pictures = make_pictures(tmp_path / "pictures", corrupt=True)
    ids = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    order = np.random.default_rng(0).permutation(60)
    values = np.load(make_embeddings(tmp_path / "own.npy"))
    values[7] = np.nan
    np.save(tmp_path / "own.npy", values[order])
    (tmp_path / "ids.txt").write_text("".join(f"{ids[index]}\n" for index in order))
    run_chain(
        tmp_path / "workspace",
        root=pictures,
        source="folder",
        encoder=None,
        embeddings=str(tmp_path / "own.npy"),
        ids=str(tmp_path / "ids.txt"),
    )
    workspace = check_whole(tmp_path / "workspace", num_rows=60, num_dims=6, budget=12)
    np.testing.assert_array_equal(workspace.arrays("embeddings")["embeddings"], values)
    table = table_of(workspace)
    assert np.flatnonzero(~table.usable()).tolist() == [7, 39]
    assert table.reasons()[7] == "its embedding is not finite"
    assert workspace.manifest.records["dynamics"].summary["network"] == "resnet8"


def test_own_embeddings_of_a_part_of_the_folder(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    ids = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    make_embeddings(tmp_path / "own.npy", 58)
    (tmp_path / "ids.txt").write_text("\n".join(ids[2:]) + "\n")
    options: dict[str, Any] = {"embeddings": str(tmp_path / "own.npy"), "ids": str(tmp_path / "ids.txt")}
    run_stage("embed", tmp_path / "w", root=pictures, source="folder", encoder=None, limit=30, **options)
    table = table_of(Workspace.open(tmp_path / "w"))
    assert len(table) == 30
    assert table.reasons() == {0: "no embedding was given for it"}  # rows 0, 2, 4, ... of 60 are left: one of 0 and 1
    assert table.outcome[0] == Outcome.MISSING


def test_selection_says_why(folder: Finished, workspace: Path) -> None:
    folder.copy(workspace)
    run_stage("select", workspace, method="elfs", budget="12", hard_rate=0.25, name="why")
    path = workspace / "selections" / "why" / "selection.csv"
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    found = Workspace.open(workspace)
    rows = found.arrays("selections/why")["indices"]
    assert [line["rank"] for line in lines] == [str(rank) for rank in range(1, 13)]
    assert [line["id"] for line in lines] == table_of(found).ids(rows)
    labels, scores = found.arrays("pseudo_labels")["pseudo_labels"], found.arrays("scores")["aum"]
    assert [line["pseudo_label"] for line in lines] == [str(label) for label in labels[rows]]
    assert [float(line["score"]) for line in lines] == pytest.approx(scores[rows].tolist(), rel=1e-5)
    assert lines[0]["why"] == (  # 14 of 59
        "23.7% of the pool is harder by aum; the hardest 25.0% are pruned and the next hardest are kept"
    )
    assert [float(line["score"]) for line in lines] == sorted(float(line["score"]) for line in lines)


def without_runs(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    assert set(manifest.pop("runs")) == {*STAGES[:-1], "select/aum-0.2"}
    del manifest["digest"]  # of the times, too
    return manifest


@pytest.mark.slow
def test_equal_runs_give_equal_bytes_and_another_seed_gives_others(digits: Finished, tmp_path: Path) -> None:
    run_chain(tmp_path / "again", source="digits", limit=200)
    run_chain(tmp_path / "other", source="digits", limit=200, seed=1)
    assert artifacts_of(tmp_path / "again") == artifacts_of(digits.path)
    assert without_runs(tmp_path / "again") == without_runs(digits.path)
    ours, others = artifacts_of(digits.path), artifacts_of(tmp_path / "other")
    differ = {name for name, data in ours.items() if data is not None and data != others.get(name)}
    random = {"heads", "pseudo_labels", "dynamics", "scores", "selections/aum-0.2/indices"}
    assert {f"{name}.safetensors" for name in random} <= differ
    assert {"samples.safetensors", "embeddings.safetensors", "neighbors.safetensors"}.isdisjoint(differ)


@pytest.mark.slow
def test_seed_of_the_encoder_counts(tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        run_stage("embed", tmp_path / str(number), source="digits", limit=60, encoder="patches", seed=seed)
        found.append(artifacts_of(tmp_path / str(number))["embeddings.safetensors"])
    assert found[0] == found[1] != found[2]

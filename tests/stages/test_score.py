"""The score stage: which keys there are, for which images; and what a selection says of a key that is missing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elfs.catalog import SCORES
from elfs.config import DEFAULT_WORKSPACE
from elfs.errors import MissingUpstreamError
from elfs.ops.distances import unit_clusters, unit_rows
from elfs.ops.scores import EMBEDDING_SCORES
from elfs.pipeline.upstream import require_key
from elfs.stages import score
from elfs.train.seeding import generator
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, bytes_of, run_stage

NEEDS_MORE_THAN_THREE_EPOCHS = ["dual", "dyn_unc", "tdds"]


def test_embedding_scores_are_those_of_the_pool(digits: Finished) -> None:
    """The last 40 of 200 digits are the test split: they have embeddings, but nobody looks for their neighbours."""
    found = Workspace.open(digits.path)
    scores = found.arrays("scores")
    similarity = found.arrays("neighbors")["similarity"][:160]
    np.testing.assert_allclose(scores["density"][:160], similarity.mean(axis=1), rtol=1e-6)
    distance = np.sqrt(np.maximum(2 - 2 * similarity, 0)).mean(axis=1)
    np.testing.assert_allclose(scores["typicality"][:160], 1 / (distance + 1e-5), rtol=1e-5)
    embeddings = torch.from_numpy(np.array(found.arrays("embeddings")["embeddings"][:160]))
    num_labels = len(np.unique(found.arrays("pseudo_labels")["pseudo_labels"][:160]))
    centroids = unit_clusters(embeddings, num_labels, generator(0, "prototypes")).centroids
    nearest = torch.cdist(unit_rows(embeddings).double(), centroids.double()).amin(dim=1)
    np.testing.assert_allclose(scores["prototypicality"][:160], nearest.numpy(), rtol=1e-5)
    for key in EMBEDDING_SCORES:
        assert np.isnan(scores[key][160:]).all()


def test_summary_of_all_scores(digits: Finished) -> None:
    found = Workspace.open(digits.path)
    summary = found.manifest.records["score"].summary
    assert (summary["keys"], summary["samples"], summary["epochs"]) == (sorted(SCORES), 160, 3)
    assert (summary["left_out"], summary["headline"]) == ({}, "14 scores")
    assert found.manifest.artifacts["scores"].metadata["directions"] == {
        key: f"{entry.harder} = harder" for key, entry in SCORES.items()
    }


def test_scores_that_need_more_epochs_are_left_out(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    outcome = run_stage("score", workspace, window=10)
    assert outcome.headline == "11 scores, dual, dyn_unc, tdds left out: too few epochs"
    assert outcome.summary["left_out"] == {
        "dual": "needs 10 epochs, dynamics recorded 3",
        "dyn_unc": "needs 10 epochs, dynamics recorded 3",
        "tdds": "needs 11 epochs, dynamics recorded 3",
    }
    found, kept = Workspace.open(workspace), sorted(SCORES.keys() - NEEDS_MORE_THAN_THREE_EPOCHS)
    assert sorted(found.arrays("scores")) == outcome.summary["keys"] == kept
    assert sorted(found.manifest.artifacts["scores"].metadata["directions"]) == kept


def test_seed_decides_the_prototypes_alone(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    run_stage("score", workspace, seed=1)
    ours, theirs = Workspace.open(workspace).arrays("scores"), Workspace.open(digits.path).arrays("scores")
    assert {key for key in SCORES if not np.array_equal(ours[key], theirs[key], equal_nan=True)} == {"prototypicality"}


@pytest.mark.usefixtures("three_threads")
def test_blocks_and_threads_do_not_change_a_score(
    digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    monkeypatch.setattr(score, "_BLOCK_ROWS", 33)
    monkeypatch.setattr(score, "_EMBEDDING_ROWS", 33)
    run_stage("score", workspace, force=True)
    assert bytes_of(workspace)["scores.safetensors"] == bytes_of(digits.path)["scores.safetensors"]


def test_prototypes_of_a_large_pool_come_from_a_part_of_it(
    digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    whole = np.array(Workspace.open(workspace).arrays("scores")["prototypicality"][:160])
    monkeypatch.setattr(score, "_KMEANS_ROWS", 80)
    run_stage("score", workspace, force=True)
    part = Workspace.open(workspace).arrays("scores")["prototypicality"][:160]
    assert np.isfinite(part).all()
    assert not np.array_equal(part, whole)
    assert np.square(part).mean() < 2 * np.square(whole).mean()


@pytest.mark.slow
def test_workspace_of_embeddings_alone_gives_the_same_scores(digits: Finished, workspace: Path, tmp_path: Path) -> None:
    digits.copy(workspace)
    embeddings = Workspace.open(workspace).arrays("embeddings")["embeddings"][:160]
    np.save(tmp_path / "own.npy", embeddings)
    alone = tmp_path / "alone"
    run_stage("embed", alone, source="embeddings", encoder=None, embeddings=str(tmp_path / "own.npy"))
    for stage in ("cluster", "label"):
        run_stage(stage, alone)
    for path in (workspace, alone):
        run_stage("dynamics", path, network="mlp")
        run_stage("score", path)
    ours, theirs = Workspace.open(workspace).arrays("scores"), Workspace.open(alone).arrays("scores")
    for key in SCORES:
        np.testing.assert_array_equal(ours[key][:160], theirs[key], err_msg=key)


class TestRequireKey:
    """What is said to somebody who selects by a score that is not there."""

    def test_scores_that_are_there(self, digits: Finished) -> None:
        for key in SCORES:
            require_key(Workspace.open(digits.path), key)

    def test_too_few_epochs(self, digits: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        digits.copy(tmp_path / DEFAULT_WORKSPACE)
        monkeypatch.chdir(tmp_path)
        run_stage("dynamics", DEFAULT_WORKSPACE, epochs=4, batch_size=None)
        run_stage("score", DEFAULT_WORKSPACE, window=10)
        found = Workspace.open(DEFAULT_WORKSPACE)
        with pytest.raises(
            MissingUpstreamError, match=r"^scores hold no 'dual': it needs 10 epochs, dynamics recorded 4\.$"
        ) as caught:
            require_key(found, "dual")
        assert caught.value.hint == "elfs dynamics --recipe small --epochs 10 && elfs score"
        with pytest.raises(MissingUpstreamError, match=r"it needs 11 epochs, dynamics recorded 4\.$") as caught:
            require_key(found, "tdds")
        assert caught.value.hint == "elfs dynamics --recipe small --epochs 11 && elfs score"

    def test_other_settings_stay(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)
        run_stage("score", workspace, window=7)
        with pytest.raises(MissingUpstreamError, match="it needs 7 epochs, dynamics recorded 3") as caught:
            require_key(Workspace.open(workspace), "dyn_unc")
        assert caught.value.hint == (
            f"elfs dynamics --recipe small --epochs 7 --batch-size 32 --workspace {workspace} && "
            f"elfs score --window 7 --workspace {workspace}"
        )

    def test_scores_of_an_older_elfs(self, digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        digits.copy(workspace)
        monkeypatch.delitem(EMBEDDING_SCORES, "density")
        run_stage("score", workspace, force=True)
        with pytest.raises(
            MissingUpstreamError, match=r"^scores hold no 'density': they were made before elfs had it\.$"
        ) as caught:
            require_key(Workspace.open(workspace), "density")
        assert caught.value.hint == f"elfs score --window 2 --workspace {workspace} --force"

"""Several proxies: what is kept of them, in parts, resumed, by many ranks, and where there is little to learn from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.models.networks import MlpEnsemble
from elfs.ops.scores import compute_scores
from elfs.ops.traces import HALVED, SPREADS, TRACES
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Runtime
from elfs.stages import dynamics
from elfs.train import proxies
from elfs.train.gradients import load_proxy
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, Interruption, artifacts_of, run_stage
from tests.ranks import in_ranks
from tests.train.test_gradients import opened, outputs

FEW: dict[str, Any] = {"recipe": "ensemble", "proxies": 8, "folds": 2, "epochs": 4}


def recorded(finished: Finished, path: Path, **changes: Any) -> Workspace:
    """Train several proxies in a copy of a workspace."""
    finished.copy(path)
    run_stage("dynamics", path, **(FEW | changes))
    return Workspace.open(path)


@pytest.fixture(scope="module")
def few(digits: Finished, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return recorded(digits, tmp_path_factory.mktemp("few") / "w")


def test_means_are_kept(few: Workspace) -> None:
    traces = few.arrays("dynamics")
    assert set(traces) == set(TRACES)
    assert all(trace.dtype == np.float16 and trace.shape == (4, 200) for trace in traces.values())
    assert all(np.isnan(trace[:, 160:]).all() and np.isfinite(trace[:, :160]).all() for trace in traces.values())
    shares = traces["correct"][:, :160].astype(np.float64) * 8
    np.testing.assert_allclose(shares, shares.round(), atol=4e-3)
    run_stage("score", few.path)
    scores = Workspace.open(few.path).arrays("scores")
    expected = compute_scores({name: torch.from_numpy(np.array(trace)) for name, trace in traces.items()}, 2)
    for key, values in expected.items():
        np.testing.assert_array_equal(scores[key], values.numpy())


def test_what_the_proxies_say_of_each_other_and_of_the_labels(few: Workspace) -> None:
    found = few.arrays("agreement")
    halves = {f"{name}_difference" for name in HALVED}
    assert set(found) == {"proxy_agreement", "held_out_correct", *(f"{name}_spread" for name in SPREADS)} | halves
    assert all(values.shape == (200,) and np.isnan(values[160:]).all() for values in found.values())
    assert found["margin_spread"][:160].min() >= 0
    assert found["margin_spread"][:160].max() > 0.01
    summary, facts = few.manifest.records["dynamics"].summary, few.manifest.artifacts["dynamics"].metadata
    assert (facts["proxies"], facts["folds"]) == (8, 2)
    assert facts["estimated_wrong"] == pytest.approx(1 - found["held_out_correct"][:160].mean(), abs=1e-3)
    assert facts["proxy_agreement"] == pytest.approx(found["proxy_agreement"][:160].mean(), abs=1e-3)
    assert {name: summary[name] for name in facts} == facts


def relabel(monkeypatch: pytest.MonkeyPatch, labels: np.ndarray) -> None:
    """Let the stage see other pseudo-labels than those that are there."""
    read = Workspace.arrays

    def changed(self: Workspace, name: str) -> dict[str, np.ndarray]:
        return read(self, name) | ({"pseudo_labels": labels} if name == "pseudo_labels" else {})

    monkeypatch.setattr(Workspace, "arrays", changed)


GROUPS = np.arange(60) * 3 // 60
"""Of the embeddings that `make_embeddings` writes."""


@pytest.mark.slow
def test_wrong_pseudo_labels_are_noticed(embeddings: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three clear groups; then every fifth pseudo-label is another one."""
    wrong = GROUPS.copy()
    wrong[::5] = (wrong[::5] + 1) % 3
    facts = []
    for name, labels in (("right", GROUPS), ("wrong", wrong)):
        relabel(monkeypatch, labels)
        found = recorded(embeddings, tmp_path / name, epochs=20)
        facts.append(found.manifest.artifacts["dynamics"].metadata)
        monkeypatch.undo()
    assert facts[0]["estimated_wrong"] < 0.02
    assert 0.15 < facts[1]["estimated_wrong"] < 0.35
    assert facts[0]["proxy_agreement"] > facts[1]["proxy_agreement"]


def test_gradients_are_the_mean_of_the_proxies(few: Workspace) -> None:
    features, errors = outputs(Finished(few.path, None))
    network, recipe = load_proxy(few)
    assert isinstance(network, MlpEnsemble)
    assert (recipe.network, len(network.weight)) == ("mlp", 8)
    workspace, _, rows, labels = opened(few.path)
    values = np.array(workspace.arrays("embeddings")["embeddings"], np.float32)[rows]
    inputs = torch.from_numpy((values - values.mean(0)) / np.where(values.std(0) > 1e-6, values.std(0), 1))
    with torch.no_grad():
        own = inputs.expand(8, -1, -1).contiguous()
        expected = network(own).softmax(dim=2).mean(dim=0) - torch.eye(3)[labels]
        torch.testing.assert_close(errors.float(), expected, atol=5e-3, rtol=0)
        torch.testing.assert_close(features.float(), network.features(own)[0], atol=2e-2, rtol=1e-2)


@pytest.mark.slow
def test_parts_give_what_all_at_once_give(
    few: Workspace, digits: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "_PART_BYTES", 1)
    found = recorded(digits, tmp_path / "w")
    for name, trace in few.arrays("dynamics").items():
        np.testing.assert_allclose(found.arrays("dynamics")[name], trace, atol=2e-3, rtol=2e-3)
    for name, values in few.arrays("agreement").items():
        np.testing.assert_allclose(found.arrays("agreement")[name], values, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("part_bytes", [1, proxies._PART_BYTES])
def test_resumed_run_ends_with_the_same_bytes(
    digits: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(proxies, "_PART_BYTES", part_bytes)
    whole = recorded(digits, tmp_path / "whole")
    digits.copy(tmp_path / "w")
    stop = Runtime(devices="cpu", progress=Interruption("dynamics", 7))
    with pytest.raises(KeyboardInterrupt):
        run_stage("dynamics", tmp_path / "w", runtime=stop, **FEW)
    run_stage("dynamics", tmp_path / "w", **FEW)
    assert artifacts_of(tmp_path / "w") == artifacts_of(whole.path)


@pytest.mark.slow
def test_several_networks_on_images_are_averaged(digits: Finished, tmp_path: Path) -> None:
    first, two = (
        recorded(digits, tmp_path / str(count), recipe="small", proxies=count, folds=None, epochs=2) for count in (1, 2)
    )
    assert not first.has("agreement")
    assert first.manifest.artifacts["dynamics"].metadata["proxy_agreement"] is None
    facts = two.manifest.artifacts["dynamics"].metadata
    assert (facts["proxies"], facts["estimated_wrong"]) == (2, None)
    assert 0 < facts["proxy_agreement"] <= 1
    for name, value in first.arrays("proxy").items():
        np.testing.assert_array_equal(two.arrays("proxy")[name], value)
    spread = two.arrays("agreement")["margin_spread"][:160].astype(np.float32)
    apart = first.arrays("dynamics")["margin"][:, :160].astype(np.float32) - two.arrays("dynamics")["margin"][:, :160]
    np.testing.assert_allclose(
        np.sqrt((apart**2).mean(axis=0)), spread, atol=3e-3
    )  # of two, each is as far from the mean
    difference = two.arrays("agreement")["margin_difference"][:160].astype(np.float32)
    np.testing.assert_allclose(2 * apart.mean(axis=0), difference, atol=3e-3)


@pytest.mark.parametrize(("proxies", "is_kept"), [(4, True), (6, False)])
def test_the_difference_of_the_halves_is_kept_where_both_leave_out_each_image_equally_often(
    digits: Finished, tmp_path: Path, proxies: int, is_kept: bool
) -> None:
    found = recorded(digits, tmp_path / "w", proxies=proxies, epochs=2).arrays("agreement")
    assert ("margin_difference" in found) == is_kept
    assert ("target_probability_difference" in found) == is_kept


def _record(ranks: Ranks, path: Path) -> None:
    run_stage("dynamics", path, runtime=Runtime(devices="cpu", ranks=ranks), **FEW)


@pytest.mark.slow
def test_ranks_give_the_same_bytes(few: Workspace, digits: Finished, tmp_path: Path) -> None:
    digits.copy(tmp_path / "w")
    in_ranks(2, _record, tmp_path / "w")
    for name in ("dynamics", "agreement", "proxy"):
        for tensor, values in Workspace.open(tmp_path / "w").arrays(name).items():
            np.testing.assert_allclose(values, few.arrays(name)[tensor], atol=1e-6)


def test_equal_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells one from the other: all are as hard as their cluster is rare, nothing is NaN."""
    np.save(tmp_path / "own.npy", np.ones((40, 6), np.float32))
    path, own = tmp_path / "w", str(tmp_path / "own.npy")
    run_stage("embed", path, source="embeddings", encoder=None, embeddings=own)
    run_stage("cluster", path, method="kmeans")
    run_stage("label", path)
    labels = np.arange(40) % 4 // 3
    relabel(monkeypatch, labels)
    run_stage("dynamics", path, **FEW)
    traces = Workspace.open(path).arrays("dynamics")
    assert all(np.isfinite(trace).all() for trace in traces.values())
    assert traces["margin"][-1][labels == 1].max() < traces["margin"][-1][labels == 0].min()


def test_image_alone_in_its_cluster_is_hard(
    embeddings: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold holds the whole of its cluster: who leaves it out never predicts it, so it counts as wrong."""
    labels = GROUPS.copy()
    labels[7] = 3
    relabel(monkeypatch, labels)
    found = recorded(embeddings, tmp_path / "w", epochs=20)
    assert found.arrays("agreement")["held_out_correct"][7] == 0
    assert found.arrays("dynamics")["margin"].sum(axis=0).argmin() == 7


def test_several_files(digits: Finished, few: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamics, "_FILE_BYTES", 200 * 10 * 3)
    found = recorded(digits, tmp_path / "w")
    assert len(list(found.path.glob("dynamics-*.safetensors"))) == 2
    for name, trace in few.arrays("dynamics").items():
        np.testing.assert_array_equal(found.arrays("dynamics")[name], trace)

"""The trained proxy, taken up again from the workspace."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.data.samples import SampleTable
from elfs.errors import MissingUpstreamError
from elfs.models.networks import Network
from elfs.parallel.runtime import Runtime
from elfs.train.fit import Fit
from elfs.train.gradients import load_proxy, proxy_outputs
from elfs.train.inputs import InputBuilder
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, Interruption, run_stage

CPU = torch.device("cpu")
KINDS = ["digits", "folder", "embeddings"]


@pytest.fixture
def finished(request: pytest.FixtureRequest) -> Finished:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Finished)
    return found


def opened(path: Path) -> tuple[Workspace, SampleTable, np.ndarray, Tensor]:
    """Return the workspace, its samples, the rows of its pool and their pseudo-labels."""
    workspace = Workspace.open(path)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    rows = np.flatnonzero(table.eligible())
    return workspace, table, rows, torch.from_numpy(np.array(workspace.arrays("pseudo_labels")["pseudo_labels"][rows]))


def outputs(finished: Finished, path: Path | None = None) -> tuple[Tensor, Tensor]:
    workspace, table, rows, labels = opened(path or finished.path)
    return proxy_outputs(workspace, table, rows, labels, Runtime(devices="cpu"), finished.root)


def watch_training(monkeypatch: pytest.MonkeyPatch) -> list[Fit]:
    """Keep what the stage trains."""
    seen: list[Fit] = []

    from_scratch = Fit.from_scratch

    def keeping(*args: Any, **settings: Any) -> Fit:
        seen.append(from_scratch(*args, **settings))
        return seen[-1]

    monkeypatch.setattr(Fit, "from_scratch", keeping)
    return seen


def expected_outputs(fit: Fit) -> tuple[Tensor, Tensor]:
    """Return features and errors of the network in memory, from the inputs that it was trained on."""
    network = fit.network.eval()
    assert isinstance(network, Network)
    order = torch.arange(len(fit.inputs))
    batches = fit.inputs.batches(order, batch_size=512, augment=False, generator=torch.Generator(), device=CPU)
    with torch.no_grad():
        features = torch.cat([network.features(batch) for _, batch in batches])
        p = network.classifier(features).softmax(dim=1)
    return features.half(), (p - torch.eye(p.shape[1])[fit.classes]).half()


@pytest.mark.parametrize("finished", KINDS, indirect=True)
def test_saved_proxy_does_what_the_network_in_memory_does(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished.copy(tmp_path / "w")
    seen = watch_training(monkeypatch)
    run_stage("dynamics", tmp_path / "w", force=True)
    features, errors = outputs(finished, tmp_path / "w")
    expected_features, expected_errors = expected_outputs(seen[0])
    assert (features.dtype, errors.dtype) == (torch.float16, torch.float16)
    assert torch.equal(features, expected_features)
    assert torch.equal(errors, expected_errors)
    assert features.std(dim=0).max() > 0
    assert not load_proxy(Workspace.open(tmp_path / "w"))[0].training


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet18", "resnet10t.c3_in1k", "mlp"])
def test_other_networks(digits: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    digits.copy(tmp_path / "w")
    seen = watch_training(monkeypatch)
    run_stage("dynamics", tmp_path / "w", network=network.partition(".")[0], epochs=2, image_size=8)
    for found, expected in zip(outputs(digits, tmp_path / "w"), expected_outputs(seen[0]), strict=True):
        assert torch.equal(found, expected)


def test_error_is_the_gradient_with_respect_to_the_logits(digits: Finished) -> None:
    features, errors = outputs(digits)
    network, _ = load_proxy(Workspace.open(digits.path))
    labels = opened(digits.path)[3]
    assert isinstance(network, Network)
    logits = network.classifier(features.float()).detach().requires_grad_()
    torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
    assert logits.grad is not None
    torch.testing.assert_close(errors.float(), logits.grad, atol=2e-3, rtol=0)


def test_outputs_follow_their_rows(digits: Finished) -> None:
    features, errors = outputs(digits)
    workspace, table, rows, labels = opened(digits.path)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    moved = proxy_outputs(workspace, table, rows[order.numpy()], labels[order], Runtime(devices="cpu"), None)
    assert torch.equal(moved[0], features[order])
    assert torch.equal(moved[1], errors[order])
    few = proxy_outputs(workspace, table, rows[[7, 3]], labels[[7, 3]], Runtime(devices="cpu"), None)
    torch.testing.assert_close(few[0], features[[7, 3]], atol=1e-3, rtol=1e-3)  # normalised by the pool all the same


def test_resumed_training_saves_the_same_proxy(digits: Finished, tmp_path: Path) -> None:
    digits.copy(tmp_path / "w")
    stop = Interruption("dynamics", 8)
    with pytest.raises(KeyboardInterrupt):
        run_stage("dynamics", tmp_path / "w", force=True, runtime=Runtime(devices="cpu", progress=stop))
    run_stage("dynamics", tmp_path / "w", force=True)
    found, expected = (Workspace.open(path).arrays("proxy") for path in (tmp_path / "w", digits.path))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_metadata_describes_the_network(digits: Finished, embeddings: Finished) -> None:
    facts = Workspace.open(digits.path).manifest.artifacts["proxy"].metadata
    assert facts["recipe"]["network"] == "resnet8"
    assert (facts["num_classes"], facts["image_size"], facts["dim"]) == (3, 8, None)
    facts = Workspace.open(embeddings.path).manifest.artifacts["proxy"].metadata
    assert facts["recipe"]["network"] == "mlp"
    assert (facts["image_size"], facts["dim"]) == (None, 6)


def test_progress_is_shown(digits: Finished) -> None:
    workspace, table, rows, labels = opened(digits.path)
    progress = Interruption("proxy", 10**6)
    proxy_outputs(workspace, table, rows, labels, Runtime(devices="cpu", progress=progress), None)
    assert (progress.current, progress.done) == ("proxy", len(rows))


def test_workspace_of_an_older_elfs_has_no_proxy(tmp_path: Path, digits: Finished) -> None:
    digits.copy(tmp_path / "w")
    workspace, table, rows, labels = opened(tmp_path / "w")
    workspace.remove("dynamics")
    with pytest.raises(MissingUpstreamError, match="holds no artifact 'proxy'"):
        proxy_outputs(workspace, table, rows, labels, Runtime(devices="cpu"), None)


def test_builder_is_that_of_the_training(digits: Finished) -> None:
    workspace, table, rows, _ = opened(digits.path)
    _, recipe = load_proxy(workspace)
    builder = InputBuilder(workspace, table, recipe, Runtime(devices="cpu"), None)
    assert recipe.batch_size == 32
    assert len(builder.build(rows, "x")) == len(rows)

"""Many networks side by side, against each of them trained by itself in plain torch."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elfs.errors import UsageError
from elfs.models.networks import MlpEnsemble, Network, build_network
from elfs.ops.schedules import warmup_cosine
from elfs.ops.traces import TraceSums, trace_batch
from elfs.parallel.runtime import Silence
from elfs.train.ensemble import EnsembleFit, predict_ensemble, record_ensemble
from elfs.train.features import Features
from elfs.train.recipes import RECIPES
from elfs.train.seeding import generator
from tests.train.test_classifier import CPU

NUM_ROWS, NUM_DIMS, NUM_CLASSES, NUM_NETWORKS, EPOCHS = 23, 4, 3, 3, 3
RECIPE = dict(batch_size=10, hidden=5, proxies=NUM_NETWORKS)
VALUES = np.random.default_rng(0).normal(size=(NUM_ROWS, NUM_DIMS)).astype(np.float32)
CLASSES = torch.arange(NUM_ROWS) % NUM_CLASSES
TRAINED = torch.rand(NUM_NETWORKS, NUM_ROWS, generator=torch.Generator().manual_seed(1)) < 0.6


def member(number: int) -> Network:
    return build_network("mlp", num_classes=NUM_CLASSES, image_size=0, dim=NUM_DIMS, seed=number, hidden=5)


def fit(numbers: range = range(NUM_NETWORKS), **changes: Any) -> EnsembleFit:
    recipe = dataclasses.replace(RECIPES["ensemble"], **(RECIPE | changes))
    network = MlpEnsemble([member(number) for number in numbers])
    features = Features(VALUES, np.arange(NUM_ROWS), CPU)
    return EnsembleFit(network, numbers, features, CLASSES, TRAINED[numbers.start : numbers.stop], recipe, 7, CPU)


def record(what: EnsembleFit, path: Path, task: Any = None) -> list[TraceSums]:
    stored: dict[int, dict[str, Tensor]] = {}
    record_ensemble(what, EPOCHS, path, stored.__setitem__, task or Silence())
    return [TraceSums.of(stored[epoch]) for epoch in sorted(stored)]


def by_itself(number: int, steps: int, noise: float) -> tuple[Network, list[dict[str, Tensor]]]:
    """Train one network as `torch` says, and ask it about every sample after each epoch."""
    network, recipe = member(number), RECIPES["ensemble"]
    nn.init.zeros_(network.classifier.weight)
    nn.init.zeros_(network.classifier.bias)
    optimizer = torch.optim.SGD(network.parameters(), momentum=0.9, weight_decay=recipe.weight_decay, nesterov=True)
    values, own = torch.from_numpy(VALUES), TRAINED[number].nonzero().flatten()
    widest = int(TRAINED.sum(dim=1).max())
    asked = []
    for epoch in range(EPOCHS):
        order = own[torch.randperm(len(own), generator=generator(7, "order", number, epoch))]
        drawn = generator(7, "noise", epoch)
        for index, batch in enumerate(order.tensor_split(steps)):
            for group in optimizer.param_groups:
                group["lr"] = warmup_cosine(epoch * steps + index, peak=0.1, final=1e-4, num_steps=EPOCHS * steps)
            rows = -(-widest // steps) if index < widest % steps or widest % steps == 0 else widest // steps
            more = noise * torch.randn(rows, NUM_DIMS, generator=drawn) if noise else torch.zeros(rows, NUM_DIMS)
            optimizer.zero_grad()
            F.cross_entropy(network(values[batch] + more[: len(batch)]), CLASSES[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            asked.append(trace_batch(network(values), CLASSES))
    return network, asked


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_every_network_is_what_it_would_be_alone(tmp_path: Path, noise: float) -> None:
    what = fit(noise=noise)
    sums = record(what, tmp_path / "c.safetensors")
    singles = [by_itself(number, what.steps_per_epoch(), noise) for number in range(NUM_NETWORKS)]
    for place, (network, _) in enumerate(singles):
        hidden = next(network.body.children())
        assert isinstance(hidden, nn.Linear)
        torch.testing.assert_close(what.network.hidden_weight[place], hidden.weight.T, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(what.network.hidden_bias[place, 0], hidden.bias, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(what.network.weight[place], network.classifier.weight.T, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(what.network.bias[place, 0], network.classifier.bias, rtol=1e-4, atol=1e-5)
    for epoch, found in enumerate(sums):
        for name, mean in found.means().items():
            expected = torch.stack([asked[epoch][name].float() for _, asked in singles]).mean(dim=0)
            torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-5)
    predicted = torch.stack([network(torch.from_numpy(VALUES)).argmax(dim=1) for network, _ in singles])
    assert torch.equal(predict_ensemble(what), predicted.int())


def test_own_and_common_inputs_give_the_same() -> None:
    network = fit().network
    torch.nn.init.normal_(network.weight)
    common = torch.from_numpy(VALUES)
    torch.testing.assert_close(network(common), network(common.expand(NUM_NETWORKS, -1, -1).contiguous()))


def test_a_network_does_not_depend_on_the_others(tmp_path: Path) -> None:
    together, part = fit(noise=0.0), fit(range(1, 3), noise=0.0)
    record(together, tmp_path / "a.safetensors")
    record(part, tmp_path / "b.safetensors")
    torch.testing.assert_close(part.network.weight, together.network.weight[1:])


class Stop(Silence):
    """Acts like Ctrl-C after some steps."""

    steps = 0

    def advance(self, count: int = 1, note: str = "") -> None:
        self.steps += count
        if self.steps == 5:
            raise KeyboardInterrupt


def test_resumed_training_ends_with_the_same_numbers(tmp_path: Path) -> None:
    whole, path = fit(), tmp_path / "c.safetensors"
    expected = record(whole, tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        record(fit(), path, Stop())
    resumed = fit()
    found = record(resumed, path)
    assert 0 < len(found) < EPOCHS
    assert torch.equal(resumed.network.weight, whole.network.weight)
    for name, values in expected[-1].tensors().items():
        assert torch.equal(found[-1].tensors()[name], values)


def test_diverged_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^training diverged in epoch \d: the loss is (nan|inf) at learning rate"):
        record(fit(learning_rate=1e38), tmp_path / "c.safetensors")

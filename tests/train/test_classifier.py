"""The one training loop, against plain torch written out by hand."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from elfs.data.batch_part import WHOLE, BatchPart
from elfs.errors import UsageError
from elfs.models.networks import build_network
from elfs.parallel.runtime import Silence
from elfs.train.classifier import predict, record_dynamics, train_on_labels
from elfs.train.features import Features
from elfs.train.fit import Fit
from elfs.train.recipes import RECIPES

CPU = torch.device("cpu")
NUM_ROWS, NUM_DIMS, NUM_CLASSES = 23, 4, 3
RECIPE = dataclasses.replace(RECIPES["small"], batch_size=10)


class Recording(Features):
    """Features that remember the positions of each batch and whether it was augmented."""

    def __init__(self, num_rows: int = NUM_ROWS) -> None:
        values = np.random.default_rng(0).normal(size=(num_rows, NUM_DIMS)).astype(np.float32)
        super().__init__(values, np.arange(num_rows), CPU)
        self.seen: list[tuple[list[int], bool]] = []

    def batches(
        self,
        order: Tensor,
        *,
        batch_size: int,
        augment: bool,
        generator: torch.Generator,
        device: torch.device,
        part: BatchPart = WHOLE,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for positions, batch in super().batches(
            order, batch_size=batch_size, augment=augment, generator=generator, device=device, part=part
        ):
            self.seen.append((positions.tolist(), augment))
            yield positions, batch


def linear(seed: int = 0) -> nn.Linear:
    network = nn.Linear(NUM_DIMS, NUM_CLASSES)
    with torch.no_grad():
        network.weight.copy_(torch.randn(NUM_CLASSES, NUM_DIMS, generator=torch.Generator().manual_seed(seed)))
        network.bias.zero_()
    return network


def fit(network: nn.Module | None = None, num_rows: int = NUM_ROWS, seed: int = 0, **changes: Any) -> Fit:
    labels = torch.arange(num_rows) % NUM_CLASSES
    recipe = dataclasses.replace(RECIPE, **changes)
    return Fit(network or linear(), Recording(num_rows), labels, recipe, seed, CPU)


Stored = dict[int, dict[str, Tensor]]


def record(what: Fit, epochs: int, path: Path, task: Any = None) -> tuple[float, Stored]:
    stored: Stored = {}
    agreement = record_dynamics(what, epochs, path, stored.__setitem__, task or Silence())
    return agreement, stored


def _joined(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def seen_by(what: Fit) -> list[tuple[list[int], bool]]:
    assert isinstance(what.inputs, Recording)
    return what.inputs.seen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def test_every_sample_is_recorded_exactly_once_an_epoch(path: Path) -> None:
    what = fit()
    _, stored = record(what, 3, path)
    assert sorted(stored) == [0, 1, 2]
    seen = seen_by(what)
    assert all(augmented for _, augmented in seen)
    assert what.steps_per_epoch() == 3
    orders = [_joined([positions for positions, _ in seen[3 * epoch : 3 * epoch + 3]]) for epoch in range(3)]
    assert all(sorted(order) == list(range(NUM_ROWS)) for order in orders)
    assert orders[0] != orders[1]
    for traces in stored.values():
        assert {name: (trace.dtype, trace.shape) for name, trace in traces.items()} == {
            "target_probability": (torch.float16, (NUM_ROWS,)),
            "margin": (torch.float16, (NUM_ROWS,)),
            "error_norm": (torch.float16, (NUM_ROWS,)),
            "entropy": (torch.float16, (NUM_ROWS,)),
            "correct": (torch.uint8, (NUM_ROWS,)),
        }


def test_traces_are_those_of_the_forward_pass_before_the_step(path: Path) -> None:
    """One batch: everything follows from the initial weights."""
    network = linear()
    what = fit(network, batch_size=NUM_ROWS)
    logits = what.inputs.take(torch.arange(NUM_ROWS)).numpy().astype(np.float64) @ network.weight.detach().numpy().T  # type: ignore[attr-defined]
    agreement, stored = record(what, 1, path)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = what.classes.numpy()
    rows = np.arange(NUM_ROWS)
    others = p.copy()
    others[rows, labels] = 0
    onehot = np.eye(NUM_CLASSES)[labels]
    expected = {
        "target_probability": p[rows, labels],
        "margin": p[rows, labels] - others.max(axis=1),
        "error_norm": np.sqrt(((p - onehot) ** 2).sum(axis=1)),
        "entropy": -(p * np.log(p)).sum(axis=1),
        "correct": p.argmax(axis=1) == labels,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(stored[0][name].numpy(), values, rtol=1e-3, atol=1e-3, err_msg=name)
    assert agreement == pytest.approx(float(expected["correct"].mean()))


def by_hand(what: Fit, batches: list[list[int]], num_steps: int) -> nn.Linear:
    """Train a copy of the network on the batches with SGD, Nesterov 0.9, decay, and the cosine of the paper."""
    network = linear()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for step, positions in enumerate(batches):
        optimizer.param_groups[0]["lr"] = 1e-4 + 0.5 * (0.1 - 1e-4) * (1 + math.cos(math.pi * step / num_steps))
        optimizer.zero_grad()
        rows = torch.tensor(positions)
        assert isinstance(what.inputs, Recording)
        F.cross_entropy(network(what.inputs.take(rows)), what.classes[rows]).backward()
        optimizer.step()
    return network


def test_proxy_is_trained_as_written_out_by_hand(path: Path) -> None:
    what = fit()
    record(what, 2, path)
    expected = by_hand(what, [positions for positions, _ in seen_by(what)], num_steps=6)
    for name, value in what.network.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], msg=name)


def test_rate_is_a_cosine_from_peak_to_final() -> None:
    what = fit()
    assert [what.rate(step, 4) for step in (0, 2, 4)] == pytest.approx([0.1, 0.5 * (0.1 + 1e-4), 1e-4])


def test_rate_never_rises_where_its_peak_lies_below_the_recipes_end() -> None:
    """The hint of a training that diverged leads there: a tenth of the rate, again and again."""
    what = fit(learning_rate=1e-5)
    assert [what.rate(step, 4) for step in range(5)] == pytest.approx([1e-5] * 5)


def test_iterations_are_counted_in_steps_and_the_last_iterate_is_kept(watcher: Any) -> None:
    what, task = fit(), watcher()
    train_on_labels(what, 7, task)
    seen = [positions for positions, _ in seen_by(what)]
    assert (len(seen), task.count, what.network.training) == (7, 7, False)
    assert sorted(_joined(seen[:3])) == sorted(_joined(seen[3:6])) == list(range(NUM_ROWS))
    expected = by_hand(what, seen, num_steps=7)
    for name, value in what.network.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], msg=name)


def probe() -> Fit:
    what = fit(build_network("linear", num_classes=NUM_CLASSES, image_size=1, dim=NUM_DIMS, seed=0), weight_decay=0.05)
    return dataclasses.replace(what, recipe=dataclasses.replace(what.recipe, network="linear"))


@pytest.mark.parametrize("block", [7, 16_384])
def test_a_linear_network_is_the_minimum_that_scikit_learn_finds(
    block: int, monkeypatch: pytest.MonkeyPatch, watcher: Any
) -> None:
    monkeypatch.setattr("elfs.ops.linear_classifier._SEARCH_ROWS", block)
    monkeypatch.setattr("elfs.train.classifier._ROWS_AT_ONCE", block)
    what, task = probe(), watcher()
    train_on_labels(what, 200, task)
    assert isinstance(what.inputs, Recording)
    rows = F.pad(what.inputs.take(torch.arange(NUM_ROWS)).double(), (0, 1), value=1.0).numpy()
    oracle = LogisticRegression(C=1 / (0.05 * NUM_ROWS), fit_intercept=False, tol=1e-10, max_iter=10_000)
    oracle.fit(rows, what.classes.numpy())
    found = what.network.state_dict()
    torch.testing.assert_close(
        found["classifier.weight"].double(), torch.from_numpy(oracle.coef_[:, :-1]), atol=1e-4, rtol=1e-3
    )
    torch.testing.assert_close(
        found["classifier.bias"].double(), torch.from_numpy(oracle.coef_[:, -1]), atol=1e-4, rtol=1e-3
    )
    assert (task.count, what.network.training) == (200, False)


def test_a_linear_network_takes_at_most_so_many_iterations() -> None:
    """Steps go down the same loss, so more of them end lower, and none ends lower than the minimum."""

    @torch.no_grad()
    def loss(what: Fit) -> float:
        assert isinstance(what.inputs, Recording)
        logits = what.network(what.inputs.take(torch.arange(NUM_ROWS)))
        length = sum(float(value.square().sum()) for value in what.network.parameters())
        return float(F.cross_entropy(logits, what.classes)) + 0.05 / 2 * length

    losses = []
    for most in (1, 3, 200):
        what = probe()
        train_on_labels(what, most, Silence())
        losses.append(loss(what))
    assert losses[0] > losses[1] > losses[2]


def test_a_linear_network_has_no_seed_and_no_batches() -> None:
    found = []
    for seed, size in ((0, 10), (1, 5)):
        what = dataclasses.replace(probe(), seed=seed)
        what = dataclasses.replace(what, recipe=dataclasses.replace(what.recipe, batch_size=size))
        train_on_labels(what, 200, Silence())
        found.append(what.network.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_seed_decides_the_order() -> None:
    orders = []
    for seed in (0, 0, 1):
        what = fit(seed=seed)
        train_on_labels(what, 3, Silence())
        orders.append(seen_by(what))
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("steps", [1, 3, 4, 8, 12])
def test_stopped_training_ends_with_the_same_numbers(
    path: Path, steps: int, stop_after: Callable[[int], Any], watcher: Any
) -> None:
    straight = fit()
    agreement, expected = record(straight, 4, path.with_name("straight"))
    stored: Stored = {}
    with pytest.raises(KeyboardInterrupt):
        record_dynamics(fit(), 4, path, stored.__setitem__, stop_after(steps))
    task, resumed = watcher(), fit()
    assert record_dynamics(resumed, 4, path, stored.__setitem__, task) == agreement
    assert task.count == 12
    assert sorted(stored) == [0, 1, 2, 3]
    for epoch, traces in expected.items():
        assert all(torch.equal(trace, stored[epoch][name]) for name, trace in traces.items())
    for name, value in resumed.network.state_dict().items():
        assert torch.equal(value, straight.network.state_dict()[name])


def test_finished_training_is_not_repeated(path: Path) -> None:
    agreement, _ = record(fit(), 2, path)
    what = fit()
    assert record(what, 2, path) == (agreement, {})
    assert seen_by(what) == []


def test_divergence_of_the_proxy_is_named_and_not_stored(path: Path) -> None:
    message = r"^training diverged in epoch \d: the loss is (nan|inf) at learning rate .*\. Try --learning-rate "
    stored: Stored = {}
    with pytest.raises(UsageError, match=message):
        record_dynamics(fit(learning_rate=1e38), 3, path, stored.__setitem__, Silence())
    assert all(torch.isfinite(trace.float()).all() for traces in stored.values() for trace in traces.values())


def test_divergence_on_a_coreset_is_named() -> None:
    with pytest.raises(UsageError, match=r"^training diverged in 9 steps: the loss is (nan|inf) at learning rate"):
        train_on_labels(fit(learning_rate=1e38), 9, Silence())


def test_divergence_on_a_coreset_does_not_wait_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.train.classifier._STEPS_PER_LOOK", 4)
    with pytest.raises(UsageError, match=r"^training diverged in 4 steps: "):
        train_on_labels(fit(learning_rate=1e38), 9, Silence())


def test_convolutions_are_deterministic_while_it_trains(path: Path) -> None:
    inside: list[tuple[bool, bool]] = []

    class Looking(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            inside.append((torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark))
            return super().forward(input)

    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    train_on_labels(fit(Looking(NUM_DIMS, NUM_CLASSES)), 1, Silence())
    record(fit(Looking(NUM_DIMS, NUM_CLASSES)), 1, path)
    assert set(inside) == {(True, False)}
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == before


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    inside: list[int] = []

    class Looking(Silence):
        def advance(self, count: int = 1, note: str = "") -> None:
            inside.append(torch.get_num_threads())

    train_on_labels(dataclasses.replace(fit(), num_threads=2), 1, Looking())
    assert (inside, torch.get_num_threads()) == ([2], before)


def test_prediction_is_the_largest_logit_in_evaluation_mode() -> None:
    network = nn.Sequential(linear(), nn.Dropout(0.9))
    inputs = Recording()
    found = predict(network.train(), inputs, batch_size=5, device=CPU)
    expected = (inputs.take(torch.arange(NUM_ROWS)) @ linear().weight.T).argmax(dim=1)
    assert torch.equal(found, expected)
    assert not any(augmented for _, augmented in inputs.seen)

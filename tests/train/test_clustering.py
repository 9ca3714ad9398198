"""The training of the cluster heads, step by step."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.models.heads import ClusterHeads
from elfs.ops.schedules import warmup_cosine
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Silence
from elfs.train import clustering, numerics
from elfs.train.clustering import HeadSettings, HeadTraining, train_heads
from elfs.train.features import Features
from elfs.train.seeding import generator
from elfs.workspace.tensors import load_tensors

pytestmark = pytest.mark.usefixtures("saved_every_epoch")

NUM_ROWS, NUM_DIMS, NUM_NEIGHBORS = 30, 5, 3

SETTINGS = HeadSettings(
    clusters=4,
    heads=2,
    hidden=7,
    bottleneck=3,
    loss="temi",
    epochs=4,
    warmup_epochs=1,
    batch_size=10,
    learning_rate=0.01,
    min_learning_rate=1e-4,
    weight_decay=1e-2,
    beta=0.6,
    temperature=0.1,
    teacher_momentum=0.75,
    prior_momentum=0.9,
    seed=3,
)


class Recording(Features):
    """Features that remember which positions were taken."""

    def __init__(self) -> None:
        values = np.random.default_rng(0).normal(size=(NUM_ROWS, NUM_DIMS)).astype(np.float32)
        super().__init__(values, np.arange(NUM_ROWS), torch.device("cpu"))
        self.taken: list[Tensor] = []

    def take(self, positions: Tensor) -> Tensor:
        self.taken.append(positions)
        return super().take(positions)


def neighbors_of(positions: Tensor) -> Tensor:
    return (positions.unsqueeze(1) + torch.arange(1, NUM_NEIGHBORS + 1)) % NUM_ROWS


def train(path: Path, task: Any = None, features: Features | None = None, **changes: Any) -> HeadTraining:
    settings = dataclasses.replace(SETTINGS, **changes)
    return train_heads(
        features or Recording(), neighbors_of(torch.arange(NUM_ROWS)), settings, checkpoint=path, task=task or Silence()
    )


def initial_heads() -> ClusterHeads:
    return ClusterHeads(2, NUM_DIMS, 7, 3, 4, generator(SETTINGS.seed, "heads"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def test_last_layer_is_frozen_during_the_first_epoch(path: Path) -> None:
    train(path, epochs=1, warmup_epochs=0)
    state, before = load_tensors(path), initial_heads().to_tensors()
    frozen = {name for name in before if np.array_equal(before[name], state[f"module.student.{name}"])}
    assert frozen == {"direction", "gain"}


def test_last_layer_learns_afterwards(path: Path) -> None:
    train(path, epochs=2, warmup_epochs=0)
    state, before = load_tensors(path), initial_heads().to_tensors()
    assert not any(np.array_equal(before[name], state[f"module.student.{name}"]) for name in before)


def test_teacher_is_the_moving_average_of_the_student(path: Path) -> None:
    """One step an epoch and one checkpoint an epoch, so every student is seen: t = 0.75 t + 0.25 s, from equal ones."""
    students: list[dict[str, np.ndarray]] = []

    class Reader(Silence):
        def advance(self, count: int = 1, note: str = "") -> None:
            if count and path.exists():
                students.append({name: np.array(value) for name, value in load_tensors(path).items()})

    training = train(path, Reader(), batch_size=NUM_ROWS)
    students.append(load_tensors(path))
    expected = initial_heads().to_tensors()
    assert len(students) == SETTINGS.epochs
    for state in students:
        expected = {name: 0.75 * expected[name] + 0.25 * state[f"module.student.{name}"] for name in expected}
    for name, value in training.teacher.to_tensors().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-7, err_msg=name)
    assert not training.teacher.training


def test_teacher_with_momentum_1_stays_where_it_began(path: Path) -> None:
    found = train(path, teacher_momentum=1.0).teacher.to_tensors()
    assert all(np.array_equal(found[name], value) for name, value in initial_heads().to_tensors().items())


def log_softmax_by_hand(heads: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """Log-probabilities [H, B, C] of Linear - GELU - Linear - unit length - cosine times gain, over the temperature."""
    found = []
    for head in range(SETTINGS.heads):
        own = {name: value[head] for name, value in heads.items()}
        hidden = inputs @ own["hidden_weight"].T + own["hidden_bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        bottleneck = hidden @ own["bottleneck_weight"].T + own["bottleneck_bias"]
        unit = bottleneck / bottleneck.norm(dim=1, keepdim=True)
        direction = own["direction"] / own["direction"].norm(dim=1, keepdim=True) * own["gain"].unsqueeze(1)
        scaled = unit @ direction.T / SETTINGS.temperature
        found.append(scaled - scaled.exp().sum(dim=1, keepdim=True).log())
    return torch.stack(found)


def step_by_hand(
    student: dict[str, Tensor], teacher: dict[str, Tensor], prior: Tensor, inputs: Tensor, rate: float
) -> tuple[Tensor, Tensor]:
    """Return the loss [H] of a first step of TEMI and its prior [H, C]; `student` and `teacher` become the next ones.

    A second writing of the step, from the papers' formulas (TEMI's equations 5 to 10 and AdamW), float64.
    """
    leaves = {name: value.clone().requires_grad_() for name, value in student.items()}
    log_one, log_two = log_softmax_by_hand(leaves, inputs).chunk(2, dim=1)
    taught_one, taught_two = (view.exp() for view in log_softmax_by_hand(teacher, inputs).chunk(2, dim=1))
    mean = (taught_one.mean(dim=1) + taught_two.mean(dim=1)) / 2
    prior = SETTINGS.prior_momentum * prior + (1 - SETTINGS.prior_momentum) * mean
    weight = (taught_one * taught_two).sum(dim=2).mean(dim=0)  # one for all heads

    def pairs(log_student: Tensor, taught: Tensor) -> Tensor:
        mutual = ((log_student.exp() * taught) ** SETTINGS.beta / prior.unsqueeze(1)).sum(dim=2)
        return -(weight * mutual.log()).mean(dim=1)

    loss = (pairs(log_one, taught_two) + pairs(log_two, taught_one)) / 2
    loss.mean().backward()
    for name, leaf in leaves.items():
        gradient = leaf.grad
        assert gradient is not None
        if name not in ("direction", "gain"):  # these are frozen in the first epoch: no gradient, no decay
            decay = 0.0 if name in ("hidden_bias", "bottleneck_bias") else SETTINGS.weight_decay
            student[name] = student[name] * (1 - rate * decay) - rate * gradient / (gradient.abs() + 1e-8)
        momentum = SETTINGS.teacher_momentum
        teacher[name] = momentum * teacher[name] + (1 - momentum) * student[name]
    return loss.detach(), prior


def test_a_whole_step_by_hand(path: Path) -> None:
    """Loss, prior, update and teacher of the only step of a training, against a second writing of it in float64.

    AdamW's first step is the sign of the gradient nearly, so that parameters are compared where that is not noise.
    """
    rate = 0.01
    features = Recording()
    training = train(path, features=features, epochs=1, warmup_epochs=0, batch_size=NUM_ROWS)
    (positions,) = features.taken
    inputs = Recording().take(positions).double()
    initial = {name: torch.from_numpy(value).double() for name, value in initial_heads().to_tensors().items()}
    teacher = {name: value * 1.0 for name, value in initial.items()}
    student = dict(initial)
    loss, prior = step_by_hand(student, teacher, torch.full((2, 4), 0.25, dtype=torch.float64), inputs, rate)
    state = load_tensors(path)
    np.testing.assert_allclose(training.loss.numpy(), loss.numpy(), rtol=1e-4)
    np.testing.assert_allclose(state["extra.prior"], prior.numpy(), rtol=1e-4)
    for name in initial:
        for whose, expected in (("student", student), ("teacher", teacher)):
            moved = expected[name] - initial[name]
            found = torch.from_numpy(np.array(state[f"module.{whose}.{name}"])).double() - initial[name]
            close = torch.isclose(found, moved, rtol=1e-2, atol=1e-6)
            assert close.double().mean() > 0.98, f"{whose} {name}"


@pytest.mark.parametrize("loss", ["temi", "wmi", "pmi"])
def test_prior_stays_a_distribution(path: Path, loss: str) -> None:
    train(path, loss=loss)
    prior = load_tensors(path)["extra.prior"]
    np.testing.assert_allclose(prior.sum(axis=1), 1, atol=1e-5)
    assert (np.abs(prior - 0.25) > 1e-6).any()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["temi", "wmi", "pmi", "scan"])
def test_every_loss_finds_separate_groups(path: Path, loss: str) -> None:
    values = 4 * np.repeat(np.eye(3, NUM_DIMS), 10, axis=0) + np.random.default_rng(0).normal(0, 0.2, (30, NUM_DIMS))
    features = Features(values.astype(np.float32), np.arange(30), torch.device("cpu"))
    settings = dataclasses.replace(SETTINGS, loss=loss, clusters=3, heads=4, epochs=60, hidden=16, bottleneck=8)

    same_group = torch.arange(30).unsqueeze(1) // 10 * 10 + torch.arange(10)
    found = train_heads(features, same_group, settings, checkpoint=path, task=Silence())
    assert found.loss.shape == (4,)
    assert torch.isfinite(found.loss).all()
    best = found.teacher(features.take(torch.arange(30)))[int(found.loss.argmin())].argmax(dim=1).reshape(3, 10)
    assert (best == best[:, :1]).all()
    assert len(best.unique()) == 3


def test_losses_differ(path: Path) -> None:
    found = {loss: train(path.with_name(loss), loss=loss).loss.tolist() for loss in ("temi", "wmi", "pmi", "scan")}
    assert len({tuple(values) for values in found.values()}) == 4


def test_learning_rate_follows_the_schedule(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    original = clustering._adamw

    def watched(student: ClusterHeads, settings: HeadSettings) -> torch.optim.AdamW:
        optimizer = original(student, settings)
        optimizer.register_step_pre_hook(
            lambda opt, *_: rates.append(opt.param_groups[0]["lr"] + 0 * opt.param_groups[1]["lr"])
        )
        return optimizer

    monkeypatch.setattr(clustering, "_adamw", watched)
    train(path)
    expected = [warmup_cosine(step, peak=0.01, final=1e-4, num_steps=12, num_warmup_steps=3) for step in range(12)]
    assert rates == expected
    # by hand: three steps of warm-up, then half a cosine over nine
    assert rates[:4] == [0.0, 0.005, 0.01, 0.01]
    assert rates[-1] == pytest.approx(1e-4 + 0.5 * (0.01 - 1e-4) * (1 + math.cos(math.pi * 8 / 9)))


def test_warm_up_takes_at_most_half_of_the_training(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warmups = []

    def watched(step: int, **options: Any) -> float:
        warmups.append(options["num_warmup_steps"])
        return 0.0

    monkeypatch.setattr(clustering, "warmup_cosine", watched)
    train(path, warmup_epochs=20)
    assert set(warmups) == {2 * 3}


def test_biases_are_not_decayed() -> None:
    student = initial_heads()
    decayed, plain = clustering._adamw(student, SETTINGS).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (1e-2, 0.0)
    assert {id(parameter) for parameter in plain["params"]} == {id(student.hidden_bias), id(student.bottleneck_bias)}
    assert len(decayed["params"]) == 4


def test_every_image_is_seen_once_an_epoch_with_one_of_its_neighbours(path: Path) -> None:
    features = Recording()
    train(path, features=features)
    assert len(features.taken) == 4 * 3
    orders = []
    for epoch in range(4):
        steps = [positions.chunk(2) for positions in features.taken[3 * epoch : 3 * epoch + 3]]
        order = torch.cat([first for first, _ in steps])
        partners = torch.cat([second for _, second in steps])
        assert torch.equal(order.sort().values, torch.arange(NUM_ROWS))
        assert (neighbors_of(order) == partners.unsqueeze(1)).any(dim=1).all()
        orders.append(order)
    assert not torch.equal(orders[0], orders[1])


def test_same_seed_same_heads_another_seed_others(path: Path) -> None:
    found = [train(path.with_name(str(n)), seed=seed).teacher.to_tensors() for n, seed in enumerate((3, 3, 4))]
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])
    assert not np.array_equal(found[0]["direction"], found[2]["direction"])


@pytest.mark.parametrize("steps", [1, 4, 6, 7, 12])
def test_stopped_training_ends_with_the_same_numbers(
    path: Path, steps: int, stop_after: Callable[[int], Any], watcher: Any
) -> None:
    straight = train(path.with_name("straight"))
    with pytest.raises(KeyboardInterrupt):
        train(path, stop_after(steps))
    task = watcher()
    resumed = train(path, task)
    assert task.count == 12
    assert torch.equal(resumed.loss, straight.loss)
    expected = straight.teacher.to_tensors()
    assert all(np.array_equal(value, expected[name]) for name, value in resumed.teacher.to_tensors().items())


def test_finished_training_is_not_repeated(path: Path) -> None:
    straight, features = train(path), Recording()
    again = train(path, features=features)
    assert features.taken == []
    assert torch.equal(straight.loss, again.loss)


@pytest.mark.parametrize("epochs", [1, 9, 19, 25])
def test_at_most_ten_checkpoints_are_written(path: Path, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(clustering, "save_checkpoint", lambda path, step, *_: written.append(step))
    train(path, epochs=epochs, batch_size=NUM_ROWS)
    assert 1 <= len(written) <= 10


def test_divergence_is_named(path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"^the cluster heads diverged in epoch \d: the loss is not finite\. Try --learning-rate 1e\+37",
    ):
        train(path, learning_rate=1e38, warmup_epochs=0, epochs=6)
    assert not path.exists() or np.isfinite(load_tensors(path)["extra.loss"]).all()


def test_heads_compute_repeatably_and_leave_torch_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same threads whatever torch was set to, and cuDNN's deterministic convolutions alone."""

    def settings() -> tuple[int, bool, bool]:
        return torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark

    class Watching(Recording):
        def take(self, positions: Tensor) -> Tensor:
            seen.add(settings())
            return super().take(positions)

    seen: set[tuple[int, bool, bool]] = set()
    before = torch.get_num_threads()
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    try:
        torch.set_num_threads(3)
        train(path, features=Watching(), epochs=1)
        assert (seen, settings()) == ({(1, True, False)}, (3, False, True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cpus", "ranks", "dim", "expected"),
    [
        (8, 1, 64, 1),  # by hand: 2 x 256 images x 8 heads x 64 x 256 weights = 2**26 products
        (8, 1, 256, 4),
        (8, 2, 256, 2),  # half of the products on each rank
        (2, 1, 256, 2),
        (2, 2, 256, 1),  # half of the CPUs for each rank
    ],
)
def test_threads_grow_with_the_products_of_a_step(
    monkeypatch: pytest.MonkeyPatch, cpus: int, ranks: int, dim: int, expected: int
) -> None:
    monkeypatch.setattr(numerics, "available_cpus", lambda: cpus)
    features = Features(np.zeros((4, dim), np.float32), np.arange(4), torch.device("cpu"))
    settings = dataclasses.replace(SETTINGS, heads=8, hidden=256, batch_size=256)
    several = cast(Ranks, SimpleNamespace(rank=0, size=ranks, local_size=ranks))
    assert clustering._HeadState(features, settings, several).num_threads == expected

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.data.training_images import CachedImages
from elfs.models.networks import MlpEnsemble, build_network
from elfs.parallel.ranks import ALONE
from elfs.parallel.runtime import Silence
from elfs.train import classifier, clustering, recorded_step
from elfs.train import ensemble as train_ensemble
from elfs.train.classifier import record_dynamics
from elfs.train.clustering import HeadSettings, train_heads
from elfs.train.ensemble import EnsembleFit, record_ensemble
from elfs.train.features import Features
from elfs.train.fit import Fit
from elfs.train.recipes import RECIPES
from elfs.train.recorded_step import RecordedStep, changing_rate, recording_device, set_rate

CPU, GPU = torch.device("cpu"), torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def plus_one(x: Tensor) -> Tensor:
    return x + 1


class FakeRecorder:
    """Does on the CPU what a GPU does: a recorded step reads and writes the places it was recorded with."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.has_room = True

    def warm_up(self, step: Callable[[], Tensor]) -> Tensor:
        self.log.append("warm up")
        return step()

    def record(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.log.append("record")

        def replay() -> Tensor:
            self.log.append("replay")
            return step()

        return replay


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> FakeRecorder:
    made = FakeRecorder()
    monkeypatch.setattr(recorded_step, "_CudaRecorder", lambda _: made)
    return made


def test_a_shape_is_recorded_after_three_steps_and_then_replayed(recorder: FakeRecorder) -> None:
    recorded = RecordedStep(GPU)
    found = [recorded(lambda x: 2 * x, torch.full((2,), float(number))).tolist() for number in range(6)]
    assert found == [[2.0 * number] * 2 for number in range(6)]
    assert recorder.log == ["warm up"] * 3 + ["record"] + ["replay"] * 3


def test_each_shape_is_recorded_by_itself(recorder: FakeRecorder) -> None:
    recorded = RecordedStep(GPU)
    for number in range(5):
        for length in (2, 3):
            assert recorded(plus_one, torch.full((length,), float(number))).tolist() == [number + 1.0] * length
    assert recorder.log.count("record") == 2
    assert recorder.log.count("warm up") == 6
    assert recorder.log.count("replay") == 4


def test_a_step_that_is_not_recorded_is_called(recorder: FakeRecorder) -> None:
    recorded = RecordedStep(None)
    assert [float(recorded(plus_one, torch.tensor(float(number)))) for number in range(3)] == [1.0, 2.0, 3.0]
    assert recorder.log == []


def test_nothing_is_recorded_where_a_gpu_has_no_room_for_it(recorder: FakeRecorder) -> None:
    recorder.has_room = False
    recorded = RecordedStep(GPU)
    assert [float(recorded(plus_one, torch.tensor(float(number)))) for number in range(5)] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert recorder.log == ["warm up"] * 3


def test_a_training_goes_when_it_is_over(recorder: FakeRecorder, tmp_path: Path) -> None:
    """Not when garbage is next collected: it holds the memory of a GPU."""
    features = Features(np.zeros((40, 3), np.float32), np.arange(40), CPU)
    state = clustering._HeadState(features, replace(HEADS, batch_size=10), ALONE)
    gc.disable()
    try:
        watched = weakref.ref(state)
        state.start()
        for number in range(2):
            state.epoch(number, torch.zeros(40, 1, dtype=torch.int64), Silence())
        del state
        assert watched() is None
    finally:
        gc.enable()


def test_steps_are_recorded_on_a_gpu_by_one_process() -> None:
    assert recording_device(CPU, ALONE) is None
    assert recording_device(GPU, ALONE) == GPU


@pytest.mark.parametrize("rate", [0.5, torch.tensor(0.5)], ids=["number", "tensor"])
def test_a_rate_is_changed_in_place_where_it_is_a_tensor(rate: float | Tensor) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    before = optimizer.param_groups[0]["lr"]
    set_rate(optimizer, 0.25)
    assert float(optimizer.param_groups[0]["lr"]) == 0.25
    assert isinstance(before, Tensor) == (optimizer.param_groups[0]["lr"] is before)


def test_a_rate_is_a_number_on_the_cpu() -> None:
    assert changing_rate(0.5, CPU) == 0.5
    assert isinstance(changing_rate(0.5, CPU), float)


HEADS = HeadSettings(
    clusters=5,
    heads=4,
    hidden=32,
    bottleneck=16,
    loss="temi",
    epochs=6,
    warmup_epochs=1,
    batch_size=128,
    learning_rate=1e-3,
    min_learning_rate=1e-5,
    weight_decay=1e-4,
    beta=0.6,
    temperature=0.1,
    teacher_momentum=0.9,
    prior_momentum=0.9,
    seed=0,
)


class Stopped(Silence):
    """Ends like Ctrl-C after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, count: int = 1, note: str = "") -> None:
        self.left -= count
        if self.left <= 0:
            raise KeyboardInterrupt


def heads_on_gpu(path: Path, task: Silence) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    features = Features(random.standard_normal((1000, 24), dtype=np.float32), np.arange(1000), torch.device("cuda"))
    near = torch.from_numpy(random.integers(0, 1000, (1000, 7)))
    return train_heads(features, near, HEADS, checkpoint=path, task=task).teacher.to_tensors()


def traces_on_gpu(path: Path, task: Silence) -> dict[str, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 5, (300,), generator=generator)
    device = torch.device("cuda")
    images = CachedImages(pixels.to(device), torch.full((3,), 0.5), torch.full((3,), 0.25), mirror=True, padding=2)
    network = build_network("resnet8", num_classes=5, image_size=16, dim=None, seed=0).to(device)
    recipe = replace(RECIPES["small"], batch_size=32)
    found: dict[str, np.ndarray] = {}

    def store(epoch: int, traces: dict[str, Tensor]) -> None:
        found.update({f"{name} {epoch}": trace.numpy() for name, trace in traces.items()})

    record_dynamics(Fit(network, images, labels, recipe, 0, device), 6, path, store, task)
    return found | {name: value.cpu().numpy() for name, value in network.state_dict().items()}


def ensemble(device: torch.device, path: Path, task: Silence) -> dict[str, np.ndarray]:
    """Train five proxies of 41 to 45 samples each: the last batches have fewer of some than of others."""
    random = np.random.default_rng(0)
    features = Features(random.standard_normal((50, 6), dtype=np.float32), np.arange(50), device)
    trained = torch.arange(50)[None] >= torch.arange(5, 10)[:, None]
    members = [build_network("mlp", num_classes=3, image_size=1, dim=6, seed=number) for number in range(5)]
    network = MlpEnsemble(members).to(device)
    recipe = replace(RECIPES["ensemble"], batch_size=4, noise=0.2)
    found: dict[str, np.ndarray] = {}

    def store(epoch: int, traces: dict[str, Tensor]) -> None:
        found.update({f"{name} {epoch}": trace.numpy() for name, trace in traces.items()})

    fit = EnsembleFit(network, range(5), features, torch.arange(50) % 3, trained, recipe, 0, device)
    record_ensemble(fit, 4, path, store, task)
    return found | {name: value.cpu().numpy() for name, value in network.state_dict().items()}


TRAININGS: dict[str, Callable[[Path, Silence], dict[str, np.ndarray]]] = {
    "heads": heads_on_gpu,
    "proxy": traces_on_gpu,
    "ensemble": partial(ensemble, GPU),
}


def test_recorded_steps_of_an_ensemble_are_the_plain_ones_on_a_cpu_too(
    recorder: FakeRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step reads besides its inputs is in the same memory each time."""
    plain = ensemble(CPU, tmp_path / "plain", Silence())
    assert recorder.log == []
    monkeypatch.setattr("elfs.train.ensemble.recording_device", lambda *_: GPU)
    monkeypatch.setattr("elfs.train.ensemble.changing_rate", lambda rate, _: torch.tensor(rate))
    recorded = ensemble(CPU, tmp_path / "recorded", Silence())
    assert recorder.log.count("record") == 2  # of batches of 3 and of 4
    assert recorder.log.count("replay") > 20
    for name, values in plain.items():
        np.testing.assert_array_equal(recorded[name], values, err_msg=name)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("training", TRAININGS)
def test_recorded_steps_are_the_plain_ones(training: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = TRAININGS[training](tmp_path / "recorded", Silence())
    for module in (classifier, clustering, train_ensemble):
        monkeypatch.setattr(module, "recording_device", lambda *_: None)
    plain = TRAININGS[training](tmp_path / "plain", Silence())
    for name, values in plain.items():
        np.testing.assert_array_equal(recorded[name], values, err_msg=name)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("training", TRAININGS)
def test_a_stopped_training_ends_with_the_same_numbers(training: str, tmp_path: Path) -> None:
    whole = TRAININGS[training](tmp_path / "whole", Silence())
    with pytest.raises(KeyboardInterrupt):
        TRAININGS[training](tmp_path / "stopped", Stopped(35))
    resumed = TRAININGS[training](tmp_path / "stopped", Silence())
    for name, values in resumed.items():
        np.testing.assert_array_equal(whole[name], values, err_msg=name)

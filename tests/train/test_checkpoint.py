"""Training state to a file and back."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from elfs.errors import CorruptArtifactError
from elfs.train.checkpoint import SavingPace, load_checkpoint, save_checkpoint

MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=0.01)


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)


def step(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    module(torch.linspace(0, 1, 15).reshape(5, 3)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("make", [adam, sgd])
def test_training_goes_on_as_if_it_had_not_stopped(
    make: Callable[[nn.Module], torch.optim.Optimizer], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    straight = network()
    optimizer = make(straight)
    step(straight, optimizer)
    save_checkpoint(path, 1, {"network": straight}, optimizer, {"prior": torch.tensor([0.25, 0.75])})
    step(straight, optimizer)
    resumed = network()
    fresh = make(resumed)
    found = load_checkpoint(path, {"network": resumed}, fresh)
    assert found is not None
    assert (found[0], found[1]["prior"].tolist()) == (1, [0.25, 0.75])
    step(resumed, fresh)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_learning_rate_is_not_part_of_a_checkpoint(tmp_path: Path) -> None:
    path, module = tmp_path / "checkpoint.safetensors", network()
    save_checkpoint(path, 1, {"network": module}, sgd(module), {})
    other = torch.optim.SGD(module.parameters(), lr=0.5)
    load_checkpoint(path, {"network": module}, other)
    assert other.param_groups[0]["lr"] == 0.5


def test_several_modules_are_kept_apart(tmp_path: Path) -> None:
    path, student, teacher = tmp_path / "checkpoint.safetensors", network(), network()
    save_checkpoint(path, 3, {"student": student, "teacher": teacher}, sgd(student), {})
    other_student, other_teacher = network(), network()
    load_checkpoint(path, {"student": other_student, "teacher": other_teacher}, sgd(other_student))
    assert torch.equal(other_student.state_dict()["0.weight"], student.state_dict()["0.weight"])
    assert torch.equal(other_teacher.state_dict()["0.weight"], teacher.state_dict()["0.weight"])


def test_no_file_is_no_state(tmp_path: Path) -> None:
    module = network()
    assert load_checkpoint(tmp_path / "none.safetensors", {"network": module}, sgd(module)) is None


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path, module = tmp_path / "checkpoint.safetensors", network()
    save_checkpoint(path, 1, {"network": module}, sgd(module), {})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CorruptArtifactError, match=r"checkpoint\.safetensors"):
        load_checkpoint(path, {"network": module}, sgd(module))


def test_momenta_come_back_in_the_layout_of_their_parameters(tmp_path: Path) -> None:
    """Fused steps refuse any other."""
    path = tmp_path / "checkpoint.safetensors"
    module = nn.Conv2d(4, 3, 3).to(memory_format=torch.channels_last)
    optimizer = sgd(module)
    module(torch.ones(1, 4, 5, 5)).sum().backward()
    optimizer.step()
    save_checkpoint(path, 1, {"network": module}, optimizer, {})
    fresh = sgd(module)
    load_checkpoint(path, {"network": module}, fresh)
    for parameter in module.parameters():
        momentum = fresh.state[parameter]["momentum_buffer"]
        assert momentum.stride() == parameter.stride()
        assert torch.equal(momentum, optimizer.state[parameter]["momentum_buffer"])


@pytest.mark.parametrize(("cost", "wait", "is_due"), [(0.04, 0.0, True), (1.0, 18.9, False), (1.0, 19.1, True)])
def test_saving_takes_a_twentieth_of_the_time_where_it_is_not_cheap(
    cost: float, wait: float, is_due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = SavingPace()
    assert pace.is_due
    with pace.saving():
        now += cost
    now += wait
    assert pace.is_due == is_due

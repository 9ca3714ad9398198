"""What a process does before it computes: take its own GPU, and meet the others if there are any."""

import pytest
import torch

from elfs.cli import _ranks
from elfs.cli._invocation import Invocation
from elfs.errors import DeviceError
from elfs.parallel.ranks import ALONE


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """The GPUs that are made the current one, of a machine that has four."""
    devices: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", devices.append)
    return devices


@pytest.mark.parametrize(("devices", "expected"), [("3", "cuda:3"), ("2,1", "cuda:2"), ("auto", "cuda:0")])
def test_only_the_named_gpu_is_taken(taken: list[torch.device], devices: str, expected: str) -> None:
    assert _ranks.join_ranks(devices, 1.0) is ALONE
    assert taken == [torch.device(expected)]


def test_no_gpu_is_taken_for_the_cpu(taken: list[torch.device]) -> None:
    assert _ranks.join_ranks("cpu", 1.0) is ALONE
    assert taken == []


@pytest.mark.slow
def test_a_rank_takes_its_own_gpu_before_it_meets_the_others(
    taken: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    for name, value in (place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DeviceError, match=r"^rank 5 of 8 on .* could not meet the others at 127\.0\.0\.1, port 1, "):
        _ranks.join_ranks("all", 0.5)
    assert taken == [torch.device("cuda:1")]


def test_device_that_is_not_there(taken: list[torch.device]) -> None:
    with pytest.raises(DeviceError, match=r"^GPU 7 does not exist"):
        _ranks.join_ranks("7", 1.0)
    assert taken == []


@pytest.mark.parametrize(("rank", "expected"), [("0", "warning: look"), ("3", "warning: rank 3: look")])
def test_what_another_rank_notices_is_told_too(
    rank: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": rank, "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    Invocation({}, {}, {})._warn("look")
    assert capsys.readouterr().err == f"{expected}\n"

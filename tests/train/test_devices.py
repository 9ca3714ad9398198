"""``--devices``: what may be written and what it means."""

import pytest
import torch

from elfs.errors import DeviceError, UsageError
from elfs.train.devices import DeviceChoice, parse_devices


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """Let torch report as many GPUs as the test asks for."""
    count: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


@pytest.mark.parametrize(
    ("text", "kind", "indices"),
    [
        ("auto", "auto", ()),
        (" CPU ", "cpu", ()),
        ("all", "all", ()),
        ("0", "cuda", (0,)),
        ("0,1", "cuda", (0, 1)),
        ("3, 1", "cuda", (3, 1)),
    ],
)
def test_parse(text: str, kind: str, indices: tuple[int, ...]) -> None:
    assert parse_devices(text) == DeviceChoice(kind, indices)


@pytest.mark.parametrize("text", ["", "gpu", "cuda:0", "-1", "0,", "0;1", "0.5", "auto,cpu"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--devices is '.*', expected auto, cpu, all, or GPU numbers such as 0"):
        parse_devices(text)


def test_gpu_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--devices is '1,1': a GPU is named twice"):
        parse_devices("1,1")


@pytest.mark.parametrize(
    ("gpus", "text", "expected"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "cpu", "cpu"),
        (2, "auto", "cuda:0"),
        (2, "1", "cuda:1"),
        (1, "all", "cuda:0"),
    ],
    indirect=["gpus"],
)
def test_resolve(gpus: int, text: str, expected: str) -> None:
    assert str(parse_devices(text).resolve()) == expected


@pytest.mark.parametrize(
    ("gpus", "text", "message"),
    [
        (0, "0", r"^GPU 0 does not exist: this machine shows 0 GPUs to torch\.$"),
        (2, "1,7", r"^GPU 7 does not exist: this machine shows 2 GPUs to torch\.$"),
        (0, "all", r"^--devices all: this machine shows no GPU to torch\.$"),
        (2, "0,1", r"^--devices names 2 GPUs, but a stage runs on one device for now"),
        (2, "all", r"^--devices names 2 GPUs"),
    ],
    indirect=["gpus"],
)
def test_resolve_refuses(gpus: int, text: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        parse_devices(text).resolve()

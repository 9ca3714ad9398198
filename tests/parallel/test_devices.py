"""``--devices``: what may be written and what it means."""

import pytest
import torch

from elfs.errors import DeviceError, UsageError
from elfs.parallel.devices import DeviceChoice, parse_devices


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


def test_blanks_of_any_kind_around_numbers_do_not_count() -> None:
    for blank in " \t\n\x1c\x1f\x85\u3000":
        assert parse_devices(f"0,{blank}1{blank}").indices == (0, 1)


def test_parse_processes_on_the_cpu() -> None:
    assert parse_devices("cpu:3") == DeviceChoice("cpu", processes=3)
    assert parse_devices("cpu:3").names() == ("cpu", "cpu", "cpu")


@pytest.mark.parametrize(
    "text",
    ["", "gpu", "cpu:", "cpu:0", "cpu:-1", "cpu:x", "all:2", "cuda:0", "-1", "0,", "0;1", "0.5", "auto,cpu"],
)
def test_parse_refuses(text: str) -> None:
    expected = "expected auto, cpu, cpu:2, all, or GPU numbers such as 0 or 0,1"
    with pytest.raises(UsageError, match=rf"^--devices is '.*', {expected}\.$"):
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
    ],
    indirect=["gpus"],
)
def test_resolve_refuses(gpus: int, text: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        parse_devices(text).resolve()


@pytest.mark.parametrize(
    ("gpus", "text", "local_rank", "local_size", "expected"),
    [
        (4, "0,2", 1, 2, "cuda:2"),
        (4, "all", 3, 4, "cuda:3"),
        (4, "auto", 2, 4, "cuda:2"),  # torchrun: each process its own
        (1, "auto", 2, 4, "cuda:0"),  # Slurm shows each process one GPU, which is its first
        (1, "all", 2, 4, "cuda:0"),
        (0, "auto", 2, 4, "cpu"),
        (4, "cpu", 2, 4, "cpu"),
        (0, "cpu:3", 2, 3, "cpu"),
        (4, "1,3", 0, 1, "cuda:1"),  # one process alone takes the first
    ],
    indirect=["gpus"],
)
def test_resolve_for_a_process(gpus: int, text: str, local_rank: int, local_size: int, expected: str) -> None:
    assert str(parse_devices(text).resolve(local_rank, local_size)) == expected


@pytest.mark.parametrize(
    ("gpus", "text", "message"),
    [
        (4, "0,1", r"^4 processes on this host share 2 devices \(cuda:0, cuda:1\)\.$"),
        (3, "all", r"^4 processes on this host share 3 devices"),
        (2, "auto", r"^4 processes on this host share 2 devices"),
        (0, "cpu:2", r"^4 processes on this host share 2 devices \(cpu, cpu\)\.$"),
    ],
    indirect=["gpus"],
)
def test_more_processes_than_devices(gpus: int, text: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        parse_devices(text).resolve(0, 4)


@pytest.mark.parametrize(
    "text",
    [
        "cpu:184467440737095516162",
        "184467440737095516162",
        "0,99999",
        "cpu:\u0663",
        "\u0663",
        "\u00b2",
        "cpu:" + "9" * 5000,
    ],
)
def test_numbers_that_no_host_has_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--devices is '.*', expected auto, cpu"):
        parse_devices(text)

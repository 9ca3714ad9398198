"""Ranks that talk: gloo on the CPU, two and three of them."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from elfs.errors import DeviceError, RankLostError
from elfs.parallel.meeting import _compare, join
from elfs.parallel.place import Place
from elfs.parallel.ranks import ALONE, Ranks
from tests.ranks import SERVER, free_port, in_ranks


def _talk(ranks: Ranks, factor: int) -> dict[str, Any]:
    module = nn.Linear(2, 1, bias=False)
    nn.init.constant_(module.weight, ranks.rank)
    parallel = ranks.data_parallel(module)
    before = module.weight.detach().clone()
    parallel(torch.full((1, 2), float(ranks.rank))).sum().backward()
    assert module.weight.grad is not None
    ranks.wait()
    return {
        "part": ranks.part(7),
        "collect": ranks.collect({"rank": ranks.rank * factor}),
        "broadcast": ranks.broadcast(["first"] if ranks.is_first else "not heard"),
        "long": [len(text) for text in ranks.collect("x" * (9_000_000 + ranks.rank))],
        "sum": ranks.sum_(torch.tensor([1.0, ranks.rank])).tolist(),
        "rotate": int(ranks.rotate(torch.tensor([ranks.rank]))),
        "gather": [int(value) for value in ranks.gather(torch.tensor(ranks.rank))],
        "weights": before.tolist(),
        "gradient": module.weight.grad.tolist(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_talk(size: int) -> None:
    found = in_ranks(size, _talk, 10)
    everybody = list(range(size))
    mean = sum(everybody) / size
    for rank, said in enumerate(found):
        assert said["collect"] == [{"rank": 10 * other} for other in everybody]
        assert said["broadcast"] == ["first"]
        assert said["long"] == [9_000_000 + other for other in everybody]  # the store takes 8 MiB at once
        assert said["sum"] == [size, sum(everybody)]
        assert said["rotate"] == (rank - 1) % size
        assert said["gather"] == (everybody if rank == 0 else [])
        assert said["weights"] == [[0.0, 0.0]]  # those of the first rank
        assert said["gradient"] == [[mean, mean]]
    parts = [said["part"] for said in found]
    assert [first for first, _ in parts] == [0, *(last for _, last in parts[:-1])]
    assert parts[-1][1] == 7


def test_alone() -> None:
    tensor, module = torch.ones(2), nn.Linear(1, 1)
    assert (ALONE.rank, ALONE.size, ALONE.is_first, ALONE.part(5)) == (0, 1, True, (0, 5))
    assert (ALONE.collect(3), ALONE.broadcast("x")) == ([3], "x")
    assert ALONE.sum_(tensor) is tensor
    assert ALONE.rotate(tensor) is tensor
    assert ALONE.gather(tensor)[0] is tensor
    assert ALONE.data_parallel(module) is module
    ALONE.wait()
    ALONE.close()
    with ALONE.working():
        ALONE.beat()


def _meet_and(function: Callable[[Ranks], object], place: Place) -> None:
    torch.set_num_threads(1)
    function(join(place, torch.device("cpu"), 20))


def exit_codes(size: int, function: Callable[[Ranks], object]) -> list[int | None]:
    """Return how processes end that have met as ranks and then call a function."""
    port = free_port()
    places = [Place(rank, size, rank, size, "127.0.0.1", port) for rank in range(size)]
    running = [SERVER.Process(target=_meet_and, args=(function, place)) for place in places]
    for process in running:
        process.start()
    for process in running:
        process.join(timeout=100)
    return [process.exitcode for process in running]


def _fail(ranks: Ranks) -> str:
    if ranks.rank == 1:
        os._exit(0)
    with pytest.raises(RankLostError, match=r"^rank 0 of 2 on .* cannot go on: another rank is gone \("):
        ranks.sum_(torch.ones(1))
    os._exit(77)


def test_lost_rank_in_a_collective() -> None:
    assert exit_codes(2, _fail) == [77, 0]


def _work(ranks: Ranks) -> None:
    while ranks.rank == 2:
        ranks.beat()
        time.sleep(0.01)
    ranks.wait()


def _give_up(ranks: Ranks) -> None:
    """Rank 1 fails; rank 0 waits for it, rank 2 works by itself, rank 3 looks at nothing at all."""
    if ranks.rank == 1:
        ranks.give_up("bad luck.")
        time.sleep(1)  # rank 0, with the store, goes on
        os._exit(1)
    if ranks.rank == 3:
        time.sleep(60)
    with pytest.raises(RankLostError, match=r"^rank 1 \(.*\) has failed: bad luck\.$"):
        _work(ranks)
    ranks.give_up(None)
    time.sleep(3 if ranks.is_first else 0)
    os._exit(77)


@pytest.mark.slow
def test_ranks_end_when_one_fails() -> None:
    assert exit_codes(4, _give_up) == [77, 1, 77, 8]


def test_errors_of_other_kinds_pass() -> None:
    with pytest.raises(RuntimeError, match=r"^a shape does not fit$"), Ranks(Place(0, 2, 0, 2, "h", 1)).talking():
        raise RuntimeError("a shape does not fit")
    with pytest.raises(RuntimeError, match="Connection closed by peer"), ALONE.talking():
        raise RuntimeError("Connection closed by peer")


@pytest.mark.slow
def test_meeting_place_out_of_reach() -> None:
    started = time.monotonic()
    place = Place(1, 2, 1, 2, "127.0.0.1", free_port())
    with pytest.raises(DeviceError, match=r"^rank 1 of 2 on .* could not meet the others at 127\.0\.0\.1, port"):
        join(place, torch.device("cpu"), 1.0)
    assert time.monotonic() - started < 60


@pytest.mark.slow
def test_first_rank_waits_in_vain() -> None:
    with pytest.raises(DeviceError, match=r"could not meet .* have all ranks been started\?$"):
        join(Place(0, 2, 0, 2, "127.0.0.1", free_port()), torch.device("cpu"), 1.0)


def _disguised(ranks: Ranks, what: str) -> str:
    if ranks.rank == 1:
        setattr(sys.modules[what], "__version__", "9.9")  # noqa: B010
    try:
        _compare(ranks, torch.device("cpu"))
    except DeviceError as error:
        return error.message
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["elfs", "torch"])
def test_different_versions(what: str) -> None:
    for message in in_ranks(2, _disguised, what):
        assert "rank 1 (" in message
        assert f"has {what} " in message
        assert f"has {what} " in message
        assert "has 9.9: all ranks must have the same." in message

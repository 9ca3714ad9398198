"""Row 38: an image that kills or holds up its worker takes neither the run nor other images with it."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from elfs.data import workers
from elfs.data.decoding_tasks import Decoded, Failure
from elfs.data.loaders import DecodedBatch, decode_batches
from elfs.data.messages import in_shared_memory, receive, send
from elfs.data.samples import Outcome
from elfs.data.workers import decode_in_workers
from elfs.errors import DeviceError, InputDataError
from tests.data_package.pictures import FaultyReader, to_tensor

MAIN = os.getpid()

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def kill(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(_: int) -> None:
    os._exit(3)


def hang(_: int) -> None:
    time.sleep(60)


@dataclass(frozen=True)
class Hostile:
    """Gray images of their row's number; some rows do something to any process but that of the tests."""

    bad: tuple[int, ...]
    act: Callable[[int], None]
    main: int = MAIN

    def read(self, row: int) -> Image.Image:
        if row in self.bad and os.getpid() != self.main:
            self.act(row)
        return Image.new("RGB", (4, 4), (row, row, row))


@dataclass(frozen=True)
class Once:
    """Kills the process that reads row 5, the first time."""

    mark: Path

    def read(self, row: int) -> Image.Image:
        if row == 5 and not self.mark.exists():
            self.mark.touch()
            kill(row)
        return Image.new("RGB", (4, 4), (row, row, row))


@dataclass(frozen=True)
class SlowToLoad:
    """Holds up the first process that loads it, before it is at any image."""

    mark: Path

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__dict__.update(state)
        if not self.mark.exists():
            self.mark.touch()
            hang(0)

    def read(self, row: int) -> Image.Image:
        return Image.new("RGB", (4, 4), (row, row, row))


def decoded(
    reader: Hostile | Once | SlowToLoad | FaultyReader, num_rows: int = 40, num_workers: int = 2
) -> list[DecodedBatch]:
    rows = torch.arange(num_rows)
    return list(decode_batches(reader, rows, to_tensor, batch_size=4, num_workers=num_workers))


def failures(batches: list[DecodedBatch]) -> list[tuple[int, Outcome, str]]:
    return [failure for batch in batches for failure in batch.failures]


@pytest.mark.slow
@posix
@pytest.mark.parametrize("num_workers", [1, 3])
@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (kill, "killed the process that decoded it (SIGKILL)"),
        (leave, "killed the process that decoded it (exit code 3)"),
        (hang, "took longer than 0.5 s"),
    ],
    ids=["kill", "leave", "hang"],
)
def test_row_38_the_image_is_broken_after_two_tries_and_the_others_are_decoded(
    act: Callable[[int], None], reason: str, num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "IMAGE_SECONDS", 0.5)
    batches = decoded(Hostile((13,), act), num_workers=num_workers)
    assert torch.cat([batch.rows for batch in batches]).tolist() == [row for row in range(40) if row != 13]
    assert failures(batches) == [(13, Outcome.BROKEN, reason)]
    assert all(torch.equal(batch.images[:, 0, 0, 0].long(), batch.rows) for batch in batches)


@pytest.mark.slow
@posix
def test_every_hostile_image_has_its_own_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IMAGE_SECONDS", 0.5)
    batches = decoded(Hostile((0, 1, 6, 7, 39), leave))
    assert [row for row, _, _ in failures(batches)] == [0, 1, 6, 7, 39]
    assert sum(len(batch.rows) for batch in batches) == 35


@pytest.mark.slow
@posix
def test_an_image_that_kills_once_is_decoded_by_another_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batches = decoded(Once(tmp_path / "mark"))
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(40))
    assert "replaced a worker process at position 5: killed the process that decoded it (SIGKILL)" in caplog.text


@posix
def test_a_worker_that_is_killed_from_outside_is_replaced() -> None:
    found: list[DecodedBatch] = []
    for batch in decode_batches(FaultyReader(frozenset()), torch.arange(60), to_tensor, batch_size=2, num_workers=2):
        if len(found) in (3, 9):
            victim = multiprocessing.active_children()[0]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
        found.append(batch)
    assert torch.cat([batch.rows for batch in found]).tolist() == list(range(60))
    assert failures(found) == []


@pytest.mark.slow
@posix
def test_a_worker_that_stops_while_it_sends_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process answers nothing; its result is larger than what the socket holds."""
    monkeypatch.setattr(workers, "IMAGE_SECONDS", 0.5)
    batches: list[DecodedBatch] = []
    for batch in decode_batches(Hostile((), kill), torch.arange(8), enlarged, batch_size=2, num_workers=1):
        if not batches:
            time.sleep(0.3)  # the worker is now in the middle of sending its second result
            (worker,) = multiprocessing.active_children()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGSTOP)
        batches.append(batch)
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(8))
    assert all(torch.equal(batch.images[:, 0].long(), batch.rows) for batch in batches)
    assert failures(batches) == []


def enlarged(image: Image.Image) -> Tensor:
    return to_tensor(image)[0, 0, 0].expand(2**22)


@pytest.mark.slow
@posix
def test_a_worker_that_hangs_between_images_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No position is to blame, so the worker is waited for longer, but not for ever."""
    monkeypatch.setattr(workers, "IMAGE_SECONDS", 0.5)
    batches = decoded(SlowToLoad(tmp_path / "mark"), num_workers=1)
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(40))
    assert failures(batches) == []
    assert "replaced a worker process at position -1: did nothing for 5 s" in caplog.text


@pytest.mark.slow
@posix
def test_only_the_time_in_which_the_parent_waits_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "IMAGE_SECONDS", 0.5)
    batches = []
    for batch in decode_batches(Hostile((), kill), torch.arange(16), to_tensor, batch_size=2, num_workers=1):
        time.sleep(0.6)
        batches.append(batch)
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(16))
    assert caplog.text == ""


@pytest.mark.slow
@posix
@pytest.mark.parametrize("act", [leave, hang], ids=["die", "hang"])
def test_workers_that_only_die_or_hang_end_the_run(act: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IMAGE_SECONDS", 0.2)
    monkeypatch.setattr(workers, "_MAX_REPLACED", 3)
    with pytest.raises(
        DeviceError,
        match=r"^3 worker processes in a row died or hung and finished nothing; of the last: (killed|took) .*"
        r"Decode in fewer processes, or with --workers 0 in none\.$",
    ):
        decoded(Hostile(tuple(range(40)), act))
    assert multiprocessing.active_children() == []


def refuse(image: Image.Image) -> Tensor:
    raise InputDataError("a refusal.", hint="elfs doctor")


def test_other_errors_of_a_worker_are_raised_with_its_traceback() -> None:
    batches = decode_batches(FaultyReader(frozenset()), torch.arange(9), refuse, batch_size=2, num_workers=2)
    with pytest.raises(InputDataError, match=r"^a refusal\.\n") as error:
        next(batches)
    assert error.value.hint == "elfs doctor"
    assert "in refuse" in "".join(error.value.__notes__)
    assert multiprocessing.active_children() == []


class UnspeakableError(Exception):
    """Cannot be pickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def say_nothing(image: Image.Image) -> Tensor:
    raise UnspeakableError(1, 2)


def test_an_error_that_cannot_be_sent_is_told_of() -> None:
    batches = decode_batches(FaultyReader(frozenset()), torch.arange(9), say_nothing, batch_size=2, num_workers=1)
    with pytest.raises(RuntimeError, match=r"(?s)^in a worker process:.*UnspeakableError: 1 and 2"):
        next(batches)


@dataclass(frozen=True)
class Table:
    """Positions to numbers; says whether its array may be written to."""

    values: NDArray[np.int64]

    def __call__(self, position: int) -> Decoded | Failure:
        return Decoded(torch.tensor([int(self.values[position]), int(self.values.flags.writeable)]), [])


@pytest.mark.slow
def test_arrays_are_shared_with_the_workers() -> None:
    table = Table(np.arange(100) ** 2)
    pieces = list(decode_in_workers(table, [(start, start + 10) for start in range(0, 100, 10)], num_workers=2))
    found = torch.cat([piece.images for piece in pieces])
    assert torch.equal(found[:, 0], torch.arange(100) ** 2)
    assert not found[:, 1].any()
    shared = in_shared_memory(multiprocessing.get_context("spawn"), table)
    assert len(shared.pickled) < 400 < len(shared.memory)
    np.testing.assert_array_equal(shared.load().values, table.values)


def test_message_is_refused_where_the_other_end_is_closed() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        send(theirs, {"rows": [1, 2]})
        assert receive(ours) == {"rows": [1, 2]}
        theirs.sendall(b"\x05")
        theirs.close()
        with pytest.raises(ConnectionResetError, match="the other end is closed"):
            receive(ours)


def test_message_that_does_not_arrive_is_not_waited_for_for_ever() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.01)
        with pytest.raises(TimeoutError, match="timed out"):
            receive(ours)

"""Worker processes that decode images, and that are replaced when they die or hang.

A worker has two tasks at most, each a run of positions, and shares with its parent the position that it is at. Where it
dies, or is at one position for longer than `IMAGE_SECONDS`, another takes its tasks over; so where it has tasks, is at
none of their positions and sends nothing for ten times as long. Only the time in which the parent waits counts. The
position that it was at is tried twice; then it is a failure like that of a damaged image, and everything else goes on.
Workers come from a process that was started afresh for this (forkserver; spawn on Windows), so they hold nothing of the
parent's GPU, threads and locks. Arrays of what they need to decode are in memory that all share, once.
"""

import ctypes
import logging
import multiprocessing
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

import torch

from elfs.data.decoding_tasks import NOWHERE, Decode, DecodedTask, Failure, as_bytes, serve
from elfs.data.messages import SharedPickle, fill, in_shared_memory, receive, send
from elfs.data.samples import Outcome
from elfs.errors import DeviceError

__all__ = ["IMAGE_SECONDS", "decode_in_workers"]

IMAGE_SECONDS = 60.0
"""How long one image may take to be read, decoded and transformed."""

_NUM_TRIES = 2
_MAX_REPLACED = 50
_TASKS_AHEAD = 2
_POLL_SECONDS = 1.0
_PATIENCE_AT_NONE = 10
_PRELOADED = ("elfs", "timm")

_log = logging.getLogger(__name__)


def decode_in_workers(
    decode: Decode, tasks: Sequence[tuple[int, int]], *, num_workers: int, pin: bool = False
) -> Iterator[DecodedTask]:
    """Do tasks in worker processes, and yield their results in the order of the tasks.

    Parameters
    ----------
    decode : Decode
        What to do at each position; its NumPy arrays are shared, and read-only in the workers.
    tasks : Sequence of tuple of int
        First position of each, and one past its last; a position belongs to one task.
    num_workers : int
        Processes at most, at least 1.
    pin : bool, default False
        Whether results are put into page-locked memory, from which copies to a GPU need not be waited for.

    Yields
    ------
    DecodedTask
        For every task. A position that twice ended its worker or took longer than `IMAGE_SECONDS` is a BROKEN one.

    Raises
    ------
    DeviceError
        If 50 workers in a row had to be replaced before one of them finished a task.
    Exception
        Whatever `decode` raises, with the worker's traceback as a note.
    """
    crew = _Crew(decode, tasks, num_workers, pin)
    try:
        for number in range(len(tasks)):
            yield crew.result(number)
    finally:
        crew.dismiss()


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, context: Any, shared: SharedPickle) -> None:
        self.connection, theirs = socket.socketpair()
        self.place = context.RawArray(ctypes.c_int64, [NOWHERE, NOWHERE])
        self.process = context.Process(target=serve, args=(theirs, self.place, shared), daemon=True)
        with theirs:
            self.process.start()
        self.connection.settimeout(IMAGE_SECONDS)
        self.tasks: deque[int] = deque()
        self._state: tuple[int, ...] = ()
        self._silent = 0.0

    @property
    def position(self) -> int:
        """Where it is; -1 between tasks."""
        number, position = self.place
        return int(position) if number in self.tasks else NOWHERE

    def hang(self, waited: float) -> str | None:
        """Return what is wrong where it has been at one position, or silent at none, for too long.

        `waited` are the seconds of waiting for it since the last call.
        """
        state = (self.place[0], self.place[1], *self.tasks)
        self._silent = self._silent + waited if state == self._state and self.tasks else 0.0
        self._state = state
        if self.position != NOWHERE:
            return f"took longer than {IMAGE_SECONDS:g} s" if self._silent > IMAGE_SECONDS else None
        patience = _PATIENCE_AT_NONE * IMAGE_SECONDS
        return f"did nothing for {patience:g} s" if self._silent > patience else None

    def end(self) -> str:
        """End the process and say how it ended."""
        self.connection.close()
        self.process.join(timeout=_POLL_SECONDS / 10)  # it may be dead, but not yet reported
        self.process.kill()
        self.process.join(timeout=_POLL_SECONDS)
        code = self.process.exitcode
        names = {-member.value: member.name for member in signal.Signals}
        return names.get(code, f"exit code {code}") if code is not None else "it cannot be ended"


class _Crew:
    """The workers, and the tasks that are under way."""

    def __init__(self, decode: Decode, tasks: Sequence[tuple[int, int]], num_workers: int, pin: bool) -> None:
        self._context = _context()
        self._tasks, self._pin = tasks, pin
        self._shared = in_shared_memory(self._context, decode)
        self._num_sent = self._num_replaced = 0
        self._tries: Counter[int] = Counter()
        self._lost: dict[int, Failure] = {}
        self._done: dict[int, DecodedTask] = {}
        self._workers: list[_Worker] = []
        try:
            for _ in range(min(num_workers, len(tasks))):
                self._workers.append(_Worker(self._context, self._shared))
        except BaseException:
            self.dismiss()
            raise

    def result(self, number: int) -> DecodedTask:
        """Return the result of a task; the tasks are asked for one after the other."""
        ahead = number + _TASKS_AHEAD * len(self._workers)
        for following in range(self._num_sent, min(ahead, len(self._tasks))):
            worker = min(self._workers, key=lambda worker: len(worker.tasks))
            worker.tasks.append(following)
            self._send_task(worker, following)
        self._num_sent = max(self._num_sent, min(ahead, len(self._tasks)))
        while number not in self._done:
            self._wait()
        return self._done.pop(number)

    def dismiss(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()

    def _send_task(self, worker: _Worker, number: int) -> None:
        start, stop = self._tasks[number]
        with suppress(ConnectionError):  # a worker that has died is noticed when its result is waited for
            send(worker.connection, (number, start, stop, frozenset(self._lost_between(start, stop))))

    def _lost_between(self, start: int, stop: int) -> dict[int, Failure]:
        return {position: failure for position, failure in self._lost.items() if start <= position < stop}

    def _wait(self) -> None:
        """Take in what has arrived, and replace workers that died or hang."""
        poll, begin = min(_POLL_SECONDS, IMAGE_SECONDS / 4), time.monotonic()
        ready = wait([worker.connection for worker in self._workers], poll)
        waited = min(time.monotonic() - begin, 2 * poll)  # less than has passed, where all of us were stopped
        for worker in list(self._workers):
            if worker.connection in ready:
                try:
                    self._take(worker)
                except ConnectionError:
                    self._replace(worker, None)
                except TimeoutError:
                    self._replace(worker, "stopped while it sent a result")
            elif (reason := worker.hang(waited)) is not None:
                self._replace(worker, reason)

    def _take(self, worker: _Worker) -> None:
        received = receive(worker.connection)
        if isinstance(received, Exception):
            raise received
        found, failures, remarks, contents, shape, dtype = received
        images = torch.empty(shape, dtype=dtype, pin_memory=self._pin)
        if images.numel():
            fill(worker.connection, as_bytes(images))
        number = worker.tasks.popleft()
        failures += self._lost_between(*self._tasks[number]).items()
        self._done[number] = DecodedTask(found, images, sorted(failures), remarks, contents)
        self._num_replaced = 0

    def _replace(self, worker: _Worker, reason: str | None) -> None:
        """Let another worker do what this one has not finished; `reason` is None for one that died by itself."""
        position = worker.position
        end = worker.end()
        reason = reason or f"killed the process that decoded it ({end})"
        _log.warning("replaced a worker process at position %d: %s", position, reason)
        if position != NOWHERE:
            self._tries[position] += 1
            if self._tries[position] == _NUM_TRIES:
                self._lost[position] = Failure(Outcome.BROKEN, reason)
        self._num_replaced += 1
        if self._num_replaced > _MAX_REPLACED:
            raise DeviceError(
                f"{_MAX_REPLACED} worker processes in a row died or hung and finished nothing; of the last: {reason}. "
                "Memory may be short, or the images out of reach. Decode in fewer processes, or with --workers 0 in "
                "none."
            )
        other = _Worker(self._context, self._shared)
        self._workers[self._workers.index(worker)] = other
        other.tasks = worker.tasks
        for number in other.tasks:
            self._send_task(other, number)


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # What this process has imported of these, the server imports once instead of each worker. Has an effect before the
    # first worker of this process alone.
    context.set_forkserver_preload(sorted(name for name in sys.modules if name.partition(".")[0] in _PRELOADED))
    return context

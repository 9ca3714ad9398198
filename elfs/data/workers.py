"""Worker processes that decode images, and that are replaced when they die or hang.

A worker has two tasks at most, each a run of positions, and shares with its parent the position that it is at. Where it
dies, or is at one position for longer than `IMAGE_SECONDS`, another takes its tasks over. The position that it was at
is tried twice; then it is a failure like that of a damaged image, and everything else goes on. Workers come from a
process that was started afresh for this (forkserver; spawn on Windows), so they hold nothing of the parent's GPU,
threads and locks. Arrays of what they need to decode are in memory that all share, once.
"""

import ctypes
import logging
import multiprocessing
import pickle
import signal
import socket
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elfs.data.hashing import NO_CONTENT
from elfs.data.messages import SharedPickle, fill, in_shared_memory, receive, send
from elfs.data.samples import Outcome
from elfs.errors import DeviceError

__all__ = ["IMAGE_SECONDS", "Decode", "Decoded", "Failure", "Piece", "decode_here", "decode_in_workers"]

IMAGE_SECONDS = 60.0
"""How long one image may take to be read, decoded and transformed."""

_NUM_TRIES = 2
_MAX_REPLACED = 50
_TASKS_AHEAD = 2
_POLL_SECONDS = 1.0
_NOWHERE = -1
_PRELOADED = ("elfs", "timm")

_log = logging.getLogger(__name__)


class Decoded(NamedTuple):
    """One image.

    Attributes
    ----------
    image : Tensor
        Of the same shape and dtype for all.
    remarks : list of str
        What is to be said about it.
    content : int
        Number that equal pictures share (`elfs.data.hashing`); `NO_CONTENT` where nobody asked.
    """

    image: Tensor
    remarks: list[str]
    content: int = NO_CONTENT


class Failure(NamedTuple):
    """Why there is no image.

    Attributes
    ----------
    outcome : Outcome
        Anything but OK.
    reason : str
        In one line, for people.
    """

    outcome: Outcome
    reason: str


class Piece(NamedTuple):
    """What became of one task.

    Attributes
    ----------
    positions : list of int
        Where there is an image, ascending.
    images : Tensor of shape (len(positions), ...)
        Stacked; of shape (0,) if there is none.
    failures : list of tuple of int and Failure
        The other positions, ascending.
    remarks : dict of int to list of str
        What is to be said about images, by position; those of which there is nothing to say are absent.
    contents : list of int
        Of each image, the number that equal pictures share.
    """

    positions: list[int]
    images: Tensor
    failures: list[tuple[int, Failure]]
    remarks: dict[int, list[str]]
    contents: list[int]


Decode = Callable[[int], Decoded | Failure]
"""From a position to an image. For workers it can be pickled."""


def decode_here(decode: Decode, start: int, stop: int) -> Piece:
    """Do one task in this process, where an image that hangs or kills cannot be helped.

    Parameters
    ----------
    decode : Decode
        What to do at each position.
    start, stop : int
        First position, and one past the last.

    Returns
    -------
    Piece
        Of these positions.
    """
    return _decode(decode, start, stop, frozenset(), lambda _: None)


def decode_in_workers(
    decode: Decode, tasks: Sequence[tuple[int, int]], *, num_workers: int, pin: bool = False
) -> Iterator[Piece]:
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
    Piece
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


def _decode(decode: Decode, start: int, stop: int, lost: frozenset[int], begin: Callable[[int], None]) -> Piece:
    found, images, failures, remarks, contents = [], [], [], {}, []
    for position in range(start, stop):
        if position in lost:
            continue
        begin(position)
        result = decode(position)
        if isinstance(result, Failure):
            failures.append((position, result))
        else:
            found.append(position)
            images.append(result.image)
            contents.append(result.content)
            if result.remarks:
                remarks[position] = result.remarks
    begin(_NOWHERE)
    return Piece(found, torch.stack(images) if images else torch.empty(0), failures, remarks, contents)


def _as_bytes(images: Tensor) -> Any:
    return images.view(-1).view(torch.uint8).numpy()


def _serve(connection: socket.socket, place: Any, shared: SharedPickle) -> None:
    """Do tasks until the connection is closed; a thread sends one result while the next is made."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; it ends its workers
    torch.set_num_threads(1)
    decode: Decode | None = None

    def begin(position: int) -> None:
        place[1] = position

    with connection, suppress(ConnectionError), ThreadPoolExecutor(max_workers=1) as sender:
        sent: Future[None] | None = None
        while True:
            place[0], start, stop, lost = receive(connection)
            result: Piece | Exception
            try:
                if decode is None:
                    decode = shared.load()
                result = _decode(decode, start, stop, lost, begin)
            except Exception as error:
                result = _portable(error)
            if sent is not None:
                sent.result()
            sent = sender.submit(_send_result, connection, result)


def _send_result(connection: socket.socket, result: Piece | Exception) -> None:
    """Send an error, or a header and the bytes of the images after it."""
    if isinstance(result, Exception):
        send(connection, result)
        return
    found, images, failures, remarks, contents = result
    send(connection, (found, failures, remarks, contents, tuple(images.shape), images.dtype))
    if images.numel():
        connection.sendall(_as_bytes(images))


def _portable(error: Exception) -> Exception:
    """Return the error with its traceback as a note, or another that says the same if it cannot be pickled."""
    text = "".join(traceback.format_exception(error))
    error.add_note(f"\nin a worker process:\n{text}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"in a worker process:\n{text}")
    return error


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, context: Any, shared: SharedPickle) -> None:
        self.connection, theirs = socket.socketpair()
        self.place = context.RawArray(ctypes.c_int64, [_NOWHERE, _NOWHERE])
        self.process = context.Process(target=_serve, args=(theirs, self.place, shared), daemon=True)
        with theirs:
            self.process.start()
        self.connection.settimeout(IMAGE_SECONDS)
        self.tasks: deque[int] = deque()
        self._since = (_NOWHERE, _NOWHERE, time.monotonic())

    @property
    def position(self) -> int:
        """Where it is; -1 between tasks."""
        number, position = self.place
        return int(position) if number in self.tasks else _NOWHERE

    def hangs(self) -> bool:
        """Return whether it has been at one position for too long."""
        now, at = time.monotonic(), (self.place[0], self.position)
        if at[1] == _NOWHERE or at != self._since[:2]:
            self._since = (*at, now)
        return now - self._since[2] > IMAGE_SECONDS

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
        self._done: dict[int, Piece] = {}
        self._workers: list[_Worker] = []
        try:
            for _ in range(min(num_workers, len(tasks))):
                self._workers.append(_Worker(self._context, self._shared))
        except BaseException:
            self.dismiss()
            raise

    def result(self, number: int) -> Piece:
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
        ready = wait([worker.connection for worker in self._workers], min(_POLL_SECONDS, IMAGE_SECONDS / 4))
        for worker in list(self._workers):
            if worker.connection in ready:
                try:
                    self._take(worker)
                except ConnectionError:
                    self._replace(worker, None)
                except TimeoutError:
                    self._replace(worker, "stopped while it sent a result")
            elif worker.hangs():
                self._replace(worker, f"took longer than {IMAGE_SECONDS:g} s")

    def _take(self, worker: _Worker) -> None:
        received = receive(worker.connection)
        if isinstance(received, Exception):
            raise received
        found, failures, remarks, contents, shape, dtype = received
        images = torch.empty(shape, dtype=dtype, pin_memory=self._pin)
        if images.numel():
            fill(worker.connection, _as_bytes(images))
        number = worker.tasks.popleft()
        failures += self._lost_between(*self._tasks[number]).items()
        self._done[number] = Piece(found, images, sorted(failures), remarks, contents)
        self._num_replaced = 0

    def _replace(self, worker: _Worker, reason: str | None) -> None:
        """Let another worker do what this one has not finished; `reason` is None for one that died by itself."""
        position = worker.position
        end = worker.end()
        reason = reason or f"killed the process that decoded it ({end})"
        _log.warning("replaced a worker process at position %d: %s", position, reason)
        if position != _NOWHERE:
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

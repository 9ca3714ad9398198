"""Where and how a stage runs: devices, worker processes, progress. Nothing here changes what a stage computes."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from elfs.parallel.cpus import available_cpus
from elfs.parallel.devices import DeviceChoice, parse_devices

if TYPE_CHECKING:
    import torch

    from elfs.parallel.ranks import Ranks

__all__ = ["Progress", "Runtime", "Silence", "Task", "ignore"]


_WATCHED_SECONDS, _LONG_MINUTES = 10, 10


class Task(Protocol):
    """One running piece of work."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that `count` more units are done; `note` is a short text such as the current loss."""

    def resume(self, count: int, note: str = "") -> None:
        """Say that `count` units were done by an earlier run: they say nothing about how fast this one is."""


class Progress(Protocol):
    """What shows people how far a stage is."""

    def task(self, label: str, total: int, unit: str) -> AbstractContextManager[Task]:
        """Open a piece of work of `total` units; it closes with the context."""


class Silence:
    """A progress display that shows nothing."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Do nothing."""

    def resume(self, count: int, note: str = "") -> None:
        """Do nothing."""

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["Silence"]:
        """Open a piece of work that nobody watches."""
        yield self


def ignore(message: object) -> None:
    """Take what nobody wants to hear."""


class _Watched:
    """A piece of work that tells once, ten seconds after it began, that it will take more than ten minutes."""

    def __init__(self, task: Task, total: int, clock: Callable[[], float], tell: Callable[[str], None]) -> None:
        self._task, self._total, self._clock, self._tell = task, total, clock, tell
        self._done, self._began, self._is_told = 0, clock(), False

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more units."""
        self._task.advance(count, note)
        seconds = self._clock() - self._began
        if self._done == 0:  # the first units include what is made once
            self._began, self._done = self._clock(), 1
            self._total -= count
            return
        self._done += count
        if self._is_told or self._done == 1 or seconds < _WATCHED_SECONDS:
            return
        self._is_told = True
        minutes = seconds / (self._done - 1) * (self._total - self._done + 1) / 60
        if minutes > _LONG_MINUTES:
            self._tell(f"about {minutes:,.0f} minutes" if minutes < 120 else f"about {minutes / 60:,.0f} hours")

    def resume(self, count: int, note: str = "") -> None:
        """Leave out what an earlier run did."""
        self._task.resume(count, note)
        self._total -= count


def _alone() -> "Ranks":
    from elfs.parallel.ranks import ALONE

    return ALONE


@dataclass
class Runtime:
    """Devices, processes and the ways of talking to the person who waits.

    Attributes
    ----------
    devices : str
        ``auto``, ``cpu``, ``cpu:2``, ``0``, ``0,1`` (see ``elfs.parallel.devices``).
    ranks : Ranks
        The processes that run the command together, seen from this one.
    num_workers : int or None
        Processes that decode images; 0 decodes in this process; None chooses.
    progress : Progress
        Shows how far a stage is.
    warn : Callable
        Takes one sentence about something that is wrong, or will be.
    note : Callable
        Takes one sentence about what was found or decided, where nothing is wrong.
    clock : Callable
        Returns seconds on a clock that never runs backwards.
    """

    devices: str = "auto"
    ranks: "Ranks" = field(default_factory=_alone)
    num_workers: int | None = None
    progress: Progress = field(default_factory=Silence)
    warn: Callable[[str], None] = ignore
    note: Callable[[str], None] = ignore
    clock: Callable[[], float] = time.monotonic

    @property
    def choice(self) -> DeviceChoice:
        """The parsed ``devices``."""
        return parse_devices(self.devices)

    def by_itself(self) -> "Runtime":
        """Return the runtime of this rank working alone, on its own device and its own part of the host's CPUs."""
        return dataclasses.replace(self, ranks=self.ranks.by_itself())

    def device(self) -> "torch.device":
        """Return the device that this process computes on.

        Returns
        -------
        torch.device
            A GPU, or the CPU, as ``devices`` says; the first of them where only one process runs.

        Raises
        ------
        DeviceError
            If the device does not exist here.
        """
        return self.choice.resolve(self.ranks.local_rank, self.ranks.local_size)

    @property
    def on_cpu(self) -> bool:
        """Whether this process computes on a CPU."""
        return self.device().type == "cpu"

    @contextmanager
    def long_task(self, label: str, total: int, unit: str, cheaper: str) -> Iterator[Task]:
        """Open a piece of work that may take hours on a CPU; after ten seconds the first rank knows, and says, if so.

        Parameters
        ----------
        label : str
            What it is.
        total : int
            Its units.
        unit : str
            What they are called.
        cheaper : str
            What a person can do for less time.

        Yields
        ------
        Task
            The piece of work.
        """
        with self.progress.task(label, total, unit) as task:
            watched = _Watched(task, total, self.clock, lambda left: self.warn(f"{label} will take {left}. {cheaper}"))
            yield watched if self.on_cpu and self.ranks.is_first else task

    def advancing(self, task: Task) -> Callable[[int], None]:
        """Return what is called with the units that are done: it tells people, and the other ranks.

        Parameters
        ----------
        task : Task
            The piece of work.

        Returns
        -------
        Callable
            Takes how many units were done since the last call.
        """

        def advance(count: int) -> None:
            self.ranks.beat()
            task.advance(count)

        return advance

    def workers_for(self, num_images: int) -> int:
        """Return how many processes should decode `num_images` images.

        Parameters
        ----------
        num_images : int
            Images that will be decoded.

        Returns
        -------
        int
            What the user chose; else none below 2,000 images, where starting processes costs more than they save, and
            one per CPU (at most 16) above, shared among the ranks of this host.
        """
        if self.num_workers is not None:
            return self.num_workers
        return 0 if num_images < 2000 else min(16, max(1, available_cpus() // self.ranks.local_size))

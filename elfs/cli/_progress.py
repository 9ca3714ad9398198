"""How far a piece of work is: a live line on a terminal, plain lines elsewhere. The only module that imports rich."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elfs.cli._text import clock, printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["LiveProgress", "PlainProgress"]

_PLAIN_INTERVAL_SECONDS = 10.0
_PLAIN_LONGEST_SILENCE_SECONDS = 60.0
_RESUMED_SECONDS = 1.0
"""Units that are told of as soon as this were done by an earlier run: they say nothing about how fast this one is."""


@dataclass
class PlainProgress:
    """Progress as plain lines: none in the first ten seconds, then one for every tenth of the work or every minute.

    Attributes
    ----------
    write : Callable
        Takes one line.
    now : Callable
        Returns seconds on a clock that never runs backwards.
    """

    write: Callable[[str], None]
    now: Callable[[], float] = time.monotonic

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["PlainTask"]:
        """Open a piece of work."""
        yield PlainTask(self, label, total, unit)


class PlainTask:
    """One piece of work of a ``PlainProgress``."""

    def __init__(self, progress: PlainProgress, label: str, total: int, unit: str) -> None:
        self._progress = progress
        self._label = label
        self._total = total
        self._unit = unit
        self._done = self._done_before = 0
        self._started = self._last_seconds = progress.now()
        self._last_done = 0

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more units, and print a line if it is time for one."""
        now = self._progress.now()
        if self._done == 0 and now - self._started < _RESUMED_SECONDS:
            self._done_before = count
        self._done += count
        silence = now - self._last_seconds
        if silence < _PLAIN_INTERVAL_SECONDS:
            return
        if self._done - self._last_done < self._total / 10 and silence < _PLAIN_LONGEST_SILENCE_SECONDS:
            return
        self._last_seconds, self._last_done = now, self._done
        self._progress.write(self._line(now - self._started, note))

    def _line(self, seconds: float, note: str) -> str:
        rate = (self._done - self._done_before) / seconds
        parts = [f"{self._done:,} of {self._total:,} {self._unit}", f"{rate:,.1f}/s"]
        if rate > 0:
            parts.append(f"{clock(max(0, self._total - self._done) / rate)} left")
        if note:
            parts.append(note)
        return f"  {self._label}  " + "  ".join(parts)


class LiveProgress:
    """Progress as one live line at the bottom of the terminal, gone when the work is done."""

    def __init__(self) -> None:
        self._display: RichProgress | None = None
        self._num_open = 0

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["LiveTask"]:
        """Open a piece of work."""
        display = self._open()
        identity = display.add_task(printable(label), total=total, unit=unit, note="")
        try:
            yield LiveTask(display, identity)
        finally:
            display.remove_task(identity)
            self._close()

    def _open(self) -> "RichProgress":
        if self._display is None:
            self._display = _live_display()
            self._display.start()
        self._num_open += 1
        return self._display

    def _close(self) -> None:
        self._num_open -= 1
        if self._num_open == 0 and self._display is not None:
            self._display.stop()
            self._display = None


class LiveTask:
    """One piece of work of a ``LiveProgress``."""

    def __init__(self, display: "RichProgress", identity: "TaskID") -> None:
        self._display = display
        self._identity = identity

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more units, and show the note at the end of the line."""
        self._display.update(self._identity, advance=count, note=printable(note))


def _live_display() -> "RichProgress":
    """Return rich's display: label, bar, count, rate, time left, note."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units per second."""

        def render(self, task: RichTask) -> Text:
            """Return the recent rate, once there is one."""
            return Text("" if task.speed is None else f"{task.speed:,.0f}/s", style="dim")

    return Progress(
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}", markup=False),
        Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False, style="dim"),
        console=Console(stderr=True, force_interactive=True),
        transient=True,
        refresh_per_second=5,
    )

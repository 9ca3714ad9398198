"""How far work is: a live display on a terminal, plain lines elsewhere. The only module that imports rich."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elfs.cli._text import clock, printable
from elfs.parallel.runtime import Progress, Task

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Far", "LiveProgress", "Numbered", "PlainProgress", "shown_lines"]

_PLAIN_INTERVAL_SECONDS = 10.0
_PLAIN_LONGEST_SILENCE_SECONDS = 60.0
_STACKED_BELOW = 60
"""Columns of a terminal below which a piece of work takes a line for each of its parts."""

_SHORTEST_BAR, _LONGEST_BAR = 8, 24


class Far:
    """How far a piece of work is, and how long the rest will take.

    Parameters
    ----------
    work, unit : str
        What it is, and what its units are called.
    total : int
        Its units.
    now : Callable
        Returns seconds on a clock that never runs backwards.
    """

    def __init__(self, work: str, total: int, unit: str, now: Callable[[], float] = time.monotonic) -> None:
        self.work, self.total, self.unit, self.note = printable(work), total, unit, ""
        self.done = 0
        self._done_before, self._now, self._started = 0, now, now()

    def advance(self, count: int, note: str) -> None:
        """Count more units; a note stays until there is another one."""
        self.done += count
        self.note = printable(note) or self.note

    def resume(self, count: int, note: str) -> None:
        """Count units of an earlier run; the time that passed until it is known is none of theirs."""
        self._done_before += count
        self.advance(count, note)

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return self._now() - self._started

    @property
    def rate(self) -> float:
        """Units per second of this run."""
        return (self.done - self._done_before) / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> str:
        """How long the rest takes; empty while it is not known."""
        if self.done >= self.total:
            return "finishing"
        return f"{clock((self.total - self.done) / self.rate)} left" if self.rate > 0 else ""

    @property
    def count(self) -> str:
        """How many units are done."""
        return f"{self.done:,} of {self.total:,} {self.unit}"


def _bar(far: Far, width: int, *, ascii_only: bool) -> str:
    """Return a bar that is full at no time: what is finished is not shown any more."""
    full, rest = ("#", ".") if ascii_only else ("━", "┄")
    filled = min(width - 1, int(width * far.done / far.total)) if far.total else 0
    return full * filled + rest * (width - filled)


def shown_lines(far: Far, width: int, *, ascii_only: bool = False) -> list[str]:
    """Return what a terminal shows of a piece of work.

    Parameters
    ----------
    far : Far
        How far it is.
    width : int
        Columns of the terminal.
    ascii_only : bool
        Whether the terminal can show nothing else.

    Returns
    -------
    list of str
        One line; below 60 columns one for each part: what it is, the bar and the count, the note and the time left.
    """
    if width < _STACKED_BELOW:
        bar = _bar(far, max(_SHORTEST_BAR, min(_LONGEST_BAR, width - 4 - len(far.count))), ascii_only=ascii_only)
        facts = ", ".join(filter(None, (far.note, far.left)))
        lines = [f"  {far.work}", f"  {bar} {far.count}", f"  {facts}"]
        return [line[: width - 1].rstrip() for line in lines if line.strip()]
    parts = [far.count, *filter(None, far.note.split(", ")), *([far.left] if far.left else [])]
    # What there is no place for goes: the share stands for the count, then the last parts of the note are left out.
    while (room := width - 5 - len(far.work) - len(text := ", ".join(parts))) < _SHORTEST_BAR and len(parts) > 2:
        if parts[0] == far.count:
            parts[0] = f"{min(99, 100 * far.done // max(1, far.total))} %"
        else:
            del parts[-2]
    bar = _bar(far, max(1, min(_LONGEST_BAR, room)), ascii_only=ascii_only)
    return [f"  {far.work} {bar} {text}"[: width - 1]]


@dataclass
class Numbered:
    """Progress of one stage of several, which says which one it is.

    Attributes
    ----------
    shown : Progress
        What people see.
    place : str
        Such as ``stage 4 of 6``.
    """

    shown: Progress
    place: str

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        """Open a piece of work."""
        with self.shown.task(f"{self.place} {label}", total, unit) as task:
            yield task


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
        yield PlainTask(self, Far(label, total, unit, self.now))


class PlainTask:
    """One piece of work of a ``PlainProgress``."""

    def __init__(self, progress: PlainProgress, far: Far) -> None:
        self._progress, self._far = progress, far
        self._last_seconds, self._last_done = 0.0, 0

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more units, and print a line if it is time for one."""
        far = self._far
        far.advance(count, note)
        silence = far.seconds - self._last_seconds
        if silence < _PLAIN_INTERVAL_SECONDS:
            return
        if far.done - self._last_done < far.total / 10 and silence < _PLAIN_LONGEST_SILENCE_SECONDS:
            return
        self._last_seconds, self._last_done = far.seconds, far.done
        parts = [far.work, far.count, f"{far.rate:,.1f}/s", far.note, far.left]
        self._progress.write("  " + "  ".join(filter(None, parts)))

    def resume(self, count: int, note: str = "") -> None:
        """Count units of an earlier run."""
        self._far.resume(count, note)


class LiveProgress:
    """Progress as a few lines at the bottom of the terminal, gone when the work is done."""

    def __init__(self) -> None:
        self._display: Live | None = None
        self._open: list[Far] = []

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["LiveTask"]:
        """Open a piece of work."""
        far = Far(label, total, unit)
        self._open.append(far)
        if self._display is None:
            self._display = _live_display(self._open)
            self._display.start()
        try:
            yield LiveTask(far)
        finally:
            self._open.remove(far)
            if not self._open:
                self._display.stop()
                self._display = None


@dataclass(frozen=True)
class LiveTask:
    """One piece of work of a ``LiveProgress``.

    Attributes
    ----------
    far : Far
        What the display reads.
    """

    far: Far

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more units, and show the note until there is another one."""
        self.far.advance(count, note)

    def resume(self, count: int, note: str = "") -> None:
        """Count units of an earlier run."""
        self.far.resume(count, note)


def _live_display(work: list[Far]) -> "Live":
    """Return a display of what is being done, as wide as the terminal is at that moment."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, force_interactive=True)
    ascii_only = not (getattr(sys.stderr, "encoding", None) or "").lower().startswith("utf")

    def shown() -> Text:
        width = console.width
        return Text("\n".join(line for far in list(work) for line in shown_lines(far, width, ascii_only=ascii_only)))

    return Live(get_renderable=shown, console=console, transient=True, refresh_per_second=5)

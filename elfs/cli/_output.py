"""Everything that the command line prints: data on stdout, the rest on stderr. The only module that imports rich.

A command says once what happened; this module alone decides whether a person, a program (``--json``) or nobody
(``--quiet``) reads it. Colours need a terminal or ``FORCE_COLOR`` and end with ``NO_COLOR``; animation needs a terminal
and ends with ``CI`` or ``TERM=dumb``, whatever the colours are.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from elfs.cli._errors import Failure, as_document, as_text
from elfs.cli._text import clock, columns, printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from elfs.parallel.runtime import Progress

__all__ = ["LiveProgress", "Output", "PlainProgress", "may_animate", "may_colour"]

_STYLES = {"red": "1;31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
_PLAIN_INTERVAL_SECONDS = 10.0
_PLAIN_LONGEST_SILENCE_SECONDS = 60.0
_RESUMED_SECONDS = 1.0
"""Units that are told of as soon as this were done by an earlier run: they say nothing about how fast this one is."""


def may_colour(is_terminal: bool, environ: Mapping[str, str]) -> bool:
    """Return whether a stream may carry colours.

    Parameters
    ----------
    is_terminal : bool
        Whether a terminal shows the stream.
    environ : Mapping
        The environment's variables.

    Returns
    -------
    bool
        ``NO_COLOR`` forbids, ``FORCE_COLOR`` allows, else a terminal that is not dumb.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return is_terminal and environ.get("TERM") != "dumb"


def may_animate(is_terminal: bool, environ: Mapping[str, str]) -> bool:
    """Return whether a stream may carry a line that rewrites itself.

    Parameters
    ----------
    is_terminal : bool
        Whether a terminal shows the stream.
    environ : Mapping
        The environment's variables.

    Returns
    -------
    bool
        True on a terminal that is neither dumb nor the log of a CI job.
    """
    return is_terminal and not environ.get("CI") and environ.get("TERM") != "dumb"


def _is_terminal(stream: TextIO) -> bool:
    return not stream.closed and stream.isatty()


def _write(stream: TextIO, text: str) -> None:
    """Write lines; a reader that has gone away (``| head``) is no error, the rest is thrown away."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@dataclass
class Output:
    """Where a command says what happened.

    Attributes
    ----------
    as_json : bool
        One JSON document on stdout instead of text.
    quiet : bool
        Nothing on stderr but errors, and on stdout only what a script asks for.
    environ : Mapping
        The environment's variables.
    rank : int
        Number of this process where several run the command; the first alone speaks.
    """

    as_json: bool = False
    quiet: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    rank: int = 0

    @property
    def can_ask(self) -> bool:
        """Whether there is a person who can answer a question."""
        return not (self.as_json or self.quiet) and _is_terminal(sys.stdin) and _is_terminal(sys.stderr)

    def note(self, text: str, *, style: str | None = None) -> None:
        """Tell people something that is no data: a finished stage, a next step.

        Parameters
        ----------
        text : str
            One or more lines, without a line break at the end.
        style : str or None
            Name of a colour.
        """
        if not self.quiet and self.rank == 0:
            _write(sys.stderr, self._styled(sys.stderr, text, style))

    def warn(self, text: str) -> None:
        """Tell people something that they should look at.

        Parameters
        ----------
        text : str
            One sentence.
        """
        self.note(f"warning: {text}", style="yellow")

    def data(self, text: str, *, style: str | None = None) -> None:
        """Print what the command was asked for; ``--json`` prints the document instead.

        Parameters
        ----------
        text : str
            One or more lines, without a line break at the end.
        style : str or None
            Name of a colour.
        """
        if not self.as_json and self.rank == 0:
            _write(sys.stdout, self._styled(sys.stdout, text, style))

    def raw(self, data: bytes) -> None:
        """Print the contents of a file, which may hold bytes that are no text.

        Parameters
        ----------
        data : bytes
            What goes to stdout as it is.
        """
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def table(self, rows: Sequence[Sequence[str]], styles: Sequence[str | None] | None = None) -> None:
        """Print aligned columns as data.

        Parameters
        ----------
        rows : sequence of sequences of str
            All of one length.
        styles : sequence of (str or None), optional
            Name of a colour for each row.
        """
        for line, style in zip(columns(rows), styles or [None] * len(rows), strict=True):
            self.data(line, style=style)

    def document(self, value: Any) -> None:
        """Print the one JSON document of a command, if ``--json`` asks for it.

        Parameters
        ----------
        value : Any
            Plain JSON values.
        """
        if self.as_json and self.rank == 0:
            _write(sys.stdout, json.dumps(value, indent=2, sort_keys=True))

    def failure(self, failure: Failure) -> None:
        """Say what is wrong, on stderr for people or as a document for programs.

        Parameters
        ----------
        failure : Failure
            What to say.
        """
        if self.as_json:
            self.document(as_document(failure))
            return
        first, *rest = as_text(failure).split("\n")
        _write(sys.stderr, self._styled(sys.stderr, first, "red"))
        for line in rest:
            _write(sys.stderr, self._styled(sys.stderr, line, None))

    def show_log(self) -> None:
        """Send the log of elfs to stderr, for ``--verbose``."""
        import logging

        logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
        logging.getLogger("elfs").setLevel(logging.DEBUG)

    def progress(self) -> "Progress":
        """Return what shows how far a stage is, in the way that suits stderr.

        Returns
        -------
        Progress
            A live bar on a terminal, plain lines now and then elsewhere, nothing with ``--quiet``.
        """
        from elfs.parallel.runtime import Silence

        if self.quiet or self.rank:
            return Silence()
        if may_animate(_is_terminal(sys.stderr), self.environ):
            return LiveProgress()
        return PlainProgress(lambda line: _write(sys.stderr, printable(line)))

    def _styled(self, stream: TextIO, text: str, style: str | None) -> str:
        text = printable(text)
        if style is None or not may_colour(_is_terminal(stream), self.environ):
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


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

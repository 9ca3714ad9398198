"""Everything that the command line prints: data on stdout, the rest on stderr.

A command says once what happened; this module alone decides whether a person, a program (``--json``) or nobody
(``--quiet``) reads it. Colours need a terminal or ``FORCE_COLOR`` and end with ``NO_COLOR``; animation needs a terminal
and ends with ``CI`` or ``TERM=dumb``, whatever the colours are.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from elfs.cli._errors import Failure, as_document, as_text
from elfs.cli._text import columns, printable

if TYPE_CHECKING:
    from elfs.parallel.runtime import Progress

__all__ = ["Output", "may_animate", "may_colour"]

_STYLES = {"red": "1;31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}


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


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or sys.maxsize
    except (OSError, ValueError):  # no terminal, no file, closed
        return sys.maxsize


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

    @property
    def width(self) -> int:
        """Columns of the terminal that notes are for; without one there is no end of them."""
        return _width(sys.stderr)

    @property
    def data_width(self) -> int:
        """Columns of the terminal that data are for; without one, as in a pipe, there is no end of them."""
        return _width(sys.stdout)

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

    def document(self, kind: str, value: Mapping[str, Any]) -> None:
        """Print the one JSON document of a command, if ``--json`` asks for it.

        Parameters
        ----------
        kind : str
            What it is, a key of ``DOCUMENTS``.
        value : Mapping
            Plain JSON values.
        """
        if self.as_json and self.rank == 0:
            from elfs.cli._documents import schema_name

            _write(sys.stdout, json.dumps({"schema": schema_name(kind), **value}, indent=2, sort_keys=True))

    def failure(self, failure: Failure) -> None:
        """Say what is wrong, on stderr for people or as a document for programs.

        Parameters
        ----------
        failure : Failure
            What to say.
        """
        if self.as_json:
            self.document("error", as_document(failure))
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
        from elfs.cli._progress import LiveProgress, PlainProgress
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

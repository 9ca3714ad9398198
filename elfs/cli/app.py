"""The command line: assembly of the commands, and ``main``, which turns errors into messages and exit codes."""

import atexit
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

import elfs
from elfs.cli._commands import AFTER, COMMANDS
from elfs.cli._errors import Failure, as_document, bug, describe, interrupted
from elfs.cli._help import PlainCommand, PlainGroup
from elfs.cli._output import Output
from elfs.cli._ranks import ARGUMENTS, Joined, fail_as_rank, own_place

__all__ = ["assemble", "main", "run"]

HELP = "Pick which of your unlabelled images to annotate: label-free coreset selection (ELFS)."

SIGINT_EXIT, SIGTERM_EXIT = 130, 143

VersionOption = Annotated[bool, typer.Option("--version", metavar="", help="Print the version.")]

_READ_ALL = ("completion",)
"""Commands that look at the others."""


def _root(context: typer.Context, version: VersionOption = False) -> None:
    if version:
        typer.echo(f"elfs {elfs.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.get_help()


def _epilog(examples: Sequence[str], after: str | None) -> str:
    lines = ["Examples:", *(f"  {line}" for line in examples)]
    lines += [] if after is None else ["", f"Next: {after}"]
    return "\n".join(lines).replace("[", "\\[")


def assemble(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with some of its commands; the modules of the others are not loaded.

    Parameters
    ----------
    names : iterable of str
        Keys of ``COMMANDS``.

    Returns
    -------
    typer.Typer
        The application.
    """
    app = typer.Typer(
        name="elfs",
        cls=PlainGroup,
        help=HELP,
        epilog="Start with  elfs run digits --budget 0.1 --key aum",
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    for name in names:
        module = importlib.import_module(f"elfs.cli.{name}")
        epilog = _epilog(module.EXAMPLES, AFTER.get(name))
        app.command(name, cls=PlainCommand, epilog=epilog, rich_help_panel=COMMANDS[name])(module.body)
    return app


def _wanted(arguments: Sequence[str]) -> Iterable[str]:
    """Return the command that the first argument names, or all where it names none or one that looks at the others."""
    first = arguments[0] if arguments else ""
    return [first] if first in COMMANDS and first not in _READ_ALL else COMMANDS


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``elfs``.

    Returns
    -------
    int
        The exit code.
    """
    output = Output(as_json="--json" in arguments)
    ARGUMENTS.set(tuple(arguments))
    place = None
    try:
        place = own_place()
        code = assemble(_wanted(arguments))(list(arguments), prog_name="elfs", standalone_mode=False) or 0
        if code == 0:  # who was interrupted waits for nobody
            Joined.leave()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:  # while the command's module is being read
        code = SIGINT_EXIT
    except Exception as error:
        if place is not None:
            return fail_as_rank(error, place)
        if interrupted(error) or _interrupts:
            return SIGINT_EXIT
        failure = describe(error)
        if failure is None:
            traceback.print_exception(error)
            failure = bug(error)
        output.failure(failure)
        return failure.exit_code
    if code in (SIGINT_EXIT, SIGTERM_EXIT) and place is None:
        _say_stopped(output, int(code))
    return int(code)


def _say_stopped(output: Output, code: int) -> None:
    message = "stopped: what is finished is kept, the same command continues from there."
    output.note(message)
    output.document("error", as_document(Failure(message, None, code)))


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Unwind on SIGTERM as on Ctrl-C, so that locks are released and drafts are left in order."""
    raise SystemExit(SIGTERM_EXIT)


_interrupts: list[int] = []
"""Grows by one with each Ctrl-C."""


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Raise as Python does, and keep it in mind: where the import of a package swallows it, half of that is missing."""
    _interrupts.append(number)
    raise KeyboardInterrupt


def _open_streams() -> None:
    """Put the null device where a standard stream was closed, before a file of ours takes its place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _leave_interrupted(ended: list[int]) -> None:
    """End with the exit code that the documents say; Python ends as the signal would, once it was hidden from it."""
    if ended and ended[0] in (SIGINT_EXIT, SIGTERM_EXIT):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended[0])


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    _open_streams()
    if os.environ.get("RANK", "0") == "0":  # the other ranks hold no lock: they may end at once
        signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a script ignores it for us
        signal.signal(signal.SIGINT, _interrupt)
    # Before torch loads: threads that wait must sleep. Spinning ones slow each other down on a machine with other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Nor shall its stack traces hide what elfs says of a rank that is gone.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    ended: list[int] = []
    atexit.register(_leave_interrupted, ended)  # the first to be registered is the last to be called
    code = run(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end has begun already
    ended.append(code)
    if code and Joined.ranks is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # threads that still wait for another rank could keep the interpreter from ending
    sys.exit(code)

"""An exception becomes a message, a hint and an exit code. Pure functions; ``app.main`` prints what they return."""

import errno
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elfs.cli._commands import COMMANDS
from elfs.config import DEFAULT_WORKSPACE
from elfs.errors import DeviceError, ElfsError, StorageError, UsageError

__all__ = ["EXIT_CODES", "Failure", "as_document", "as_text", "bug", "describe", "interrupted", "naming_workspace"]

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "a bug in elfs: a traceback is shown",
    2: "usage: an option's value, a name that does not exist",
    3: "input data that cannot be used",
    4: "a stage that this one builds on is missing or stale",
    5: "an artifact of the workspace is corrupt",
    6: "another process writes to the workspace",
    7: "disk full, or no permission",
    8: "a device is missing, or out of memory",
    130: "interrupted (SIGINT, Ctrl-C)",
    143: "terminated (SIGTERM)",
}
"""What each exit code means."""

_ABOUT_NO_WORKSPACE = frozenset({"doctor", "completion"})

_LONGEST_NAME = 200

_NO_MEMORY = "the machine has not enough memory for this: fewer or smaller of what the options ask for take less."

_STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True, slots=True)
class Failure:
    """What a person or a program is told about an error.

    Attributes
    ----------
    message : str
        What is wrong.
    hint : str or None
        The next command to type.
    exit_code : int
        One of ``EXIT_CODES``.
    """

    message: str
    hint: str | None
    exit_code: int


def describe(error: BaseException) -> Failure | None:
    """Return what to say about an error that a user can mend.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    Failure or None
        None for everything else: that is a bug in elfs, and its traceback must be seen.
    """
    from elfs.parallel.allocator import refused_memory

    if isinstance(error, ElfsError):
        return Failure(error.message, error.hint, error.exit_code)
    if isinstance(error, OSError) and (error.errno in _STORAGE_ERRNOS or _names_file(error)):
        place = "" if error.filename is None else f": {_shown(error.filename)}"
        return Failure(f"{error.strerror or type(error).__name__}{place}.", None, StorageError.exit_code)
    if refused_memory(error):
        return Failure(_NO_MEMORY, "elfs doctor", DeviceError.exit_code)
    if type(error).__name__ == "OutOfMemoryError":
        first_line = (str(error).splitlines() or [""])[0]
        return Failure(f"the device is out of memory: {first_line}", "elfs doctor", DeviceError.exit_code)
    return _usage(error)


def interrupted(error: BaseException) -> bool:
    """Return whether an error is what became of Ctrl-C, as where it met the import of a compiled module.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    bool
        True if a KeyboardInterrupt is among its causes.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, KeyboardInterrupt):
            return True
        seen.add(id(current))
        current = current.__cause__ or current.__context__
    return False


def _names_file(error: OSError) -> bool:
    """Return whether an error is about a file that has a name: too long a name, a folder where a file belongs."""
    return error.errno is not None and isinstance(error.filename, str | bytes) and bool(error.filename)


def _shown(name: str | bytes) -> str:
    """Return the name of a file on one line, in the middle cut where it is long."""
    text = repr(os.fsdecode(name))[1:-1]
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME // 2]}...{text[-_LONGEST_NAME // 2 :]}"


def _usage(error: BaseException) -> Failure | None:
    """Return what the parser of the command line complains about; told by its methods, since its class is private."""
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        return None
    context = getattr(error, "ctx", None)
    hint = None if context is None else f"{context.command_path} --help"
    return Failure(str(format_message()), hint, UsageError.exit_code)


def bug(error: BaseException) -> Failure:
    """Return what to say, under the traceback, about an error that nobody expected.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    Failure
        A request to report it, with exit code 1.
    """
    message = f"{type(error).__name__}: {error}. This is a bug in elfs: please report it with the traceback."
    return Failure(message, "elfs doctor --json", ElfsError.exit_code)


def naming_workspace(hint: str | None, workspace: Path) -> str | None:
    """Return the command to type next, for the workspace that the command that failed was about.

    Parameters
    ----------
    hint : str or None
        As the error has it; where it was raised the workspace may not be known.
    workspace : Path
        The workspace.

    Returns
    -------
    str or None
        The hint with ``--workspace``. As it is where the workspace need not be named, is named, or the hint is no
        single command about a workspace.
    """
    if hint is None or workspace == DEFAULT_WORKSPACE or os.environ.get("ELFS_WORKSPACE") == str(workspace):
        return hint
    program, _, rest = hint.partition(" ")
    about = program == "elfs" and rest.partition(" ")[0] in COMMANDS.keys() - _ABOUT_NO_WORKSPACE
    if not about or any(part in hint for part in (" --workspace ", " -w ", " --list", " --help", " && ", " or: ")):
        return hint
    return f"{hint} --workspace {shlex.quote(str(workspace))}"


def as_text(failure: Failure) -> str:
    """Return the failure as lines for people.

    Parameters
    ----------
    failure : Failure
        What to say.

    Returns
    -------
    str
        ``error: ...`` and, where there is a hint, ``run:   ...`` below it.
    """
    lines = [f"error: {failure.message}"]
    if failure.hint is not None:
        lines.append(f"run:   {failure.hint}")
    return "\n".join(lines)


def as_document(failure: Failure) -> dict[str, Any]:
    """Return the failure as the document that ``--json`` prints.

    Parameters
    ----------
    failure : Failure
        What to say.

    Returns
    -------
    dict
        ``{"error": {"code", "message", "hint"}}``.
    """
    return {"error": {"code": failure.exit_code, "message": failure.message, "hint": failure.hint}}

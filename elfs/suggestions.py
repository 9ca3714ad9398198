"""What an error says about a name that does not exist: the nearest one, and all that do."""

from collections.abc import Iterable
from difflib import get_close_matches

from elfs.errors import UsageError

__all__ = ["choose", "suggestion", "unknown"]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the close match as a clause for an error message, or nothing.

    Parameters
    ----------
    name : str
        What was typed.
    known : Iterable of str
        What exists.

    Returns
    -------
    str
        ``" Did you mean 'aum'?"`` with its leading space, or the empty string.
    """
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is known.

    Parameters
    ----------
    what : str
        What the name stands for, as in "unknown score key".
    name : str
        What was typed.
    known : Iterable of str
        What exists.

    Returns
    -------
    str
        `name` itself.

    Raises
    ------
    UsageError
        If `name` is not known; the message suggests the nearest name and lists all.
    """
    names = list(known)
    if name in names:
        return name
    raise UsageError(f"unknown {what} {unknown(name, names)}")


def unknown(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about a name that does not exist.

    Parameters
    ----------
    name : str
        What was typed.
    known : Iterable of str
        What exists.

    Returns
    -------
    str
        The name, the nearest one that exists, and all that do.
    """
    names = sorted(known)
    return f"'{name}'.{suggestion(name, names)} Available: {', '.join(names)}."

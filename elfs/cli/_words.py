"""What stands for the value of an option in the help, and what shell completion fills it with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["DIRECTORY", "FILE", "LISTS", "SELECTION", "words"]

DIRECTORY, FILE, SELECTION, LISTS = "DIRECTORY", "FILE", "SELECTION", "LISTS"
"""Placeholders that shell completion fills with folders, files, selections of the workspace, files or selections."""


def words(names: Sequence[str] | Mapping[str, Any]) -> Callable[[str], list[tuple[str, str]]]:
    """Return what completes an option or argument to one of `names`.

    Parameters
    ----------
    names : sequence of str, or mapping of str to Any
        Every word that fits; of a table each with what it means, as text or as something with a ``summary``.

    Returns
    -------
    Callable
        Takes the beginning of a word, returns the words that begin so, each with its meaning or nothing.
    """
    meanings = names if isinstance(names, Mapping) else dict.fromkeys(names, "")

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [
            (name, str(getattr(meaning, "summary", meaning)))
            for name, meaning in meanings.items()
            if name.startswith(incomplete)
        ]

    return complete

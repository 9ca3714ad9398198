"""Names of classes that people may have meant to be one."""

import unicodedata
from collections.abc import Iterable

__all__ = ["alike", "alike_remarks"]


def alike(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return the names that differ in nothing that can be heard.

    Parameters
    ----------
    names : iterable of str
        Names of classes.

    Returns
    -------
    tuple of tuple of str
        Groups of two or more names, sorted, that are the same but for upper and lower case, blanks and the form in
        which Unicode writes them (NFKC).
    """
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(_plain(name), set()).add(name)
    return tuple(tuple(sorted(group)) for _, group in sorted(groups.items()) if len(group) > 1)


def alike_remarks(names: Iterable[str]) -> list[str]:
    """Return what a person should know about names of classes.

    Parameters
    ----------
    names : iterable of str
        Names of classes.

    Returns
    -------
    list of str
        A sentence for each group of `alike`, which names all of them.
    """
    return [
        f"classes differ by case, blanks or Unicode form alone, and count as different: {', '.join(map(ascii, group))}"
        if any(not name.isascii() for name in group)
        else f"classes differ by case or blanks alone, and count as different: {', '.join(map(repr, group))}"
        for group in alike(names)
    ]


def _plain(name: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(folded.split())

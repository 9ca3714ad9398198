"""How times, counts and columns look. Pure functions."""

import textwrap
from collections.abc import Sequence

__all__ = ["about", "broken", "clock", "columns", "plural", "printable", "stage_row"]

_LONGEST_SECONDS = 365 * 86_400


def clock(seconds: float) -> str:
    """Return a duration as ``0:38``, ``12:05`` or ``3:07:00``.

    Parameters
    ----------
    seconds : float
        At least 0.

    Returns
    -------
    str
        Minutes and seconds, from an hour on with hours.
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def about(seconds: float | None) -> str:
    """Return an estimated duration.

    Parameters
    ----------
    seconds : float or None
        None where nobody knows.

    Returns
    -------
    str
        ``about 0:38``; ``over a year``, which nobody waits for; ``time not known``.
    """
    if seconds is None:
        return "time not known"
    return f"about {clock(seconds)}" if seconds <= _LONGEST_SECONDS else "over a year"


def plural(count: int, noun: str) -> str:
    """Return ``1 image`` or ``1,437 images``.

    Parameters
    ----------
    count : int
        How many.
    noun : str
        What, in the singular.

    Returns
    -------
    str
        Both, with an ``s`` where there is not exactly one.
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """Return the text with everything escaped that a terminal would obey instead of showing it.

    Parameters
    ----------
    text : str
        May hold file names from anywhere: control sequences, lone surrogates.

    Returns
    -------
    str
        The same text where all is printable; line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> list[str]:
    """Return the rows as lines with aligned columns.

    Parameters
    ----------
    rows : sequence of sequences of str
        All of one length.
    indent : str
        Put before each line.

    Returns
    -------
    list of str
        Columns two spaces apart; no trailing spaces.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def broken(line: str, width: int) -> str:
    """Return a line in as many as it needs.

    Parameters
    ----------
    line : str
        May begin with spaces.
    width : int
        Columns that there are.

    Returns
    -------
    str
        Lines shorter than that, where no word is longer; all but the first are indented by four spaces.
    """
    if len(line) < width:
        return line
    wrapped = textwrap.wrap(line, width - 1, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapped)


def stage_row(stage: str, headline: str, ending: str, width: int) -> str:
    """Return the line that a finished stage gets in the table of a run.

    Parameters
    ----------
    stage : str
        Its name.
    headline : str
        What it made; three spaces part the right-hand column from the left-hand one.
    ending : str
        How long it took, or why it did not run.
    width : int
        Columns that there are.

    Returns
    -------
    str
        One line whose columns align with those of the other stages; where that is too wide, two or three.
    """
    left, _, right = headline.partition("   ")
    middle = f"{left:<34} {right.strip():<18}" if right else f"{left:<53}"
    row = f"  {stage:<9} {middle} {ending:>7}".rstrip()
    if len(row) < width:
        return row
    facts = ", ".join(filter(None, (right.strip(), ending)))
    return f"  {stage:<9} {left.rstrip()}\n{'':<12}{facts}"

"""Text in cells of CSV files: nothing leaves that a spreadsheet would run as a formula, and it comes back as it was."""

import csv
import re
from collections.abc import Iterable, Sequence

__all__ = ["csv_text", "plain_cell", "quoted_cell", "safe_cell"]

_STARTS = "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile("'*" + _STARTS)
"""What a spreadsheet takes for a formula, and what looks like one that was made safe, so that it comes back too."""

_QUOTED = re.compile('[",\r\n]')
_SAFE = re.compile("'+" + _STARTS)


def safe_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    Parameters
    ----------
    text : str
        A name, or a sentence; numbers need nothing.

    Returns
    -------
    str
        The text; behind an apostrophe where it begins with ``=``, ``+``, ``-``, ``@`` or a full-width one of these,
        with a tab or a line end, or with apostrophes before one of them.

    References
    ----------
    .. [1] OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return "'" + text if _FORMULA.match(text) else text


def plain_cell(text: str) -> str:
    """Return the text that `safe_cell` was given.

    Parameters
    ----------
    text : str
        What stands in a cell.

    Returns
    -------
    str
        Without the apostrophe, where there is one before what would be a formula.
    """
    return text[1:] if text.startswith("'") and _SAFE.match(text) else text


def quoted_cell(text: str) -> str:
    """Return a cell as it stands in a line of CSV.

    Parameters
    ----------
    text : str
        A cell, of which a line has several.

    Returns
    -------
    str
        What `csv_text` writes: quoted where it holds a comma, a quote or either kind of line end.
    """
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV, lines ended by a line feed, from which a reader has every cell as it was.

    Parameters
    ----------
    rows : iterable of sequence of object
        Cells; names and sentences as `safe_cell` gives them.

    Returns
    -------
    str
        Cells with a comma, a quote or either kind of line end are quoted.
    """
    lines = _Lines()
    csv.writer(lines, lineterminator="\r\n").writerows(rows)  # it quotes what its own line ends are made of
    return "".join(lines)


class _Lines(list[str]):
    """What a writer writes, which is a line at a time, each ended by a line feed."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")

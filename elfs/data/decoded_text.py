"""Text and tables as programs of all kinds save them: byte order marks, UTF-16, old code pages, any delimiter."""

import codecs
import csv
import io
import re

from elfs.data.cells import plain_cell

__all__ = ["NoTextError", "decoded", "from_code_page", "table_header", "table_rows"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOKED_AT = 4096
_DELIMITERS = ",;\t|"
_DECLARED = "sep="
_CONTROL = re.compile("[\0-\x08\x0e-\x1f]")
_HALF = re.compile("[\ud800-\udbff]")
"""Half a character, which JSON can hold."""


class NoTextError(ValueError):
    """The bytes are no text."""


def decoded(data: bytes) -> str:
    """Return the text that bytes stand for.

    Parameters
    ----------
    data : bytes
        UTF-8, UTF-16 or UTF-32, with or without byte order mark (UTF-32 with).

    Returns
    -------
    str
        Bytes that are not UTF-8 are kept as surrogate escapes.

    Raises
    ------
    NoTextError
        If there are NUL bytes that no encoding explains.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
    start = data[:_LOOKED_AT]
    if b"\0" not in start:
        return data.decode("utf-8", "surrogateescape")
    even, odd = start[::2].count(0), start[1::2].count(0)  # Latin letters in UTF-16 have one zero byte each
    if len(data) % 2 == 0 and min(even, odd) == 0 and max(even, odd) >= len(start) // 4:
        text = data.decode("utf-16-be" if even else "utf-16-le", "replace")
        if not _CONTROL.search(text):
            return text
    raise NoTextError("it is no text")


def from_code_page(text: str) -> str:
    """Return text with bytes that are not UTF-8 read as Windows-1252, as European spreadsheets save them.

    Parameters
    ----------
    text : str
        As `decoded` gives it.

    Returns
    -------
    str
        Without surrogate escapes.
    """
    text = _HALF.sub("\ufffd", text)
    try:
        return text.encode("utf-8").decode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def table_rows(text: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the lines of a table.

    Parameters
    ----------
    text : str
        Columns divided by comma, semicolon, tab or bar: what divides the first line into most.

    Returns
    -------
    header : list of str
        Names of the columns, stripped; empty if there is no line.
    lines : list of list of str
        All other lines that hold anything; some may be shorter or longer than the header. Cells that `safe_cell` made
        safe are as they were.

    Raises
    ------
    csv.Error
        If it cannot be read.
    """
    text, delimiter = _delimited(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    return header, [[plain_cell(cell) for cell in line] for line in reader if any(cell.strip() for cell in line)]


def table_header(text: str) -> list[str]:
    """Return the names of a table's columns.

    Parameters
    ----------
    text : str
        As `table_rows` takes it.

    Returns
    -------
    list of str
        Stripped; empty if there is no line.

    Raises
    ------
    csv.Error
        If the first line cannot be read.
    """
    text, delimiter = _delimited(text)
    return [name.strip() for name in _first_line(text, delimiter)]


def _delimited(text: str) -> tuple[str, str]:
    """Return a table without the line that Excel reads its delimiter from, and the delimiter."""
    first, _, rest = text.partition("\n")
    declared = first.strip().strip('"').lower()
    if declared.startswith(_DECLARED) and len(declared) == len(_DECLARED) + 1:
        return rest, declared[-1]
    return text, max(_DELIMITERS, key=lambda mark: len(_first_line(text, mark)))


def _first_line(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])

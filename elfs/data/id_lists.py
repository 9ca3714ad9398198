"""Lists of samples in a file: one id a line, or a CSV table with the column ``id``. Needs numpy alone."""

import csv
from pathlib import Path

from elfs.data.decoded_text import NoTextError, decoded, table_header, table_rows
from elfs.errors import InputDataError

__all__ = ["read_ids"]


def read_ids(path: Path) -> list[str]:
    """Read the ids that a file lists.

    Parameters
    ----------
    path : Path
        A CSV file whose first line names the column ``id`` among others, such as ``selection.csv`` or a table of
        annotations, with ``,`` ``;`` or tab between columns; any other text file has one id a line, or ends each with a
        NUL. UTF-8 or UTF-16; bytes that are neither are kept.

    Returns
    -------
    list of str
        Each id once, in the order in which they appear first; empty lines are left out.

    Raises
    ------
    InputDataError
        If the file is not there, cannot be read, or lists nothing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputDataError(f"{path}: {error.strerror or error}.") from None
    try:
        found = _listed(decoded(data))
    except NoTextError:
        found = data.decode("utf-8", "surrogateescape").split("\0")
    except csv.Error as error:
        raise InputDataError(f"{path} is no CSV file that can be read: {error}.") from None
    ids = list(dict.fromkeys(name for name in found if name))
    if not ids:
        raise InputDataError(f"{path} lists no image, expected one id a line or a CSV table with the column id.")
    return ids


def _listed(text: str) -> list[str]:
    if "id" in (columns := table_header(text)):
        place = columns.index("id")
        return [line[place] for line in table_rows(text)[1] if len(line) > place]
    return [line.rstrip("\r") for line in text.split("\n")]

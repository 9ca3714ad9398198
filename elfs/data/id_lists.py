"""Lists of samples in a file: one id a line, or a CSV table with the column ``id``. Needs numpy alone."""

import csv
from pathlib import Path

from elfs.errors import InputDataError

__all__ = ["read_ids"]


def read_ids(path: Path) -> list[str]:
    """Read the ids that a file lists.

    Parameters
    ----------
    path : Path
        A CSV file whose first line names the column ``id`` among others, such as ``selection.csv`` or a table of
        annotations; any other text file has one id a line. UTF-8; bytes that are not are kept.

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
        # utf-8-sig: spreadsheets put a byte order mark before the first column's name
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            columns = next(csv.reader([file.readline()]), [])
            file.seek(0)
            if "id" in columns:
                found = [line["id"] or "" for line in csv.DictReader(file)]
            else:
                found = [line.rstrip("\r\n") for line in file]
    except OSError as error:
        raise InputDataError(f"{path}: {error.strerror or error}.") from None
    except csv.Error as error:
        raise InputDataError(f"{path} is no CSV file that can be read: {error}.") from None
    ids = list(dict.fromkeys(name for name in found if name))
    if not ids:
        raise InputDataError(f"{path} lists no image, expected one id a line or a CSV table with the column id.")
    return ids

"""How a person names a table of images, or a column of it: ``films.csv``, ``clinic.csv:patient``."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["TableName", "table_name"]

_SUFFIXES = {".csv", ".tsv", ".txt"}


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, and maybe one of its columns.

    Attributes
    ----------
    path : Path
        The file, there or not.
    column : str or None
        None where none was named.
    """

    path: Path
    column: str | None = None

    @property
    def portable(self) -> str:
        """The same without the folder."""
        return self.path.name if self.column is None else f"{self.path.name}:{self.column}"


def table_name(text: str) -> TableName | None:
    """Return which table a text names.

    Parameters
    ----------
    text : str
        ``FILE``, ``FILE:COLUMN``, or something else.

    Returns
    -------
    TableName or None
        None where there is no such file, and what is named does not end as tables do.

    Examples
    --------
    >>> table_name("clinic.csv:patient").portable
    'clinic.csv:patient'
    >>> table_name("^[^/]+") is None
    True
    """
    head, colon, column = text.rpartition(":")
    for found in (TableName(Path(text)), TableName(Path(head), column)) if colon else (TableName(Path(text)),):
        if found.path.suffix.lower() in _SUFFIXES or _is_file(found.path):
            return found
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # an expression may be longer than a name can be
        return False

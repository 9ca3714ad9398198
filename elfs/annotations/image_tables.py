"""Tables about images: a column that says which image, and others that say something about it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.annotations.records import image_column
from elfs.data.addresses import find_images
from elfs.data.decoded_text import NoTextError, decoded, table_rows
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError, UsageError
from elfs.suggestions import suggestion

__all__ = ["ImageTable", "read_image_table"]

_LOOKED_AT = 1000
"""Lines that decide which of several columns says which image."""

_NAMED = 3


@dataclass(frozen=True, eq=False)
class ImageTable:
    """What a table says about the images of a workspace.

    Attributes
    ----------
    path : Path
        The file.
    columns : tuple of str
        Names of the columns, that of the images left out.
    unknown : tuple of str
        Images of the table that are not in the workspace.
    """

    path: Path
    columns: tuple[str, ...]
    unknown: tuple[str, ...]
    _header: list[str]
    _lines: list[list[str]]
    _rows: NDArray[np.int64]
    _num_rows: int

    def column(self, name: str) -> str:
        """Return a column as the table writes it.

        Parameters
        ----------
        name : str
            Its name, in upper or lower case.

        Returns
        -------
        str
            One of `columns`.

        Raises
        ------
        UsageError
            If there is no such column; the message names those that there are.
        """
        exact = [column for column in self.columns if column == name]
        alike = exact or [column for column in self.columns if column.lower() == name.strip().lower()]
        if len(alike) != 1:
            listed = ", ".join(self.columns) or "none but that of the images"
            raise UsageError(
                f"{self.path} has no column '{name}'.{suggestion(name, self.columns)} Available: {listed}."
            )
        return alike[0]

    def values(self, column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return what a column says of each row of the workspace.

        Parameters
        ----------
        column : str
            One of `columns`.

        Returns
        -------
        numbers : ndarray of shape (n_rows,), int64
            Position among the values; -1 where the table says nothing.
        values : tuple of str
            The values without blanks around them, in the order in which they come first.

        Raises
        ------
        InputDataError
            If two lines say different things of one image.
        """
        place = self._header.index(column)
        index: dict[str, int] = {}
        cells = (line[place].strip() if len(line) > place else "" for line in self._lines)
        number_L = np.fromiter((index.setdefault(cell, len(index)) if cell else -1 for cell in cells), np.int64)
        said_L = np.flatnonzero((number_L >= 0) & (self._rows >= 0))
        number_N = np.full(self._num_rows, -1, np.int64)
        number_N[self._rows[said_L]] = number_L[said_L]
        names = tuple(index)
        other = said_L[number_N[self._rows[said_L]] != number_L[said_L]]
        if len(other):
            line, image = int(other[0]), self._lines[int(other[0])][self._header.index(self._image)]
            said = sorted((names[number_L[line]], names[number_N[self._rows[line]]]))
            raise InputDataError(
                f"{self.path} gives {image!r} two values in the column {column}: {said[0]!r} and {said[1]!r}."
            )
        return number_N, names

    @property
    def _image(self) -> str:
        return next(name for name in self._header if name not in self.columns)


def read_image_table(path: Path, table: SampleTable, *, root: str | None, option: str) -> ImageTable:
    """Read a table about images.

    Parameters
    ----------
    path : Path
        A CSV file with a header, of which one column names images as ``elfs annotate`` knows them: ``id``, ``image``,
        ``file``, ``path`` and others.
    table : SampleTable
        The samples.
    root : str or None
        Folder of the images.
    option : str
        What named the file, for messages.

    Returns
    -------
    ImageTable
        Columns and what they say.

    Raises
    ------
    InputDataError
        If the file is not there or no such table, or names no image of the workspace.
    """
    try:
        header, lines = table_rows(decoded(path.read_bytes()))
    except OSError as error:
        raise InputDataError(f"{option} {path}: {error.strerror or error}.") from None
    except (NoTextError, csv.Error) as error:
        raise InputDataError(f"{option} {path} is no CSV file that can be read: {error}.") from None
    image = image_column(header, [dict(zip(header, line, strict=False)) for line in lines[:_LOOKED_AT]])
    if image is None:
        raise InputDataError(
            f"{option} {path} has the columns {', '.join(header) or 'none'}, expected id and one or more others."
        )
    place = header.index(image)
    names = [line[place] if len(line) > place else "" for line in lines]
    rows = _rows(table, names, root)
    unknown = tuple(dict.fromkeys(names[line] for line in np.flatnonzero(rows < 0).tolist() if names[line]))
    if not bool((rows >= 0).any()):
        example = f"; ids look like {table.id(0)!r}" if len(table) else ""
        shown = ", ".join(map(repr, unknown[:_NAMED])) or "nothing"
        raise InputDataError(f"{option} {path} names no image of the workspace: {shown}{example}.")
    others = tuple(name for name in dict.fromkeys(header) if name and name != image)
    return ImageTable(path, others, unknown, header, lines, rows, len(table))


def _rows(table: SampleTable, names: list[str], root: str | None) -> NDArray[np.int64]:
    """Return the row of each name; what is no id is looked for in other ways, which takes ten times as long."""
    index = {name: row for row, name in enumerate(table.names)}
    rows = np.fromiter((index.get(name, -1) for name in names), np.int64, len(names))
    others = np.flatnonzero(rows < 0)
    if len(others):
        rows[others] = find_images(table, [names[line] for line in others.tolist()], root).rows
    return rows

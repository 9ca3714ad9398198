"""Which images belong together, as frames of a film do: as a person says it, and as the workspace keeps it."""

import datetime
import platform
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.annotations.image_tables import ImageTable, read_image_table
from elfs.data.samples import SampleTable
from elfs.data.table_names import TableName, table_name
from elfs.data.text_column import TextColumn
from elfs.errors import UsageError
from elfs.pipeline.artifact_facts import GroupsNote
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

__all__ = ["ARTIFACT", "Groups", "expression", "keep_groups", "kept_groups", "read_groups"]

ARTIFACT = "groups"

_EXAMPLE = "--groups '^[^/]+' for the folder of each image"
_GROUP_COLUMN = "group"


@dataclass(frozen=True, eq=False)
class Groups:
    """The group of each image of a workspace.

    Attributes
    ----------
    number : ndarray of shape (n_rows,), int64
        Position among the names; -1 for an image of which nothing is said.
    names : tuple of str
        The groups.
    said_by : str
        The file and its column, or the expression.
    unknown : tuple of str
        Images that a file names and that are not in the workspace.
    """

    number: NDArray[np.int64]
    names: tuple[str, ...]
    said_by: str
    unknown: tuple[str, ...] = ()

    def same_as(self, other: "Groups | None") -> bool:
        """Return whether both say the same of every image, with the same words."""
        if other is None or (self.names, self.said_by) != (other.names, other.said_by):
            return False
        return np.array_equal(self.number, other.number)

    def of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a number for the group of each of some rows.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Rows of the workspace, each once.

        Returns
        -------
        ndarray of shape (n,), int64
            Equal for rows of one group, at least 0; a row of which nothing is said is a group of its own.
        """
        found = self.number[rows]
        alone = np.flatnonzero(found < 0)
        found[alone] = len(self.names) + np.arange(len(alone))
        return found


def expression(text: str) -> re.Pattern[str]:
    """Return the expression that a person has written.

    Parameters
    ----------
    text : str
        What ``--groups`` was given, and is no file.

    Returns
    -------
    re.Pattern
        Compiled.

    Raises
    ------
    UsageError
        If it is none.
    """
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"--groups {text!r} is neither a file nor a regular expression: {error}. Expected FILE.csv, or {_EXAMPLE}."
        ) from None


def read_groups(text: str, table: SampleTable, root: str | None) -> Groups:
    """Return the groups that a person names.

    Parameters
    ----------
    text : str
        ``FILE.csv`` or ``FILE.csv:COLUMN``, or a regular expression that is searched for in each id: what its first
        group matches names the image's group, or all that it matches where it has none.
    table : SampleTable
        The samples.
    root : str or None
        Folder of the images.

    Returns
    -------
    Groups
        With at least one name.

    Raises
    ------
    InputDataError
        If there is no such file, or it is no such table, names no image or says two things of one.
    UsageError
        If the file has no such column or several that could be meant, or the expression is none or matches no id.
    """
    named = table_name(text)
    if named is None:
        return _matched(text, table)
    found = read_image_table(named.path, table, root=root, option="--groups")
    column = found.column(named.column) if named.column is not None else _group_column(found)
    number, names = found.values(column)
    if not bool((number >= 0).any()):
        raise UsageError(f"{named.path}: the column {column} is empty for every image of the workspace.")
    return Groups(number, names, TableName(named.path, column).portable, found.unknown)


def _group_column(table: ImageTable) -> str:
    """Return the column that names the group where none was named."""
    if len(table.columns) == 1:
        return table.columns[0]
    called = [name for name in table.columns if name.lower() == _GROUP_COLUMN]
    if len(called) == 1:
        return called[0]
    if not table.columns:
        raise UsageError(f"{table.path} has no column besides that of the images, expected one that names their group.")
    raise UsageError(
        f"{table.path} has the columns {', '.join(table.columns)}: say which one names the group, as in "
        f"--groups {table.path}:{table.columns[0]}."
    )


def _matched(text: str, table: SampleTable) -> Groups:
    pattern = expression(text)
    found = (pattern.search(name) for name in table.names)
    place = 1 if pattern.groups else 0
    index: dict[str, int] = {}
    names = (match.group(place) if match else None for match in found)
    number = np.fromiter((index.setdefault(name, len(index)) if name else -1 for name in names), np.int64, len(table))
    if not index:
        example = f"; ids look like {table.id(0)!r}" if len(table) else ""
        raise UsageError(
            f"--groups {text!r} is no file, and as a regular expression it matches no image id{example}. Expected "
            f"FILE.csv, or {_EXAMPLE}."
        )
    return Groups(number, tuple(index), text)


def keep_groups(workspace: Workspace, table: SampleTable, groups: Groups) -> None:
    """Write groups into the workspace, where those that come later find them.

    Parameters
    ----------
    workspace : Workspace
        Open for writing.
    table : SampleTable
        Its samples.
    groups : Groups
        Replace those that are there.
    """
    rows = np.flatnonzero(groups.number >= 0)
    ids, names = table.names.take(rows), TextColumn.from_strings(groups.names)
    tensors: dict[str, NDArray[Any]] = {
        "id_blob": ids.blob,
        "id_offsets": ids.offsets,
        "number": groups.number[rows].astype(np.int32),
    }
    tensors |= {"name_blob": names.blob, "name_offsets": names.offsets}
    draft = open_draft(workspace, ARTIFACT, digest_json([groups.said_by, len(rows), len(groups.names)]))
    draft.save(ARTIFACT, tensors)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    facts = {"groups": len(groups.names), "images": len(rows), "said_by": groups.said_by}
    headline = f"{len(groups.names):,} groups of {len(rows):,} images by {groups.said_by}"
    draft.commit(
        ARTIFACT,
        stage=ARTIFACT,
        config={},
        inputs={},
        seed=None,
        smoke=False,
        summary=facts | {"headline": headline},
        metadata={ARTIFACT: GroupsNote(groups.said_by).as_json()},
        run={"started": now, "seconds": 0.0, "host": platform.node(), "device": "cpu"},
    )


def kept_groups(workspace: Workspace, table: SampleTable) -> Groups | None:
    """Return the groups that the workspace keeps.

    Parameters
    ----------
    workspace : Workspace
        Where they are.
    table : SampleTable
        The samples as they are now: an image that came later is of no group.

    Returns
    -------
    Groups or None
        None where nobody has named any.

    Raises
    ------
    CorruptArtifactError
        If the file is missing or was changed.
    """
    if not workspace.has(ARTIFACT):
        return None
    found = workspace.arrays(ARTIFACT)
    ids = TextColumn(found["id_blob"], found["id_offsets"])
    rows = np.arange(len(table)) if ids == table.names else table.names.find(ids)
    number = np.full(len(table), -1, np.int64)
    number[rows[rows >= 0]] = found["number"][rows >= 0]
    names = TextColumn(found["name_blob"], found["name_offsets"])
    return Groups(number, tuple(names), workspace.metadata(ARTIFACT, GroupsNote).said_by)

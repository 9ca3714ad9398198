"""Finished selections: which one a person means, the list of images that it is, and what there is to say about it.

A selection is a fact: a list of ids, and nothing that happens in the workspace later takes it away. Importing this
costs no torch.
"""

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs.data.cells import plain_cell
from elfs.data.samples import SampleTable
from elfs.data.text_column import TextColumn
from elfs.errors import CorruptArtifactError, MissingUpstreamError, UsageError
from elfs.pipeline.status import default_selection, older_inputs
from elfs.suggestions import suggestion
from elfs.workspace.commands import command_line, config_of
from elfs.workspace.freshness import annotated_since
from elfs.workspace.workspace import Workspace

__all__ = [
    "COLUMNS",
    "GROUP_COLUMN",
    "SelectedImage",
    "read_images",
    "remark",
    "restoring_hint",
    "rows_in_pool",
    "selected_rows",
    "selection_name",
    "some",
]

COLUMNS = ["rank", "id", "pseudo_label", "score", "why"]
"""Columns of ``selection.csv``."""

GROUP_COLUMN = "group"
"""Comes after them where the groups of the images are known."""

_NAMED = 3
"""How many ids a message names."""


@dataclass(frozen=True, slots=True)
class SelectedImage:
    """One selected image, as it was when it was selected.

    Attributes
    ----------
    rank : int
        Position in the selection, from 1.
    id : str
        Its id, with surrogate escapes for bytes that are not UTF-8.
    pseudo_label : int or None
        Its cluster; None where the selection was made without.
    score : float or None
        Its score by the selection's key; None where the selection was made without.
    why : str
        One sentence for people.
    group : str
        The film, patient or the like that it is of; empty where nothing is known.
    """

    rank: int
    id: str
    pseudo_label: int | None
    score: float | None
    why: str
    group: str = ""


def selection_name(workspace: Workspace, wanted: str | None) -> str:
    """Return the name of a selection.

    Parameters
    ----------
    workspace : Workspace
        Where to look.
    wanted : str or None
        What was typed; None for the selection that was made last, those of ``elfs compare`` and test sets after all
        others.

    Returns
    -------
    str
        Such as ``aum-0.1``.

    Raises
    ------
    MissingUpstreamError
        If nothing has been selected yet.
    UsageError
        If there is no selection of that name.
    """
    manifest = workspace.manifest
    names = [name.partition("/")[2] for name, record in manifest.records.items() if record.stage == "select"]
    if not names:
        hint = command_line("select", None, workspace.path)
        raise MissingUpstreamError(f"{workspace.path} holds no selection yet.", hint=hint)
    if wanted is None:
        return str(default_selection(manifest))
    if wanted not in names:
        raise UsageError(
            f"unknown selection '{wanted}'.{suggestion(wanted, names)} Available: {', '.join(sorted(names))}."
        )
    return wanted


def read_images(workspace: Workspace, name: str) -> tuple[SelectedImage, ...]:
    """Return the images of a selection.

    Parameters
    ----------
    workspace : Workspace
        Where it is.
    name : str
        Name of a selection that is there.

    Returns
    -------
    tuple of SelectedImage
        In rank order, whatever has become of them since.

    Raises
    ------
    CorruptArtifactError
        If ``selection.csv`` is missing, was changed, or is no table of a selection.
    """
    artifact = f"selections/{name}"
    try:
        data = workspace.contents(artifact)
        try:
            return _parse(data)
        except (ValueError, csv.Error) as error:
            raise CorruptArtifactError(f"{workspace.path / artifact} holds no table of a selection: {error}.") from None
    except CorruptArtifactError as error:
        hint = restoring_hint(workspace, name)
        lost = "" if hint else " It was made from what has changed since: restore the file from a copy."
        raise CorruptArtifactError(error.message + lost, hint=hint) from None


def _parse(data: bytes) -> tuple[SelectedImage, ...]:
    lines = csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline=""))
    if (header := next(lines, [])) not in (COLUMNS, [*COLUMNS, GROUP_COLUMN]):
        raise ValueError(f"its columns are {header}, expected {COLUMNS}")
    found: dict[str, SelectedImage] = {}
    for line in lines:
        rank, cell, label, score, why, group = [*line, ""] if header == COLUMNS else line
        name = plain_cell(cell)
        if int(rank) != len(found) + 1 or name in found:
            raise ValueError(f"line {len(found) + 1} is {name!r} of rank {rank}, expected each rank and each id once")
        value = float(score) if score else None
        number = int(label) if label else None
        found[name] = SelectedImage(int(rank), name, number, value, plain_cell(why), plain_cell(group))
    return tuple(found.values())


def restoring_hint(workspace: Workspace, name: str) -> str | None:
    """Return the command that makes a damaged selection anew.

    Parameters
    ----------
    workspace : Workspace
        Where it is.
    name : str
        Name of a selection that is there.

    Returns
    -------
    str or None
        None where what it was made from has changed since: the list would be another one.
    """
    record = f"select/{name}"
    if annotated_since(workspace.manifest, record) or older_inputs(workspace.manifest, name):
        return None
    config = dataclasses.replace(config_of(workspace.manifest.records[record]), **{"name": name})
    return f"{command_line('select', config, workspace.path)} --force"


def rows_in_pool(table: SampleTable, ids: Sequence[str]) -> NDArray[np.int64]:
    """Return where images are in the pool.

    Parameters
    ----------
    table : SampleTable
        The samples as they are now.
    ids : sequence of str
        Ids in any order.

    Returns
    -------
    ndarray of shape (n,), int64
        Row of each; -1 for those that are gone, can no longer be read, or are test images.
    """
    rows = table.names.find(TextColumn.from_strings(ids))
    known = np.flatnonzero(rows >= 0)
    rows[known[~table.eligible()[rows[known]]]] = -1
    return rows


def selected_rows(workspace: Workspace, table: SampleTable, name: str) -> tuple[NDArray[np.int64], str | None]:
    """Return where the images of a selection are, and what a person should know who uses it as it is.

    Parameters
    ----------
    workspace : Workspace
        Where it is.
    table : SampleTable
        The samples as they are now.
    name : str
        Name of a selection that is there.

    Returns
    -------
    rows : ndarray of shape (n,), int64
        In rank order, of those images that are in the pool.
    said : str or None
        As `remark` gives it.

    Raises
    ------
    CorruptArtifactError
        If its table is damaged.
    """
    ids = [image.id for image in read_images(workspace, name)]
    rows = rows_in_pool(table, ids)
    return rows[rows >= 0], remark(workspace, name, [ids[place] for place in np.flatnonzero(rows < 0).tolist()])


def remark(workspace: Workspace, name: str, gone: Sequence[str]) -> str | None:
    """Return what a person should know who uses a selection as it is.

    Parameters
    ----------
    workspace : Workspace
        Where it is.
    name : str
        Name of a selection that is there.
    gone : sequence of str
        Ids of its images that are not in the pool any more.

    Returns
    -------
    str or None
        One sentence; None where nothing has changed since it was made.
    """
    facts = []
    if older := older_inputs(workspace.manifest, name):
        facts.append(f"it was made from older {', '.join(older)}")
    if gone:
        facts.append(f"{len(gone):,} of its images are not in the pool any more: {some(gone)}")
    return f"selection '{name}' is taken as it is: {'; '.join(facts)}." if facts else None


def some(ids: Sequence[str]) -> str:
    """Return the first few of some ids, and how many more there are.

    Parameters
    ----------
    ids : sequence of str
        At least one.

    Returns
    -------
    str
        Such as ``'a.png', 'b.png', 'c.png' and 4 more``.
    """
    named = ", ".join(repr(name) for name in ids[:_NAMED])
    return named + (f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else "")

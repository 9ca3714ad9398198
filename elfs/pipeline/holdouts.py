"""Test sets that ``elfs select --holdout`` drew: images that no other selection takes. Needs no torch."""

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import SampleTable
from elfs.pipeline.selections import read_images, rows_in_pool
from elfs.workspace.workspace import Workspace

__all__ = ["holdouts", "rows_of_selections", "selections_but"]


def holdouts(workspace: Workspace, *, but: str | None = None) -> list[str]:
    """Return the names of the test sets of a workspace.

    Parameters
    ----------
    workspace : Workspace
        Where they are.
    but : str or None
        Name of a selection that does not count.

    Returns
    -------
    list of str
        Sorted.
    """
    records = workspace.manifest.records.items()
    found = (name.partition("/")[2] for name, record in records if record.config.get("holdout") is not None)
    return sorted(name for name in found if name != but)


def selections_but(workspace: Workspace, name: str) -> list[str]:
    """Return the names of all selections but one.

    Parameters
    ----------
    workspace : Workspace
        Where they are.
    name : str
        The one that does not count.

    Returns
    -------
    list of str
        Sorted.
    """
    records = workspace.manifest.records.items()
    found = (record_name.partition("/")[2] for record_name, record in records if record.stage == "select")
    return sorted(other for other in found if other != name)


def rows_of_selections(workspace: Workspace, table: SampleTable, names: list[str]) -> NDArray[np.int64]:
    """Return where the images of several selections are.

    Parameters
    ----------
    workspace : Workspace
        Where they are.
    table : SampleTable
        The samples as they are now.
    names : list of str
        Selections that are there.

    Returns
    -------
    ndarray of shape (n,), int64
        Rows of the images that are in the pool, each once, ascending.

    Raises
    ------
    CorruptArtifactError
        If the table of one is damaged.
    """
    ids = [image.id for name in names for image in read_images(workspace, name)]
    rows = rows_in_pool(table, ids)
    return np.unique(rows[rows >= 0])

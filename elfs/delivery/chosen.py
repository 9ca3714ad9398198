"""A selection as it is handed on: its images in rank order, with what is known of each."""

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.config import SelectConfig, from_json
from elfs.data.samples import SampleTable
from elfs.errors import CorruptArtifactError, StaleUpstreamError
from elfs.pipeline.selections import mending_command, selection_name
from elfs.workspace.files import storage_errors
from elfs.workspace.records import Record
from elfs.workspace.workspace import Workspace

__all__ = ["ChosenImage", "Selection", "load_selection"]

COLUMNS = ["rank", "id", "pseudo_label", "score", "why"]
"""Columns of ``selection.csv``."""


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """One selected image.

    Attributes
    ----------
    rank : int
        Position in the selection, from 1.
    row : int
        Row of the workspace.
    id : str
        Its id, with surrogate escapes for bytes that are not UTF-8.
    pseudo_label : int or None
        Its cluster; None where the selection was made without.
    score : float or None
        Its score by the selection's key; None where the selection was made without.
    why : str
        One sentence for people.
    """

    rank: int
    row: int
    id: str
    pseudo_label: int | None
    score: float | None
    why: str


@dataclass(frozen=True)
class Selection:
    """A selection that was read and checked.

    Attributes
    ----------
    workspace : Workspace
        Where it is.
    name : str
        Its name.
    table : SampleTable
        All samples of the workspace.
    images : list of ChosenImage
        In rank order.
    csv : bytes
        ``selection.csv`` as it is.
    """

    workspace: Workspace
    name: str
    table: SampleTable
    images: list[ChosenImage]
    csv: bytes

    @property
    def record(self) -> Record:
        """What the manifest says about it."""
        return self.workspace.manifest.records[f"select/{self.name}"]

    @cached_property
    def config(self) -> SelectConfig:
        """How it was made."""
        return from_json(SelectConfig, self.record.config)

    @property
    def source(self) -> str:
        """Name of the source, as `elfs.data.sources.open_source` takes it."""
        return str(self.workspace.manifest.artifacts["samples"].metadata["source"])

    @property
    def root(self) -> Path | None:
        """Folder or file of the images, where the source has one."""
        root = self.workspace.manifest.source_root
        return None if root is None else Path(root)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the workspace in rank order."""
        return np.array([image.row for image in self.images], dtype=np.int64)


def load_selection(path: Path, wanted: str | None) -> Selection:
    """Read a selection; nothing is written, and no lock is taken.

    Parameters
    ----------
    path : Path
        The workspace.
    wanted : str or None
        Name of the selection; None for the one that was made last.

    Returns
    -------
    Selection
        Its rows fit the samples of the workspace; what else it was made from may have changed since.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace, or nothing has been selected.
    UsageError
        If there is no selection of that name.
    StaleUpstreamError
        If the samples have been listed anew since it was made.
    CorruptArtifactError
        If its files do not fit together.
    """
    workspace = Workspace.open(path)
    name = selection_name(workspace, wanted)
    artifacts = workspace.manifest.artifacts
    seen = workspace.manifest.records[f"select/{name}"].inputs.get("samples")
    if "samples" not in artifacts or artifacts["samples"].digest != seen:
        raise StaleUpstreamError(
            f"selection '{name}' is stale: the samples were listed anew after it.",
            hint=mending_command(workspace, name),
        )
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    rows = np.asarray(workspace.arrays(f"selections/{name}")["indices"])
    file = workspace.file(f"selections/{name}")
    with storage_errors("read", file):
        data = file.read_bytes()
    try:
        images = _parse(data, rows, table)
    except (ValueError, IndexError, csv.Error) as error:
        hint = f"{mending_command(workspace, name)} --force"
        raise CorruptArtifactError(f"{file} does not fit its indices: {error}.", hint=hint) from None
    return Selection(workspace, name, table, images, data)


def _parse(data: bytes, rows: NDArray[np.int64], table: SampleTable) -> list[ChosenImage]:
    """Read the table for people, and compare it with the rows for programs."""
    lines = csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline=""))
    if (header := next(lines, [])) != COLUMNS:
        raise ValueError(f"its columns are {header}, expected {COLUMNS}")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(table):
        raise ValueError(f"the rows span {rows.min()}..{rows.max()} of {len(table)} samples")
    found: list[ChosenImage] = []
    for row, line in zip(rows.tolist(), lines, strict=True):
        rank, name, label, score, why = line
        if name != table.id(row) or int(rank) != len(found) + 1:
            raise ValueError(f"line {len(found) + 1} is {name!r} of rank {rank}, expected {table.id(row)!r}")
        value = float(score) if score else None
        found.append(ChosenImage(int(rank), row, name, int(label) if label else None, value, why))
    return found

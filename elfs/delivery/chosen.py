"""A selection as it is handed on: its images in rank order, with what is known of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.config import SelectConfig
from elfs.data.samples import SampleTable
from elfs.pipeline.annotated import learned_names
from elfs.pipeline.facts import SelectionFacts
from elfs.pipeline.selections import SelectedImage, read_images, remark, rows_in_pool, selection_name
from elfs.pipeline.source_facts import SourceFacts
from elfs.pipeline.status import older_inputs
from elfs.workspace.commands import config_of
from elfs.workspace.records import Record
from elfs.workspace.steady import read_steadily
from elfs.workspace.workspace import Workspace

__all__ = ["Selection", "label_name", "load_selection"]


def label_name(names: Sequence[str], pseudo_label: int) -> str:
    """Return what people call a pseudo-label.

    Parameters
    ----------
    names : sequence of str
        By number; empty where nobody named any.
    pseudo_label : int
        Its number.

    Returns
    -------
    str
        The class, or ``cluster 3`` where it has no name.
    """
    return names[pseudo_label] if 0 <= pseudo_label < len(names) else f"cluster {pseudo_label}"


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
    images : tuple of SelectedImage
        In rank order, those that are not in the pool any more too.
    places : ndarray of shape (n_images,), int64
        Row of the workspace of each; -1 where it is not in the pool any more.
    csv : bytes
        ``selection.csv`` as it is; empty for what was not selected.
    """

    workspace: Workspace
    name: str
    table: SampleTable
    images: tuple[SelectedImage, ...]
    places: NDArray[np.int64]
    csv: bytes = b""

    @property
    def record(self) -> Record:
        """What the manifest says about it."""
        return self.workspace.manifest.records[f"select/{self.name}"]

    @cached_property
    def facts(self) -> SelectionFacts:
        """What select reported of it."""
        return self.workspace.summary(f"select/{self.name}", SelectionFacts)

    @cached_property
    def config(self) -> SelectConfig:
        """How it was made."""
        config = config_of(self.record)
        assert isinstance(config, SelectConfig)
        return config

    @cached_property
    def source_facts(self) -> SourceFacts:
        """What embed noted about the source."""
        return self.workspace.metadata("samples", SourceFacts)

    @property
    def source(self) -> str:
        """Name of the source, as `elfs.data.sources.open_source` takes it."""
        return self.source_facts.source

    @property
    def root(self) -> Path | None:
        """Folder or file of the images, where the source has one."""
        root = self.workspace.manifest.source_root
        return None if root is None else Path(root)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the workspace in rank order, of the images that are in the pool."""
        return self.places[self.places >= 0]

    def in_pool(self) -> Iterator[tuple[SelectedImage, int]]:
        """Yield the images that are in the pool, in rank order, with their rows."""
        return ((image, row) for image, row in zip(self.images, self.places.tolist(), strict=True) if row >= 0)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """What the pseudo-labels are called that it was made from; empty where nobody named them, or they are gone."""
        artifact = self.workspace.manifest.artifacts.get("pseudo_labels")
        is_own = artifact is not None and self.record.inputs.get("pseudo_labels") == artifact.digest
        return learned_names(self.workspace) if is_own else ()

    @cached_property
    def older(self) -> list[str]:
        """What it was made from and has changed since."""
        return older_inputs(self.workspace.manifest, self.name)

    @property
    def remark(self) -> str | None:
        """One sentence about what has changed since it was made; None where nothing has."""
        gone = [image.id for image, row in zip(self.images, self.places.tolist(), strict=True) if row < 0]
        return remark(self.workspace, self.name, gone)


def load_selection(path: Path, wanted: str | None) -> Selection:
    """Read a selection; nothing is written, and no lock is taken, so somebody may publish meanwhile.

    Parameters
    ----------
    path : Path
        The workspace.
    wanted : str or None
        Name of the selection; None for the one that was made last.

    Returns
    -------
    Selection
        As it was made, whatever has changed since.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace, or nothing has been selected.
    UsageError
        If there is no selection of that name.
    CorruptArtifactError
        If its table is damaged.
    """
    return read_steadily(path, lambda: _load(Workspace.open(path), wanted))


def _load(workspace: Workspace, wanted: str | None) -> Selection:
    name = selection_name(workspace, wanted)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    images = read_images(workspace, name)
    places = rows_in_pool(table, [image.id for image in images])
    return Selection(workspace, name, table, images, places, workspace.contents(f"selections/{name}"))

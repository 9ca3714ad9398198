"""A workspace as notebooks see it: arrays, selections, pictures, and a preview. Nothing is written but selections."""

import html
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.api.stage_calls import call
from elfs.config import SelectConfig
from elfs.data.bad_image import BadImageError
from elfs.data.samples import SampleTable
from elfs.delivery.chosen import Selection, load_selection
from elfs.delivery.pictures import Pictures
from elfs.delivery.thumbnails import Thumbnails
from elfs.errors import InputDataError
from elfs.pipeline.status import states
from elfs.pipeline.verdict import verdict
from elfs.workspace.workspace import Workspace

__all__ = ["SelectionView", "WorkspaceView", "open_workspace"]

_SHOWN = 24
"""Pictures of a preview."""

Kind = Literal["ids", "paths", "pil"]


def open_workspace(path: str | os.PathLike[str] = "elfs-workspace") -> "WorkspaceView":
    """Open a workspace that exists.

    Parameters
    ----------
    path : str or path, default "elfs-workspace"
        Its folder.

    Returns
    -------
    WorkspaceView
        What it holds now; open it again to see what was made later.

    Raises
    ------
    MissingUpstreamError
        If there is none.
    CorruptArtifactError
        If its manifest cannot be used.
    """
    return WorkspaceView(Workspace.open(Path(path)))


class WorkspaceView:
    """What a workspace holds. Rows of all arrays are its samples, in one order.

    Parameters
    ----------
    workspace : Workspace
        Opened.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._workspace.path

    @cached_property
    def _table(self) -> SampleTable:
        return SampleTable.from_tensors(self._workspace.arrays("samples"))

    @property
    def ids(self) -> list[str]:
        """Id of each sample: for a folder its path below it."""
        return self._table.ids(np.arange(len(self._table)))

    @property
    def embeddings(self) -> NDArray[Any]:
        """Embeddings (n_samples, n_dims), float16 or float32, not normalised; NaN for broken images. Read-only."""
        return self._workspace.arrays("embeddings")["embeddings"]

    @property
    def pseudo_labels(self) -> NDArray[np.int64]:
        """Cluster of each sample (n_samples,), int64; -1 for broken images."""
        return self._workspace.arrays("pseudo_labels")["pseudo_labels"]

    @property
    def dynamics(self) -> dict[str, NDArray[Any]]:
        """Traces (n_epochs, n_samples) of the proxy by name, as `elfs.scores` takes them."""
        return self._workspace.arrays("dynamics")

    @property
    def scores(self) -> dict[str, NDArray[np.float32]]:
        """Difficulty scores (n_samples,), float32, by key; NaN where there is none."""
        return self._workspace.arrays("scores")

    @property
    def selections(self) -> tuple[str, ...]:
        """Names of the selections."""
        records = self._workspace.manifest.records.items()
        return tuple(name.partition("/")[2] for name, record in records if record.stage == "select")

    def selection(self, name: str | None = None) -> "SelectionView":
        """Return a selection.

        Parameters
        ----------
        name : str, optional
            Its name; left out, the one that was made last.

        Returns
        -------
        SelectionView
            As it was made, whatever has changed since.

        Raises
        ------
        MissingUpstreamError
            If nothing has been selected.
        UsageError
            If there is no selection of that name.
        """
        return SelectionView(load_selection(self.path, name))

    def select(self, budget: int | float | str = "0.1", *, force: bool = False, **options: Any) -> "SelectionView":
        """Pick the images to annotate, as ``elfs select`` does, and keep the list in the workspace.

        Parameters
        ----------
        budget : int, float or str, default "0.1"
            500 is a count, 0.1 or ``"10%"`` a share.
        force : bool, default False
            Make a selection of that name anew.
        **options : Any
            Fields of ``elfs.config.SelectConfig``, such as ``method``, ``key``, ``name``, ``exclude`` or ``seed``.

        Returns
        -------
        SelectionView
            The selection.

        Raises
        ------
        ElfsError
            What ``elfs select`` refuses, with the same message.
        """
        outcome = call("select", self.path, SelectConfig(budget=str(budget), **options), force=force)
        self._workspace.reload()
        return self.selection(outcome.record.partition("/")[2])

    @overload
    def images(self, which: Sequence[int] | NDArray[np.integer] | None = None) -> list[str]: ...
    @overload
    def images(
        self, which: Sequence[int] | NDArray[np.integer] | None = None, *, kind: Literal["ids", "paths"]
    ) -> list[str]: ...
    @overload
    def images(
        self, which: Sequence[int] | NDArray[np.integer] | None = None, *, kind: Literal["pil"]
    ) -> list[Image.Image]: ...
    def images(
        self, which: Sequence[int] | NDArray[np.integer] | None = None, *, kind: Kind = "ids"
    ) -> list[str] | list[Image.Image]:
        """Return samples' ids, paths or pictures.

        Parameters
        ----------
        which : sequence of int, optional
            Rows, each below the number of samples; left out, all.
        kind : {"ids", "paths", "pil"}, default "ids"
            Ids; absolute paths of the files; or pictures, mode RGB, decoded as the encoder saw them.

        Returns
        -------
        list of str or list of PIL.Image.Image
            In the order of `which`.

        Raises
        ------
        InputDataError
            If there are no such rows, there is no picture or no file, or one can no longer be read.
        """
        selection = Selection(self._workspace, "", self._table, (), np.empty(0, np.int64))
        rows = np.arange(len(self._table)) if which is None else np.asarray(which, dtype=np.int64)
        return _images(selection, rows, kind)

    def _repr_html_(self) -> str:
        rows = [(state.record, state.state, state.headline) for state in states(self.path)]
        cells = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        table = f"<table><tr><th>stage<th>state<th></tr>{cells}</table>"
        below = self.selection()._repr_html_() if self.selections else ""
        return f"<p><b>{html.escape(str(self.path))}</b>, {len(self._table):,} samples</p>{table}{below}"


class SelectionView:
    """A selection: a list of images, best first.

    Parameters
    ----------
    selection : Selection
        As it was read.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    @property
    def name(self) -> str:
        """Its name."""
        return self._selection.name

    @property
    def path(self) -> Path:
        """The table for people, ``selection.csv``."""
        return self._selection.workspace.path / "selections" / self.name / "selection.csv"

    @property
    def ids(self) -> list[str]:
        """Ids, best first; those that are not in the pool any more too."""
        return [image.id for image in self._selection.images]

    @property
    def indices(self) -> NDArray[np.int64]:
        """Rows of the workspace (n_selected,), int64, best first, of those that are in the pool."""
        return self._selection.rows

    @property
    def why(self) -> list[str]:
        """One sentence for each id."""
        return [image.why for image in self._selection.images]

    @property
    def summary(self) -> dict[str, Any]:
        """What ``elfs select --json`` says about it."""
        return self._selection.record.summary

    def __len__(self) -> int:
        return len(self._selection.images)

    @overload
    def images(self, *, kind: Literal["ids", "paths"] = "ids") -> list[str]: ...
    @overload
    def images(self, *, kind: Literal["pil"]) -> list[Image.Image]: ...
    def images(self, *, kind: Kind = "ids") -> list[str] | list[Image.Image]:
        """Return the images that are in the pool, best first.

        Parameters
        ----------
        kind : {"ids", "paths", "pil"}, default "ids"
            As of `WorkspaceView.images`.

        Returns
        -------
        list of str or list of PIL.Image.Image
            Best first.

        Raises
        ------
        InputDataError
            If there is no picture or no file, or one can no longer be read.
        """
        return _images(self._selection, self.indices, kind)

    def _repr_html_(self) -> str:
        said = verdict(self._selection.facts)
        words = f" {said.level}: {said.reasons}" if said.findings else ""
        thumbnails = Thumbnails(Pictures(self._selection))
        figures = "".join(
            f'<figure style="display:inline-block;margin:2px;text-align:center"><img alt="" width="64" '
            f'src="{thumbnails.thumbnail(row, 128).address}"><figcaption style="font-size:9px">'
            f"{image.rank}. {html.escape(image.id[-20:])}</figcaption></figure>"
            for image, row in list(self._selection.in_pool())[:_SHOWN]
        )
        return f"<p><b>{html.escape(self.name)}</b>, {len(self):,} images.{html.escape(words)}</p>{figures}"


def _images(selection: Selection, rows: NDArray[np.int64], kind: Kind) -> list[str] | list[Image.Image]:
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(selection.table)):
        raise InputDataError(f"rows go from {rows.min()} to {rows.max()}, expected 0 to {len(selection.table) - 1}.")
    ids = selection.table.ids(rows)
    if kind == "ids":
        return ids
    pictures = Pictures(selection)
    pictures.require(f"kind={kind!r}")
    if kind == "paths":
        if not pictures.are_files:
            raise InputDataError("the images of this source are no files of their own: take kind='pil'.")
        return [pictures.file(name) for name in ids]
    found = []
    for name, row in zip(ids, rows.tolist(), strict=True):
        try:
            found.append(pictures.image(row))
        except BadImageError as error:
            raise InputDataError(f"the image {name!r} cannot be read: {error}.") from None
    return found

"""Annotations that the workspace keeps: what people said about which image, whatever happens to the images."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.data.cells import csv_text, plain_cell, safe_cell
from elfs.data.samples import SampleTable
from elfs.data.text_column import TextColumn
from elfs.errors import CorruptArtifactError
from elfs.workspace.workspace import Workspace

__all__ = ["ARTIFACT", "COLUMNS", "FILE", "Annotation", "Annotations", "kept_annotations"]

ARTIFACT = "annotations"
FILE = "annotations.csv"

COLUMNS = ("id", "class", "batch", "selection", "held_out")
"""Of the file; ``selection`` is empty where none asked for the image, ``held_out`` is 1 where a test set did."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What people say about one image.

    Attributes
    ----------
    name : str
        Its class.
    batch : int
        Which call brought it, counted from 1.
    selection : str
        The selection that asked for it first; empty where none did.
    held_out : bool
        Whether that is a test set: nothing is learned from the image.
    """

    name: str
    batch: int
    selection: str = ""
    held_out: bool = False


@dataclass(frozen=True)
class Annotations:
    """All annotations of a workspace.

    Attributes
    ----------
    of_image : mapping of str to Annotation
        By id of the image, which need not be in the workspace any more.
    """

    of_image: Mapping[str, Annotation] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.of_image)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, sorted, each with an image at least."""
        return tuple(sorted({annotation.name for annotation in self.of_image.values()}))

    @property
    def last_batch(self) -> int:
        """The number of the latest call of which an annotation is left; 0 where there is none."""
        return max((annotation.batch for annotation in self.of_image.values()), default=0)

    def counts(self) -> dict[str, int]:
        """Return how many images each class has.

        Returns
        -------
        dict of str to int
            Sorted by name.
        """
        found = Counter(annotation.name for annotation in self.of_image.values())
        return dict(sorted(found.items()))

    def rows(self, table: SampleTable, *, held_out: bool | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the annotated images are.

        Parameters
        ----------
        table : SampleTable
            The samples as they are now.
        held_out : bool or None
            Only those of test sets, or only the others; None for both.

        Returns
        -------
        rows : ndarray of shape (n,), int64
            Ascending; of images that can be selected. Images that are gone, broken or of the test split are left out.
        classes : ndarray of shape (n,), int64
            Position in `names` of the class of each.
        """
        index = {name: position for position, name in enumerate(self.names)}
        wanted = {
            image: annotation
            for image, annotation in self.of_image.items()
            if held_out is None or annotation.held_out == held_out
        }
        rows = table.names.find(TextColumn.from_strings(wanted))
        classes = np.fromiter((index[annotation.name] for annotation in wanted.values()), np.int64, len(wanted))
        usable = np.flatnonzero(rows >= 0)
        usable = usable[table.eligible()[rows[usable]]]
        order = usable[np.argsort(rows[usable], kind="stable")]
        return rows[order], classes[order]

    def to_bytes(self) -> bytes:
        """Return the file that holds them.

        Returns
        -------
        bytes
            CSV with `COLUMNS`, a line for each image, sorted by id; equal annotations are equal bytes.
        """
        rows: list[tuple[object, ...]] = [COLUMNS]
        for image in sorted(self.of_image):
            said = self.of_image[image]
            cells = safe_cell(image), safe_cell(said.name), said.batch, safe_cell(said.selection), int(said.held_out)
            rows.append(cells)
        return csv_text(rows).encode("utf-8", "surrogateescape")

    @classmethod
    def parse(cls, data: bytes) -> "Annotations":
        """Return what `to_bytes` was called on.

        Parameters
        ----------
        data : bytes
            Contents of the file.

        Returns
        -------
        Annotations
            The same ones.

        Raises
        ------
        CorruptArtifactError
            If it is no such file.
        """
        try:
            lines = csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline=""))
            if tuple(header := next(lines, [])) != COLUMNS:
                raise ValueError(f"its columns are {header}, expected {list(COLUMNS)}")
            found = dict(_parsed(lines))
        except (ValueError, csv.Error) as error:
            raise CorruptArtifactError(f"{FILE} holds no annotations: {error}.") from None
        return cls(found)

    def facts(self) -> dict[str, Any]:
        """Return plain JSON values: how many images, of which classes, in how many test sets."""
        held_out = sum(annotation.held_out for annotation in self.of_image.values())
        return {"annotated": len(self), "classes": self.counts(), "held_out": held_out, "batches": self.last_batch}


def _parsed(lines: Iterable[list[str]]) -> Iterable[tuple[str, Annotation]]:
    for image, name, batch, selection, held_out in lines:
        if int(batch) < 1 or held_out not in ("0", "1") or not name:
            raise ValueError(f"the line of {image!r} has batch {batch}, held_out {held_out} and class {name!r}")
        yield plain_cell(image), Annotation(plain_cell(name), int(batch), plain_cell(selection), held_out == "1")


def kept_annotations(workspace: Workspace) -> Annotations:
    """Return the annotations of a workspace.

    Parameters
    ----------
    workspace : Workspace
        Where they are.

    Returns
    -------
    Annotations
        None of them where nobody has annotated.

    Raises
    ------
    CorruptArtifactError
        If their file is missing, was changed, or is none.
    """
    return Annotations.parse(workspace.contents(ARTIFACT)) if workspace.has(ARTIFACT) else Annotations()

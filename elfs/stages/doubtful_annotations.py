"""Annotations that a classifier contradicts which has not seen them, for a second look."""

from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elfs import __version__
from elfs.annotations.groups import ARTIFACT as GROUPS
from elfs.annotations.groups import kept_groups
from elfs.annotations.kept import ARTIFACT, Annotations, kept_annotations
from elfs.data.cells import csv_text, safe_cell
from elfs.data.samples import SampleTable
from elfs.errors import CorruptArtifactError, InputDataError, StorageError
from elfs.ops.doubtful import doubtful_labels
from elfs.pipeline.upstream import require
from elfs.train.annotated import Annotated, AnnotatedClassifier
from elfs.workspace.documents import parse_json
from elfs.workspace.files import atomic_write, digest_json, json_bytes
from elfs.workspace.names import DOUBTFUL_NAME
from elfs.workspace.workspace import Workspace

__all__ = ["Doubt", "doubtful_annotations", "doubts_csv"]

_MANY = 1000
"""From so many annotations on, what takes seconds is worked out once."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """An annotation to be looked at again.

    Attributes
    ----------
    image : str
        Id of the image.
    name : str
        The class that people gave it.
    taken_for : str
        The class that the classifier takes it for.
    support : float
        Calibrated probability of the class that people gave, in [0, 1], lower = more doubtful.
    """

    image: str
    name: str
    taken_for: str
    support: float


def doubtful_annotations(path: Path) -> tuple[Doubt, ...]:
    """Find the annotations that are likely wrong, by cross-validation of a linear classifier on the embeddings.

    Of many annotations the result is noted in the workspace, where that can be written.

    Parameters
    ----------
    path : Path
        The workspace; it may be read-only.

    Returns
    -------
    tuple of Doubt
        The most doubtful first. Annotations of test sets are among them, those of images that are not in the pool not.

    Raises
    ------
    MissingUpstreamError
        If there are no embeddings.
    InputDataError
        If there are not two classes with two annotated images each.
    """
    workspace = Workspace.open(path)
    require(workspace, "annotate", ("samples", "embeddings"))
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    annotations = kept_annotations(workspace)
    rows, classes = annotations.rows(table)
    if np.count_nonzero(np.bincount(classes) > 1) < 2:
        raise InputDataError(
            f"{ARTIFACT} of {len(rows):,} images of the pool, without two classes of two images each: nothing speaks "
            "against any of them yet."
        )
    if len(rows) < _MANY:
        return _worked_out(workspace, table, annotations, rows, classes)
    made_from = _made_from(workspace)
    doubts = _noted(path, made_from)
    if doubts is None:
        doubts = _worked_out(workspace, table, annotations, rows, classes)
        with suppress(StorageError):  # a reader of what belongs to somebody else
            note = {"made_from": made_from, "doubts": [list(astuple(doubt)) for doubt in doubts]}
            with atomic_write(path / DOUBTFUL_NAME) as file:
                file.write(json_bytes(note))
    return doubts


def _made_from(workspace: Workspace) -> str:
    """Return what tells these annotations, embeddings and groups from others, worked out by this version."""
    artifacts = workspace.manifest.artifacts
    names = [name for name in ("samples", "embeddings", ARTIFACT, GROUPS) if name in artifacts]
    return digest_json({"elfs": __version__} | {name: artifacts[name].digest for name in names})


def _noted(path: Path, made_from: str) -> tuple[Doubt, ...] | None:
    """Return what was worked out before; None where the note is absent, damaged, or about something else."""
    try:
        note = parse_json((path / DOUBTFUL_NAME).read_bytes(), DOUBTFUL_NAME)
        if note["made_from"] != made_from:
            return None
        return tuple(
            Doubt(str(image), str(name), str(other), float(support)) for image, name, other, support in note["doubts"]
        )
    except (OSError, CorruptArtifactError, LookupError, TypeError, ValueError):
        return None


def _worked_out(
    workspace: Workspace,
    table: SampleTable,
    annotations: Annotations,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
) -> tuple[Doubt, ...]:
    embeddings, pool = workspace.tensors("embeddings")["embeddings"], np.flatnonzero(table.eligible())
    groups = kept_groups(workspace, table)
    together = None if groups is None else groups.of_rows(rows)
    annotated = Annotated(rows, classes, annotations.names, together)
    trained = AnnotatedClassifier.fit(embeddings, pool, annotated, seed=0)
    assert trained.cross_validation is not None  # there are several images
    doubts = doubtful_labels(trained.cross_validation.probabilities, torch.from_numpy(classes))
    return tuple(
        Doubt(table.id(int(rows[place])), annotations.names[classes[place]], annotations.names[other], support)
        for place, other, support in zip(
            doubts.rows.tolist(), doubts.classes.tolist(), doubts.support.tolist(), strict=True
        )
    )


def doubts_csv(doubts: tuple[Doubt, ...]) -> bytes:
    """Return a list of doubtful annotations for people and for ``--include``, ``--exclude`` and ``--remove``.

    Parameters
    ----------
    doubts : tuple of Doubt
        In their order.

    Returns
    -------
    bytes
        CSV with the columns id, class, taken_for, support; no name is a formula for a spreadsheet.
    """
    rows: list[tuple[object, ...]] = [("id", "class", "taken_for", "support")]
    for doubt in doubts:
        rows.append((safe_cell(doubt.image), safe_cell(doubt.name), safe_cell(doubt.taken_for), f"{doubt.support:.6g}"))
    return csv_text(rows).encode("utf-8", "surrogateescape")

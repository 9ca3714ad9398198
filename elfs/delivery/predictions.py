"""What a network says about images, as a table and as pre-annotations to correct."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.data.cells import csv_text, safe_cell
from elfs.data.samples import SampleTable
from elfs.delivery import label_studio
from elfs.delivery.choices import Choices
from elfs.delivery.chosen import Selection
from elfs.delivery.export_folders import fill_label_studio
from elfs.delivery.places import publish_directory, publish_file
from elfs.pipeline.selections import SelectedImage
from elfs.workspace.files import json_bytes
from elfs.workspace.workspace import Workspace

__all__ = ["named_images", "predictions_csv", "write_pre_annotations"]


def named_images(
    workspace: Workspace,
    name: str,
    table: SampleTable,
    rows: NDArray[np.int64],
    named: NDArray[np.int64],
    confidence: NDArray[np.float32],
) -> Selection:
    """Return images that a network has named as a selection that can be handed on, the least sure first.

    Parameters
    ----------
    workspace : Workspace
        Where the images are.
    name : str
        Name of the selection that the network was trained on.
    table : SampleTable
        The samples.
    rows : ndarray of shape (n,), int64
        Rows of the workspace.
    named : ndarray of shape (n,), int64
        Class of each.
    confidence : ndarray of shape (n,), float32
        How sure that is, in ``(0, 1]``.

    Returns
    -------
    Selection
        With the class in the place of the cluster, and the confidence in that of the score.
    """
    order = np.argsort(confidence, kind="stable")
    facts = zip(table.ids(rows[order]), named[order].tolist(), confidence[order].tolist(), strict=True)
    images = tuple(
        SelectedImage(rank, image, label, sure, "named by a network")
        for rank, (image, label, sure) in enumerate(facts, 1)
    )
    return Selection(workspace, name, table, images, rows[order])


def predictions_csv(images: Selection, classes: Sequence[str]) -> bytes:
    """Return a table of predictions.

    Parameters
    ----------
    images : Selection
        As `named_images` gives them.
    classes : sequence of str
        Name of each class.

    Returns
    -------
    bytes
        CSV with the columns id, label, confidence, in the order of the ids; ``--labels`` reads it.
    """
    rows: list[list[object]] = [["id", "label", "confidence"]]
    for image in sorted(images.images, key=lambda image: image.id):
        assert image.pseudo_label is not None
        rows.append([safe_cell(image.id), safe_cell(classes[image.pseudo_label]), f"{image.score:.4f}"])
    return csv_text(rows).encode("utf-8", "surrogateescape")


def write_pre_annotations(images: Selection, classes: Sequence[str], output: Path, *, force: bool) -> None:
    """Write a folder for Label Studio, or the tasks alone where the place ends in ``.json``.

    Parameters
    ----------
    images : Selection
        As `named_images` gives them.
    classes : sequence of str
        Name of each class: what annotators choose from.
    output : Path
        Where to.
    force : bool
        Whether what is there may be replaced.

    Raises
    ------
    UsageError
        If something is there already and `force` is False.
    StorageError
        If the place may not be written.
    """
    choices = Choices(tuple(classes), dict(enumerate(classes)), is_scored=True)
    if output.suffix.lower() == ".json":
        found = label_studio.tasks(images, label_studio.prefix_for(images), choices)
        publish_file(output, lambda: json_bytes(found), force=force)
        return
    publish_directory(
        output, lambda place: fill_label_studio(images, choices, (place, output), None, offers=True), force=force
    )

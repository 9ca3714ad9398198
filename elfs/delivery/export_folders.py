"""The formats that are a folder: what is written into it."""

from collections.abc import Callable
from pathlib import Path

from elfs.data.cells import csv_text, safe_cell
from elfs.delivery import cvat, fiftyone, label_studio
from elfs.delivery.choices import Choices, choices_of
from elfs.delivery.chosen import Selection
from elfs.delivery.export_options import ExportOptions
from elfs.delivery.pictures import Pictures
from elfs.workspace.files import json_bytes, make_directory

__all__ = ["FILLERS", "fill_label_studio"]

_IMAGES, _LABELS, _README = "images", "labels.csv", "README.md"


def _fill_images(selection: Selection, options: ExportOptions, directory: Path, output: Path) -> None:
    """Write ``images/`` and the table that annotators fill in."""
    _copy_images(selection, directory, "--format images")
    (directory / _LABELS).write_bytes(_labels(selection))


def _copy_images(selection: Selection, directory: Path, purpose: str) -> None:
    pictures = Pictures(selection)
    pictures.require(purpose)
    made: set[Path] = set()
    for image, row in selection.in_pool():
        target = directory / _IMAGES / pictures.name(image.id)
        if target.parent not in made:
            make_directory(target.parent)
            made.add(target.parent)
        pictures.copy(row, target)


def _fill_label_studio(selection: Selection, options: ExportOptions, directory: Path, output: Path) -> None:
    choices = choices_of(selection, options.classes, pre_annotate=options.pre_annotate)
    fill_label_studio(selection, choices, (directory, output), options.prefix, offers=options.pre_annotate)


def fill_label_studio(
    selection: Selection, choices: Choices, places: tuple[Path, Path], prefix: str | None, *, offers: bool
) -> None:
    """Write tasks, config and README; and the images, where they are no files of their own yet.

    Parameters
    ----------
    selection : Selection
        What is to be annotated.
    choices : Choices
        What annotators choose from.
    places : tuple of (Path, Path)
        The folder to fill, and the name that it gets when it is full.
    prefix : str or None
        Put before the name of each image; None for the address that Label Studio gives to files of its machine.
    offers : bool
        Whether the pseudo-labels are offered as predictions.

    Raises
    ------
    InputDataError
        If an image can no longer be read.
    StorageError
        If a file cannot be written.
    """
    directory, output = places
    pictures, served = Pictures(selection), None
    if prefix is None and pictures.exist:
        served, prefix = selection.root, label_studio.prefix_for(selection)
        if not pictures.are_files:
            _copy_images(selection, directory, "--format label-studio")
            served, prefix = output, f"{label_studio.local_prefix(output)}{_IMAGES}/"
    found = label_studio.tasks(selection, prefix or label_studio.LOCAL_FILES, choices if offers else None)
    size = label_studio.TASKS_IN_A_FILE
    parts = [found[start : start + size] for start in range(0, len(found), size)]
    width = len(str(len(parts)))
    names = ["tasks.json"] if len(parts) < 2 else [f"tasks-{part:0{width}d}.json" for part in range(1, len(parts) + 1)]
    for name, part in zip(names, parts, strict=True):
        (directory / name).write_bytes(json_bytes(part))
    (directory / "config.xml").write_text(label_studio.config(choices), encoding="utf-8")
    text = label_studio.readme(selection, names, served, choices)
    (directory / _README).write_bytes(text.encode("utf-8", "surrogateescape"))


def _fill_cvat(selection: Selection, options: ExportOptions, directory: Path, output: Path) -> None:
    """Write manifest, labels, pre-annotations and README."""
    choices, prefix = choices_of(selection, options.classes, pre_annotate=options.pre_annotate), options.prefix or ""
    (directory / "manifest.jsonl").write_bytes(cvat.manifest(selection, prefix))
    (directory / "labels.json").write_bytes(cvat.constructor(choices))
    if options.pre_annotate:
        (directory / "annotations.xml").write_bytes(cvat.pre_annotations(selection, prefix, choices))
    text = cvat.readme(selection, pre_annotated=options.pre_annotate)
    (directory / _README).write_bytes(text.encode("utf-8", "surrogateescape"))


def _fill_fiftyone(selection: Selection, options: ExportOptions, directory: Path, output: Path) -> None:
    """Write where the images are and what is known of each; and the images, where they are no files of their own."""
    pictures, prefix = Pictures(selection), options.prefix
    pictures.require("--format fiftyone")
    if prefix is None and not pictures.are_files:
        _copy_images(selection, directory, "--format fiftyone")
        prefix = f"{_IMAGES}/"
    names = [image.id for image, _ in selection.in_pool()]
    paths = [pictures.file(name) if prefix is None else prefix + pictures.name(name) for name in names]
    (directory / "data.json").write_bytes(json_bytes(fiftyone.data(selection, paths)))
    (directory / "labels.json").write_bytes(json_bytes(fiftyone.pseudo_labels(selection)))
    (directory / _README).write_bytes(fiftyone.readme(selection).encode("utf-8", "surrogateescape"))


def _labels(selection: Selection) -> bytes:
    """Return the table with an empty label for each image; ``elfs train --labels`` reads it when it is filled in."""
    text = csv_text([["id", "label"], *([safe_cell(image.id), ""] for image, _ in selection.in_pool())])
    return text.encode("utf-8", "surrogateescape")


FILLERS: dict[str, tuple[str | None, Callable[[Selection, ExportOptions, Path, Path], None]]] = {
    "images": (None, _fill_images),
    "label-studio": (".json", _fill_label_studio),
    "cvat": (".jsonl", _fill_cvat),
    "fiftyone": (None, _fill_fiftyone),
}
"""Format to the suffix of --output that asks for its one document instead, and to what fills the folder.

Each takes the selection, the options, the folder to fill, and the name that the folder gets when it is full.
"""

"""The formats that are a folder: what is written into it."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from elfs.delivery import cvat, label_studio
from elfs.delivery.choices import choices_of
from elfs.delivery.chosen import Selection
from elfs.delivery.export_options import ExportOptions
from elfs.delivery.pictures import Pictures
from elfs.workspace.files import json_bytes, make_directory

__all__ = ["FILLERS"]

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
    """Write tasks, config and README; and the images, where they are no files of their own yet."""
    choices = choices_of(selection, options.classes, pre_annotate=options.pre_annotate)
    pictures, prefix, folder = Pictures(selection), options.prefix, selection.root
    if prefix is None and pictures.exist and not pictures.are_files:
        folder = output
        _copy_images(selection, directory, "--format label-studio")
        prefix = f"{label_studio.local_prefix(output)}{_IMAGES}/"
    served = None if options.prefix is not None or not pictures.exist else folder
    prefix = label_studio.local_prefix(served) if prefix is None else prefix
    found = label_studio.tasks(selection, prefix, choices if options.pre_annotate else None)
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
    (directory / "labels.json").write_bytes(cvat.labels(choices))
    if options.pre_annotate:
        (directory / "annotations.xml").write_bytes(cvat.pre_annotations(selection, prefix, choices))
    text = cvat.readme(selection, pre_annotated=options.pre_annotate)
    (directory / _README).write_bytes(text.encode("utf-8", "surrogateescape"))


def _labels(selection: Selection) -> bytes:
    """Return the table with an empty label for each image; ``elfs train --labels`` reads it when it is filled in."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label"])
    writer.writerows([image.id, ""] for image, _ in selection.in_pool())
    return text.getvalue().encode("utf-8", "surrogateescape")


FILLERS: dict[str, tuple[str | None, Callable[[Selection, ExportOptions, Path, Path], None]]] = {
    "images": (None, _fill_images),
    "label-studio": (".json", _fill_label_studio),
    "cvat": (".jsonl", _fill_cvat),
}
"""Format to the suffix of --output that asks for its one document instead, and to what fills the folder.

Each takes the selection, the options, the folder to fill, and the name that the folder gets when it is full.
"""

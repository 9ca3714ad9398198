"""A selection in the formats that other programs read."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elfs.delivery import coco, cvat, label_studio, parquet
from elfs.delivery.choices import Choices, choices_of
from elfs.delivery.chosen import Selection, label_name, load_selection
from elfs.delivery.export_folders import FILLERS
from elfs.delivery.export_options import ExportOptions
from elfs.delivery.pictures import Pictures
from elfs.delivery.places import publish_directory, publish_file
from elfs.errors import UsageError
from elfs.workspace.files import json_bytes

__all__ = ["Export", "ExportOptions", "prepare_export"]


@dataclass(frozen=True)
class Export:
    """A selection that is ready to leave.

    Attributes
    ----------
    selection : Selection
        What is exported.
    options : ExportOptions
        How.
    """

    selection: Selection
    options: ExportOptions

    @property
    def is_directory(self) -> bool:
        """Whether the format is a folder of files rather than one document."""
        return self.options.format in FILLERS

    def _fills(self, output: Path) -> bool:
        """Return whether a place gets the folder, or the one document that its suffix asks for."""
        return self.is_directory and output.suffix.lower() != FILLERS[self.options.format][0]

    def note(self, output: Path) -> str | None:
        """Return what a person has to know who takes the result on.

        Parameters
        ----------
        output : Path
            Where it went.

        Returns
        -------
        str or None
            None where there is nothing.
        """
        if self.options.format == "cvat":
            return cvat.ORDER_NOTE
        if self.options.format != "label-studio" or not self._fills(output):
            return None
        if self.choices.is_example:
            return "no classes are known: give --classes, or put yours into config.xml"
        if self.choices.are_clusters:
            return "annotators choose from clusters: give --classes cat,dog, or put your classes into config.xml"
        return None

    @property
    def choices(self) -> Choices:
        """What annotators choose from."""
        return choices_of(self.selection, self.options.classes, pre_annotate=self.options.pre_annotate)

    def document(self) -> bytes:
        """Return the file's contents.

        Returns
        -------
        bytes
            For every format but ``images`` and ``fiftyone``.

        Raises
        ------
        UsageError
            If the format is nothing but a folder; if an id does not fit on a line of ``txt``; if pseudo-labels cannot
            be offered.
        InputDataError
            If the format needs images that cannot be read, or a package that is not installed.
        """
        if self.options.format not in _WRITERS:
            raise UsageError(f"--format {self.options.format} makes a folder, expected --output FOLDER.")
        return _WRITERS[self.options.format](self)

    def write(self, output: Path, *, force: bool) -> None:
        """Write the file or the folder, whole or not at all.

        Parameters
        ----------
        output : Path
            Where to.
        force : bool
            Whether what is there may be replaced.

        Raises
        ------
        UsageError
            If something is there already and `force` is False.
        InputDataError
            If an image can no longer be read.
        StorageError
            If the disk is full, or the place may not be written.
        """
        if not self._fills(output):
            publish_file(output, self.document, force=force)
            return
        fill = FILLERS[self.options.format][1]
        publish_directory(output, lambda place: fill(self.selection, self.options, place, output), force=force)


def prepare_export(path: Path, wanted: str | None, options: ExportOptions) -> Export:
    """Read the selection that is to be exported.

    Parameters
    ----------
    path : Path
        The workspace; it may be read-only.
    wanted : str or None
        Name of the selection; None for the one that was made last.
    options : ExportOptions
        How to export.

    Returns
    -------
    Export
        Ready to be written.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace, or nothing has been selected.
    UsageError
        If there is no selection of that name.
    """
    return Export(load_selection(path, wanted), options)


def _encoded(text: str) -> bytes:
    """Return the bytes that a name had on the disk."""
    return text.encode("utf-8", "surrogateescape")


def _csv(export: Export) -> bytes:
    return export.selection.csv


def _txt(export: Export) -> bytes:
    end = "\0" if export.options.null else "\n"
    lines = _paths(export)
    unfit = [line for line in lines if "\n" in line or "\r" in line]
    if unfit and not export.options.null:
        raise UsageError(f"{unfit[0]!r} has a line break in it and does not fit on one line: use --null.")
    return _encoded("".join(line + end for line in lines))


def _paths(export: Export) -> list[str]:
    """Return where each image lies: behind the prefix if there is one, else below the folder of the images."""
    pictures, prefix = Pictures(export.selection), export.options.prefix
    return [pictures.file(image.id) if prefix is None else prefix + image.id for image in export.selection.images]


def _records(export: Export) -> list[dict[str, Any]]:
    """Return what is known of each image; with the class that people would call its pseudo-label, if they named any."""
    names, found = export.selection.class_names, []
    for image, path in zip(export.selection.images, _paths(export), strict=True):
        record = {"rank": image.rank, "id": image.id, "path": path, "pseudo_label": image.pseudo_label}
        if names and image.pseudo_label is not None:
            record["class"] = label_name(names, image.pseudo_label)
        record |= {"score": image.score, "why": image.why}
        found.append(record | ({"group": image.group} if image.group else {}))
    return found


def _json(export: Export) -> bytes:
    selection, config = export.selection, export.selection.config
    document = {"selection": selection.name, "method": config.method, "key": config.key, "budget": config.budget}
    return json_bytes(document | {"images": _records(export)})


def _jsonl(export: Export) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in _records(export)).encode("ascii")


def _parquet(export: Export) -> bytes:
    return parquet.table(_records(export))


def _label_studio(export: Export) -> bytes:
    offered = export.choices if export.options.pre_annotate else None
    prefix = export.options.prefix
    if prefix is None:
        prefix = label_studio.prefix_for(export.selection)
    return json_bytes(label_studio.tasks(export.selection, prefix, offered))


def _cvat(export: Export) -> bytes:
    return cvat.manifest(export.selection, export.options.prefix or "")


def _coco(export: Export) -> bytes:
    options = export.options
    prefix, offered = options.prefix or "", options.pre_annotate
    return json_bytes(coco.document(export.selection, prefix, export.choices, pre_annotate=offered))


_WRITERS: dict[str, Callable[[Export], bytes]] = {
    "csv": _csv,
    "txt": _txt,
    "json": _json,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "label-studio": _label_studio,
    "cvat": _cvat,
    "coco": _coco,
}
"""Every format that can be one document."""

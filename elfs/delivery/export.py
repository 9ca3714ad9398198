"""A selection in the formats that other programs read."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from elfs.catalog import EXPORT_FORMATS
from elfs.delivery.chosen import Selection, load_selection
from elfs.delivery.pictures import Pictures
from elfs.delivery.places import publish_directory, publish_file
from elfs.errors import UsageError
from elfs.suggestions import choose
from elfs.workspace.files import json_bytes, make_directory

__all__ = ["Export", "ExportOptions", "prepare_export"]

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves files of its own machine: path relative to its document root."""

_CONTROL, _OBJECT = "choice", "image"
"""Names of the two tags in Label Studio's own template for image classification."""

_CVAT_VERSION = "1.1"
_IMAGES, _LABELS = "images", "labels.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """How to export.

    Attributes
    ----------
    format : str
        A key of ``catalog.EXPORT_FORMATS``.
    prefix : str or None
        Put before each id; None for what suits the format.
    pre_annotate : bool
        Offer the pseudo-label to annotators as a prediction.
    null : bool
        End each line of ``txt`` with a NUL instead of a line feed.
    """

    format: str = "csv"
    prefix: str | None = None
    pre_annotate: bool = False
    null: bool = False

    def __post_init__(self) -> None:
        choose("export format", self.format, EXPORT_FORMATS)
        for option, given, formats in (
            ("--prefix", self.prefix is not None, ("txt", "json", "label-studio", "cvat")),
            ("--pre-annotate", self.pre_annotate, ("label-studio",)),
            ("--null", self.null, ("txt",)),
        ):
            if given and self.format not in formats:
                raise UsageError(f"{option} has no meaning for --format {self.format}, only for {', '.join(formats)}.")


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
        return self.options.format == _IMAGES

    def document(self) -> bytes:
        """Return the file's contents.

        Returns
        -------
        bytes
            For every format but ``images``.

        Raises
        ------
        UsageError
            If the format is a folder; if an id does not fit on a line of ``txt``; if there is no pseudo-label to offer.
        InputDataError
            If the format needs images that cannot be read.
        """
        if self.is_directory:
            raise UsageError("--format images makes a folder, expected --output FOLDER.")
        return _WRITERS[self.options.format](self.selection, self.options)

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
        if self.is_directory:
            publish_directory(output, self._fill, force=force)
        else:
            publish_file(output, self.document, force=force)

    def _fill(self, directory: Path) -> None:
        """Write ``images/`` and the table that annotators fill in."""
        pictures = Pictures(self.selection)
        pictures.require("--format images")
        made: set[Path] = set()
        for image, row in self.selection.in_pool():
            target = directory / _IMAGES / pictures.name(image.id)
            if target.parent not in made:
                make_directory(target.parent)
                made.add(target.parent)
            pictures.copy(row, target)
        (directory / _LABELS).write_bytes(_labels(self.selection))


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


def _labels(selection: Selection) -> bytes:
    """Return the table with an empty label for each image; ``elfs train --labels`` reads it when it is filled in."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label"])
    writer.writerows([image.id, ""] for image, _ in selection.in_pool())
    return _encoded(text.getvalue())


def _csv(selection: Selection, options: ExportOptions) -> bytes:
    return selection.csv


def _txt(selection: Selection, options: ExportOptions) -> bytes:
    end = "\0" if options.null else "\n"
    lines = _paths(selection, options.prefix)
    unfit = [line for line in lines if "\n" in line or "\r" in line]
    if unfit and not options.null:
        raise UsageError(f"{unfit[0]!r} has a line break in it and does not fit on one line: use --null.")
    return _encoded("".join(line + end for line in lines))


def _paths(selection: Selection, prefix: str | None) -> list[str]:
    """Return where each image lies: behind the prefix if there is one, else below the folder of the images."""
    if prefix is not None:
        return [prefix + image.id for image in selection.images]
    pictures = Pictures(selection)
    return [pictures.file(image.id) for image in selection.images]


def _json(selection: Selection, options: ExportOptions) -> bytes:
    config = selection.config
    images = [
        {
            "rank": image.rank,
            "id": image.id,
            "path": path,
            "pseudo_label": image.pseudo_label,
            "score": image.score,
            "why": image.why,
        }
        for image, path in zip(selection.images, _paths(selection, options.prefix), strict=True)
    ]
    document = {"selection": selection.name, "method": config.method, "key": config.key, "budget": config.budget}
    return json_bytes(document | {"images": images})


def _label_studio(selection: Selection, options: ExportOptions) -> bytes:
    prefix = LOCAL_FILES if options.prefix is None else options.prefix
    pictures = Pictures(selection)
    tasks: list[dict[str, Any]] = []
    for image in selection.images:
        task: dict[str, Any] = {
            "data": {_OBJECT: prefix + _in_address(pictures.name(image.id), prefix)},
            "meta": {"id": image.id, "rank": image.rank, "score": image.score},
        }
        if options.pre_annotate:
            task["predictions"] = [_prediction(selection, image.pseudo_label)]
        tasks.append(task)
    return json_bytes(tasks)


def _in_address(name: str, prefix: str) -> str:
    """Return a name as it stands in an address; the addresses of object stores take it as it is."""
    is_web = urlsplit(prefix).scheme in ("", "http", "https")
    return quote(_encoded(name), safe="/") if is_web else name


def _prediction(selection: Selection, pseudo_label: int | None) -> dict[str, Any]:
    if pseudo_label is None:
        raise UsageError(f"--pre-annotate needs pseudo-labels, and selection '{selection.name}' was made without.")
    return {
        "model_version": "elfs",
        "result": [
            {
                "from_name": _CONTROL,
                "to_name": _OBJECT,
                "type": "choices",
                "value": {"choices": [str(pseudo_label)]},
            }
        ],
    }


def _cvat(selection: Selection, options: ExportOptions) -> bytes:
    """Return the lines of a manifest, in the order that CVAT's default sorts names into; it needs the size of each."""
    pictures = Pictures(selection)
    pictures.require("--format cvat")
    lines: list[dict[str, Any]] = [{"version": _CVAT_VERSION}, {"type": "images"}]
    for name, row in sorted((pictures.name(image.id), row) for image, row in selection.in_pool()):
        stem, extension = _split((options.prefix or "") + name)
        width, height = pictures.size(row)
        lines.append({"name": stem, "extension": extension, "width": width, "height": height})
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode("ascii")


def _split(name: str) -> tuple[str, str]:
    """Split off the extension with its dot; a leading dot begins a name."""
    folder, slash, file = name.rpartition("/")
    stem, dot, extension = file.rpartition(".")
    return (folder + slash + stem, dot + extension) if stem else (name, "")


_WRITERS: dict[str, Callable[[Selection, ExportOptions], bytes]] = {
    "csv": _csv,
    "txt": _txt,
    "json": _json,
    "label-studio": _label_studio,
    "cvat": _cvat,
}
"""Every format that is one document."""

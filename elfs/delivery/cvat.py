"""What CVAT imports: a manifest in the order of the ranks, labels, and pre-annotations as "CVAT for images 1.1"."""

import json
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from elfs.delivery.choices import Choices
from elfs.delivery.chosen import Selection
from elfs.delivery.pictures import Pictures
from elfs.delivery.way_back import way_back
from elfs.errors import InputDataError

__all__ = ["ORDER_NOTE", "constructor", "manifest", "pre_annotations", "readme"]

_VERSION = "1.1"
_MOST_CHARACTERS = 64

ORDER_NOTE = "in CVAT choose the sorting method Predefined: the manifest is in the order of the ranks"
"""What a person has to know who makes a task of a manifest."""


def manifest(selection: Selection, prefix: str) -> bytes:
    """Return the manifest.

    Parameters
    ----------
    selection : Selection
        What is to be annotated.
    prefix : str
        Put before the name of each image.

    Returns
    -------
    bytes
        JSON lines: the header, then name, extension and size of each image that is in the pool, best first.

    Raises
    ------
    InputDataError
        If there are no images, or one cannot be read.
    """
    pictures = Pictures(selection)
    pictures.require("--format cvat")
    lines: list[dict[str, Any]] = [{"version": _VERSION}, {"type": "images"}]
    for image, row in selection.in_pool():
        stem, extension = _split(prefix + pictures.name(image.id))
        width, height = pictures.size(row)
        lines.append({"name": stem, "extension": extension, "width": width, "height": height})
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode("ascii")


def constructor(choices: Choices) -> bytes:
    """Return the labels of a task, for the tab *Raw* of its constructor.

    Parameters
    ----------
    choices : Choices
        What annotators choose from.

    Returns
    -------
    bytes
        JSON: a tag for each class.

    Raises
    ------
    InputDataError
        If CVAT takes no label of that length.
    """
    for name in choices.names:
        if len(name) > _MOST_CHARACTERS:
            raise InputDataError(
                f"CVAT takes labels of at most {_MOST_CHARACTERS} characters, and {name!r} has {len(name)}. Give "
                "shorter --classes."
            )
    entries = [{"name": name, "type": "tag", "attributes": []} for name in choices.names]
    return (json.dumps(entries, indent=2) + "\n").encode("ascii")


def pre_annotations(selection: Selection, prefix: str, choices: Choices) -> bytes:
    """Return the pseudo-labels as tags.

    Parameters
    ----------
    selection : Selection
        What is to be annotated.
    prefix : str
        Put before the name of each image.
    choices : Choices
        Names of the clusters.

    Returns
    -------
    bytes
        XML in the format "CVAT for images 1.1", for *Upload annotations*.
    """
    pictures = Pictures(selection)
    labels = [f"      <label><name>{escape(name)}</name><attributes></attributes></label>" for name in choices.names]
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", f"  <version>{_VERSION}</version>"]
    lines += ["  <meta><task>", "    <labels>", *labels, "    </labels>", "  </task></meta>"]
    for number, (image, row) in enumerate(selection.in_pool()):
        width, height = pictures.size(row)
        name = quoteattr(prefix + pictures.name(image.id))
        lines.append(f'  <image id="{number}" name={name} width="{width}" height="{height}">')
        if image.pseudo_label is not None:
            lines.append(f'    <tag label={quoteattr(choices.of_cluster[image.pseudo_label])} source="manual"></tag>')
        lines.append("  </image>")
    return "\n".join([*lines, "</annotations>", ""]).encode("utf-8", "surrogateescape")


def readme(selection: Selection, *, pre_annotated: bool) -> str:
    """Return how to make a task, and how to take the result back.

    Parameters
    ----------
    selection : Selection
        What is to be annotated.
    pre_annotated : bool
        Whether there are pre-annotations.

    Returns
    -------
    str
        Markdown.
    """
    upload = "\n5. In the task: *Upload annotations*, *CVAT 1.1*, `annotations.xml`." if pre_annotated else ""
    return (
        f"# {len(list(selection.in_pool())):,} images to annotate in CVAT\n\n"
        "1. Create a task; under *Labels > Raw* paste `labels.json`.\n"
        "2. *Select files*: put `manifest.jsonl` beside the images (in the connected file share, the cloud storage, or "
        "the upload)\n   and select it with them.\n"
        "3. *Advanced configuration > Sorting method*: **Predefined**, so that the best images come first.\n"
        f"4. Submit.{upload}\n\n"
        "When the task is done, export the annotations as *CVAT for images 1.1*.\n\n"
        f"{way_back(selection, 'annotations.xml')}"
    )


def _split(name: str) -> tuple[str, str]:
    """Split off the extension with its dot; a leading dot begins a name."""
    folder, slash, file = name.rpartition("/")
    stem, dot, extension = file.rpartition(".")
    return (folder + slash + stem, dot + extension) if stem else (name, "")

"""What Label Studio imports: tasks, the labelling config, and how to go about it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import quoteattr

from elfs.annotations.records import EXPORTED_ID
from elfs.delivery.choices import Choices
from elfs.delivery.chosen import Selection
from elfs.delivery.pictures import Pictures
from elfs.delivery.way_back import way_back

__all__ = ["LOCAL_FILES", "TASKS_IN_A_FILE", "config", "local_prefix", "prediction", "prefix_for", "readme", "tasks"]

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves files of its own machine: path relative to its document root."""

TASKS_IN_A_FILE = 10_000
"""Tasks of one file: imports of more are known to fail."""

_CONTROL, _OBJECT = "choice", "image"
"""Names of the two tags in Label Studio's own template for image classification."""


def config(choices: Choices) -> str:
    """Return the labelling config.

    Parameters
    ----------
    choices : Choices
        What annotators choose from.

    Returns
    -------
    str
        XML for *Labeling Interface > Code*.
    """
    lines = [f"    <Choice value={quoteattr(name)}/>" for name in choices.names]
    if choices.is_example:
        lines.insert(0, "    <!-- put your classes here -->")
    return "\n".join(
        [
            "<View>",
            f'  <Image name="{_OBJECT}" value="${_OBJECT}" zoom="true"/>',
            f'  <Choices name="{_CONTROL}" toName="{_OBJECT}" choice="single" showInline="true">',
            *lines,
            "  </Choices>",
            "</View>",
            "",
        ]
    )


def local_prefix(folder: Path | None) -> str:
    """Return what stands before the path of an image below a folder, where the server serves the folder's parent.

    Parameters
    ----------
    folder : Path or None
        Folder of the images: a folder inside the document root, since Label Studio gives out none but those.

    Returns
    -------
    str
        For ``tasks``.
    """
    return LOCAL_FILES if folder is None else f"{LOCAL_FILES}{_quoted(folder.absolute().name, LOCAL_FILES)}/"


def prefix_for(selection: Selection) -> str:
    """Return what stands before the names of a selection's images in Label Studio's address of local files.

    Parameters
    ----------
    selection : Selection
        What is to be annotated.

    Returns
    -------
    str
        With the name of their folder where they lie in one.
    """
    return local_prefix(selection.root if Pictures(selection).are_files else None)


def tasks(selection: Selection, prefix: str, choices: Choices | None) -> list[dict[str, Any]]:
    """Return a task for each selected image.

    Parameters
    ----------
    selection : Selection
        What is to be annotated.
    prefix : str
        Put before the name of each image.
    choices : Choices or None
        Names of the clusters, which are then offered as predictions; None to offer nothing.

    Returns
    -------
    list of dict
        In rank order. The id comes back in every export of the tool.
    """
    pictures = Pictures(selection)
    found: list[dict[str, Any]] = []
    for image in selection.images:
        task: dict[str, Any] = {
            "data": {_OBJECT: prefix + _quoted(pictures.name(image.id), prefix), EXPORTED_ID: image.id},
            "meta": {"rank": image.rank, "score": image.score},
        }
        if choices is not None and image.pseudo_label is not None:
            score = image.score if choices.is_scored else None
            task["predictions"] = [prediction(choices.of_cluster[image.pseudo_label], score)]
        found.append(task)
    return found


def prediction(name: str, score: float | None = None) -> dict[str, Any]:
    """Return a pre-annotation.

    Parameters
    ----------
    name : str
        One of the choices.
    score : float or None
        How sure it is, in ``[0, 1]``.

    Returns
    -------
    dict
        For the ``predictions`` of a task.
    """
    result = {"from_name": _CONTROL, "to_name": _OBJECT, "type": "choices", "value": {"choices": [name]}}
    return {"model_version": "elfs", "result": [result]} | ({} if score is None else {"score": score})


def _quoted(name: str, prefix: str) -> str:
    """Return a name as it stands in an address; the addresses of object stores take it as it is."""
    is_web = urlsplit(prefix).scheme in ("", "http", "https")
    return quote(name.encode("utf-8", "surrogateescape"), safe="/") if is_web else name


def readme(selection: Selection, files: Sequence[str], folder: Path | None, choices: Choices) -> str:
    """Return how to import the files, and how to take the result back.

    Parameters
    ----------
    selection : Selection
        What is to be annotated.
    files : sequence of str
        Names of the files with tasks.
    folder : Path or None
        Folder of the images that the server is to serve; None where they have addresses of their own.
    choices : Choices
        What annotators choose from.

    Returns
    -------
    str
        Markdown.
    """
    steps = []
    if folder is not None:
        root = shlex.quote(str(folder.absolute().parent))
        steps += [
            "Start the server so that it may serve the folder of the images:\n\n"
            "       export LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true\n"
            f"       export LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}\n"
            "       label-studio start"
        ]
    instead = "examples" if choices.is_example else "clusters" if choices.are_clusters else None
    own = "" if instead is None else f" Put your classes in the place of its {instead} first."
    steps.append(f"Create a project; under *Labeling Interface > Code* paste `config.xml`.{own}")
    if folder is not None:
        steps.append(
            "*Settings > Cloud Storage > Add Source Storage > Local files*: the absolute path is\n"
            f"   `{folder.absolute()}`. Save it; there is nothing to synchronise."
        )
    listed = ", ".join(f"`{name}`" for name in files)
    steps.append(f"*Import*: {listed}{', one after the other' if len(files) > 1 else ''}.")
    steps.append("Annotate, then *Export* as JSON, JSON-MIN or CSV.")
    count = f"{len(selection.images):,} image{'' if len(selection.images) == 1 else 's'}"
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return f"# {count} to annotate in Label Studio\n\n{numbered}\n\n{way_back(selection, 'the-export.json')}"

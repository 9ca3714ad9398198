"""Which selections asked people for which images, and how far these are. Importing this costs no torch."""

from dataclasses import dataclass

from elfs.annotations.kept import Annotations
from elfs.errors import CorruptArtifactError
from elfs.pipeline.graph import COMPARE_PREFIX
from elfs.pipeline.selections import read_images
from elfs.workspace.workspace import Workspace

__all__ = ["AnnotationProgress", "askers", "progress_of"]


@dataclass(frozen=True)
class AnnotationProgress:
    """How far people are with a selection.

    Attributes
    ----------
    selection : str
        Its name.
    images, annotated : int
        How many it asks for, and how many of them have a class.
    """

    selection: str
    images: int
    annotated: int


def askers(workspace: Workspace) -> dict[str, tuple[str, bool]]:
    """Return which selection asked for each image.

    Parameters
    ----------
    workspace : Workspace
        Where the selections are.

    Returns
    -------
    dict of str to (str, bool)
        Id to the name of the selection, of several that which was made first, and whether it is a test set. Those of
        ``elfs compare`` asked nobody.

    Raises
    ------
    CorruptArtifactError
        If the table of a selection is damaged.
    """
    found: dict[str, tuple[str, bool]] = {}
    for name in _selections(workspace):
        held_out = workspace.manifest.records[f"select/{name}"].config.get("holdout") is not None
        for image in read_images(workspace, name):
            found.setdefault(image.id, (name, held_out))
    return found


def progress_of(workspace: Workspace, annotations: Annotations) -> list[AnnotationProgress]:
    """Return how far people are with each selection that they have begun.

    Parameters
    ----------
    workspace : Workspace
        Where the selections are.
    annotations : Annotations
        What they said.

    Returns
    -------
    list of AnnotationProgress
        In the order in which the selections were made; those without an annotated image are left out, and those whose
        table is damaged, which whoever uses them is told.
    """
    found = []
    for name in _selections(workspace) if annotations else ():
        try:
            images = read_images(workspace, name)
        except CorruptArtifactError:
            continue
        annotated = sum(image.id in annotations.of_image for image in images)
        if annotated:
            found.append(AnnotationProgress(name, len(images), annotated))
    return found


def _selections(workspace: Workspace) -> list[str]:
    """Return the selections that were made for people, in the order in which they were made."""
    manifest = workspace.manifest
    names = [name.partition("/")[2] for name, record in manifest.records.items() if record.stage == "select"]
    names = [name for name in names if not name.startswith(COMPARE_PREFIX)]
    return sorted(names, key=lambda name: (str(manifest.runs.get(f"select/{name}", {}).get("started", "")), name))

"""How the work of annotators comes back: the same words beside every export."""

import shlex

from elfs.config import DEFAULT_WORKSPACE
from elfs.delivery.chosen import Selection

__all__ = ["way_back"]


def way_back(selection: Selection, file: str) -> str:
    """Return the commands that take annotations back.

    Parameters
    ----------
    selection : Selection
        What was handed over.
    file : str
        How the file that comes back may be called.

    Returns
    -------
    str
        Markdown.
    """
    path = selection.workspace.path
    place = "" if path == DEFAULT_WORKSPACE else f" --workspace {shlex.quote(str(path.absolute()))}"
    name = shlex.quote(selection.name)
    return (
        "Back again, with all labels or a part of them:\n\n"
        f"    elfs train --selection {name} --labels {file} --network linear{place}\n"
        f"    elfs evaluate --labels {file}{place}\n\n"
        "`--network linear` learns from the embeddings, which takes seconds and the fewest labels; without it a\n"
        "network is trained on the images from scratch.\n"
    )

"""The figure that ``elfs compare`` drew, as a picture for a page."""

import base64

from elfs.delivery.chosen import Selection
from elfs.workspace.files import storage_errors
from elfs.workspace.reading import check_digest, checked_path

__all__ = ["comparison_figure"]

_ARTIFACT, _FILE = "comparison", "comparison/figure.svg"


def comparison_figure(selection: Selection) -> str | None:
    """Return the address of the figure.

    Parameters
    ----------
    selection : Selection
        Names the workspace.

    Returns
    -------
    str or None
        A ``data:`` address; None where methods have not been compared.

    Raises
    ------
    CorruptArtifactError
        If the figure is not what was drawn.
    StorageError
        If it cannot be read.
    """
    workspace = selection.workspace
    artifact = workspace.manifest.artifacts.get(_ARTIFACT)
    for file in artifact.files if artifact is not None else ():
        if file.name == _FILE:
            path = checked_path(workspace.path, file)
            check_digest(path, file.digest)
            with storage_errors("read", path):
                return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    return None

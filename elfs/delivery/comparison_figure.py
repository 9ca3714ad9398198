"""The figure that ``elfs compare`` drew, as a picture for a page."""

import base64

from elfs.delivery.chosen import Selection

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
        If the figure is not what was drawn; the hint is the command that draws it again.
    StorageError
        If it cannot be read.
    """
    workspace = selection.workspace
    artifact = workspace.manifest.artifacts.get(_ARTIFACT)
    if artifact is None or _FILE not in [file.name for file in artifact.files]:
        return None
    figure = base64.b64encode(workspace.contents(_ARTIFACT, _FILE)).decode("ascii")
    return f"data:image/svg+xml;base64,{figure}"

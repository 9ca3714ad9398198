"""What people must have said before a selection can be made, and what they call the pseudo-labels. Costs no torch."""

from pathlib import Path

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.errors import MissingUpstreamError, UsageError
from elfs.pipeline.artifact_facts import PseudoLabelsNote
from elfs.workspace.manifest import open_manifest
from elfs.workspace.workspace import Workspace

__all__ = ["learned_names", "refuse_without_annotations", "require_annotations", "require_class_names"]

_CLASSES_NEEDED = (
    "--balance class needs pseudo-labels that have learned the classes of people: elfs annotate FILE takes annotations "
    "of two classes or more in, and elfs label learns from them. --balance cluster needs none."
)


def learned_names(workspace: Workspace) -> tuple[str, ...]:
    """Return what the pseudo-labels of a workspace are called.

    Parameters
    ----------
    workspace : Workspace
        Whose.

    Returns
    -------
    tuple of str
        By number; empty where ``label`` has not learned from annotations.
    """
    known = workspace.has("pseudo_labels")
    return (workspace.metadata("pseudo_labels", PseudoLabelsNote).names or ()) if known else ()


def require_annotations(method: str, *, annotated: bool) -> None:
    """Check that a method has the annotations that it cannot do without.

    Parameters
    ----------
    method : str
        A key of ``catalog.SELECTORS``.
    annotated : bool
        Whether any image is.

    Raises
    ------
    MissingUpstreamError
        If there is nothing to learn from; the message names the method that comes nearest without.
    """
    instead = SELECTORS[method].instead
    if instead is not None and not annotated:
        raise MissingUpstreamError(
            f"{method} asks what a classifier of the annotations is unsure of, and no image is annotated yet. Without "
            f"annotations {instead} comes nearest.",
            hint=f"elfs annotate FILE   or: elfs select --method {instead}",
        )


def require_class_names(config: SelectConfig, workspace: Workspace) -> None:
    """Check that there are classes to be balanced, where they are.

    Parameters
    ----------
    config : SelectConfig
        What is balanced.
    workspace : Workspace
        With pseudo-labels.

    Raises
    ------
    UsageError
        If no pseudo-label was learned as a class.
    """
    if config.balance == "class" and not learned_names(workspace):
        raise UsageError(_CLASSES_NEEDED)


def refuse_without_annotations(path: Path, config: SelectConfig) -> None:
    """Refuse a selection that needs annotations before the stages ahead of it have run for nothing.

    Parameters
    ----------
    path : Path
        The workspace, which need not exist.
    config : SelectConfig
        What is selected and how.

    Raises
    ------
    MissingUpstreamError
        If the method needs annotations, and there are none.
    UsageError
        If classes are to be balanced, and nobody has named any.
    """
    try:
        annotated = "annotations" in open_manifest(path).artifacts
    except MissingUpstreamError:
        annotated = False
    require_annotations(config.method, annotated=annotated)
    if config.balance == "class" and not annotated:
        raise UsageError(_CLASSES_NEEDED)

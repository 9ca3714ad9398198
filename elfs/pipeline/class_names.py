"""What people call the pseudo-labels, once they were learned from annotations."""

from elfs.workspace.workspace import Workspace

__all__ = ["learned_names"]


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
    artifact = workspace.manifest.artifacts.get("pseudo_labels")
    return () if artifact is None else tuple((artifact.metadata or {}).get("names", ()))

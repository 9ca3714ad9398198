"""Whether a workspace is about to get other images than it holds."""

import os
from pathlib import Path

from elfs.config import EmbedConfig
from elfs.pipeline.status import recorded_config
from elfs.source_names import has_root, typed_source
from elfs.workspace.workspace import Workspace

__all__ = ["other_source", "refusal"]


def other_source(workspace: Path, config: EmbedConfig, root: Path | None, *, moved: bool) -> tuple[str, str] | None:
    """Return what a workspace holds and what is to be embedded in its place, if that is something else.

    Parameters
    ----------
    workspace : Path
        The workspace, which need not exist.
    config : EmbedConfig
        What embed is told.
    root : Path or None
        Folder or file of the images; None for the recorded one.
    moved : bool
        Whether a person said that the same images lie elsewhere now.

    Returns
    -------
    tuple of (str, str) or None
        Both as they are typed; None where it is the same source, or nothing was embedded yet.
    """
    recorded = recorded_config(workspace, "embed")
    if not isinstance(recorded, EmbedConfig):
        return None
    old_root = Workspace.open(workspace).manifest.source_root
    is_same_place = moved or root is None or old_root is None or not has_root(config.source)
    if not is_same_place:
        is_same_place = os.path.realpath(str(root)) == os.path.realpath(str(old_root))
    if recorded.source == config.source and is_same_place:
        return None
    new_root = old_root if root is None else str(root)
    old, new = typed_source(recorded.source, old_root), typed_source(config.source, new_root)
    return old or recorded.source, new or config.source


def refusal(workspace: Path, sources: tuple[str, str]) -> str:
    """Return how to say that a workspace holds other images.

    Parameters
    ----------
    workspace : Path
        The workspace.
    sources : tuple of (str, str)
        As `other_source` gives it.

    Returns
    -------
    str
        Without a full stop.
    """
    return f"the workspace {workspace} holds {sources[0]}, and SOURCE is {sources[1]}"

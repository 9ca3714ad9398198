"""How many images a source can have, as far as that is known before any of them is looked at."""

import os
from pathlib import Path

from elfs.budget import Budget
from elfs.config import EmbedConfig, SelectConfig
from elfs.data.sniffing import SIDECAR_EXTENSIONS
from elfs.data.synthetic.spec import PREFIX
from elfs.errors import MissingUpstreamError, UsageError
from elfs.workspace.manifest import open_manifest

__all__ = ["refuse_budget_above_pool", "refuse_large_budget"]


def refuse_large_budget(embed: EmbedConfig, root: Path | None, select: SelectConfig) -> None:
    """Refuse a count that the source cannot have, before the first stage has run for nothing.

    Parameters
    ----------
    embed : EmbedConfig
        Which source, and how much of it.
    root : Path or None
        Folder of the images.
    select : SelectConfig
        The budget.

    Raises
    ------
    UsageError
        If it, or a test set, asks for more images than there can be; what select itself finds may still be less.
    """
    option = "--budget" if select.holdout is None else "--holdout"
    wanted = Budget.parse(select.budget).count
    if wanted is None:
        return
    most = _most(embed, root, wanted)
    if embed.limit is not None:
        most = embed.limit if most is None else min(most, embed.limit)
    if most is not None and most < wanted:
        raise UsageError(
            f"{option} is {wanted:,} images, and there are {most:,} at most in {_named(embed, root)}: give a smaller "
            "count, or a share such as 10%."
        )


def refuse_budget_above_pool(workspace: Path, select: SelectConfig) -> None:
    """Refuse a count that the workspace does not have, in a dry run too, and before anything is loaded.

    Parameters
    ----------
    workspace : Path
        The workspace, which need not exist.
    select : SelectConfig
        The budget.

    Raises
    ------
    UsageError
        If it asks for more images than were embedded; what select itself finds may still be less.
    """
    wanted = None if select.holdout is not None else Budget.parse(select.budget).count
    try:
        record = open_manifest(workspace).records.get("embed")
    except MissingUpstreamError:
        return
    most = None if record is None else record.summary.get("train")
    if wanted is not None and isinstance(most, int) and wanted > most:
        raise UsageError(
            f"--budget asks for {wanted:,} images, but only {most:,} can be selected: give a smaller count, or a share "
            "such as 10%."
        )


def _named(embed: EmbedConfig, root: Path | None) -> str:
    if embed.embeddings is not None:
        return embed.embeddings
    return str(root) if root is not None else embed.source


def _most(embed: EmbedConfig, root: Path | None, enough: int) -> int | None:
    """Return how many images there are at most, counted no further than is enough; None where that is not known."""
    if embed.embeddings is not None:
        return _num_rows(Path(embed.embeddings))
    if embed.source == "digits" or embed.source.startswith(PREFIX):
        from elfs.data.sources import open_source

        return int(open_source(embed.source, None).list().eligible().sum())
    if embed.source == "folder" and root is not None:
        count, seen = 0, set[str]()
        for place, inner, files in os.walk(root, followlinks=True):
            if (real := os.path.realpath(place)) in seen:
                inner.clear()  # a link that leads back
                continue
            seen.add(real)
            count += sum(_may_be_image(file) for file in files)
            if count >= enough:
                return None
        return count
    return None


def _may_be_image(name: str) -> bool:
    return not name.startswith(".") and os.fsencode(os.path.splitext(name)[1].lower()) not in SIDECAR_EXTENSIONS


def _num_rows(embeddings: Path) -> int | None:
    """Return how many rows an array has, where its header says it; what is wrong with the file embed says."""
    import numpy as np

    try:
        with embeddings.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape = read(file)[0]
    except (OSError, ValueError):
        return None
    return shape[0] if shape else None

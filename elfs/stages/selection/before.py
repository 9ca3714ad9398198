"""What is refused before any stage has run for nothing: what a later one cannot do."""

from collections.abc import Mapping
from pathlib import Path

from elfs.budget import Budget
from elfs.catalog import EMBEDDING_NETWORKS
from elfs.config import DynamicsConfig, EmbedConfig, SelectConfig, StageConfig
from elfs.data.pool_size import most_images
from elfs.errors import InputDataError, MissingUpstreamError, UsageError
from elfs.pipeline.annotated import refuse_without_annotations
from elfs.pipeline.facts import EmbedFacts
from elfs.pipeline.status import recorded_config
from elfs.stages.selection.rounds import list_digests
from elfs.workspace.workspace import Workspace

__all__ = ["refuse_before_run", "refuse_budget_above_pool", "refuse_network_without_images"]


def refuse_before_run(
    workspace: Path, embed: EmbedConfig | None, root: Path | None, select: SelectConfig, *, download: bool = True
) -> None:
    """Refuse what select would refuse at the end of a run.

    Parameters
    ----------
    workspace : Path
        The workspace, which need not exist.
    embed : EmbedConfig or None
        Which source, and how much of it; None where it is not embedded.
    root : Path or None
        Folder of the images.
    select : SelectConfig
        The selection.
    download : bool, default True
        Whether a data set may be fetched to count it, if embed may: not in a dry run.

    Raises
    ------
    UsageError
        If it, or a test set, asks for more images than there can be; what select itself finds may still be less. If it
        balances classes that nobody has named.
    InputDataError
        If a list is not there.
    MissingUpstreamError
        If its method asks annotations, and there are none.
    """
    list_digests(select)
    refuse_without_annotations(workspace, select)
    option = "--budget" if select.holdout is None else "--holdout"
    wanted = Budget.parse(select.budget).count
    if wanted is None or embed is None:
        return
    most = most_images(embed, root, wanted, download=download)
    if most is not None and most < wanted:
        named = embed.embeddings or (embed.source if root is None else root)
        raise UsageError(
            f"{option} is {wanted:,} images, and there are {most:,} at most in {named}: give a smaller count, or a "
            "share such as 10%."
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
        found = Workspace.open(workspace)
    except MissingUpstreamError:
        return
    most = found.summary("embed", EmbedFacts).train if "embed" in found.manifest.records else None
    if wanted is not None and most is not None and wanted > most:
        raise UsageError(
            f"--budget asks for {wanted:,} images, and there are {most:,}, copies and annotated ones included: give a "
            "smaller count, or a share such as 10%."
        )


def refuse_network_without_images(workspace: Path, configs: Mapping[str, StageConfig]) -> None:
    """Refuse a proxy on images where there are embeddings alone, in a dry run too.

    Parameters
    ----------
    workspace : Path
        The workspace, which need not exist.
    configs : mapping of str to StageConfig
        The stages that are called; without embed what was embedded counts.

    Raises
    ------
    InputDataError
        If the network of dynamics looks at images and there are none.
    """
    dynamics, embed = configs.get("dynamics"), configs.get("embed") or recorded_config(workspace, "embed")
    network = dynamics.network if isinstance(dynamics, DynamicsConfig) else None
    if network in {None, *EMBEDDING_NETWORKS} or not isinstance(embed, EmbedConfig) or embed.embeddings is None:
        return
    raise InputDataError(f"network '{network}' needs images, but embeddings alone are given. Use --network mlp.")

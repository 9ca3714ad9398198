"""What the stages of a call will take, before the first of them starts."""

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from huggingface_hub import constants, try_to_load_from_cache

from elfs.config import ClusterConfig, DynamicsConfig, EmbedConfig, StageConfig
from elfs.errors import CorruptArtifactError, InputDataError, MissingUpstreamError
from elfs.models.published import PUBLISHED
from elfs.models.weights import find_weights
from elfs.parallel.cpus import available_cpus
from elfs.parallel.runtime import ignore
from elfs.pipeline.cluster_facts import ClusterFacts
from elfs.pipeline.execution import recorded_root
from elfs.pipeline.status import recorded_config
from elfs.stages.embedding.encoder import LITE, PATCHES, PRETRAINED, TINY_SIDE
from elfs.stages.estimates.costs import Cost, core_speed, stage_cost
from elfs.stages.estimates.pool_facts import facts_before_embed, facts_of
from elfs.workspace.workspace import Workspace

__all__ = ["chain_costs"]

_USUAL_WIDTH = 768
"""Of an encoder that is in no table here."""


def chain_costs(
    workspace: Path,
    root: Path | None,
    calls: Mapping[str, StageConfig],
    runs: Collection[str],
    *,
    on_cpu: bool = True,
    tell: Callable[[str], None] = ignore,
) -> dict[str, Cost]:
    """Return what every stage that runs will take on this machine.

    Parameters
    ----------
    workspace : Path
        The workspace; it need not exist if embed runs.
    root : Path or None
        Folder or file of the images.
    calls : mapping of str to StageConfig
        The stages of the call.
    runs : collection of str
        Those of them that have something to do.
    on_cpu : bool
        Whether they run on CPUs; of GPUs no times are known.
    tell : Callable
        Takes why nothing is known of the pool, where it is embedded.

    Returns
    -------
    dict of str to Cost
        Of the stages in `runs`; empty where nothing is known of the pool.
    """
    if not runs:
        return {}
    configs, facts = dict(calls), None
    if "embed" in runs:
        embed = cast(EmbedConfig, configs["embed"])
        facts = facts_before_embed(embed, root or recorded_root(workspace, embed), tell)
        if facts is not None and facts.image_side is not None:
            name = embed.encoder or _likely_encoder(facts.image_side)
            configs["embed"] = replace(embed, encoder=name)
            facts = replace(facts, dims=_width(name, facts.image_side), may_point_one_way=name != PATCHES)
    else:
        with contextlib.suppress(CorruptArtifactError):  # whoever reads it says what is wrong with it
            facts = facts_of(workspace)
    if facts is None:
        return {}
    cluster, dynamics = (configs.get(name) or recorded_config(workspace, name) for name in ("cluster", "dynamics"))
    if isinstance(cluster, ClusterConfig):
        facts = replace(facts, cluster=cluster)
    if isinstance(dynamics, DynamicsConfig):
        facts = replace(facts, dynamics=dynamics)
    found = None if "cluster" in runs else _found_clusters(workspace)
    facts = replace(facts, found_clusters=found, on_cpu=on_cpu)
    speed, cores = core_speed() if on_cpu else 1.0, available_cpus()
    return {
        stage: stage_cost(stage, configs[stage], facts, speed=speed, cores=cores) for stage in calls if stage in runs
    }


def _found_clusters(workspace: Path) -> int | None:
    """Return how many clusters there are; None where nothing was clustered, or the manifest is damaged."""
    try:
        found = Workspace.open(workspace)
        return found.summary("cluster", ClusterFacts).clusters if "cluster" in found.manifest.records else None
    except (MissingUpstreamError, CorruptArtifactError):
        return None


def _likely_encoder(image_side: int) -> str:
    """Return the encoder that embed finds by itself, without asking a server."""
    if image_side <= TINY_SIDE:
        return PATCHES
    source = PUBLISHED[PRETRAINED].source if PRETRAINED in PUBLISHED else f"timm/{PRETRAINED}"
    if isinstance(try_to_load_from_cache(source, "model.safetensors", cache_dir=constants.HF_HUB_CACHE), str):
        return PRETRAINED
    try:
        find_weights(LITE)
    except InputDataError:
        return PATCHES
    return LITE


def _width(encoder: str, image_side: int) -> int:
    widths = {PATCHES: 176 if image_side <= 48 else 304, "pixels": 3 * min(image_side, 32) ** 2}
    widths |= {name: entry.dim for name, entry in PUBLISHED.items()}
    return sum(widths.get(part, _USUAL_WIDTH) for part in encoder.split("+"))

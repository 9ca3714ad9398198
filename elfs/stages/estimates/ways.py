"""Which option makes a stage take less."""

from typing import cast

from elfs.catalog import SELECTORS
from elfs.config import ClusterConfig, DynamicsConfig, EmbedConfig, SelectConfig, StageConfig, cheaper
from elfs.stages.estimates.pool_facts import USUAL_CLUSTERS, PoolFacts
from elfs.train.head_settings import method_for
from elfs.train.recipes import proxy_recipe

__all__ = ["cheaper_way"]


def cheaper_way(stage: str, config: StageConfig, facts: PoolFacts, *, searches: bool) -> str | None:
    """Return what takes less than a stage, and what that costs.

    Parameters
    ----------
    stage : str
        One of the six.
    config : StageConfig
        Its own.
    facts : PoolFacts
        The pool.
    searches : bool
        Whether embed takes longer to compare all pairs than to embed.

    Returns
    -------
    str or None
        A sentence; None where nothing is known.
    """
    if stage == "embed":
        name = cast(EmbedConfig, config).encoder
        if searches:
            return cheaper.than_exact_neighbors()
        return cheaper.FEWER_IMAGES if facts.image_side is None or name is None else cheaper.than_encoder(name)
    if stage == "cluster":
        given = cast(ClusterConfig, config)
        clusters = given.clusters or facts.num_clusters or USUAL_CLUSTERS
        method = method_for(given, facts.num_images, facts.dims or 0, clusters)
        return {
            "graph": cheaper.CLUSTER_GRAPH,
            "temi": cheaper.CLUSTER_HEADS,
            "turtle": cheaper.CLUSTER_TURTLE,
        }.get(method)
    if stage == "dynamics":
        recipe = proxy_recipe(cast(DynamicsConfig, config), facts.num_images, facts.image_side, on_cpu=facts.on_cpu)
        return cheaper.EMBEDDING_PROXIES if recipe.network == "mlp" else cheaper.IMAGE_PROXIES
    if stage == "select":
        chosen = cast(SelectConfig, config)
        if SELECTORS[chosen.method].prunes and chosen.hard_rate == "search":
            return cheaper.HARD_RATE_SEARCH
        return cheaper.PAIRWISE if SELECTORS[chosen.method].pairwise else None
    return None

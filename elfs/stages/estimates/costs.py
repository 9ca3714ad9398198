"""What a stage costs on CPUs: seconds, memory, disk, from formulas whose rates were measured (docs/scaling.md).

The rates are those of one core of an AMD EPYC that multiplies 99 GFLOP in a second; `core_speed` says how fast a core
is here. N images, D dimensions, C clusters.
"""

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import cast

import torch

from elfs.config import ClusterConfig, DynamicsConfig, EmbedConfig, LabelConfig, SelectConfig, StageConfig
from elfs.ops.inverted_lists import usual_num_lists
from elfs.stages.embedding.encoder import FIT_IMAGES
from elfs.stages.embedding.neighbors import EXACT_ROWS
from elfs.stages.estimates.pool_facts import USUAL_CLUSTERS, PoolFacts
from elfs.stages.estimates.select_costs import select_seconds
from elfs.stages.estimates.training_costs import LOGIT_SECONDS, MLP_FLOPS_PER_SECOND, image_seconds, seen_side
from elfs.stages.estimates.ways import cheaper_way
from elfs.train.clustering_costs import (
    GFLOP_PER_SECOND,
    graph_seconds,
    heads_seconds,
    judging_seconds,
    kmeans_seconds,
)
from elfs.train.head_settings import method_for, settings_for
from elfs.train.numerics import repeatable
from elfs.train.recipes import proxy_recipe

__all__ = ["START_SECONDS", "Cost", "core_speed", "encoder_seconds", "is_measured", "stage_cost"]

START_SECONDS = 2.5
"""Until a process has loaded torch."""

_PRODUCT_SIDE = 1024
_BASE_BYTES = 1_000_000_000
"""Of a process with torch that has not begun."""

_ENCODER_SECONDS: Mapping[str, float] = {
    "pixels": 0.0001,
    "lite": 0.033,
    "vit_tiny_patch16_224": 0.026,
    "vit_small_patch16_224": 0.095,
    "vit_base_patch16_224": 0.364,
    "vit_large_patch16_224": 1.27,
}
"""Of one image; the transformers beside the base by their operations."""

_FIT_BYTES = 24
"""Of a pixel of the images that `patches` learns from: three colours in float32, and again while they are shuffled."""

_HEADS_BYTES = 28
"""Of each number of the heads that train: itself, its gradient, AdamW's two, the teacher's, and what a step makes."""

_GRAPH_BYTES = 700
"""Of an image on the graph, beside its embedding, which is smoothed twice: neighbours, and eight clusterings."""

_TURTLE_SECONDS, _TURTLE_WEIGHT_SECONDS, _TURTLE_RUNS, _TURTLE_BATCH = 3.3, 6.5e-5, 8, 256
"""Of 500 steps, and what each number of the weights of a run adds; runs and images of a step by default."""

_COUNTING_SECONDS, _COUNTED_ROWS = 3.0, 1_800
"""Of the number of clusters where it is unknown, and of how many images or more; more clusters than 20 take more."""

_HEAD_IMAGE_SECONDS = 2e-6
"""Of an image for each further head that labels, beside its products."""

_RERANK_SECONDS, _RERANK_DIM_SECONDS = 8e-6, 5e-8
"""Of a query of the inverted lists: its candidates compared exactly, and what each dimension adds."""

_PROBES, _PROBED_SECONDS, _PROBED_DIM_SECONDS = 16, 1.5e-8, 2.45e-10
"""Lists that a query looks into, of each image in them, and what each dimension adds."""

_TRAINED_ROWS, _JUDGED_QUERIES = 64 * 10, 1_000
"""Images a list that k-means sees, times its rounds; queries that are asked exactly, too."""

_SCORE_SECONDS, _SCORE_DIM_SECONDS, _SCORE_ROWS = 2.3e-6, 8e-8, 65_536
"""Of an image by 30 epochs, and of each dimension of those of which k-means is made."""

_ANY = frozenset({"source", "files", "data_root", "download", "limit", "seed", "budget", "key", "name"})
"""Options that say which images, or change no time."""


@dataclass(frozen=True)
class Cost:
    """What one stage takes.

    Attributes
    ----------
    seconds : float or None
        On the cores of this machine; None on GPUs, and where no rate is known.
    memory_bytes : int
        At most, in one process.
    disk_bytes : int
        What it leaves in the workspace.
    cheaper : str or None
        What takes less, and what that costs; None where nothing is known.
    """

    seconds: float | None
    memory_bytes: int
    disk_bytes: int
    cheaper: str | None


def core_speed() -> float:
    """Return how fast a core multiplies here, in units of the one the rates were measured on; takes 0.1 s."""
    matrix = torch.ones(_PRODUCT_SIDE, _PRODUCT_SIDE)
    seconds = []
    with repeatable(1):
        for _ in range(3):
            start = time.thread_time()
            matrix @ matrix
            seconds.append(time.thread_time() - start)
    return 2e-9 * _PRODUCT_SIDE**3 / min(seconds) / GFLOP_PER_SECOND


def stage_cost(stage: str, config: StageConfig, facts: PoolFacts, *, speed: float, cores: int) -> Cost:
    """Return what a stage takes on CPUs.

    Parameters
    ----------
    stage : str
        One of the six.
    config : StageConfig
        Its own; that of embed names its encoder.
    facts : PoolFacts
        The pool, with the width of its embeddings.
    speed : float
        As `core_speed` gives it.
    cores : int
        That read the images.

    Returns
    -------
    Cost
        For defaults on a quiet machine within a factor of two (benchmarks/RESULTS.md).
    """
    seconds, memory, disk = _COSTS[stage](config, facts)
    if not facts.on_cpu:
        seconds = None
    if seconds is not None:
        seconds /= speed
        if stage == "embed":
            seconds += facts.num_images * facts.read_seconds / cores
    searches = isinstance(config, EmbedConfig) and _mostly_searches(config, facts)
    way = cheaper_way(stage, config, facts, searches=searches)
    return Cost(seconds, _BASE_BYTES + round(memory), round(disk), way)


def _mostly_searches(config: EmbedConfig, facts: PoolFacts) -> bool:
    """Whether comparing all pairs takes longer than the encoder."""
    if not is_exact(config, facts):
        return False
    each = 0.0 if facts.image_side is None else encoder_seconds(config.encoder or "", facts.image_side)
    return each is not None and search_seconds(config, facts) > each * facts.num_images


def is_measured(config: StageConfig) -> bool:
    """Return whether what a stage took was compared with what `stage_cost` says: by default options.

    Parameters
    ----------
    config : StageConfig
        Of the stage.

    Returns
    -------
    bool
        False where any option differs on which the time depends.
    """
    return all(getattr(config, item.name) == item.default for item in fields(config) if item.name not in _ANY)


def encoder_seconds(name: str, side: int) -> float | None:
    """Return the CPU seconds of one image by an encoder; None if no rate is known.

    Parameters
    ----------
    name : str
        As ``--encoder`` takes it.
    side : int
        Short side of the images in pixels.

    Returns
    -------
    float or None
        Of all parts together, on the core that was measured.
    """
    total = 0.0
    for part in name.split("+"):
        rate = _ENCODER_SECONDS.get(part.partition(".")[0].removeprefix("timm_"))
        if part == "patches":
            rate = 0.0008 + 0.00145 * (_side_seen(side) / 32) ** 2
        if rate is None:
            return None
        total += rate
    return total


def _side_seen(side: int) -> int:
    """Return the side to which `patches` brings images."""
    return min(max(side, 16), 64)


def is_exact(config: EmbedConfig, facts: PoolFacts) -> bool:
    """Return whether all pairs are compared to find the neighbours.

    Parameters
    ----------
    config : EmbedConfig
        With the way to search.
    facts : PoolFacts
        The pool.

    Returns
    -------
    bool
        As embed decides.
    """
    if config.neighbor_search == "auto" and facts.num_images > EXACT_ROWS["cpu" if facts.on_cpu else "cuda"]:
        return importlib.util.find_spec("faiss") is None
    return config.neighbor_search != "ivf"


def search_seconds(config: EmbedConfig, facts: PoolFacts) -> float:
    """Return what it takes to find the neighbours.

    Parameters
    ----------
    config : EmbedConfig
        With the way to search.
    facts : PoolFacts
        The pool, with the width of its embeddings.

    Returns
    -------
    float
        CPU seconds on the core that was measured.
    """
    num, pair = facts.num_images, 2e-9 * (facts.dims or 0) / GFLOP_PER_SECOND
    if is_exact(config, facts):
        return num * (1e-4 + pair * num)
    lists = usual_num_lists(num)
    built = pair * lists * (_TRAINED_ROWS * lists + num) + _JUDGED_QUERIES * (2e-4 + pair * num)
    probed = _PROBES * num / lists * (_PROBED_SECONDS + _PROBED_DIM_SECONDS * (facts.dims or 0))
    return built + num * (_RERANK_SECONDS + _RERANK_DIM_SECONDS * (facts.dims or 0) + pair * lists + probed)


_Found = tuple[float | None, float, float]
"""Seconds on one core like the measured one, bytes of memory beyond a process with torch, bytes on disk."""


def _embed(config: StageConfig, facts: PoolFacts) -> _Found:
    config = cast(EmbedConfig, config)
    num, dims, kept = facts.num_images, facts.dims or 0, min(config.neighbors, facts.num_images - 1)
    search = search_seconds(config, facts)
    memory, disk = 200e6 + num * (8 * dims + 100), num * (2 * dims + 8 * kept + 80)
    if facts.image_side is None:
        return search, memory, disk
    each = encoder_seconds(config.encoder or "", facts.image_side)
    learned = 0.0
    if "patches" in (config.encoder or ""):
        learned, memory = 1.5, memory + _FIT_BYTES * min(num, FIT_IMAGES) * _side_seen(facts.image_side) ** 2
    return None if each is None else learned + num * each + search, memory, disk


def _cluster(config: StageConfig, facts: PoolFacts) -> _Found:
    config = cast(ClusterConfig, config)
    num, dims = facts.num_images, facts.dims or 0
    clusters = config.clusters or facts.num_clusters or USUAL_CLUSTERS
    counted = 0.0 if config.clusters or facts.num_clusters else _COUNTING_SECONDS * min(1.0, num / _COUNTED_ROWS)
    method = method_for(config, num, dims, clusters)
    settings = settings_for(config, num, clusters, on_cpu=facts.on_cpu)
    values = settings.hidden * dims + settings.bottleneck * (settings.hidden + clusters)
    memory = 200e6 + num * (4 * dims + 8 * clusters + 200)
    if method == "temi":
        values *= settings.heads
        seconds = heads_seconds(settings, num, dims, settings.epochs)
        return counted + seconds, memory + _HEADS_BYTES * values, 4 * values
    if method == "graph":
        anew = search_seconds(EmbedConfig(), facts) if facts.may_point_one_way else 0.0
        memory += num * (_GRAPH_BYTES + 8 * dims)
        return counted + anew + graph_seconds(num, dims, clusters), memory, 4 * values
    seconds, runs = kmeans_seconds(num, dims, clusters), 1
    if method == "turtle":
        runs = config.heads or _TURTLE_RUNS
        weights = runs * dims * clusters * (config.batch_size or _TURTLE_BATCH) / _TURTLE_BATCH
        seconds += _TURTLE_SECONDS + _TURTLE_WEIGHT_SECONDS * weights + judging_seconds(runs, num, clusters)
    return counted + seconds, memory, 4 * runs * dims * clusters


def _label(config: StageConfig, facts: PoolFacts) -> _Found:
    num, dims = facts.num_images, facts.dims or 0
    clusters = facts.labelled_clusters
    settings = settings_for(facts.cluster, num, clusters, on_cpu=facts.on_cpu)
    method = method_for(facts.cluster, num, dims, clusters)
    heads = {"temi": settings.heads, "turtle": facts.cluster.heads or _TURTLE_RUNS}.get(method, 1)
    asked = 1 if cast(LabelConfig, config).head is not None else heads
    values = settings.hidden * dims + settings.bottleneck * (settings.hidden + clusters)
    flops = 2.0 * (values if method in ("temi", "graph") else dims * clusters)
    each = 16e-6 + _HEAD_IMAGE_SECONDS * (asked - 1) + asked * flops / GFLOP_PER_SECOND / 1e9
    return 0.7 + each * num, 16 * num, 12 * num


def _dynamics(config: StageConfig, facts: PoolFacts) -> _Found:
    config = cast(DynamicsConfig, config)
    num, dims = facts.num_images, facts.dims or 0
    recipe = proxy_recipe(config, num, facts.image_side, on_cpu=facts.on_cpu)
    epochs = config.epochs or recipe.epochs
    disk = num * epochs * (9 if recipe.proxies == 1 else 10)
    if recipe.network == "mlp":
        clusters = facts.labelled_clusters
        values = recipe.proxies * recipe.hidden * (dims + clusters)
        image = 6 * values / MLP_FLOPS_PER_SECOND + LOGIT_SECONDS * recipe.proxies * clusters
        seconds = 1.0 + num * epochs * image
        return seconds, 200e6 + 4 * num * dims, disk + 4 * values
    each, kept = image_seconds(recipe, facts), 0 if recipe.streamed else 3 * num * seen_side(recipe, facts) ** 2
    return None if each is None else 1.0 + num * epochs * recipe.proxies * each, 200e6 + kept, disk


def _score(_: StageConfig, facts: PoolFacts) -> _Found:
    num = facts.num_images
    by_kmeans = _SCORE_DIM_SECONDS * (facts.dims or 0) * min(num, _SCORE_ROWS)
    return 0.4 + _SCORE_SECONDS * num + by_kmeans, 100 * num, 60 * num


def _select(config: StageConfig, facts: PoolFacts) -> _Found:
    seconds = select_seconds(cast(SelectConfig, config), facts)
    return seconds, facts.num_images * (40 + 2 * (facts.dims or 0)), 20 * facts.num_images


_COSTS: Mapping[str, Callable[[StageConfig, PoolFacts], _Found]] = {
    "embed": _embed,
    "cluster": _cluster,
    "label": _label,
    "dynamics": _dynamics,
    "score": _score,
    "select": _select,
}

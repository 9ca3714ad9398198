"""What select takes on CPUs, from measured rates (benchmarks/RESULTS.md)."""

from collections.abc import Mapping
from dataclasses import replace

from elfs.budget import Budget
from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.ops.selection.hard_rate import num_windows
from elfs.stages.estimates.pool_facts import PoolFacts
from elfs.stages.estimates.training_costs import training_seconds
from elfs.train.clustering_costs import GFLOP_PER_SECOND
from elfs.train.recipes import proxy_recipe

__all__ = ["num_picks", "select_seconds"]

_START_SECONDS = 0.7

_IMAGE_SECONDS: Mapping[str, tuple[float, float]] = {
    "auto": (25e-6, 9.6e-8),
    "uherding": (25e-6, 9.6e-8),
    "facility-location": (15e-6, 1.2e-7),
    "typiclust": (14e-6, 6.3e-8),
    "dropquery": (6e-6, 6e-8),
    "prototypicality": (3e-6, 7e-8),
    "moderate": (3e-6, 4e-8),
}
"""Of an image, and what each dimension adds, where it is more than a sort."""

_COVERING, _GROUP_ROWS, _COVERED_SECONDS = ("auto", "uherding", "facility-location"), 16_384, 1.5e-8
"""Methods that cover the pool, how many images they take for one group, and what a pair of them takes beside its
product; larger pools are covered in small groups."""

_SORT_SECONDS, _PRUNED_SECONDS = 3e-6, 5.5e-6
"""Of an image where it is no more, and of those methods that prune the hard end."""

_SAMPLE_ROWS, _SAMPLE_SECONDS, _SAMPLE_DIM_SECONDS = 65_536, 25e-6, 1.1e-7
"""Images of which `typiclust` makes k-means, and what each takes."""

_JUDGED_PICKS, _JUDGED_IMAGES = 16_384, 4_096
"""Of each window, and how many images they are compared with, where a hard rate is looked for."""

_PAIR_SECONDS, _PAIR_DIM_SECONDS, _BADGE_DIMS = 5e-9, 2.7e-10, 200
"""Of comparing an image with a pick, and what each dimension adds; `badge` compares gradients instead."""

_INFORMED_SECONDS = 1.5
"""Of a cross-validated classifier of some hundred annotations, up to two thousand."""


def num_picks(config: SelectConfig, facts: PoolFacts) -> int:
    """Return how many images a budget stands for.

    Parameters
    ----------
    config : SelectConfig
        With the budget.
    facts : PoolFacts
        The pool.

    Returns
    -------
    int
        From 1 to the whole pool.
    """
    budget = Budget.parse(config.budget)
    asked = budget.count if budget.share is None else round(budget.share * facts.num_images)
    return max(1, min(asked or 1, facts.num_images))


def select_seconds(config: SelectConfig, facts: PoolFacts) -> float | None:
    """Return what select takes.

    Parameters
    ----------
    config : SelectConfig
        Its options.
    facts : PoolFacts
        The pool, with the options of dynamics.

    Returns
    -------
    float or None
        CPU seconds; None where windows are searched with a network that has no measured rate.
    """
    method, num, dims = SELECTORS[config.method], facts.num_images, facts.dims or 0
    usual = _PRUNED_SECONDS if method.prunes else _SORT_SECONDS
    image, dim = _IMAGE_SECONDS.get(config.method, (usual, 0.0))
    seconds, picks = _START_SECONDS + num * (image + dim * dims), num_picks(config, facts)
    if config.method in _COVERING and num <= _GROUP_ROWS:
        seconds = _START_SECONDS + num**2 * (_COVERED_SECONDS + 2e-9 * dims / GFLOP_PER_SECOND)
    if config.method == "typiclust":
        seconds += min(num, _SAMPLE_ROWS) * (_SAMPLE_SECONDS + _SAMPLE_DIM_SECONDS * dims)
    if method.pairwise:
        compared = _BADGE_DIMS if config.method == "badge" else dims
        seconds += num * picks / config.blocks * (_PAIR_SECONDS + _PAIR_DIM_SECONDS * compared)
    if method.instead is not None:
        seconds += _INFORMED_SECONDS
    if not method.prunes or config.fixed_hard_rate is not None:
        return seconds
    windows = num_windows(picks / num)
    if config.hard_rate is None:
        flops = 2e-9 * dims * windows * min(picks, _JUDGED_PICKS) * min(num, _JUDGED_IMAGES)
        return seconds + flops / GFLOP_PER_SECOND
    recipe = proxy_recipe(facts.dynamics, num, facts.image_side, on_cpu=True)
    labelled = replace(facts, num_clusters=facts.labelled_clusters)
    window = training_seconds(recipe, labelled, num_learned=picks, num_asked=num)
    return None if window is None else seconds + windows * window

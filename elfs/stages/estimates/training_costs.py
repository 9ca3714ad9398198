"""What training a network takes: rates that `dynamics`, the search of the hard rate, `train` and `compare` share."""

from collections.abc import Mapping

from elfs.stages.estimates.pool_facts import USUAL_CLUSTERS, PoolFacts
from elfs.train.recipes import Recipe

__all__ = ["LOGIT_SECONDS", "MLP_FLOPS_PER_SECOND", "image_seconds", "seen_side", "training_seconds"]

_PROXY_SECONDS: Mapping[str, tuple[float, int]] = {
    "resnet8": (0.00097, 32),
    "resnet18": (0.022, 32),
    "resnet34": (0.140, 224),
}
"""Forward and backward of an image, and its side; the time grows with the area."""

_STEP_SECONDS = 0.011
"""Of a step of a network on images, however small these are."""

MLP_FLOPS_PER_SECOND = 33e9
"""Of the small networks on the embeddings, forward and backward."""

LOGIT_SECONDS = 8e-9
"""Of a number that a network on the embeddings gives an image, beside its products: its loss and what is recorded."""

_LEAST_STEP_SECONDS = 1.5e-3
"""Of a step of one network on the embeddings."""

_LINEAR_STEPS, _LINEAR_FLOPS_PER_SECOND = 40, 10e9
"""Of a linear network until its loss is least: how many, and how fast."""

_ASKED = 1 / 3
"""Of forward and backward: forward alone."""


def seen_side(recipe: Recipe, facts: PoolFacts) -> int:
    """Return the side of the images as a network sees them.

    Parameters
    ----------
    recipe : Recipe
        Its network and the largest side.
    facts : PoolFacts
        The pool.

    Returns
    -------
    int
        In pixels.
    """
    return min(facts.image_side or recipe.image_size, recipe.image_size)


def image_seconds(recipe: Recipe, facts: PoolFacts) -> float | None:
    """Return what an image takes, forward and backward, read where it is not kept.

    Parameters
    ----------
    recipe : Recipe
        Of a network on images.
    facts : PoolFacts
        The pool.

    Returns
    -------
    float or None
        CPU seconds on the core that was measured; None where the network has no measured rate.
    """
    rate, measured_side = _PROXY_SECONDS.get(recipe.network, (None, 1))
    if rate is None:
        return None
    read = facts.read_seconds if recipe.streamed else 0.0
    area = (seen_side(recipe, facts) / measured_side) ** 2
    return max(rate * area, _STEP_SECONDS / recipe.batch_size) + read


def training_seconds(recipe: Recipe, facts: PoolFacts, *, num_learned: int, num_asked: int) -> float | None:
    """Return what it takes to train a network from scratch on some images, and to ask it about others.

    Parameters
    ----------
    recipe : Recipe
        Network, steps and images of a step.
    facts : PoolFacts
        The pool.
    num_learned, num_asked : int
        Images that it learns from, and that it is asked about once afterwards.

    Returns
    -------
    float or None
        CPU seconds on the core that was measured; None where the network has no measured rate.
    """
    seen, dims = recipe.iterations * min(recipe.batch_size, num_learned), facts.dims or 0
    classes = facts.num_clusters or USUAL_CLUSTERS
    if recipe.network == "linear":
        flops = 6 * dims * classes
        step = max(_LEAST_STEP_SECONDS, flops * num_learned / _LINEAR_FLOPS_PER_SECOND)
        steps = min(recipe.iterations, _LINEAR_STEPS)
        return steps * step + _ASKED * flops / _LINEAR_FLOPS_PER_SECOND * num_asked
    if recipe.network == "mlp":
        each = 6 * recipe.hidden * (dims + classes) / MLP_FLOPS_PER_SECOND + LOGIT_SECONDS * classes
        return max(seen * each, recipe.iterations * _LEAST_STEP_SECONDS) + _ASKED * each * num_asked
    found = image_seconds(recipe, facts)
    return None if found is None else found * (seen + _ASKED * num_asked)

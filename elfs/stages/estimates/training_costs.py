"""What a network on images takes: rates that `dynamics` and the search of the hard rate share."""

from collections.abc import Mapping

from elfs.stages.estimates.pool_facts import PoolFacts
from elfs.train.recipes import Recipe

__all__ = ["MLP_FLOPS_PER_SECOND", "image_seconds", "seen_side"]

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

"""Hyper-parameters by name, and the rule that picks one from the size of the data."""

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["RECIPES", "Recipe", "choose_recipe", "override"]

SMALL_POOL = 20_000
"""Below this many images a pool is small: it gets the recipes that finish on a CPU."""

_CACHED_SIDE = 64
"""Images up to this side are kept decoded in memory and cropped with padding; larger ones are decoded as needed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a classifier is trained.

    Attributes
    ----------
    name : str
        Its name on the command line.
    network : str
        Name of the network.
    epochs : int
        Passes over the pool when dynamics are recorded.
    iterations : int
        Steps on a coreset, whatever its size.
    batch_size : int
        Samples per step.
    learning_rate, final_learning_rate : float
        Peak and end of the cosine.
    weight_decay : float
        L2 penalty of SGD.
    image_size : int
        Largest side of the images in pixels; smaller images keep their size.
    """

    name: str
    network: str
    epochs: int
    iterations: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float
    weight_decay: float
    image_size: int

    @property
    def streamed(self) -> bool:
        """Whether images are decoded as needed instead of being kept in memory."""
        return self.image_size > _CACHED_SIDE


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="cifar",
            network="resnet18",
            epochs=200,
            iterations=40_000,
            batch_size=256,
            learning_rate=0.1,
            final_learning_rate=1e-4,
            weight_decay=5e-4,
            image_size=32,
        ),
        Recipe(
            name="imagenet",
            network="resnet34",
            epochs=60,
            iterations=300_000,
            batch_size=256,
            learning_rate=0.1,
            final_learning_rate=1e-4,
            weight_decay=1e-4,
            image_size=224,
        ),
        Recipe(
            name="small",
            network="resnet8",
            epochs=100,
            iterations=600,
            batch_size=64,
            learning_rate=0.1,
            final_learning_rate=1e-4,
            weight_decay=5e-4,
            image_size=32,
        ),
    )
}
"""``cifar`` and ``imagenet`` are those of ELFS (Zheng et al., ICLR 2025); ``small`` was tuned on the bundled digits."""


def choose_recipe(num_rows: int, image_side: int | None) -> Recipe:
    """Return the recipe that suits a pool.

    Parameters
    ----------
    num_rows : int
        Samples that are trained on.
    image_side : int or None
        Short side of a typical image in pixels; None where there are no images.

    Returns
    -------
    Recipe
        ``small`` below 20,000 samples or without images (then with the ``mlp`` network), ``cifar`` for images up to 64
        pixels, else ``imagenet``.
    """
    if image_side is None:
        return replace(RECIPES["small"], network="mlp")
    if num_rows < SMALL_POOL:
        return RECIPES["small"]
    return RECIPES["cifar" if image_side <= _CACHED_SIDE else "imagenet"]


def override(
    recipe: Recipe,
    *,
    network: str | None,
    batch_size: int | None,
    learning_rate: float | None,
    weight_decay: float | None,
    image_size: int | None,
) -> Recipe:
    """Return the recipe with what the user set by hand.

    The learning rate follows the batch: where only `batch_size` is given, the recipe's peak rate is multiplied by
    `batch_size` over the recipe's own [1]_. A batch is what all devices compute together, so their number changes
    neither.

    Parameters
    ----------
    recipe : Recipe
        Where to start.
    network : str or None
        Name of the network.
    batch_size : int or None
        Samples per step.
    learning_rate, weight_decay : float or None
        Of SGD; the rate is the peak.
    image_size : int or None
        Largest side of the images in pixels.

    Returns
    -------
    Recipe
        None keeps the recipe's own value, but for the rate with another batch size.

    References
    ----------
    .. [1] Goyal et al., Accurate, Large Minibatch SGD, 2017, https://arxiv.org/abs/1706.02677, section 2.1.
    """
    if batch_size is not None and learning_rate is None:
        learning_rate = recipe.learning_rate * (batch_size / recipe.batch_size)
    given: dict[str, Any] = {
        "network": network,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "image_size": image_size,
    }
    return replace(recipe, **{key: value for key, value in given.items() if value is not None})

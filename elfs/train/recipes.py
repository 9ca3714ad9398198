"""Hyper-parameters by name, and the rule that picks one from the size of the data."""

from dataclasses import dataclass, replace
from typing import Any

from elfs.config import DynamicsConfig, TrainingConfig

__all__ = ["RECIPES", "Recipe", "recipe_for"]

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


def recipe_for(config: DynamicsConfig | TrainingConfig, num_rows: int, image_side: int | None) -> Recipe:
    """Return the recipe that was asked for, with every ``auto`` worked out.

    The learning rate follows the batch: where only the batch size is given, the recipe's peak rate is multiplied by it
    over the recipe's own [1]_. A batch is what all devices compute together, so their number changes neither.

    Parameters
    ----------
    config : DynamicsConfig or TrainingConfig
        What the user asked for. None takes the recipe's own value, but for the rate with another batch size.
    num_rows : int
        Samples of the pool.
    image_side : int or None
        Short side of a typical image in pixels; None where there are no images.

    Returns
    -------
    Recipe
        Unless one is named, ``small`` below 20,000 samples or without images, ``cifar`` for images up to 64 pixels,
        else ``imagenet``. The network is ``mlp`` without images, unless another is named.

    References
    ----------
    .. [1] Goyal et al., Accurate, Large Minibatch SGD, 2017, https://arxiv.org/abs/1706.02677, section 2.1.
    """
    suited = "cifar" if image_side is not None and image_side <= _CACHED_SIDE else "imagenet"
    if image_side is None or num_rows < SMALL_POOL:
        suited = "small"
    recipe = RECIPES[config.recipe or suited]
    if image_side is None:
        recipe = replace(recipe, network="mlp")
    rate = config.learning_rate
    if config.batch_size is not None and rate is None:
        rate = recipe.learning_rate * (config.batch_size / recipe.batch_size)
    given: dict[str, Any] = {
        "network": config.network,
        "batch_size": config.batch_size,
        "learning_rate": rate,
        "weight_decay": config.weight_decay,
        "image_size": config.image_size,
    }
    return replace(recipe, **{key: value for key, value in given.items() if value is not None})

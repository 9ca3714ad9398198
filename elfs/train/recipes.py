"""Hyper-parameters by name, and the rule that picks one from the size of the data."""

from dataclasses import dataclass, replace
from typing import Any

from elfs.config import DynamicsConfig, TrainingConfig
from elfs.errors import InputDataError, UsageError
from elfs.models.networks import MLP_HIDDEN

__all__ = ["RECIPES", "SMALL_POOL", "Recipe", "proxy_recipe", "recipe_for"]

SMALL_POOL = 20_000
"""Below this many images a pool is small: the paper's settings are made for larger ones, and for a GPU."""

_PROXY_PIXELS = 300_000
"""On a CPU, pools with more pixels than this, as the proxy sees them, get proxies on the embeddings: 300 images of
32x32 take the network on the images about 30 CPU seconds."""

_SMALLEST_BATCH, _STEPS_PER_EPOCH = 16, 5
"""Smaller pools get smaller batches in ``ensemble``, so that an epoch has about five steps; but none below 16."""

_PROBE_ITERATIONS = 200
"""Of L-BFGS, for a linear network; a few dozen lead to the minimum on all pools that were tried."""

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
        Steps on a coreset, whatever its size; for a linear network the most iterations of L-BFGS.
    batch_size : int
        Samples per step.
    learning_rate, final_learning_rate : float
        Peak and end of the cosine.
    weight_decay : float
        L2 penalty of SGD.
    image_size : int
        Largest side of the images in pixels; smaller images keep their size.
    proxies : int
        Networks of the same kind that are trained and averaged when dynamics are recorded.
    folds : int
        Into how many parts the pool is dealt; a proxy is trained on all but one of them. 1: on all.
    hidden : int
        Width of the hidden layer of ``mlp``, where there are several proxies.
    noise : float
        Standard deviation of what is added to the standardised embeddings in training, where there are several proxies.
    standardize : bool
        Whether a network on the embeddings sees each feature with deviation 1, as the proxies do; else all are centred
        and stay as large beside each other as they are, which few labels need (docs/rounds.md).
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
    proxies: int = 1
    folds: int = 1
    hidden: int = MLP_HIDDEN
    noise: float = 0.0
    standardize: bool = True

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
            epochs=30,
            iterations=600,
            batch_size=64,
            learning_rate=0.1,
            final_learning_rate=1e-4,
            weight_decay=5e-4,
            image_size=32,
        ),
        Recipe(
            name="ensemble",
            network="mlp",
            epochs=20,
            iterations=600,
            batch_size=256,
            learning_rate=0.1,
            final_learning_rate=1e-4,
            weight_decay=5e-4,
            image_size=32,
            proxies=64,
            folds=4,
            hidden=32,
            noise=0.5,
        ),
    )
}
"""``cifar`` and ``imagenet`` are those of ELFS (Zheng et al., ICLR 2025); ``small`` was tuned on the bundled digits,
``ensemble`` on these and on a generated pool."""


def recipe_for(
    config: DynamicsConfig | TrainingConfig, num_rows: int, image_side: int | None, *, on_cpu: bool
) -> Recipe:
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
    on_cpu : bool
        Whether it is trained on a CPU.

    Returns
    -------
    Recipe
        Unless one is named, ``small`` on a CPU, below 20,000 samples or without images, ``cifar`` for images up to 64
        pixels, else ``imagenet``. The network is ``mlp`` without images, unless another is named.

    References
    ----------
    .. [1] Goyal et al., Accurate, Large Minibatch SGD, 2017, https://arxiv.org/abs/1706.02677, section 2.1.
    """
    suited = "cifar" if image_side is not None and image_side <= _CACHED_SIDE else "imagenet"
    if on_cpu or image_side is None or num_rows < SMALL_POOL:
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
    recipe = replace(recipe, **{key: value for key, value in given.items() if value is not None})
    return replace(recipe, iterations=_PROBE_ITERATIONS) if recipe.network == "linear" else recipe


def proxy_recipe(config: DynamicsConfig, num_rows: int, image_side: int | None, *, on_cpu: bool) -> Recipe:
    """Return how the proxies of the dynamics are trained, and how many.

    Parameters
    ----------
    config : DynamicsConfig
        What the user asked for.
    num_rows : int
        Samples of the pool.
    image_side : int or None
        Short side of a typical image in pixels; None where there are no images.
    on_cpu : bool
        Whether they are trained on a CPU.

    Returns
    -------
    Recipe
        As `recipe_for` says, but ``ensemble`` where no recipe is named and the network is on the embeddings, because
        there are no images, ``mlp`` is named, or no network is named and a CPU would take more than half a minute for
        one on the images. A network on images is one proxy, unless more are asked for. Folds
        that do not fit the number of proxies are left out, unless they are asked for. The batches of ``ensemble`` are
        smaller below 1,280 samples.

    Raises
    ------
    UsageError
        If the proxies are no multiple of the folds, or folds are asked for and the network looks at images.
    InputDataError
        If more folds are asked for than there are samples.
    """
    if config.recipe is None and _is_on_embeddings(config, num_rows, image_side, on_cpu=on_cpu):
        config = replace(config, recipe="ensemble")
    recipe = recipe_for(config, num_rows, image_side, on_cpu=on_cpu)
    if recipe.name == "ensemble" and config.batch_size is None:
        recipe = replace(recipe, batch_size=max(_SMALLEST_BATCH, min(recipe.batch_size, num_rows // _STEPS_PER_EPOCH)))
    on_embeddings = recipe.network == "mlp"
    proxies = config.proxies or (recipe.proxies if on_embeddings else 1)
    fit = on_embeddings and proxies % recipe.folds == 0 and num_rows >= recipe.folds
    folds = config.folds or (recipe.folds if fit else 1)
    if folds > 1 and not on_embeddings:
        raise UsageError(f"--folds is {folds}, but folds are for proxies on the embeddings. Use --network mlp.")
    if proxies % folds:
        raise UsageError(
            f"--proxies is {proxies}, expected a multiple of the {folds} folds: they leave out an image equally often. "
            f"Use --proxies {folds * -(-proxies // folds)}."
        )
    if folds > num_rows:
        raise InputDataError(f"--folds is {folds}, but there are {num_rows:,} images: every fold needs one.")
    if proxies == 1:
        return replace(recipe, proxies=1, folds=1, hidden=MLP_HIDDEN, noise=0.0)
    return replace(recipe, proxies=proxies, folds=folds)


def _is_on_embeddings(config: DynamicsConfig, num_rows: int, image_side: int | None, *, on_cpu: bool) -> bool:
    """Whether the proxies look at the embeddings, where no recipe is named."""
    if config.network is not None or image_side is None:
        return (config.network or "mlp") == "mlp"
    side = config.image_size or min(image_side, RECIPES["small"].image_size)
    return on_cpu and num_rows * side**2 > _PROXY_PIXELS

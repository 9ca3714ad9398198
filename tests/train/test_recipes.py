"""Hyper-parameters by name, and the rule that picks them."""

import dataclasses
from typing import Any

import pytest

from elfs.config import CompareConfig, DynamicsConfig, TrainConfig
from elfs.errors import ElfsError, InputDataError, UsageError
from elfs.models.networks import MLP_HIDDEN
from elfs.train.recipes import RECIPES, proxy_recipe, recipe_for

SMALL = RECIPES["small"]


@pytest.mark.parametrize(
    ("settings", "num_rows", "side", "name", "network"),
    [
        ({}, 1_000_000, None, "small", "mlp"),
        ({}, 19_999, 224, "small", "resnet8"),
        ({}, 20_000, 32, "cifar", "resnet18"),
        ({}, 20_000, 64, "cifar", "resnet18"),
        ({}, 20_000, 65, "imagenet", "resnet34"),
        ({"recipe": "cifar"}, 100, None, "cifar", "mlp"),
        ({"recipe": "cifar"}, 100, 8, "cifar", "resnet18"),
        ({"network": "mlp"}, 100, 8, "small", "mlp"),
        ({"network": "resnet8"}, 100, None, "small", "resnet8"),
    ],
)
@pytest.mark.parametrize("config", [DynamicsConfig, TrainConfig, CompareConfig])
def test_rule(config: Any, settings: dict[str, Any], num_rows: int, side: int | None, name: str, network: str) -> None:
    recipe = recipe_for(config(**settings), num_rows, side, on_cpu=False)
    assert (recipe.name, recipe.network) == (name, network)


@pytest.mark.parametrize("config", [DynamicsConfig, TrainConfig, CompareConfig])
@pytest.mark.parametrize(("num_rows", "side"), [(20_000, 32), (1_281_167, 400)])
def test_a_cpu_trains_the_small_network_whatever_the_pool(config: Any, num_rows: int, side: int) -> None:
    assert recipe_for(config(), num_rows, side, on_cpu=True) == SMALL


@pytest.mark.parametrize(
    ("settings", "num_rows", "side", "name"),
    [
        ({}, 292, 32, "small"),  # 292 x 32 x 32 = 299,008 pixels
        ({}, 293, 32, "ensemble"),
        ({}, 292, 500, "small"),  # as the proxy sees them: 32 x 32
        ({}, 293, 500, "ensemble"),
        ({}, 4_687, 8, "small"),
        ({}, 4_688, 8, "ensemble"),
        ({"image_size": 16}, 293, 32, "small"),
        ({"network": "resnet8"}, 50_000, 32, "small"),
        ({"recipe": "cifar"}, 50_000, 32, "cifar"),
    ],
)
def test_a_cpu_looks_at_the_embeddings_where_images_take_more_than_a_minute(
    settings: dict[str, Any], num_rows: int, side: int, name: str
) -> None:
    assert proxy_recipe(DynamicsConfig(**settings), num_rows, side, on_cpu=True).name == name


def test_recipes_are_those_of_the_paper() -> None:
    """Zheng et al., ICLR 2025: CIFAR 200 epochs and 40,000 iterations, ImageNet 60 epochs and 300,000."""
    cifar, imagenet = RECIPES["cifar"], RECIPES["imagenet"]
    assert (cifar.epochs, cifar.iterations, cifar.weight_decay, cifar.image_size) == (200, 40_000, 5e-4, 32)
    assert (imagenet.epochs, imagenet.iterations, imagenet.weight_decay, imagenet.image_size) == (
        60,
        300_000,
        1e-4,
        224,
    )
    assert {(r.batch_size, r.learning_rate, r.final_learning_rate) for r in (cifar, imagenet)} == {(256, 0.1, 1e-4)}


def test_large_images_are_streamed() -> None:
    assert {name: recipe.streamed for name, recipe in RECIPES.items()} == {
        "cifar": False,
        "imagenet": True,
        "small": False,
        "ensemble": False,
    }


def test_what_is_not_given_is_kept() -> None:
    assert recipe_for(DynamicsConfig(), 100, 8, on_cpu=True) == SMALL
    given: dict[str, Any] = {"network": "mlp", "batch_size": 2, "learning_rate": 0.0, "weight_decay": 0.0}
    given["image_size"] = 4
    assert recipe_for(DynamicsConfig(**given), 100, 8, on_cpu=True) == dataclasses.replace(SMALL, **given)


@pytest.mark.parametrize(
    ("name", "batch_size", "learning_rate", "expected"),
    [
        ("cifar", 1024, None, 0.4),  # by hand: 0.1 x 1024 / 256
        ("cifar", 64, None, 0.025),
        ("cifar", 256, None, 0.1),
        ("small", 64, None, 0.1),
        ("small", 16, None, 0.025),
        ("small", 16, 0.3, 0.3),
        ("small", None, 0.3, 0.3),
    ],
)
def test_rate_follows_the_batch(
    name: str, batch_size: int | None, learning_rate: float | None, expected: float
) -> None:
    """Goyal et al., 2017: when the batch is multiplied by k, multiply the learning rate by k."""
    config = DynamicsConfig(recipe=name, batch_size=batch_size, learning_rate=learning_rate)
    recipe = recipe_for(config, 100, 8, on_cpu=True)
    assert (recipe.learning_rate, recipe.final_learning_rate) == (expected, 1e-4)


ONE = ("small", "resnet8", 1, 1, MLP_HIDDEN)
MANY = ("ensemble", "mlp", 64, 4, 32)


@pytest.mark.parametrize(
    ("settings", "num_rows", "side", "expected"),
    [
        ({}, 100, 8, ONE),
        ({}, 1_281_167, 400, ("imagenet", "resnet34", 1, 1, MLP_HIDDEN)),
        ({}, 100, None, MANY),
        ({}, 1_281_167, None, MANY),
        ({"network": "resnet8"}, 100, None, ONE),
        ({"recipe": "ensemble"}, 100, 8, MANY),
        ({"network": "mlp"}, 100, 8, MANY),
        ({"network": "resnet8"}, 100, 8, ONE),
        ({"recipe": "small"}, 100, 8, ONE),
        ({"recipe": "small", "proxies": 3}, 100, 8, ("small", "resnet8", 3, 1, MLP_HIDDEN)),
        ({"recipe": "cifar"}, 50_000, 32, ("cifar", "resnet18", 1, 1, MLP_HIDDEN)),
        ({"recipe": "cifar", "network": "mlp"}, 50_000, 32, ("cifar", "mlp", 1, 1, MLP_HIDDEN)),
        ({"recipe": "ensemble", "network": "resnet8"}, 100, 8, ("ensemble", "resnet8", 1, 1, MLP_HIDDEN)),
        ({"proxies": 8}, 100, None, ("ensemble", "mlp", 8, 4, 32)),
        ({"proxies": 6}, 100, None, ("ensemble", "mlp", 6, 1, 32)),
        ({"proxies": 6, "folds": 3}, 100, None, ("ensemble", "mlp", 6, 3, 32)),
        ({"folds": 1}, 100, None, ("ensemble", "mlp", 64, 1, 32)),
        ({"proxies": 1}, 100, None, ("ensemble", "mlp", 1, 1, MLP_HIDDEN)),
        ({}, 3, None, ("ensemble", "mlp", 64, 1, 32)),
    ],
)
def test_proxies(
    settings: dict[str, Any], num_rows: int, side: int | None, expected: tuple[str, str, int, int, int]
) -> None:
    found = proxy_recipe(DynamicsConfig(**settings), num_rows, side, on_cpu=False)
    assert (found.name, found.network, found.proxies, found.folds, found.hidden) == expected


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"proxies": 3, "folds": 2},
            UsageError,
            r"^--proxies is 3, expected a multiple of the 2 folds: .*--proxies 4\.$",
        ),
        (
            {"proxies": 1, "folds": 2},
            UsageError,
            r"^--proxies is 1, expected a multiple of the 2 folds: .*--proxies 2\.$",
        ),
        ({"recipe": "cifar", "folds": 2, "proxies": 2}, UsageError, r"^--folds is 2, but .*Use --network mlp\.$"),
        (
            {"proxies": 40, "folds": 20},
            InputDataError,
            r"^--folds is 20, but there are 10 images: every fold needs one",
        ),
    ],
)
def test_folds_that_do_not_fit_are_refused(settings: dict[str, Any], error: type[ElfsError], message: str) -> None:
    with pytest.raises(error, match=message):
        proxy_recipe(DynamicsConfig(**settings), 10, None if "recipe" not in settings else 8, on_cpu=True)


@pytest.mark.parametrize("name", ["proxies", "folds"])
def test_none_at_all_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^--{name} is 0, expected at least 1"):
        DynamicsConfig(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("num_rows", "asked", "expected"),
    [(60, None, 16), (500, None, 100), (1_279, None, 255), (50_000, None, 256), (60, 40, 40)],
)
def test_small_pools_have_small_batches(num_rows: int, asked: int | None, expected: int) -> None:
    assert proxy_recipe(DynamicsConfig(batch_size=asked), num_rows, None, on_cpu=True).batch_size == expected

"""Hyper-parameters by name, and the rule that picks them."""

import dataclasses
from typing import Any

import pytest

from elfs.train.recipes import RECIPES, choose_recipe, override


@pytest.mark.parametrize(
    ("num_rows", "image_side", "name", "network"),
    [
        (1_000_000, None, "small", "mlp"),
        (19_999, 224, "small", "resnet8"),
        (20_000, 32, "cifar", "resnet18"),
        (20_000, 64, "cifar", "resnet18"),
        (20_000, 65, "imagenet", "resnet34"),
    ],
)
def test_rule(num_rows: int, image_side: int | None, name: str, network: str) -> None:
    recipe = choose_recipe(num_rows, image_side)
    assert (recipe.name, recipe.network) == (name, network)


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
    }


def test_override_keeps_what_is_not_given() -> None:
    recipe = RECIPES["small"]
    none: dict[str, Any] = dict.fromkeys(("network", "batch_size", "learning_rate", "weight_decay", "image_size"))
    assert override(recipe, **none) == recipe
    given = {"network": "mlp", "batch_size": 2, "learning_rate": 0.0, "weight_decay": 0.0, "image_size": 4}
    assert override(recipe, **(none | given)) == dataclasses.replace(recipe, **given)  # type: ignore[arg-type]


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
    recipe = override(
        RECIPES[name],
        network=None,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=None,
        image_size=None,
    )
    assert (recipe.learning_rate, recipe.final_learning_rate) == (expected, 1e-4)

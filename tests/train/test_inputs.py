"""What a classifier is fed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from elfs.data.samples import SampleTable
from elfs.data.training_images import CachedImages, StreamedImages
from elfs.errors import InputDataError
from elfs.train.features import Features
from elfs.train.inputs import InputBuilder
from elfs.train.recipes import RECIPES, Recipe
from elfs.train.runtime import Runtime
from elfs.workspace.workspace import Workspace
from tests.pipeline import Finished

SMALL = RECIPES["small"]
CPU = torch.device("cpu")


def builder(finished: Finished, recipe: Recipe = SMALL, root: Path | None = None) -> InputBuilder:
    workspace = Workspace.open(finished.path)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    return InputBuilder(workspace, table, recipe, Runtime(devices="cpu"), root or finished.root)


def all_of(inputs: CachedImages | Features) -> torch.Tensor:
    order = torch.arange(len(inputs))
    found = inputs.batches(order, batch_size=7, augment=False, generator=torch.Generator(), device=CPU)
    return torch.cat([batch for _, batch in found])


def test_images_keep_their_size_and_are_normalised_by_the_first_rows(digits: Finished) -> None:
    made = builder(digits)
    first, second = made.build(np.arange(100), "x"), made.build(np.arange(100, 150), "x")
    assert isinstance(first, CachedImages)
    assert isinstance(second, CachedImages)
    assert (made.image_size, made.dim, len(first), first.mirror, first.padding) == (8, None, 100, False, 1)
    pixels = all_of(first)
    assert pixels.shape == (100, 3, 8, 8)
    torch.testing.assert_close(pixels.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    assert torch.equal(first.mean, second.mean)


def test_recipe_shrinks_images(digits: Finished) -> None:
    made = builder(digits, dataclasses.replace(SMALL, image_size=4))
    assert made.image_size == 4
    built = made.build(np.arange(3), "x")
    assert isinstance(built, CachedImages)
    assert built.images.shape == (3, 3, 4, 4)


def test_large_recipe_reads_images_as_they_are_needed(folder: Finished) -> None:
    built = builder(folder, RECIPES["imagenet"]).build(np.arange(4), "x")
    assert isinstance(built, StreamedImages)
    assert (built.size, built.mirror) == (8, True)
    assert built.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_mlp_takes_standardised_embeddings(digits: Finished) -> None:
    made = builder(digits, dataclasses.replace(SMALL, network="mlp"))
    built = made.build(np.arange(100), "x")
    assert isinstance(built, Features)
    assert (made.dim, made.num_threads) == (64, 1)
    found = all_of(built)
    stored = Workspace.open(digits.path).arrays("embeddings")["embeddings"][:100].astype(np.float64)
    deviation = stored.std(axis=0)
    expected = (stored - stored.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    later = made.build(np.arange(100, 120), "x")
    assert isinstance(later, Features)
    assert not torch.allclose(all_of(later).mean(dim=0), torch.zeros(64), atol=1e-2)


@pytest.mark.parametrize(("batch_size", "cpus", "expected"), [(64, 8, 1), (512, 8, 2), (512, 1, 1), (10**6, 8, 8)])
def test_threads_grow_with_the_pixels_of_a_batch(
    digits: Finished, monkeypatch: pytest.MonkeyPatch, batch_size: int, cpus: int, expected: int
) -> None:
    monkeypatch.setattr("elfs.train.inputs.available_cpus", lambda: cpus)
    assert builder(digits, dataclasses.replace(SMALL, batch_size=batch_size)).num_threads == expected


def test_network_on_images_needs_images(embeddings: Finished) -> None:
    with pytest.raises(InputDataError, match=r"^network 'resnet8' needs images, .* Use --network mlp\.$"):
        builder(embeddings).build(np.arange(4), "x")


def test_image_that_is_gone_is_refused(folder: Finished, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"^the image of row 0 could be read before and is now missing"):
        builder(folder, root=tmp_path).build(np.arange(4), "x")


def test_folder_that_is_gone_is_named_with_the_command_that_mends_it(folder: Finished, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"^the folder of the images is not there: .*gone\.$") as caught:
        builder(folder, root=tmp_path / "gone").build(np.arange(4), "x")
    assert caught.value.hint == f"elfs embed --root FOLDER --workspace {folder.path}"

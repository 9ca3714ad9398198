"""What a classifier is fed."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.catalog import EMBEDDING_NETWORKS
from elfs.data.loaders import load_images
from elfs.data.samples import SampleTable
from elfs.data.training_images import CachedImages, StreamedImages, TrainingImages, channel_statistics
from elfs.errors import InputDataError
from elfs.parallel.place import Place
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Runtime
from elfs.train.features import Features
from elfs.train.inputs import InputBuilder
from elfs.train.recipes import RECIPES, Recipe
from elfs.workspace.workspace import Workspace
from tests.chain import Finished

SMALL = RECIPES["small"]
CPU = torch.device("cpu")


def builder(finished: Finished, recipe: Recipe = SMALL, root: Path | None = None) -> InputBuilder:
    workspace = Workspace.open(finished.path)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    return InputBuilder(workspace, table, recipe, Runtime(devices="cpu"), root or finished.root)


def all_of(inputs: TrainingImages) -> torch.Tensor:
    order = torch.arange(len(inputs))
    found = inputs.batches(order, batch_size=7, augment=False, generator=torch.Generator(), device=CPU)
    return torch.cat([batch for _, batch in found])


def pool_of(finished: Finished) -> np.ndarray:
    table = SampleTable.from_tensors(Workspace.open(finished.path).arrays("samples"))
    return np.flatnonzero(table.eligible())


def test_images_keep_their_size_and_are_normalised_by_the_pool(digits: Finished) -> None:
    made, pool = builder(digits), pool_of(digits)
    built = made.build(pool, "x")
    assert isinstance(built, CachedImages)
    assert (made.image_size, made.dim, len(built), built.mirror, built.padding) == (8, None, 160, False, 1)
    pixels = all_of(built)
    assert pixels.shape == (160, 3, 8, 8)
    torch.testing.assert_close(pixels.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("largest", [10_000, 160, 50])
@pytest.mark.parametrize("network", ["resnet8", "mlp"])
def test_normalisation_is_that_of_the_pool_whatever_the_rows(
    digits: Finished, monkeypatch: pytest.MonkeyPatch, largest: int, network: str
) -> None:
    """Other rows of the pool first, shuffled rows, test rows: an image always looks the same to a network."""
    monkeypatch.setattr("elfs.train.inputs._MAX_SAMPLE", largest)
    pool, recipe = pool_of(digits), dataclasses.replace(SMALL, network=network)
    whole = builder(digits, recipe).build(pool, "x")
    expected = all_of(whole)[5:9]
    for rows in (
        pool[5:9],
        np.append(pool[5:9], 199),
        np.append(pool[5:9], np.random.default_rng(0).permutation(pool)),
    ):
        assert torch.equal(all_of(builder(digits, recipe).build(rows, "x"))[:4], expected)
    made = builder(digits, recipe)
    made.build(np.array([199]), "x")
    assert torch.equal(all_of(made.build(pool[5:9], "x")), expected)


def test_sample_of_a_large_pool_is_spread_evenly(digits: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third of 150 eligible rows, by hand."""
    monkeypatch.setattr("elfs.train.inputs._MAX_SAMPLE", 50)
    made = builder(digits)
    eligible = np.zeros(200, dtype=bool)
    eligible[20:170] = True
    monkeypatch.setattr(SampleTable, "eligible", lambda table: eligible)
    built, expected = made.build(np.arange(4), "x"), builder(digits).build(np.arange(20, 170, 3), "x")
    assert isinstance(built, CachedImages)
    assert isinstance(expected, CachedImages)
    mean, deviation = channel_statistics(expected.images)
    assert torch.equal(built.mean, mean)
    assert torch.equal(built.std, deviation)


def test_pool_is_not_decoded_twice(digits: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def watched(reader: Any, rows: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
        counts.append(len(rows))
        return load_images(reader, rows, *others, **options)

    monkeypatch.setattr("elfs.train.inputs.load_images", watched)
    made = builder(digits)
    made.build(pool_of(digits), "x")
    made.build(pool_of(digits)[:7], "x")
    assert counts == [160, 7]
    builder(digits).build(pool_of(digits)[:7], "x")
    assert counts == [160, 7, 7, 160]


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


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("network", sorted(EMBEDDING_NETWORKS))
def test_networks_on_embeddings_take_them_centred_with_a_scale_each_or_one_for_all(
    digits: Finished, network: str, standardize: bool
) -> None:
    made = builder(digits, dataclasses.replace(SMALL, network=network, standardize=standardize))
    built = made.build(np.arange(30), "x")
    assert isinstance(built, Features)
    assert (made.dim, made.num_threads) == (64, 1)
    stored = Workspace.open(digits.path).arrays("embeddings")["embeddings"].astype(np.float64)
    pool = stored[pool_of(digits)]
    deviation = pool.std(axis=0) if standardize else np.sqrt(pool.var(axis=0).mean())
    expected = (stored[:30] - pool.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1)
    np.testing.assert_allclose(all_of(built).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(("batch_size", "cpus", "expected"), [(64, 8, 1), (512, 8, 2), (512, 1, 1), (10**6, 8, 8)])
def test_threads_grow_with_the_pixels_of_a_batch(
    digits: Finished, monkeypatch: pytest.MonkeyPatch, batch_size: int, cpus: int, expected: int
) -> None:
    monkeypatch.setattr("elfs.train.numerics.available_cpus", lambda: cpus)
    assert builder(digits, dataclasses.replace(SMALL, batch_size=batch_size)).num_threads == expected


@pytest.mark.parametrize(
    ("size", "local_size", "cpus", "expected"),
    [
        (2, 2, 8, 4),  # eight threads' worth of pixels, cut in two
        (4, 2, 8, 2),
        (2, 2, 4, 2),  # the ranks of this host share its CPUs
        (1, 4, 8, 2),
        (2, 2, 1, 1),
    ],
)
def test_threads_are_shared_among_the_ranks(
    digits: Finished, monkeypatch: pytest.MonkeyPatch, size: int, local_size: int, cpus: int, expected: int
) -> None:
    monkeypatch.setattr("elfs.train.numerics.available_cpus", lambda: cpus)
    made = builder(digits, dataclasses.replace(SMALL, batch_size=8 * 256))
    made.runtime = Runtime(devices="cpu", ranks=Ranks(Place(0, size, 0, local_size, "", 0)))
    assert made.image_size**2 * 256 == 16_384
    assert made.num_threads == expected


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

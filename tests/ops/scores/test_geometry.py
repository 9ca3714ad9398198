"""Scores of the embeddings, against reference output, scikit-learn and numbers derived by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from elfs.ops.distances import unit_rows
from elfs.ops.neighbors import cosine_neighbors
from elfs.ops.scores import Geometry, density, prototypicality, typicality

DATA = Path(__file__).parents[2] / "data"


def geometry_of(similarity: Tensor) -> Geometry:
    return Geometry(torch.zeros(len(similarity), 1), similarity, torch.zeros(1, 1))


def test_prototypicality_matches_reference() -> None:
    """eltsai/elfs@089444b, core/utils/misc.py: Euclidean distance of each row to the centre of its cluster."""
    golden = np.load(DATA / "prototypicality.npz")
    x, centroids = torch.from_numpy(golden["x"]), torch.from_numpy(golden["centroids"])
    distance = prototypicality(Geometry(x, torch.zeros(len(x), 1), centroids)).numpy()
    np.testing.assert_allclose(distance, golden["distance"], rtol=1e-5)
    own = golden["centroids"][golden["labels"]]
    np.testing.assert_allclose(distance, np.linalg.norm(golden["x"] - own, axis=1), rtol=1e-5)
    assert set(distance.argsort()[::-1][:50]) == set(golden["top50"])


def test_prototypicality_of_a_tiny_distance() -> None:
    """The expanded square of nearest_centroid alone would lose it."""
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    embeddings = torch.tensor([[1.0, 2.0**-14], [0.0, 1.0]])
    assert prototypicality(Geometry(embeddings, torch.zeros(2, 1), prototypes)).tolist() == [2.0**-14, 0.0]


def test_typicality_is_the_inverse_mean_distance() -> None:
    """Unit vectors with the cosines 1, 0.5 and -1 are 0, 1 and 2 apart."""
    assert typicality(geometry_of(torch.tensor([[1.0, 0.5, -1.0]]))).item() == pytest.approx(1 / (1 + 1e-5))
    assert typicality(geometry_of(torch.full((1, 4), -1.0))).item() == pytest.approx(0.5, rel=1e-4)


def test_typicality_of_copies_is_finite_and_the_highest() -> None:
    """A cosine may be rounded above 1."""
    similarity = torch.tensor([[1.0, 1.0], [1.0000001, 1.0], [1.0, 0.999999]])
    values = typicality(geometry_of(similarity)).tolist()
    assert values[:2] == pytest.approx([1e5, 1e5])
    assert values[2] < 2000


def test_typicality_of_twenty_neighbours_matches_scikit_learn() -> None:
    unit = unit_rows(torch.randn(80, 5, generator=torch.Generator().manual_seed(0)))
    similarity = cosine_neighbors(unit, 30, device="cpu")[1]
    distances = NearestNeighbors(n_neighbors=20).fit(unit.numpy()).kneighbors()[0]
    np.testing.assert_allclose(typicality(geometry_of(similarity)).numpy(), 1 / distances.mean(axis=1), rtol=1e-4)


def test_density_is_the_mean_cosine_of_all_neighbours() -> None:
    similarity = torch.cat([torch.ones(1, 20), torch.zeros(1, 5)], dim=1)
    assert density(geometry_of(similarity)).item() == pytest.approx(0.8)
    assert density(geometry_of(similarity.half())).dtype == torch.float32


def test_row_without_neighbours_has_no_density() -> None:
    similarity = torch.tensor([[0.5, 0.5], [math.nan, math.nan]])
    for score in (density, typicality):
        assert score(geometry_of(similarity)).isnan().tolist() == [False, True]

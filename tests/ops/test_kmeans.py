import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.ops._engine import Engine, resolved_engine
from elfs.ops.kmeans import _spread_centroids, kmeans, kmeans_probabilities, nearest_centroid

DATA = Path(__file__).parents[1] / "data"
HAS_FAISS = importlib.util.find_spec("faiss") is not None
ENGINES = [pytest.param("faiss", marks=pytest.mark.skipif(not HAS_FAISS, reason="FAISS is not installed")), "torch"]
each_engine = pytest.mark.parametrize("engine", ENGINES)


def blobs() -> tuple[Tensor, Tensor]:
    """Return 200 rows around 4 far centres, and the centre of each."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [0.0, 50.0, 0.0], [0.0, 0.0, 50.0]])
    truth = torch.arange(200) % 4
    return centres[truth] + torch.randn(200, 3, generator=generator), truth


def test_nearest_centroid_matches_reference() -> None:
    """eltsai/elfs@089444b, core/utils/misc.py: k-means assignment and distance (Euclidean)."""
    golden = np.load(DATA / "prototypicality.npz")
    x, centroids = torch.from_numpy(golden["x"]), torch.from_numpy(golden["centroids"])
    assignment, squared = nearest_centroid(x, centroids, block_rows=37)
    np.testing.assert_array_equal(assignment.numpy(), golden["labels"])
    np.testing.assert_allclose(squared.sqrt().numpy(), golden["distance"], rtol=1e-5)


def test_nearest_centroid_far_from_the_origin() -> None:
    centroids = torch.tensor([[10_000.0, 10_000.0], [10_001.0, 10_000.0]])
    assignment, squared = nearest_centroid(centroids + torch.tensor([0.25, 0.0]), centroids)
    assert assignment.tolist() == [0, 1]
    torch.testing.assert_close(squared, torch.tensor([0.0625, 0.0625]))


def test_of_equally_near_centroids_the_first_is_taken() -> None:
    assignment, squared = nearest_centroid(torch.zeros(3, 2, dtype=torch.float16), torch.ones(4, 2))
    assert assignment.tolist() == [0, 0, 0]
    assert squared.tolist() == [2.0, 2.0, 2.0]


@each_engine
def test_blobs_are_found(engine: Engine) -> None:
    x, truth = blobs()
    centroids, assignment, inertia = kmeans(x, 4, seed=0, restarts=5, engine=engine)
    means = torch.stack([x[truth == blob].mean(dim=0) for blob in range(4)])
    match = torch.cdist(means, centroids).argmin(dim=1)
    assert sorted(match.tolist()) == [0, 1, 2, 3]
    torch.testing.assert_close(centroids[match], means, atol=1e-4, rtol=1e-4)
    assert torch.equal(assignment, match[truth])
    assert inertia == pytest.approx(float((x - means[truth]).square().sum()), rel=1e-4)


@each_engine
def test_equal_seeds_give_equal_results(engine: Engine) -> None:
    x = torch.randn(150, 6, generator=torch.Generator().manual_seed(1))
    first, second, other = (kmeans(x, 9, seed=seed, engine=engine) for seed in (3, 3, 4))
    assert torch.equal(first.centroids, second.centroids)
    assert torch.equal(first.assignment, second.assignment)
    assert first.inertia != other.inertia


@each_engine
def test_more_starts_are_no_worse(engine: Engine) -> None:
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    one, many = (kmeans(x, 8, seed=0, restarts=restarts, engine=engine).inertia for restarts in (1, 20))
    assert many < one


@each_engine
@pytest.mark.parametrize("num_distinct", [1, 3])
def test_no_cluster_is_empty_where_rows_are_equal(engine: Engine, num_distinct: int) -> None:
    x = torch.randn(num_distinct, 4, generator=torch.Generator().manual_seed(0)).repeat(12, 1)
    clustering = kmeans(x, 7, seed=0, engine=engine)
    assert torch.bincount(clustering.assignment, minlength=7).min() >= 1
    assert clustering.centroids.isfinite().all()
    torch.testing.assert_close(clustering.centroids[clustering.assignment], x, atol=1e-2, rtol=1e-2)


@pytest.mark.slow
@each_engine
def test_each_row_belongs_to_its_nearest_centroid_in_pools_of_near_copies(engine: Engine) -> None:
    """Few places, more clusters than places: empty clusters are filled, and rows then move to what is nearer."""
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        places = torch.randn(5, 3, generator=generator)[torch.randint(5, (60,), generator=generator)]
        is_moved = torch.rand(60, 1, generator=generator) < 0.1
        x = places + 0.1 * torch.randn(60, 3, generator=generator) * is_moved
        clustering = kmeans(x, 15, seed=seed, engine=engine)
        squared = torch.cdist(x.double(), clustering.centroids.double()).square()
        own = squared.gather(1, clustering.assignment.unsqueeze(1)).flatten()
        assert bool((own <= squared.min(dim=1).values + 1e-5).all()), f"pool {seed}"
        assert torch.bincount(clustering.assignment, minlength=15).min() >= 1


@each_engine
def test_as_many_clusters_as_rows(engine: Engine) -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    clustering = kmeans(x, 6, seed=0, engine=engine)
    assert sorted(clustering.assignment.tolist()) == list(range(6))
    assert clustering.inertia == pytest.approx(0.0, abs=1e-6)


@each_engine
def test_one_cluster_is_the_mean(engine: Engine) -> None:
    x, _ = blobs()
    clustering = kmeans(x.half(), 1, seed=0, engine=engine)
    torch.testing.assert_close(clustering.centroids[0], x.half().float().mean(dim=0), atol=1e-4, rtol=1e-4)
    assert set(clustering.assignment.tolist()) == {0}


def test_without_faiss_auto_takes_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = blobs()
    expected = kmeans(x, 4, seed=0, engine="torch")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert torch.equal(kmeans(x, 4, seed=0).centroids, expected.centroids)


@pytest.mark.parametrize("num_clusters", [0, -2, 201])
def test_number_of_clusters_out_of_range(num_clusters: int) -> None:
    with pytest.raises(ValueError, match=f"num_clusters is {num_clusters}, expected 1 to 200, the number of rows"):
        kmeans(blobs()[0], num_clusters, seed=0)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_rows_that_are_not_finite(bad: float) -> None:
    x, _ = blobs()
    x[17, 2] = bad
    with pytest.raises(ValueError, match="x is not finite: row 17 holds"):
        kmeans(x, 3, seed=0)


def test_rows_of_the_wrong_rank() -> None:
    with pytest.raises(ValueError, match=r"x has the shape \(5,\), expected \(n_rows, n_dims\)"):
        kmeans(torch.zeros(5), 2, seed=0)


@pytest.mark.parametrize(
    ("engine", "device", "installed", "expected"),
    [
        ("auto", "cpu", True, "faiss"),
        ("auto", "cpu", False, "torch"),
        ("auto", "cuda", True, "torch"),
        ("faiss", "cuda", True, "faiss"),
        ("torch", "cpu", True, "torch"),
    ],
)
def test_engine(engine: Engine, device: str, installed: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if installed else None)
    assert resolved_engine(engine, torch.device(device)) == expected


def test_unknown_engine() -> None:
    with pytest.raises(ValueError, match="engine is 'sklearn', expected 'auto', 'faiss' or 'torch'"):
        kmeans(blobs()[0], 2, seed=0, engine="sklearn")  # type: ignore[arg-type]


def test_starts_are_drawn_in_proportion_to_their_squared_distance() -> None:
    """Of rows at 0, 1 and 3: each is first as often, then 0 is followed by 1 and 3 as 1 to 9, and so on."""
    x, num_draws, generator = torch.tensor([[0.0], [1.0], [3.0]]), 600, torch.Generator().manual_seed(0)
    drawn = [tuple(_spread_centroids(x, 2, generator).flatten().tolist()) for _ in range(num_draws)]
    expected = {(0, 1): 0.1, (0, 3): 0.9, (1, 0): 0.2, (1, 3): 0.8, (3, 0): 9 / 13, (3, 1): 4 / 13}
    for pair, share in expected.items():
        assert drawn.count(pair) / num_draws == pytest.approx(share / 3, abs=0.05)
    assert len(drawn) == sum(drawn.count(pair) for pair in expected)


def test_kmeans_probabilities() -> None:
    """Distances 1, 2 and 3: inverse squares 1, 1/4, 1/9, of 49/36 together."""
    found = kmeans_probabilities(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[36 / 49, 9 / 49, 4 / 49]]))


def test_kmeans_probabilities_at_a_centre() -> None:
    centres = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    found = kmeans_probabilities(centres, centres)
    torch.testing.assert_close(found, torch.eye(2), atol=1e-6, rtol=0)

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.ops import distances
from elfs.ops.distances import centre_distance, check_finite, unit_clusters, unit_rows

DATA = Path(__file__).parents[1] / "data"
ITERATIONS: list[dict[str, int]] = [{"num_iterations": 1}, {"num_iterations": 50}, {}]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(distances, "_BLOCK_NUMBERS", 35)
    monkeypatch.setattr(distances, "_FITTED_ROWS", 60)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_bundles(num_rows: int = 100) -> Tensor:
    """Return rows of any length around the first axis (even rows) and around the second (odd rows)."""
    x = 0.1 * torch.randn(num_rows, 3, generator=generator(1))
    x[torch.arange(num_rows), torch.arange(num_rows) % 2] += 1
    return x * torch.rand(num_rows, 1, generator=generator(2)).add(0.1)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_rows_have_length_1_and_keep_their_direction(dtype: torch.dtype) -> None:
    x = torch.randn(20, 5, generator=generator()).to(dtype)
    before = x.clone()
    unit = unit_rows(x)
    assert unit.dtype == torch.float32
    expected = x.double() / x.double().square().sum(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(unit, expected.float())
    assert torch.equal(x, before)


def test_zeros_stay_and_extremes_do_not_overflow() -> None:
    x = torch.tensor([[0.0, 0.0], [3e38, 3e38], [1e-40, 0.0], [0.0, -5.0]])
    expected = torch.tensor([[0.0, 0.0], [math.sqrt(0.5), math.sqrt(0.5)], [1.0, 0.0], [0.0, -1.0]])
    torch.testing.assert_close(unit_rows(x), expected)
    assert unit_rows(torch.empty(0, 3)).shape == (0, 3)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_embeddings_that_are_not_finite(bad: float) -> None:
    x = torch.zeros(20, 2, dtype=torch.float16)
    check_finite(x)
    x[17, 1] = bad
    with pytest.raises(ValueError, match="embeddings are not finite: row 17 holds a NaN or an infinity"):
        check_finite(x)
    with pytest.raises(ValueError, match="embeddings are not finite: row 17 holds a NaN or an infinity"):
        unit_clusters(x, 2, generator())


@pytest.mark.usefixtures("small_blocks")
def test_distance_to_the_own_centre_matches_reference() -> None:
    """eltsai/elfs@089444b, core/utils/misc.py: Euclidean distance to the own k-means centre."""
    golden = np.load(DATA / "prototypicality.npz")
    x, centres, labels = (torch.from_numpy(golden[name]) for name in ("x", "centroids", "labels"))
    np.testing.assert_allclose(centre_distance(x, centres, labels.long()).numpy(), golden["distance"], rtol=1e-5)


@pytest.mark.parametrize("num_rows", [50, 100])
@pytest.mark.usefixtures("small_blocks")
def test_clusters_are_by_direction_with_and_without_a_sample(num_rows: int) -> None:
    centroids, assignment = unit_clusters(two_bundles(num_rows), 2, generator())
    assert torch.equal(assignment == assignment[0], torch.arange(num_rows) % 2 == 0)
    torch.testing.assert_close(centroids[assignment[:2]], torch.eye(2, 3), atol=0.2, rtol=0)


@pytest.mark.usefixtures("small_blocks")
def test_clusters_follow_the_generator() -> None:
    x = torch.randn(100, 4, generator=generator())
    first, again, other = (unit_clusters(x, 5, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.centroids, again.centroids)
    assert torch.equal(first.assignment, again.assignment)
    assert not torch.equal(first.centroids, other.centroids)


@pytest.mark.parametrize("num_rows", [50, 100])
@pytest.mark.usefixtures("small_blocks")
def test_iterations_are_those_of_kmeans(num_rows: int) -> None:
    """With and without a sample: after one iteration the centres are elsewhere than after fifty."""
    x = torch.randn(num_rows, 4, generator=generator())
    few, many, usual = (unit_clusters(x, 5, generator(), **how).centroids for how in ITERATIONS)
    assert not torch.equal(few, many)
    assert torch.equal(many, usual)


@pytest.mark.usefixtures("small_blocks")
def test_there_may_be_more_clusters_than_rows_in_the_sample() -> None:
    _, assignment = unit_clusters(two_bundles(100), 80, generator())
    assert len(assignment.unique()) <= 80
    with pytest.raises(ValueError, match="num_clusters is 101, expected 1 to 100"):
        unit_clusters(two_bundles(100), 101, generator())


@pytest.mark.parametrize("num_dims", [5, 32, 33, 384])
def test_blocks_change_no_bit(num_dims: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(101, num_dims, generator=generator()).half()
    centres, own = torch.randn(4, num_dims, generator=generator(1)), torch.arange(101) % 4
    unit, distance = unit_rows(x), centre_distance(x, centres, own)
    for num_rows in (1, 2, 7, 64):
        monkeypatch.setattr(distances, "_BLOCK_NUMBERS", num_rows * num_dims)
        assert torch.equal(unit_rows(x), unit)
        assert torch.equal(centre_distance(x, centres, own), distance)

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.ops import selection
from elfs.ops.selection import Pool, SelectorOptions, gradients
from elfs.ops.selection.gradients import nearest_squared_distance, squared_norms


def make_pool(num_rows: int = 40, *, seed: int = 0, settled: list[int] | None = None) -> Pool:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num_rows,), generator=generator)
    mask = torch.zeros(num_rows, dtype=torch.bool)
    mask[settled or []] = True
    return Pool(
        tie_breaker=torch.arange(num_rows),
        settled=mask,
        errors=torch.randn(num_rows, 3, generator=generator).softmax(dim=1) - torch.eye(3)[labels],
        features=torch.rand(num_rows, 5, generator=generator),
    )


def outer(pool: Pool) -> Tensor:
    """Return the gradients themselves, one row of errors x features a sample, float64."""
    assert pool.errors is not None
    assert pool.features is not None
    return torch.einsum("mc,mf->mcf", pool.errors.double(), pool.features.double()).flatten(1)


def distances(pool: Pool, centers: list[int]) -> Tensor:
    assert pool.errors is not None
    assert pool.features is not None
    squares = squared_norms(pool.errors, pool.features)
    return nearest_squared_distance(pool.errors, pool.features, squares, torch.tensor(centers))


def select(pool: Pool, budget: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return [int(row) for row in selection.select("badge", pool, budget, SelectorOptions(), generator)]


def plain_kmeans_plus_plus(pool: Pool, budget: int, seed: int) -> list[int]:
    """As JordanAsh/badge, badge_sampling.py, init_centers does it, but by the selector's own random numbers."""
    x = outer(pool).numpy()
    draws = torch.rand(budget, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    centers = np.flatnonzero(~pool.candidates().numpy()).tolist()
    picks: list[int] = [] if centers else [int(np.linalg.norm(x, axis=1).argmax())]
    while len(picks) < budget:
        gaps = x[:, None] - x[centers + picks][None]
        squared = np.square(gaps).sum(axis=2).min(axis=1)
        mass = np.cumsum(squared)
        picks.append(int(np.searchsorted(mass, draws[len(picks)] * mass[-1], side="right")))
    return picks


@pytest.mark.parametrize("blocks", [7, 32_768])
def test_distances_are_those_of_the_outer_products(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    monkeypatch.setattr(gradients, "_BLOCK_ROWS", blocks)
    monkeypatch.setattr(gradients, "_BLOCK_CENTERS", max(2, blocks // 4))
    pool, centers = make_pool(), [3, 11, 30, 8, 9]
    assert pool.errors is not None
    assert pool.features is not None
    x = outer(pool)
    np.testing.assert_allclose(squared_norms(pool.errors, pool.features), x.square().sum(dim=1), rtol=1e-5)
    for center in centers:
        np.testing.assert_allclose(distances(pool, [center]), (x - x[center]).square().sum(dim=1), rtol=1e-4, atol=1e-6)
    expected = torch.cdist(x, x[centers], compute_mode="donot_use_mm_for_euclid_dist").square().amin(dim=1)
    np.testing.assert_allclose(distances(pool, centers), expected, rtol=1e-4, atol=1e-6)


def test_distances_by_hand() -> None:
    """Gradients [[1, 2], [-1, -2]] and [[0, 3], [0, -6]]: 1 + 1 + 1 + 16 = 19."""
    errors, features = torch.tensor([[1.0, -1.0], [1.0, -2.0]]), torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    squares = squared_norms(errors, features)
    assert squares.tolist() == [10, 45]
    assert nearest_squared_distance(errors, features, squares, torch.tensor([0])).tolist() == [0, 19]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("settled", [[], [4, 17, 33]])
def test_picks_are_those_of_plain_kmeans_plus_plus(seed: int, settled: list[int]) -> None:
    pool = make_pool(seed=seed, settled=settled)
    assert select(pool, 20, seed) == plain_kmeans_plus_plus(pool, 20, seed)


def test_first_pick_has_the_longest_gradient() -> None:
    pool = make_pool()
    assert {select(pool, 1, seed)[0] for seed in range(5)} == {int(outer(pool).norm(dim=1).argmax())}


def test_half_precision_does_nearly_the_same() -> None:
    pool = make_pool()
    assert pool.errors is not None
    assert pool.features is not None
    half = dataclasses.replace(pool, errors=pool.errors.half(), features=pool.features.half())
    np.testing.assert_allclose(distances(half, [5]), distances(pool, [5]), atol=2e-3)
    assert len(set(select(half, 30))) == 30


@pytest.mark.parametrize("seed", range(10))
def test_copies_of_a_drawn_row_come_last_and_the_lowest_first(seed: int) -> None:
    """Four rows four times: rounding must not give a copy any weight."""
    pool = make_pool(4, seed=seed)
    assert pool.errors is not None
    assert pool.features is not None
    copies = Pool(
        tie_breaker=torch.arange(16),
        errors=(pool.errors * 1e-3).repeat(4, 1),
        features=(pool.features * 37).repeat(4, 1),
    )
    picked = select(copies, 16, seed)
    assert {row % 4 for row in picked[:4]} == {0, 1, 2, 3}
    assert picked[4:] == sorted(picked[4:])
    assert sorted(picked) == list(range(16))


def test_copies_of_a_settled_row_come_last() -> None:
    pool = make_pool(3, settled=[0])
    assert pool.errors is not None
    assert pool.features is not None
    errors, features = pool.errors.clone(), pool.features.clone()
    errors[1], features[1] = errors[0], features[0]
    pool = dataclasses.replace(pool, errors=errors, features=features)
    assert select(pool, 1) == [2]
    assert select(pool, 2) == [2, 1]


def test_gradients_of_zero() -> None:
    pool = dataclasses.replace(make_pool(5), errors=torch.zeros(5, 3))
    assert select(pool, 3) == [0, 1, 2]
    assert select(dataclasses.replace(pool, settled=torch.tensor([True, False, False, True, False])), 3) == [1, 2, 4]


@pytest.mark.parametrize("field", ["errors", "features"])
def test_fields_are_needed(field: str) -> None:
    pool = dataclasses.replace(make_pool(), **{field: None})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"needs the pool's {field}, got None"):
        select(pool, 1)

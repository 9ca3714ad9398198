import math
from pathlib import Path

import numpy as np
import pytest
import torch

from elfs.errors import UsageError
from elfs.ops import selection
from elfs.ops.scores import hardness
from elfs.ops.selection import Pool, SelectorOptions

DATA = Path(__file__).parents[2] / "data"


def select(name: str, pool: Pool, budget: int, *, hard_rate: float = 0.0, seed: int = 0) -> list[int]:
    options, generator = SelectorOptions(hard_rate=hard_rate), torch.Generator().manual_seed(seed)
    return [int(position) for position in selection.select(name, pool, budget, options, generator)]


def pool_of(values: list[float]) -> Pool:
    return Pool(tie_breaker=torch.arange(len(values)), hardness=torch.tensor(values))


@pytest.mark.parametrize(("budget", "hard_rate"), [(0.1, 0.4), (0.3, 0.2), (0.5, 0.3), (0.2, 0.0)])
def test_double_end_matches_reference(budget: float, hard_rate: float) -> None:
    """eltsai/elfs@089444b, core/data/Coreset.py, direct_selection, by AUM.

    Other keys (it sorts by AUM all the same) and hard_rate + budget = 1 (it returns nothing) are defects: not compared.
    """
    golden = np.load(DATA / "selection.npz")
    aum = torch.from_numpy(golden["aum"])
    pool = Pool(tie_breaker=torch.arange(1000), hardness=hardness(aum, "aum"))
    expected = golden[f"double_end_b{budget}_m{hard_rate}"].tolist()
    assert select("elfs", pool, round(budget * 1000), hard_rate=hard_rate) == expected


def test_double_end_by_hand() -> None:
    pool = pool_of([0.1, 0.9, 0.5, 0.7, 0.3])
    assert select("elfs", pool, 2, hard_rate=0.2) == [3, 2]
    assert select("elfs", pool, 2) == select("hardest", pool, 2) == [1, 3]
    assert select("easiest", pool, 2) == [0, 4]


@pytest.mark.parametrize(("hard_rate", "num_rows", "num_pruned"), [(0.3, 1000, 300), (0.29, 100, 29), (0.57, 100, 57)])
def test_the_hard_rate_is_the_decimal_that_was_typed(hard_rate: float, num_rows: int, num_pruned: int) -> None:
    pool = pool_of([-float(row) for row in range(num_rows)])
    assert select("elfs", pool, 1, hard_rate=hard_rate) == [num_pruned]


@pytest.mark.parametrize("hard_rate", [0.0, 0.1, 0.4, 0.7, 0.9])
def test_hard_rate_and_budget_may_add_up_to_the_pool(hard_rate: float) -> None:
    num_rows = 30
    pool = pool_of([-float(row) for row in range(num_rows)])
    num_pruned = round(hard_rate * num_rows)
    expected = list(range(num_pruned, num_rows))
    assert select("elfs", pool, num_rows - num_pruned, hard_rate=hard_rate) == expected


def test_the_largest_hard_rate_that_fits_is_named_and_fits() -> None:
    pool = pool_of([float(row) for row in range(1437)])
    with pytest.raises(UsageError, match=r"a hard rate of 0.95 leaves 72 of 1,437 images.*144.*fits is 0.8997"):
        select("elfs", pool, 144, hard_rate=0.95)
    assert len(select("elfs", pool, 144, hard_rate=0.8997)) == 144
    with pytest.raises(UsageError, match=r"The largest hard rate that fits is 0\.$"):
        select("elfs", pool, 1437, hard_rate=0.001)


def test_row_50_ties_follow_the_tie_breaker_in_every_direction() -> None:
    pool = Pool(tie_breaker=torch.tensor([5, 3, 9, 1]), hardness=torch.zeros(4))
    for name in ("elfs", "hardest", "easiest"):
        assert select(name, pool, 3) == [3, 1, 0]
    assert select("elfs", pool, 2, hard_rate=0.25) == [1, 0]


@pytest.mark.parametrize("name", ["elfs", "hardest", "easiest"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rows_without_a_finite_score_are_never_selected(name: str, bad: float) -> None:
    pool = pool_of([0.1, bad, 0.2, bad, 0.3])
    assert sorted(select(name, pool, 3)) == [0, 2, 4]
    message = r"the budget is 4 images, expected 1 to 3: that many are eligible \(2 of 5 are settled or have no score\)"
    with pytest.raises(UsageError, match=message):
        select(name, pool, 4)


def test_the_hard_rate_is_a_share_of_the_rows_with_a_score() -> None:
    assert select("elfs", pool_of([math.nan] * 6 + [4.0, 3.0, 2.0, 1.0]), 2, hard_rate=0.5) == [8, 9]


def test_settled_rows_are_pruned_with_the_others_but_never_selected() -> None:
    """The second round goes on where the first one ended."""
    pool = Pool(tie_breaker=torch.arange(10), hardness=torch.arange(10, 0, -1).float())
    first = select("elfs", pool, 3, hard_rate=0.2)
    assert first == [2, 3, 4]
    settled = torch.zeros(10, dtype=torch.bool)
    settled[first] = True
    second = Pool(tie_breaker=pool.tie_breaker, hardness=pool.hardness, settled=settled)
    assert select("elfs", second, 5, hard_rate=0.2) == [5, 6, 7, 8, 9]
    message = r"a hard rate of 0.6 leaves 4 of 7 images for a budget of 5. The largest hard rate that fits is 0.5"
    with pytest.raises(UsageError, match=message):
        select("elfs", second, 5, hard_rate=0.6)
    assert select("elfs", second, 5, hard_rate=0.5) == [5, 6, 7, 8, 9]


def test_random_needs_no_score_and_follows_its_seed() -> None:
    pool = Pool(tie_breaker=torch.arange(200))
    assert select("random", pool, 20, seed=1) != select("random", pool, 20, seed=2)
    assert select("random", pool, 20)[:5] == select("random", pool, 5)


def test_random_is_uniform() -> None:
    pool = Pool(tie_breaker=torch.tensor([7, 2, 9, 4, 5]))
    counts = np.bincount([row for seed in range(2000) for row in select("random", pool, 2, seed=seed)], minlength=5)
    assert np.abs(counts - 800).max() < 5 * math.sqrt(2000 * 0.4 * 0.6)  # five standard deviations

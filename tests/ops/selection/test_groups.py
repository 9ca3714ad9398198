"""Limits by group, whatever picks."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.selection import Pool, SelectorOptions, select
from elfs.ops.selection.groups import capped, rank_in_group, whole_groups


def pool_of(groups: list[int], settled: list[int] | None = None) -> Pool:
    held = None if settled is None else torch.isin(torch.arange(len(groups)), torch.tensor(settled))
    return Pool(tie_breaker=torch.arange(len(groups)), groups=torch.tensor(groups), settled=held)


def in_order(pool: Pool, count: int) -> Tensor:
    """Pick the first rows that there are."""
    return torch.nonzero(pool.candidates()).flatten()[:count]


def test_rank_in_group() -> None:
    assert rank_in_group(torch.tensor([3, 3, 0, 3, 0, 7])).tolist() == [0, 1, 0, 2, 1, 0]
    assert rank_in_group(torch.tensor([], dtype=torch.int64)).tolist() == []


def test_settled_rows_count_towards_the_limit() -> None:
    pool = pool_of([0, 0, 0, 1, 1, 1, 2], settled=[1, 4, 5])
    assert capped(in_order, pool, 3, 2).tolist() == [0, 6]  # group 1 is full
    assert capped(in_order, pool, 9, 3).tolist() == [0, 2, 3, 6]
    assert capped(in_order, pool_of([0, 0], settled=[0]), 1, 1).tolist() == []


def test_a_selector_is_asked_a_logarithmic_number_of_times() -> None:
    asked: list[int] = []

    def pick(pool: Pool, count: int) -> Tensor:
        asked.append(count)
        return in_order(pool, count)

    groups = (torch.arange(4000) // 100).tolist()
    assert capped(pick, pool_of(groups), 40, 1).tolist() == list(range(0, 4000, 100))
    assert len(asked) <= 8
    asked.clear()
    assert len(whole_groups(pick, pool_of(groups), 2000, alike=False)) == 2000
    assert len(asked) <= 8


def test_groups_that_are_larger_than_the_rest_of_the_budget_are_passed_over() -> None:
    pool = pool_of([0, 0, 0, 1, 1, 1, 1, 2, 2, 3])
    assert whole_groups(in_order, pool, 6, alike=False).tolist() == [0, 1, 2, 7, 8, 9]
    assert whole_groups(in_order, pool, 1, alike=False).tolist() == [9]
    assert whole_groups(in_order, pool_of([0, 0]), 1, alike=False).tolist() == []


def test_what_is_left_of_a_group_is_taken_as_a_whole() -> None:
    assert whole_groups(in_order, pool_of([0, 0, 0, 1], settled=[0]), 2, alike=False).tolist() == [1, 2]


def test_by_chance_a_group_is_as_likely_as_any_other_whatever_its_size() -> None:
    groups = [0] * 20 + [1] * 2 + [2] * 2 + [3] * 2
    first: Counter[int] = Counter()
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        picked = select("random", pool_of(groups), 26, SelectorOptions(whole_groups=True), generator)
        assert sorted(picked.tolist()) == list(range(26))
        first[groups[int(picked[0])]] += 1
    assert max(first.values()) < 75  # 50 +- 6; by images the large one would come first 154 times


def test_hard_rate_that_leaves_too_few_is_refused_whatever_the_limit() -> None:
    pool = Pool(tie_breaker=torch.arange(10), groups=torch.arange(10) // 2, hardness=torch.arange(10).float())
    options = SelectorOptions(hard_rate=0.8, per_group=1)
    with pytest.raises(UsageError, match=r"a hard rate of 0\.8 leaves 2 of 10 images for a budget of 4"):
        select("elfs", pool, 4, options, torch.Generator())
    assert select("elfs", pool, 2, options, torch.Generator()).tolist() == [1]  # 0 and 1 are one group

import dataclasses

import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.selection import Pool, SelectorOptions, select
from elfs.ops.selection.pool import check_budget, required, take


@pytest.mark.parametrize(
    ("field", "value"),
    [("hardness", torch.zeros(2)), ("pseudo_labels", torch.zeros(4)), ("neighbors", torch.ones(1, 3))],
)
def test_fields_of_different_length(field: str, value: Tensor) -> None:
    with pytest.raises(ValueError, match=f"{field} has {len(value)} rows, expected 3 as in tie_breaker"):
        dataclasses.replace(Pool(tie_breaker=torch.arange(3)), **{field: value})  # type: ignore[arg-type]


def test_score_of_different_length() -> None:
    with pytest.raises(ValueError, match="aum has 2 rows, expected 3 as in tie_breaker"):
        Pool(tie_breaker=torch.arange(3), scores={"aum": torch.zeros(2)})


def test_field_that_is_not_there() -> None:
    pool = Pool(tie_breaker=torch.arange(2), scores={"aum": torch.zeros(2)})
    assert required(pool, "aum").tolist() == [0, 0]
    for name in ("hardness", "dual"):
        with pytest.raises(ValueError, match=f"this selector needs the pool's {name}, got None"):
            required(pool, name)


def test_budget_and_what_is_eligible() -> None:
    eligible = torch.tensor([True, False, True])
    check_budget(2, eligible)
    message = r"the budget is 3 images, expected 1 to 2: that many are eligible \(1 of 3 are settled or have no score\)"
    with pytest.raises(UsageError, match=message):
        check_budget(3, eligible)


def test_rows_that_are_taken_keep_their_neighbours() -> None:
    pool = Pool(
        tie_breaker=torch.tensor([9, 8, 7, 6]),
        settled=torch.tensor([True, False, False, True]),
        scores={"aum": torch.tensor([0.0, 1.0, 2.0, 3.0])},
        neighbors=torch.tensor([[1, 2], [3, -1], [0, 1], [2, 0]]),
        similarity=torch.tensor([[0.9, 0.8], [0.7, 0.0], [0.6, 0.5], [0.4, 0.3]]),
    )
    taken = take(pool, torch.tensor([3, 0, 2]))
    assert taken.tie_breaker.tolist() == [6, 9, 7]
    assert taken.scores["aum"].tolist() == [3, 0, 2]
    assert taken.neighbors is not None
    assert taken.neighbors.tolist() == [[2, 1], [2, -1], [1, -1]]
    assert taken.similarity is not None
    torch.testing.assert_close(taken.similarity, torch.tensor([[0.4, 0.3], [0.8, 0.9], [0.6, 0.5]]))
    assert taken.settled is not None
    assert taken.settled.tolist() == [True, True, False]


def test_balance_fills_the_smaller_clusters_first_and_interleaves() -> None:
    pool = Pool(
        tie_breaker=torch.arange(7),
        hardness=torch.tensor([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]),
        pseudo_labels=torch.tensor([0, 0, 0, 0, 0, 1, 1]),
    )
    picked = select("hardest", pool, 5, SelectorOptions(), torch.Generator(), balance="pseudo_labels")
    assert picked.tolist() == [0, 5, 1, 6, 2]  # three of cluster 0 and both of cluster 1, at 1/6 1/4 3/6 3/4 5/6


def test_balance_counts_what_is_settled() -> None:
    pool = Pool(
        tie_breaker=torch.arange(6),
        hardness=torch.arange(6).float(),
        pseudo_labels=torch.tensor([0, 0, 0, 1, 1, 1]),
        settled=torch.tensor([False, True, True, False, False, False]),
    )
    assert select("easiest", pool, 2, SelectorOptions(), torch.Generator(), balance="pseudo_labels").tolist() == [3, 4]


def test_balance_and_pruning_share_out_what_is_left() -> None:
    """Of 100 rows in two clusters, one of 4: half of each is pruned, so the small one can give 2."""
    pool = Pool(
        tie_breaker=torch.arange(100),
        hardness=-torch.arange(100).float(),
        pseudo_labels=(torch.arange(100) >= 96).long(),
        scores={"aum": torch.arange(100).float()},
    )
    for name in ("elfs", "ccs"):
        options, generator = SelectorOptions(hard_rate=0.5), torch.Generator().manual_seed(0)
        picked = select(name, pool, 20, options, generator, balance="pseudo_labels")
        assert sorted(row for row in picked.tolist() if row >= 96) == [98, 99]
        assert min(picked.tolist()) >= 48
        message = r"a hard rate of 0.5 leaves 50 images for a budget of 51: in every cluster and block"
        with pytest.raises(UsageError, match=message):
            select(name, pool, 51, SelectorOptions(hard_rate=0.5), torch.Generator(), balance="pseudo_labels")


def test_more_blocks_than_rows() -> None:
    pool = Pool(tie_breaker=torch.arange(5), hardness=torch.arange(5).float())
    picked = select("hardest", pool, 5, SelectorOptions(), torch.Generator(), num_blocks=10**12)
    assert sorted(picked.tolist()) == list(range(5))


def test_blocks_share_the_budget_in_proportion() -> None:
    pool = Pool(tie_breaker=torch.arange(100), hardness=torch.arange(100).float())
    picked = select("hardest", pool, 30, SelectorOptions(), torch.Generator().manual_seed(0), num_blocks=3)
    block = torch.empty(100, dtype=torch.int64)
    block[torch.randperm(100, generator=torch.Generator().manual_seed(0))] = torch.arange(100) % 3
    assert torch.bincount(block[picked]).tolist() == [10, 10, 10]
    for number in range(3):
        rows = torch.nonzero(block == number).flatten()
        assert sorted(picked[block[picked] == number].tolist()) == rows[-10:].tolist()


def test_number_of_blocks() -> None:
    with pytest.raises(ValueError, match="num_blocks is 0, expected at least 1"):
        select("random", Pool(tie_breaker=torch.arange(3)), 1, SelectorOptions(), torch.Generator(), num_blocks=0)


def test_method_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match=r"unknown method 'hardst'. Did you mean 'hardest'\?"):
        select("hardst", Pool(tie_breaker=torch.arange(3)), 1, SelectorOptions(), torch.Generator())

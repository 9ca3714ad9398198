import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from elfs.ops import duplicates
from elfs.ops.duplicates import close_pairs, kept_rows, near_distance, rounding_distance


def test_near_distance_is_a_quarter_of_the_median_apart_from_exact_copies() -> None:
    distance = torch.tensor([0.0, 0.001, 0.4, 0.8, 1.2])
    similarity = 1 - distance**2 / 2
    similarity = torch.cat([similarity, torch.tensor([math.nan])])
    assert near_distance(similarity) == pytest.approx(0.2, rel=1e-5)


def test_near_distance_of_a_pool_of_copies() -> None:
    assert near_distance(torch.ones(4)) == 0.0


def test_close_pairs_by_hand() -> None:
    neighbors = torch.tensor([[1, 2], [0, 2], [1, -1]], dtype=torch.int32)
    similarity = torch.tensor([[0.99, 0.5], [0.99, 0.4], [0.4, 0.999]])
    distance = math.sqrt(2 - 2 * 0.98)
    assert close_pairs(neighbors, similarity, distance).tolist() == [[0, 1], [0, 1]]
    assert len(close_pairs(neighbors, similarity, 2.0)) == 5  # all but the neighbour that is none
    assert close_pairs(neighbors, similarity, 0.0).shape == (0, 2)


def test_rounding_distance_follows_the_spread_and_not_the_length() -> None:
    """Two rows at distance 2 from their mean, which lies far from the origin."""
    rows = torch.tensor([[1002.0, 0.0], [998.0, 0.0]])
    assert rounding_distance(rows) == pytest.approx(2e-5)
    assert rounding_distance(rows.half()) == pytest.approx(4e-3)


def values_differ_by(values: list[float], most: float) -> Callable[[Tensor, Tensor], Tensor]:
    numbers = torch.tensor(values)
    return lambda first, second: (numbers[first] - numbers[second]).abs() <= most


def none_settled(num_rows: int) -> Tensor:
    return torch.zeros(num_rows, dtype=torch.bool)


@pytest.mark.parametrize("block_rows", [1, 65_536])
def test_copies_of_one_image_are_one_group_and_its_first_row_stays(block_rows: int) -> None:
    pairs = torch.tensor([[2, 4], [1, 2], [0, 5]])
    is_copy = values_differ_by([0.0, 1.0, 1.0, 2.0, 1.0, 0.0], 0.0)
    kept = kept_rows(pairs, none_settled(6), is_copy, block_rows=block_rows)
    assert kept.tolist() == [True, True, False, True, False, False]


def test_chain_of_small_changes_keeps_what_differs_from_all_that_is_kept() -> None:
    pairs = torch.stack([torch.arange(9), torch.arange(1, 10)], dim=1)
    is_copy = values_differ_by([0.1 * step for step in range(10)], 0.25)
    assert torch.nonzero(kept_rows(pairs, none_settled(10), is_copy)).flatten().tolist() == [0, 3, 6, 9]


def test_pair_that_is_no_copy_on_a_second_look_stays() -> None:
    assert kept_rows(torch.tensor([[0, 1]]), none_settled(2), values_differ_by([0.0, 1.0], 0.5)).all()


def test_of_settled_copies_all_stay_and_nothing_else_of_their_group() -> None:
    pairs = torch.tensor([[0, 1], [1, 2], [3, 4]])
    settled = torch.tensor([False, True, True, False, False])
    kept = kept_rows(pairs, settled, values_differ_by([0.0, 0.0, 0.0, 1.0, 1.0], 0.0))
    assert kept.tolist() == [False, True, True, True, False]


def test_pool_without_copies() -> None:
    none = torch.zeros(0, 2, dtype=torch.int64)
    assert kept_rows(none, none_settled(3), values_differ_by([0.0] * 3, 1.0)).all()


def test_what_is_left_after_many_leaders_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_MAX_LEADERS", 1)
    pairs = torch.tensor([[0, 1], [1, 2], [2, 3]])
    kept = kept_rows(pairs, none_settled(4), values_differ_by([0.0, 0.0, 1.0, 1.0], 0.0))
    assert kept.tolist() == [True, False, True, True]

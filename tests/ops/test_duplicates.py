import math

import pytest
import torch

from elfs.ops.duplicates import close_pairs, equal_pairs, kept_rows, near_distance


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
    assert close_pairs(neighbors, similarity, distance).tolist() == [[0, 1], [1, 0]]
    assert len(close_pairs(neighbors, similarity, 2.0)) == 5  # all but the neighbour that is none
    assert close_pairs(neighbors, similarity, 0.0).shape == (0, 2)


def test_equal_embeddings_survive_rounding_but_not_scaling() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(20, 64, generator=generator)
    assert equal_pairs(first, first.half()).all()
    assert not equal_pairs(first, 1.01 * first).any()
    assert equal_pairs(torch.zeros(1, 3), torch.zeros(1, 3)).all()


def test_copies_of_copies_are_one_group_and_its_first_row_stays() -> None:
    pairs = torch.tensor([[4, 2], [2, 1], [5, 0]])
    settled = torch.zeros(6, dtype=torch.bool)
    assert kept_rows(6, pairs, settled).tolist() == [True, True, False, True, False, False]


def test_of_settled_copies_all_stay_and_nothing_else_of_their_group() -> None:
    pairs = torch.tensor([[0, 1], [1, 2], [3, 4]])
    settled = torch.tensor([False, True, True, False, False])
    assert kept_rows(5, pairs, settled).tolist() == [False, True, True, True, False]


def test_pool_without_copies() -> None:
    none = torch.zeros(0, 2, dtype=torch.int64)
    assert kept_rows(3, none, torch.zeros(3, dtype=torch.bool)).all()

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from elfs.ops.duplicates import kept_of_equal, kept_of_near, near_distances, near_pairs
from elfs.ops.neighbors import cosine_neighbors


def none_settled(num_rows: int) -> Tensor:
    return torch.zeros(num_rows, dtype=torch.bool)


def test_of_equal_rows_the_first_stays() -> None:
    content = torch.tensor([7, 3, 7, 0, 3, 7, 0, -5])
    assert kept_of_equal(content, none_settled(8)).tolist() == [True, True, False, True, False, False, True, True]


def test_of_settled_equal_rows_all_stay_and_no_other() -> None:
    content = torch.tensor([7, 7, 7, 7, 3, 3])
    settled = torch.tensor([False, True, True, False, False, False])
    assert kept_of_equal(content, settled).tolist() == [False, True, True, False, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_kept_rows_are_those_of_a_look_at_each(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    content = torch.randint(-20, 20, (60,), generator=generator)
    settled = torch.rand(60, generator=generator) < 0.2
    seen = set(content[settled].tolist()) - {0}
    expected = settled.tolist()
    for row in torch.nonzero(~settled).flatten().tolist():
        number = int(content[row])
        expected[row] = number not in seen
        seen |= {number} - {0}
    assert kept_of_equal(content, settled).tolist() == expected


@pytest.mark.parametrize("num_copies", [2, 20, 400])
def test_any_number_of_equal_rows_is_found(num_copies: int) -> None:
    """No list of neighbours bounds how many copies one picture can have."""
    content = torch.arange(1, 51).repeat(num_copies)
    kept = kept_of_equal(content, none_settled(len(content)))
    assert torch.nonzero(kept).flatten().tolist() == list(range(50))


def test_pool_of_nothing() -> None:
    assert kept_of_equal(torch.zeros(0, dtype=torch.int64), none_settled(0)).shape == (0,)
    assert kept_of_near(torch.zeros(0, 2, dtype=torch.int64), none_settled(0)).shape == (0,)


def test_near_distance_is_a_quarter_of_the_median_where_dimensions_are_many() -> None:
    """With the last neighbour hardly farther than the median one, the pool has many dimensions."""
    distance = torch.tensor([[0.4, 0.8, 0.81], [0.2, 0.4, 0.405], [math.nan] * 3])
    expected = torch.tensor([0.2, 0.1, 0.0], dtype=torch.float64)
    torch.testing.assert_close(near_distances(1 - distance**2 / 2), expected, rtol=1e-5, atol=0)


def test_near_distance_shrinks_where_unrelated_rows_are_close_by() -> None:
    """Twice as far for the last of four neighbours as for the median: one dimension, 1 % of two neighbours."""
    distance = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    assert float(near_distances(1 - distance**2 / 2)) == pytest.approx(0.2 * 0.01 / 2, rel=1e-4)


def test_near_pairs_by_hand() -> None:
    neighbors = torch.tensor([[1, 2], [0, 2], [1, -1]], dtype=torch.int32)
    similarity = 1 - torch.tensor([[0.1, 0.9], [0.1, 0.5], [0.5, math.nan]]) ** 2 / 2
    assert near_pairs(neighbors, similarity, torch.tensor([0.2, 0.2, 0.6]).double()).tolist() == [[0, 1], [0, 1]]
    assert near_pairs(neighbors, similarity, torch.tensor([0.2, 0.05, 0.6]).double()).shape == (0, 2)  # not for both
    assert len(near_pairs(neighbors, similarity, torch.ones(3).double())) == 5  # all but the neighbour that is none


def test_chain_of_small_changes_keeps_every_second_row() -> None:
    pairs = torch.stack([torch.arange(9), torch.arange(1, 10)], dim=1)
    assert torch.nonzero(kept_of_near(pairs, none_settled(10))).flatten().tolist() == [0, 2, 4, 6, 8]


def test_settled_rows_lead_and_stay() -> None:
    pairs = torch.tensor([[0, 1], [1, 2], [2, 3], [2, 4]])
    settled = torch.tensor([False, False, True, False, True])
    assert kept_of_near(pairs, settled).tolist() == [True, False, True, False, True]


def test_what_is_left_out_is_near_what_stays_and_what_stays_is_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(200, (400, 2), generator=generator)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    kept = kept_of_near(pairs, none_settled(200))
    assert not kept[pairs].all(dim=1).any()
    both = torch.cat([pairs, pairs.flip(1)])
    has_kept_neighbor = none_settled(200)
    has_kept_neighbor[both[kept[both[:, 0]], 1]] = True
    assert bool((kept | has_kept_neighbor).all())


@pytest.mark.parametrize("num_dims", [2, 3, 16])
@pytest.mark.parametrize("spread", [0.2, 2.0])
def test_rows_that_lie_evenly_are_hardly_ever_near_copies(num_dims: int, spread: float) -> None:
    """Three groups, tight or wide: what is close is told by the rows around, not by one number for the pool."""
    generator = torch.Generator().manual_seed(num_dims)
    centre = 3 * torch.eye(num_dims + 1)[torch.arange(900) % 3 % (num_dims + 1)]
    rows = normalize(centre + spread * torch.rand(900, num_dims + 1, generator=generator))
    neighbors, similarity = cosine_neighbors(rows, 20, device=torch.device("cpu"))
    pairs = near_pairs(neighbors, similarity, near_distances(similarity))
    assert int(kept_of_near(pairs, none_settled(900)).sum()) >= 880
    copies = torch.cat([rows, normalize(rows[:100] + 1e-5)])
    neighbors, similarity = cosine_neighbors(copies, 20, device=torch.device("cpu"))
    pairs = near_pairs(neighbors, similarity, near_distances(similarity))
    assert int(kept_of_near(pairs, none_settled(1000))[900:].sum()) <= 2

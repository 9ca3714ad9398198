import math

import pytest
import torch

from elfs.ops.selection import Pool
from elfs.ops.selection.pool import take
from elfs.ops.selection.trust import neighbor_trust


def ring(num_rows: int, num_neighbors: int) -> torch.Tensor:
    """Return the next rows of a ring."""
    return (torch.arange(num_rows).unsqueeze(1) + torch.arange(1, num_neighbors + 1)) % num_rows


def test_by_hand() -> None:
    """Six pairs agree of seven, as a row alone is asked about one; chance is 3/4 in six of them and 1/4 in one."""
    labels = torch.tensor([0, 0, 0, 1])
    neighbors = torch.tensor([[1, 2], [0, 2], [0, 1], [0, 1]], dtype=torch.int32)
    assert neighbor_trust(labels, [neighbors]) == pytest.approx(math.sqrt((6 / 7 - 19 / 28) / (1 - 19 / 28)))


@pytest.mark.parametrize("sizes", [(6, 6), (3, 5, 4), (2,) * 10, (11, 12), (2, 40), (10, 11)])
def test_clusters_that_are_each_others_nearest_are_believed_whatever_their_size(sizes: tuple[int, ...]) -> None:
    """Ten neighbours of 12 images in two clusters of 6 cannot all agree; the first five do."""
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    distance = (labels[:, None] != labels).double() + torch.eye(len(labels)) * 2
    near = distance.argsort(dim=1, stable=True)[:, : min(20, len(labels) - 1)]
    assert neighbor_trust(labels, near.split(5)) == 1.0


@pytest.mark.parametrize("size", [1, 2, 5, 10, 11, 30])
def test_labels_dealt_out_by_chance_are_not_believed_whatever_their_size(size: int) -> None:
    draws = torch.Generator().manual_seed(3)
    labels = (torch.arange(3000) // size)[torch.randperm(3000, generator=draws)]
    assert neighbor_trust(labels, [ring(3000, 10)]) < 0.1


@pytest.mark.parametrize("size", [3, 7, 11])
def test_against_loops(size: int) -> None:
    draws = torch.Generator().manual_seed(size)
    labels = torch.randint(60 // size, (60,), generator=draws).sort().values
    labels[torch.rand(60, generator=draws) < 0.1] = -1
    near = torch.stack([torch.cat([(row + torch.arange(1, 16)) % 60, torch.tensor([-1])]) for row in range(60)])
    sizes = {value: int((labels == value).sum()) for value in set(labels.tolist()) - {-1}}
    pairs = []
    for row in range(60):
        if (own := int(labels[row])) >= 0:
            room = max(1, min(10, sizes[own] - 1))
            others = [int(labels[other]) for other in near[row].tolist() if other >= 0 and labels[other] >= 0][:room]
            pairs += [(own, other) for other in others]
    agree = sum(own == other for own, other in pairs) / len(pairs)
    chance = sum(sizes[own] for own, _ in pairs) / sum(sizes.values()) / len(pairs)
    assert neighbor_trust(labels, near.split(9)) == pytest.approx(math.sqrt((agree - chance) / (1 - chance)))


@pytest.mark.parametrize("right", [0.9, 0.6, 0.3, 0.0])
def test_finds_the_share_of_labels_that_follow_the_neighbours(right: float) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(20_000) // 2000
    labels = torch.where(
        torch.rand(20_000, generator=generator) < right, truth, truth[torch.randperm(20_000, generator=generator)]
    )
    assert neighbor_trust(labels, ring(20_000, 10).split(7_000)) == pytest.approx(right, abs=0.02 if right else 0.1)


def test_rows_without_neighbours_and_neighbours_beyond_the_tenth_do_not_count() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert neighbor_trust(labels, [torch.tensor([[1, -1], [0, -1], [3, -1], [-1, -1]])]) == 1.0
    near = ring(40, 12)
    halves = torch.arange(40) // 20
    tenth = neighbor_trust(halves, [near[:, :10]])
    assert neighbor_trust(halves, [near]) == tenth != neighbor_trust(halves, [near[:, :9]])


def test_nothing_speaks_for_them() -> None:
    assert neighbor_trust(torch.zeros(5, dtype=torch.int64), [ring(5, 2)]) == 0.0  # one cluster
    assert neighbor_trust(torch.arange(4) % 2, [torch.full((4, 3), -1)]) == 0.0  # no neighbours
    assert neighbor_trust(torch.arange(4) % 2, [ring(4, 1)]) == 0.0  # always the other label
    assert neighbor_trust(torch.zeros(1, dtype=torch.int64), [torch.zeros(1, 0, dtype=torch.int64)]) == 0.0


@pytest.mark.usefixtures("three_threads")
def test_blocks_and_threads_change_nothing() -> None:
    labels = torch.randint(3, (50,), generator=torch.Generator().manual_seed(1)).sort().values
    assert neighbor_trust(labels, ring(50, 4).split(7)) == neighbor_trust(labels, [ring(50, 4)]) > 0.5


def test_rows_that_do_not_count_are_as_if_they_were_not_there() -> None:
    draws = torch.Generator().manual_seed(2)
    labels = torch.randint(3, (60,), generator=draws).sort().values
    near = torch.stack([torch.randperm(60, generator=draws)[:25] for _ in range(60)])
    left_out = torch.rand(60, generator=draws) < 0.4
    kept = torch.nonzero(~left_out).flatten()
    alone = take(Pool(tie_breaker=torch.arange(60), pseudo_labels=labels, neighbors=near), kept)
    assert alone.pseudo_labels is not None
    assert alone.neighbors is not None
    expected = neighbor_trust(alone.pseudo_labels, [alone.neighbors])
    assert neighbor_trust(labels.masked_fill(left_out, -1), near.split(11)) == expected > 0


def test_row_counts_differ() -> None:
    with pytest.raises(ValueError, match="neighbors has 3 rows, expected 4 as in pseudo_labels"):
        neighbor_trust(torch.zeros(4, dtype=torch.int64), [ring(3, 1)])

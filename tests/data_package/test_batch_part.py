"""How batches are cut among processes."""

import pytest
import torch

from elfs.data.batch_part import WHOLE, BatchPart


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [(10, 1, [10]), (10, 2, [5, 5]), (10, 3, [4, 3, 3]), (11, 3, [4, 4, 3]), (2, 3, [1, 1, 0]), (0, 2, [0, 0])],
)
def test_shares_are_nearly_equal_runs(count: int, size: int, lengths: list[int]) -> None:
    batch = torch.arange(count)
    parts = [BatchPart(rank, size).cut(batch) for rank in range(size)]
    assert [len(part) for part in parts] == lengths
    assert torch.equal(torch.cat(parts), batch)


def test_first_share_is_the_longest() -> None:
    for count in range(1, 20):
        lengths = [len(BatchPart(rank, 4).cut(torch.arange(count))) for rank in range(4)]
        assert lengths[0] == max(lengths) <= min(lengths) + 1


def test_empty_share_is_stood_in_for() -> None:
    batch = torch.tensor([[7, 1], [8, 2]])
    assert [BatchPart(rank, 3).padded(batch).tolist() for rank in range(3)] == [[[7, 1]], [[8, 2]], [[7, 1]]]


def test_whole_is_everything() -> None:
    batch = torch.arange(5)
    assert torch.equal(WHOLE.cut(batch), batch)
    assert torch.equal(WHOLE.padded(batch), batch)

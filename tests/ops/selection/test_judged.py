"""Rows that stand for a whole pool."""

import torch

from elfs.ops.selection.judged import some_rows


def test_rows_are_the_sorted_beginning_of_a_permutation() -> None:
    expected = torch.randperm(100, generator=torch.Generator().manual_seed(3))[:10].sort().values
    found = some_rows(100, 10, torch.Generator().manual_seed(3))
    assert found.dtype == torch.int64
    assert torch.equal(found, expected)


def test_of_no_more_rows_than_are_wanted_nothing_is_drawn() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert some_rows(4, 4, generator).tolist() == [0, 1, 2, 3]
    assert torch.equal(generator.get_state(), before)

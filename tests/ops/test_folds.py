"""Who is left out by which proxy."""

import pytest
import torch

from elfs.ops.folds import deal_folds


@pytest.mark.parametrize("num_folds", [1, 2, 3, 7])
def test_folds_are_even_in_every_class(num_folds: int) -> None:
    labels = torch.tensor([0] * 11 + [1] * 5 + [2] + [3] * 40)
    folds = deal_folds(labels, num_folds, torch.Generator().manual_seed(0))
    for part in (labels >= 0, labels == 0, labels == 1, labels == 2, labels == 3):
        counts = torch.bincount(folds[part], minlength=num_folds)
        assert counts.max() - counts.min() <= 1
        assert len(counts) == num_folds


def test_another_generator_deals_otherwise() -> None:
    labels = torch.zeros(50, dtype=torch.int64)
    first, again, other = (deal_folds(labels, 2, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

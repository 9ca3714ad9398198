"""Who is left out by which proxy."""

import pytest
import torch

from elfs.ops.folds import deal_folds, seen_elsewhere


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


@pytest.mark.parametrize("num_folds", [2, 3, 5])
def test_no_group_is_split_and_folds_are_as_even_as_groups_allow(num_folds: int) -> None:
    generator = torch.Generator().manual_seed(1)
    groups = torch.randint(40, (400,), generator=generator)
    labels = (groups * 7 + torch.randint(2, (400,), generator=generator)) % 4
    folds = deal_folds(labels, num_folds, torch.Generator().manual_seed(0), groups)
    assert all(len(folds[groups == group].unique()) == 1 for group in groups.unique())
    for part in (labels >= 0, *(labels == value for value in range(4))):
        counts = torch.bincount(folds[part], minlength=num_folds)
        assert counts.min() > 0.7 * counts.max()


def test_no_fold_is_empty_where_there_are_as_many_groups() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    groups = torch.tensor([0] * 80 + [1] * 10 + [2] * 5 + [3] * 5)
    folds = deal_folds(labels, 4, torch.Generator(), groups)
    assert sorted(torch.bincount(folds, minlength=4).tolist()) == [5, 5, 10, 80]


def test_samples_that_are_groups_of_their_own_are_dealt_as_without() -> None:
    labels = torch.arange(50) % 3
    groups = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    first, second = (deal_folds(labels, 5, torch.Generator().manual_seed(0), given) for given in (None, groups))
    assert torch.equal(first, second)


def test_class_that_one_fold_alone_has_is_not_judged() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    assert seen_elsewhere(labels, torch.tensor([0, 1, 1, 1, 0])).tolist() == [True, True, False, False, False]
    folds = deal_folds(labels, 2, torch.Generator())
    assert torch.equal(seen_elsewhere(labels, folds), torch.bincount(labels)[labels] > 1)

"""What ever more annotations bring: sizes, and accuracies by hand."""

import pytest
import torch

from elfs.ops.annotation_curve import accuracy_by_number, part_sizes
from elfs.ops.linear_classifier import fit_linear_classifier


def example(num_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(num_rows) % 3
    return torch.eye(3, 6)[labels] * 2 + torch.randn(num_rows, 6, generator=draws), labels


@pytest.mark.parametrize(
    ("rows", "classes", "sizes"),
    [(160, 10, [20, 40, 80, 120, 160]), (19, 10, []), (8, 1, [2, 4, 6, 8]), (1, 1, [])],
)
def test_sizes_have_two_rows_for_each_class(rows: int, classes: int, sizes: list[int]) -> None:
    assert part_sizes(rows, classes) == sizes


def test_the_last_point_is_that_of_all_rows_by_hand() -> None:
    features, labels = example(120)
    trained, tested = torch.arange(80), torch.arange(80, 120)
    points = accuracy_by_number(features, labels, [(trained, tested)], 0.1, torch.Generator().manual_seed(0))
    assert [point.number for point in points] == [10, 20, 40, 60, 80]
    named = fit_linear_classifier(features[:80], labels[:80], 3, penalty=0.1).probabilities(features[80:]).argmax(dim=1)
    right = int((named == labels[80:]).sum())
    share = (right + 2) / 44
    assert points[-1].accuracy == right / 40
    assert points[-1].error == pytest.approx((share * (1 - share) / 44) ** 0.5)


def test_folds_count_together() -> None:
    features, labels = example(90)
    fold = torch.arange(90) // 3 % 2
    splits = [(torch.nonzero(fold != number).flatten(), torch.nonzero(fold == number).flatten()) for number in (0, 1)]
    points = accuracy_by_number(features, labels, splits, 0.1, torch.Generator().manual_seed(0))
    assert points[-1].number == 45
    right = 0
    for trained, tested in splits:
        found = fit_linear_classifier(features[trained], labels[trained], 3, penalty=0.1)
        right += int((found.probabilities(features[tested]).argmax(dim=1) == labels[tested]).sum())
    assert points[-1].accuracy == right / 90
    assert accuracy_by_number(features, labels, [], 0.1, torch.Generator()) == []

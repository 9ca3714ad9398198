import pytest
import torch

from elfs.errors import UsageError
from elfs.ops.selection.quotas import even_quotas, proportional_quotas


@pytest.mark.parametrize(
    ("available", "held", "budget", "expected"),
    [
        ([10, 2, 10], None, 9, [4, 2, 3]),
        ([3, 0, 3], None, 6, [3, 0, 3]),
        ([10, 2, 10], [0, 0, 5], 9, [6, 2, 1]),  # 6, 2 and 6 in all: cluster 1 has no more
        ([5, 5], [9, 0], 3, [0, 3]),
        ([0, 5], [9, 0], 2, [0, 2]),
        ([4, 4], None, 0, [0, 0]),
        ([7], None, 7, [7]),
    ],
)
def test_even_quotas_by_hand(available: list[int], held: list[int] | None, budget: int, expected: list[int]) -> None:
    held_G = None if held is None else torch.tensor(held)
    assert even_quotas(torch.tensor(available), budget, held=held_G).tolist() == expected


def test_even_quotas_leave_no_group_behind_that_could_have_had_more() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        available = torch.randint(0, 9, (5,), generator=generator)
        held = torch.randint(0, 9, (5,), generator=generator)
        budget = int(torch.randint(0, int(available.sum()) + 1, (1,), generator=generator))
        quotas = even_quotas(available, budget, held=held)
        assert int(quotas.sum()) == budget
        assert ((quotas >= 0) & (quotas <= available)).all()
        size = held + quotas
        for poor in torch.nonzero(quotas < available).flatten().tolist():
            for rich in torch.nonzero(quotas > 0).flatten().tolist():
                assert size[rich] <= size[poor] + 1


@pytest.mark.parametrize(
    ("available", "budget", "expected"),
    [
        ([10, 10, 80], 12, [1, 1, 10]),
        ([5, 5], 3, [2, 1]),
        ([5, 12], 10, [3, 7]),  # 2.94 and 7.06
        ([0, 4], 2, [0, 2]),
        ([3, 3, 3], 9, [3, 3, 3]),
        ([0], 0, [0]),
    ],
)
def test_proportional_quotas_by_hand(available: list[int], budget: int, expected: list[int]) -> None:
    assert proportional_quotas(torch.tensor(available), budget).tolist() == expected


@pytest.mark.parametrize("budget", [-1, 8])
def test_more_than_there_is(budget: int) -> None:
    with pytest.raises(UsageError, match=f"the budget is {budget} images, expected 0 to 7"):
        even_quotas(torch.tensor([3, 4]), budget)
    with pytest.raises(UsageError, match=f"the budget is {budget} images, expected 0 to 7"):
        proportional_quotas(torch.tensor([3, 4]), budget)

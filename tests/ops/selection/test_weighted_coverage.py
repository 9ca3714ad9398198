import math

import torch

from elfs.ops.selection import Pool, SelectorOptions, select
from elfs.ops.selection.weighted_coverage import hardness_share


def picked(pool: Pool, budget: int) -> list[int]:
    return select("auto", pool, budget, SelectorOptions(), torch.Generator().manual_seed(0)).tolist()


def test_share_by_hand() -> None:
    hardness = torch.tensor([3.0, 1.0, math.nan, 1.0, 9.0])
    assert hardness_share(hardness).tolist() == [(2 + 3) / 8, 2 / 8, 0, 2 / 8, (3 + 4) / 8]
    assert hardness_share(torch.ones(3)).tolist() == [0.5] * 3
    assert hardness_share(torch.tensor([math.nan])).tolist() == [0]


def groups(hardness: list[float]) -> Pool:
    """Three rows along one axis, two along another, one along a third."""
    axes = torch.tensor([0, 0, 0, 1, 1, 2])
    return Pool(tie_breaker=torch.arange(6), embeddings=torch.eye(3)[axes], hardness=torch.tensor(hardness))


def test_equal_hardness_covers_the_largest_group_first() -> None:
    assert picked(groups([1.0] * 6), 3) == [0, 3, 5]


def test_hard_group_comes_before_a_larger_easy_one() -> None:
    """Weights by rank: 1/12, 3/12, 5/12 | 9/12, 11/12 | 7/12: gains 9/12, 20/12 and 7/12."""
    assert picked(groups([0.0, 1.0, 2.0, 4.0, 5.0, 3.0]), 3) == [3, 0, 5]


def test_greedy_picks_are_those_of_brute_force() -> None:
    generator = torch.Generator().manual_seed(4)
    embeddings = torch.randn(14, 3, generator=generator)
    hardness = torch.randn(14, generator=generator)
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    cosine = (unit @ unit.T).clamp_min(0).double()
    weights = hardness_share(hardness)
    covered = torch.zeros(14, dtype=torch.float64)
    expected: list[int] = []
    for _ in range(6):
        gains = ((cosine - covered).clamp_min(0) * weights).sum(dim=1)
        gains[expected] = -1
        expected.append(int(gains.argmax()))
        covered = torch.maximum(covered, cosine[expected[-1]])
    pool = Pool(tie_breaker=torch.arange(14), embeddings=embeddings, hardness=hardness)
    assert picked(pool, 6) == expected

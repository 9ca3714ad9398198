"""What a classifier is unsure of, by hand and against plain loops."""

import math

import pytest
import torch

from elfs.ops.distances import unit_rows
from elfs.ops.selection import Pool, SelectorOptions, select
from elfs.ops.selection.uncertainty import least_distance, unsureness

OPTIONS = SelectorOptions()


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_margin_and_entropy_by_hand() -> None:
    """Row 0: margin 0.1, 0.69 nats and more; row 1: margin 0.2, the highest entropy; row 2 is sure."""
    rows = torch.tensor([[0.55, 0.45, 0.0], [0.5, 0.3, 0.2], [0.98, 0.01, 0.01]])
    pool = Pool(tie_breaker=torch.arange(3), probabilities=rows)
    assert select("margin", pool, 3, OPTIONS, draws()).tolist() == [0, 1, 2]
    assert select("entropy", pool, 3, OPTIONS, draws()).tolist() == [1, 0, 2]
    torch.testing.assert_close(unsureness(rows), torch.tensor([0.9, 0.8, 0.03]))


def test_one_class_is_never_unsure() -> None:
    assert unsureness(torch.ones(3, 1)).tolist() == [0, 0, 0]


def test_dropquery_takes_the_middle_of_each_group_of_doubtful_rows() -> None:
    """Two groups on the circle; row 2 and row 6 lie in the middle of theirs, the rows after 7 are not doubtful."""
    angles = torch.tensor([0.0, 0.1, 0.2, 0.31, 0.4, 1.5, 1.6, 1.7, 0.2, 1.6])
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    disagreement = torch.tensor([1.0] * 5 + [2 / 3] * 3 + [1 / 3, 0.0])
    pool = Pool(tie_breaker=torch.arange(10), embeddings=embeddings, disagreement=disagreement)
    assert select("dropquery", pool, 2, OPTIONS, draws()).tolist() == [2, 6]
    assert set(select("dropquery", pool, 9, OPTIONS, draws()).tolist()) > set(range(8))


def test_least_distance_passes_over_equal_rows() -> None:
    unit = unit_rows(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [-1.0, 1.0]]))
    assert least_distance(unit) == pytest.approx(math.sqrt(2 - math.sqrt(2)))
    assert least_distance(unit[:2]) is None
    assert least_distance(unit[:0]) is None


def herded(pool: Pool, budget: int) -> list[int]:
    """Return the picks of uncertainty herding from its definition, every sum written out."""
    assert pool.embeddings is not None
    assert pool.probabilities is not None
    rows = [[float(value) for value in row] for row in unit_rows(pool.embeddings).double()]
    settled = [row for row in range(len(rows)) if not pool.candidates()[row]]
    squared = [[sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) for two in rows] for one in rows]
    apart = [squared[i][j] for i in settled for j in settled if squared[i][j] > 1e-6]
    width = min(apart) if apart else 1.0
    sure = [sorted(row, reverse=True) for row in pool.probabilities.tolist()]
    unsure = [1 - (row[0] - row[1]) if settled else 1.0 for row in sure]
    covered = [max((math.exp(-squared[i][j] / width) for j in settled), default=0.0) for i in range(len(rows))]
    picks: list[int] = []
    for _ in range(budget):
        gain = {
            j: sum(
                u * max(0.0, math.exp(-row[j] / width) - m) for u, row, m in zip(unsure, squared, covered, strict=True)
            )
            for j in range(len(rows))
            if j not in settled and j not in picks
        }
        best = max(gain, key=gain.__getitem__)
        picks.append(best)
        covered = [max(m, math.exp(-row[best] / width)) for m, row in zip(covered, squared, strict=True)]
        unsure = [1 - (row[0] - row[1]) for row in sure]  # the picks count as annotated
    return picks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_settled", [0, 1, 12])
def test_uherding_against_its_definition(seed: int, num_settled: int) -> None:
    generator = draws(seed)
    pool = Pool(
        tie_breaker=torch.arange(60),
        settled=torch.arange(60) < num_settled,
        embeddings=torch.randn(60, 3, generator=generator),
        probabilities=(2 * torch.randn(60, 4, generator=generator)).softmax(dim=1),
    )
    assert select("uherding", pool, 8, OPTIONS, draws()).tolist() == herded(pool, 8)

import itertools
import math

import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.selection import SELECTORS, Pool, SelectorOptions
from tests.ops.selection.rows import at_angles, clustered_rows, mask, random_rows, unit

NAMES = ("facility-location", "herding", "k-center")
each_selector = pytest.mark.parametrize("name", NAMES)


def select(name: str, embeddings: Tensor, budget: int, *, settled: list[int] | None = None) -> list[int]:
    pool = Pool(tie_breaker=torch.arange(len(embeddings)), embeddings=embeddings, settled=mask(settled, embeddings))
    return [int(row) for row in SELECTORS[name](pool, budget, SelectorOptions(), torch.Generator().manual_seed(0))]


# Laws of all three


@each_selector
@pytest.mark.parametrize("settled", [None, [1, 4]])
def test_first_picks_are_those_of_a_smaller_budget(name: str, settled: list[int] | None) -> None:
    x = random_rows(40, 4)
    longest = select(name, x, 38, settled=settled)
    for budget in (1, 2, 7, 20):
        assert select(name, x, budget, settled=settled) == longest[:budget]


@each_selector
def test_length_does_not_count(name: str) -> None:
    x = random_rows(30, 4)
    assert select(name, x * torch.linspace(0.1, 50, 30).unsqueeze(1), 10) == select(name, x, 10)


@each_selector
def test_half_precision(name: str) -> None:
    x = random_rows(30, 4).half()
    assert select(name, x, 10) == select(name, x.float(), 10)


@each_selector
def test_equal_rows_are_taken_in_order(name: str) -> None:
    x = torch.tensor([[0.3, -0.7, 0.2]]).expand(20, 3)
    assert select(name, x, 20) == list(range(20))
    assert select(name, x, 3, settled=[0, 2]) == [1, 3, 4]


@each_selector
def test_rows_of_zeros_and_the_whole_pool(name: str) -> None:
    x = random_rows()
    x[3] = x[8] = 0
    assert sorted(select(name, x, 12)) == list(range(12))
    assert select(name, torch.zeros(3, 2), 3) == [0, 1, 2]
    assert select(name, torch.ones(1, 2), 1) == [0]


@each_selector
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_embeddings_that_are_not_finite(name: str, bad: float) -> None:
    x = random_rows()
    x[5, 1] = bad
    with pytest.raises(ValueError, match="embeddings are not finite: row 5 holds a NaN or an infinity"):
        select(name, x, 3)


@each_selector
@pytest.mark.parametrize("budget", [0, 10])
def test_budget_out_of_range(name: str, budget: int) -> None:
    with pytest.raises(UsageError, match=rf"the budget is {budget} images, expected 1 to 9.*\(3 of 12 are settled"):
        select(name, random_rows(), budget, settled=[0, 1, 2])


@each_selector
def test_embeddings_are_needed(name: str) -> None:
    with pytest.raises(ValueError, match="needs the pool's embeddings, got None"):
        SELECTORS[name](Pool(tie_breaker=torch.arange(3)), 1, SelectorOptions(), torch.Generator())


# k-center


def test_k_center_by_hand() -> None:
    """The mean of the four lies at 33 degrees; from 30, the farthest is 100, then -10, then 10 (before it: no row)."""
    x = at_angles(-10, 10, 30, 100)
    assert select("k-center", x, 4) == [2, 3, 0, 1]
    assert select("k-center", x, 2, settled=[3]) == [0, 2]  # 40 degrees from -10, 70 from 100; 10 is 20 from -10


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("settled", [None, [2, 9]])
def test_k_center_is_the_farthest_first_traversal(seed: int, settled: list[int] | None) -> None:
    x = random_rows(seed=seed)
    distance = torch.cdist(unit(x), unit(x))
    taken = list(settled or [])
    expected = [] if settled else [int((unit(x) - unit(x).mean(dim=0)).square().sum(dim=1).argmin())]
    while len(expected) < 8:
        nearest = distance[:, taken + expected].amin(dim=1)
        nearest[taken + expected] = -1
        expected.append(int(nearest.argmax()))
    assert select("k-center", x, 8, settled=settled) == expected


def test_k_center_covers_within_twice_the_least_radius() -> None:
    """Gonzalez 1985; the distance is a metric as the Euclidean one of unit vectors."""
    x = random_rows(11)
    distance = torch.cdist(unit(x), unit(x))
    least = min(float(distance[:, rows].amin(dim=1).max()) for rows in itertools.combinations(range(11), 3))
    assert float(distance[:, select("k-center", x, 3)].amin(dim=1).max()) <= 2 * least


# Herding


def test_herding_by_hand() -> None:
    """The mean of the three is 1/3 of (1, 1) + (1, 1) / sqrt(2): the diagonal is nearest; then the axes, in order."""
    x = at_angles(0, 90, 45)
    assert select("herding", x, 3) == [2, 0, 1]
    assert select("herding", x, 1, settled=[0]) == [1]  # the mean of 0 and 90 degrees; with 45 it would be at 22.5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("settled", [None, [2, 9]])
def test_herding_keeps_the_mean(seed: int, settled: list[int] | None) -> None:
    x = random_rows(seed=seed)
    x[4] = 0  # its length is not 1, which its distance must not hide
    mean, expected = unit(x).mean(dim=0), list(settled or [])
    num_settled = len(expected)
    while len(expected) < num_settled + 8:
        off = {
            row: float((unit(x)[[*expected, row]].mean(dim=0) - mean).norm())
            for row in range(12)
            if row not in expected
        }
        expected.append(min(off, key=lambda row: off[row]))
    assert select("herding", x, 8, settled=settled) == expected[num_settled:]


def test_herding_is_nearer_to_the_mean_than_chance() -> None:
    x = clustered_rows(500, 10)
    mean = unit(x).mean(dim=0)
    off = float((unit(x)[select("herding", x, 20)].mean(dim=0) - mean).norm())
    chance = [torch.randperm(500, generator=torch.Generator().manual_seed(seed))[:20] for seed in range(20)]
    assert off < 0.5 * min(float((unit(x)[rows].mean(dim=0) - mean).norm()) for rows in chance)


# Facility location


def test_facility_location_by_hand() -> None:
    """Of five on a circle, 20 degrees covers its three neighbours best; then 120 adds what it and 150 lack."""
    x = at_angles(0, 20, 40, 120, 150)
    assert select("facility-location", x, 2) == [1, 3]
    assert select("facility-location", x, 1, settled=[1]) == [3]
    # Settled 120 covers 150 (cosine 0.87) and 40 (0.17), so 20 degrees is first; all that is left then is 0 or 40.
    assert select("facility-location", x, 1, settled=[3]) == [1]


def test_lazy_greedy_is_greedy_on_many_rows() -> None:
    x = clustered_rows(300, 20).float()
    similarity = (unit(x) @ unit(x).T * 16_384).round().clamp_min(0)
    best = torch.zeros(300).double()
    expected: list[int] = []
    for _ in range(60):
        gain = (similarity - best).clamp_min(0).sum(dim=1)
        gain[expected] = -1
        expected.append(int(gain.argmax()))
        best = torch.maximum(best, similarity[expected[-1]])
    assert select("facility-location", x, 60) == expected

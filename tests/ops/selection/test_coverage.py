import itertools
import math

import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.selection import SELECTORS, Pool, SelectorOptions, coverage
from elfs.ops.selection.coverage import greedy_coverage

NAMES = ("facility-location", "herding", "k-center")
each_selector = pytest.mark.parametrize("name", NAMES)


def select(name: str, embeddings: Tensor, budget: int, *, settled: list[int] | None = None) -> list[int]:
    pool = Pool(tie_breaker=torch.arange(len(embeddings)), embeddings=embeddings, settled=mask(settled, embeddings))
    return [int(row) for row in SELECTORS[name](pool, budget, SelectorOptions(), torch.Generator().manual_seed(0))]


def mask(rows: list[int] | None, embeddings: Tensor) -> Tensor | None:
    return None if rows is None else torch.isin(torch.arange(len(embeddings)), torch.tensor(rows))


def random_rows(num_rows: int = 12, num_dims: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(num_rows, num_dims, generator=torch.Generator().manual_seed(seed))


def at_angles(*degrees: float) -> Tensor:
    """Return points on the unit circle."""
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def clustered_rows(num_rows: int, num_clusters: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(num_clusters, 32, generator=generator)
    own = torch.multinomial(
        torch.rand(num_clusters, generator=generator).square() + 0.05, num_rows, True, generator=generator
    )
    spread = 1.5 * torch.rand(num_rows, 1, generator=generator)
    return (centres[own] + spread * torch.randn(num_rows, 32, generator=generator) + 0.3).half()


def unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x.double(), dim=1)


def covered(x: Tensor, rows: list[int], weights: Tensor | None = None) -> float:
    """Return the objective of facility location, from its definition; cosines in steps of 1 / 16,384."""
    cosine = (unit(x) @ unit(x)[rows].T * 16_384).round() / 16_384
    best = torch.cat([torch.zeros(len(x), 1).double(), cosine], dim=1).amax(dim=1)
    return float(best.sum() if weights is None else best @ weights.double())


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


def brute_force(
    x: Tensor, budget: int, settled: list[int], candidates: list[int], weights: Tensor | None = None
) -> list[int]:
    picked: list[int] = []
    while len(picked) < budget:
        value = {row: covered(x, [*settled, *picked, row], weights) for row in candidates if row not in picked}
        picked.append(max(value, key=lambda row: (round(value[row], 9), -row)))
    return picked


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("settled", [[], [2, 9]])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("num_candidates", [12, 7])
def test_lazy_greedy_is_greedy(seed: int, settled: list[int], weighted: bool, num_candidates: int) -> None:
    x = random_rows(seed=seed)
    candidates = [row for row in range(num_candidates) if row not in settled]
    weights = torch.rand(12, generator=torch.Generator().manual_seed(seed)) if weighted else None
    if weights is not None:
        weights[:4] = 0
    budget = min(5, len(candidates))
    found = greedy_coverage(
        x,
        torch.arange(12) < num_candidates,
        mask(settled, x) if settled else None,
        budget,
        weights=weights,
        generator=torch.Generator(),
    )
    assert found.dtype == torch.int64
    assert found.tolist() == brute_force(x, budget, settled, candidates, weights)


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


def test_weights_say_what_is_to_be_covered() -> None:
    x = at_angles(0, 20, 40, 120, 150)
    everything = torch.ones(5, dtype=torch.bool)
    weights = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0])

    def cover(candidates: Tensor, budget: int) -> list[int]:
        found = greedy_coverage(x, candidates, None, budget, weights=weights, generator=torch.Generator())
        return [int(row) for row in found]

    assert cover(everything, 1) == [3]  # 120 covers 150 as 150 covers 120: the lower position
    assert cover(torch.tensor([True, True, True, False, False]), 1) == [2]
    weights.zero_()
    assert cover(everything, 3) == [0, 1, 2]


@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf])
def test_weights_that_are_no_weights(bad: float) -> None:
    weights = torch.ones(12)
    weights[7] = bad
    with pytest.raises(ValueError, match=f"the weight of row 7 is {bad:g}, expected a number of at least 0"):
        greedy_coverage(
            random_rows(),
            torch.ones(12, dtype=torch.bool),
            None,
            2,
            weights=weights,
            generator=torch.Generator(),
        )


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """1/16 of the real bounds, for pools of 1/16 of a large one's size."""
    monkeypatch.setattr(coverage, "_MOST_ROWS", 1024)
    monkeypatch.setattr(coverage, "_BLOCK_ROWS", 128)


def run_scheme(x: Tensor, budget: int, *, seed: int = 0, settled: Tensor | None = None) -> list[int]:
    everything = torch.ones(len(x), dtype=torch.bool)
    found = greedy_coverage(x, everything, settled, budget, generator=torch.Generator().manual_seed(seed))
    return [int(row) for row in found]


@pytest.mark.parametrize(("num_clusters", "budget"), [(20, 10), (20, 200), (200, 50), (200, 400)])
def test_large_pools_come_within_a_few_percent(num_clusters: int, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets that need a sample only (10, 50), and budgets that need blocks (200, 400)."""
    x = clustered_rows(4000, num_clusters)
    exact = covered(x, run_scheme(x, budget))
    monkeypatch.setattr(coverage, "_MOST_ROWS", 1024)
    monkeypatch.setattr(coverage, "_BLOCK_ROWS", 128)
    reached = covered(x, run_scheme(x, budget))
    chance = covered(x, torch.randperm(4000, generator=torch.Generator().manual_seed(0))[:budget].tolist())
    assert reached > 0.96 * exact
    assert reached - chance > 0.6 * (exact - chance)


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("budget", [10, 300, 3000])
def test_large_pools_follow_the_generator(budget: int) -> None:
    x = clustered_rows(3000, 30)
    first, again, other = (run_scheme(x, budget, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(set(first)) == budget


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("budget", [10, 300])
def test_large_pools_start_from_the_settled_rows(budget: int) -> None:
    """Three quarters of the directions are settled: what is picked lies in the last quarter."""
    x = torch.nn.functional.one_hot(torch.arange(3000) % 8, 8) + 0.01 * random_rows(3000, 8)
    settled = (torch.arange(3000) % 8 < 6) & (torch.arange(3000) < 2400)
    picked = run_scheme(x, budget, settled=settled)
    assert not bool(settled[picked].any())
    first = [row % 8 for row in picked[:2]]
    assert sorted(first) == [6, 7]


@pytest.mark.usefixtures("small_bounds")
def test_candidates_of_large_pools() -> None:
    """A few candidates of many rows: all can be picked, and nothing else is."""
    x = clustered_rows(3000, 30)
    candidates = torch.arange(3000) % 100 == 7
    found = greedy_coverage(x, candidates, None, 30, generator=torch.Generator())
    assert sorted(found.tolist()) == list(range(7, 3000, 100))
    weights = (torch.arange(3000) < 50).float()
    first = greedy_coverage(x, candidates, None, 1, weights=weights, generator=torch.Generator())
    assert first.tolist() == brute_force(x, 1, [], torch.nonzero(candidates).flatten().tolist(), weights)

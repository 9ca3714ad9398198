"""Greedy coverage against its definition, exact and in blocks, with weights that move."""

import math

import pytest
import torch
from torch import Tensor

from elfs.ops.selection import covering
from elfs.ops.selection.covering import Emphasis, greedy_coverage
from tests.ops.selection.rows import at_angles, clustered_rows, mask, random_rows, unit


def covered(x: Tensor, rows: list[int], weights: Tensor | None = None) -> float:
    """Return the objective of facility location, from its definition; cosines in steps of 1 / 16,384."""
    cosine = (unit(x) @ unit(x)[rows].T * 16_384).round() / 16_384
    best = torch.cat([torch.zeros(len(x), 1).double(), cosine], dim=1).amax(dim=1)
    return float(best.sum() if weights is None else best @ weights.double())


def brute_force(
    x: Tensor, budget: int, settled: list[int], candidates: list[int], emphasis: Emphasis | None = None
) -> list[int]:
    """Return the greedy picks from the definition: each of the largest gain, of equal ones the lowest position."""
    picked: list[int] = []
    while len(picked) < budget:
        weights = torch.ones(len(x)).double()
        if emphasis is not None:
            done = len(settled) + len(picked)
            grown = min(1.0, max(0.0, (done - emphasis.start) / (emphasis.full - emphasis.start)))
            weights = 1 - emphasis.most * grown * (1 - emphasis.share.double())
        value = {row: covered(x, [*settled, *picked, row], weights) for row in candidates if row not in picked}
        picked.append(max(value, key=lambda row: (round(value[row], 9), -row)))
    return picked


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("settled", [[], [2, 9]])
@pytest.mark.parametrize("growth", [None, (0.0, 1.0, 1.0), (1.0, 4.0, 1.0), (0.0, 6.0, 0.7)])
@pytest.mark.parametrize("num_candidates", [12, 7])
def test_lazy_greedy_is_greedy(
    seed: int, settled: list[int], growth: tuple[float, float, float] | None, num_candidates: int
) -> None:
    x = random_rows(seed=seed)
    candidates = [row for row in range(num_candidates) if row not in settled]
    share = torch.rand(12, generator=torch.Generator().manual_seed(seed))
    share[:4] = 0
    emphasis = None if growth is None else Emphasis(share, *growth)
    budget = min(5, len(candidates))
    found = greedy_coverage(
        x,
        torch.arange(12) < num_candidates,
        mask(settled, x) if settled else None,
        budget,
        emphasis=emphasis,
        generator=torch.Generator(),
    )
    assert found.dtype == torch.int64
    assert found.tolist() == brute_force(x, budget, settled, candidates, emphasis)


def test_emphasis_by_hand() -> None:
    emphasis = Emphasis(torch.tensor([0.0, 1.0]), 10, 30, 0.5)
    assert [emphasis.strength(number) for number in (0, 10, 20, 30, 99)] == [0, 0, 0.25, 0.5, 0.5]
    assert Emphasis(torch.ones(1), most=0).strength(5) == 0


def test_emphasis_says_what_is_to_be_covered() -> None:
    """At the first pick all five count alike and 20 degrees is in the middle of three; then the other two alone do."""
    x = at_angles(0, 20, 40, 120, 150)
    emphasis = Emphasis(torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0]), 0, 1)

    def cover(candidates: Tensor, budget: int) -> list[int]:
        found = greedy_coverage(x, candidates, None, budget, emphasis=emphasis, generator=torch.Generator())
        return [int(row) for row in found]

    assert cover(torch.ones(5, dtype=torch.bool), 3) == [1, 3, 4]
    assert cover(torch.tensor([True, True, True, False, False]), 3) == [1, 2, 0]


@pytest.mark.parametrize("bad", [-0.5, 1.5, math.nan, math.inf])
def test_share_that_is_no_share(bad: float) -> None:
    share = torch.ones(12)
    share[7] = bad
    with pytest.raises(ValueError, match=f"the share of row 7 is {bad:g}, expected 0 to 1"):
        Emphasis(share)


@pytest.mark.parametrize(
    ("growth", "message"),
    [
        ((-1.0, 1.0), "start is -1 and full 1, expected 0 <= start < full"),
        ((2.0, 2.0), "start is 2 and full 2, expected 0 <= start < full"),
        ((math.nan, 2.0), "start is nan and full 2, expected 0 <= start < full"),
        ((0.0, 1.0, 1.1), "most is 1.1, expected 0 to 1"),
        ((0.0, 1.0, -0.1), "most is -0.1, expected 0 to 1"),
    ],
)
def test_emphasis_that_cannot_grow(growth: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Emphasis(torch.ones(3), *growth)


def test_emphasis_of_another_pool() -> None:
    with pytest.raises(ValueError, match="the emphasis has 11 rows, expected 12"):
        greedy_coverage(
            random_rows(),
            torch.ones(12, dtype=torch.bool),
            None,
            2,
            emphasis=Emphasis(torch.ones(11)),
            generator=torch.Generator(),
        )


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """1/16 of the real bounds, for pools of 1/16 of a large one's size."""
    monkeypatch.setattr(covering, "_MOST_ROWS", 1024)
    monkeypatch.setattr(covering, "_BLOCK_ROWS", 128)


def run_scheme(x: Tensor, budget: int, *, seed: int = 0, settled: Tensor | None = None) -> list[int]:
    everything = torch.ones(len(x), dtype=torch.bool)
    found = greedy_coverage(x, everything, settled, budget, generator=torch.Generator().manual_seed(seed))
    return [int(row) for row in found]


@pytest.mark.slow
@pytest.mark.parametrize(("num_clusters", "budget"), [(20, 10), (20, 200), (200, 50), (200, 400)])
def test_large_pools_come_within_a_few_percent(num_clusters: int, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets that need a sample only (10, 50), and budgets that need blocks (200, 400)."""
    x = clustered_rows(4000, num_clusters)
    exact = covered(x, run_scheme(x, budget))
    monkeypatch.setattr(covering, "_MOST_ROWS", 1024)
    monkeypatch.setattr(covering, "_BLOCK_ROWS", 128)
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


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize(("budget", "num_considered"), [(10, 1024), (100, 1600), (3000, 3000)])
def test_a_large_pool_is_looked_at_by_a_sample(budget: int, num_considered: int) -> None:
    """As many candidates, and as many rows to be covered, as the bounds say: memory grows with their product."""
    everything, nothing = torch.ones(3000, dtype=torch.bool), torch.zeros(3000, dtype=torch.bool)
    blocks = covering._blocks(clustered_rows(3000, 30), (everything, nothing), budget, torch.Generator())
    candidates, to_cover = (torch.cat([block[part] for block in blocks]) for part in (0, 1))
    assert len(candidates.unique()) == len(candidates) == num_considered
    assert len(to_cover.unique()) == len(to_cover) == num_considered
    assert max(len(rows) for rows, _, _ in blocks) <= (256 if budget > 10 else 1024)


@pytest.mark.usefixtures("small_bounds")
def test_emphasis_grows_in_every_block_as_it_does_in_the_pool() -> None:
    """Half of each direction is hard: the first picks take no notice, those of the emphasis take no other."""
    x = torch.nn.functional.one_hot(torch.arange(3000) % 8, 8) + 0.5 * random_rows(3000, 8)
    hard = torch.arange(3000) % 3 == 0
    everything = torch.ones(3000, dtype=torch.bool)

    def shares(*growth: float) -> float:
        found = greedy_coverage(
            x, everything, None, 300, emphasis=Emphasis(hard.float(), *growth), generator=torch.Generator()
        )
        return float(hard[found].double().mean())

    assert shares(299, 300) < 0.5 < 0.7 < shares(0, 1)

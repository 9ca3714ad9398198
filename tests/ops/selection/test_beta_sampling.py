import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import beta as beta_distribution

from elfs.errors import UsageError
from elfs.ops import selection
from elfs.ops.selection import Pool, SelectorOptions, beta_sampling
from elfs.ops.selection.beta_sampling import beta_parameters, weighted_order


def pool_of(dual: list[float], confidence: list[float], settled: list[int] | None = None) -> Pool:
    mask = torch.zeros(len(dual), dtype=torch.bool)
    mask[settled or []] = True
    scores = {"dual": torch.tensor(dual), "confidence": torch.tensor(confidence)}
    return Pool(tie_breaker=torch.arange(len(dual)), settled=mask, scores=scores)


def select(pool: Pool, budget: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return [int(row) for row in selection.select("dual-beta", pool, budget, SelectorOptions(), generator)]


@pytest.mark.parametrize(
    ("ratio", "anchor", "expected"),
    [(0.0, 0.2, (4.0, 12.0)), (1.0, 0.2, (16.0, 0.0)), (0.5, 0.6, (10.375, 5.625)), (0.3, 1.0, (16.0, 0.0))],
)
def test_parameters(ratio: float, anchor: float, expected: tuple[float, float]) -> None:
    """By hand, from y_b = 15 (1 - anchor) (1 - ratio ** c_d), y_a = 16 - y_b (behaapyy/dual-pruning)."""
    assert beta_parameters(ratio, anchor) == pytest.approx(expected)


@pytest.mark.slow
def test_first_draw_follows_the_weights_of_the_reference() -> None:
    """Its numpy.random.choice draws with p = beta.pdf(mean, y_a, y_b) * score, normalised."""
    dual, confidence = [0.4, 0.1, 0.3, 0.05], [0.5, 0.7, 0.9, 0.2]
    pool = pool_of(dual, confidence)
    y_b = 15 * (1 - np.mean(confidence)) * (1 - 0.75**4)
    weight = beta_distribution.pdf(confidence, 16 - y_b, y_b) * np.array(dual)
    expected = weight / weight.sum()
    counts = np.bincount([select(pool, 1, seed)[0] for seed in range(2000)], minlength=4)
    assert np.all(np.abs(counts - 2000 * expected) <= 5 * np.sqrt(2000 * expected * (1 - expected)) + 1)
    assert expected.min() < 0.01 < 0.2 < expected.max() < 0.8


def test_next_draws_are_in_proportion_to_what_is_left() -> None:
    """P(a, b) = w_a / sum * w_b / (sum - w_a)."""
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    pairs = [
        tuple(weighted_order(weights.log(), torch.Generator().manual_seed(seed))[:2].tolist()) for seed in range(2000)
    ]
    for first, second in itertools.permutations(range(3), 2):
        share = float(weights[first] / 8 * weights[second] / (8 - weights[first]))
        count = pairs.count((first, second))
        assert abs(count - 2000 * share) < 5 * math.sqrt(2000 * share * (1 - share))


def test_rows_without_weight_come_last_and_at_random() -> None:
    log_weights = torch.tensor([-math.inf, 0.0, -math.inf, -900.0], dtype=torch.float64)
    orders = [weighted_order(log_weights, torch.Generator().manual_seed(seed)).tolist() for seed in range(40)]
    assert {tuple(order[:2]) for order in orders} == {(1, 3)}
    assert {tuple(order[2:]) for order in orders} == {(0, 2), (2, 0)}


def test_ratio_and_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The anchor is the mean confidence of the ten highest scores, settled ones too; 3 of 9 rows are pruned."""
    seen: list[tuple[float, float]] = []

    def recording(ratio: float, anchor: float) -> tuple[float, float]:
        seen.append((ratio, anchor))
        return beta_parameters(ratio, anchor)

    monkeypatch.setattr(beta_sampling, "beta_parameters", recording)
    dual = [0.01 * row for row in range(12)] + [math.nan]
    confidence = [0.9, 0.9, *[0.05 * row for row in range(10)], 0.9]
    select(pool_of(dual, confidence, settled=[2, 5, 11]), 6)
    assert len(seen) == 1
    assert seen[0] == pytest.approx((1 / 3, 0.225))


def test_small_budget_draws_easier_rows_than_a_large_one() -> None:
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(2000, generator=generator)
    pool = pool_of((confidence * (1 - confidence)).tolist(), confidence.tolist())
    means = [float(confidence[select(pool, budget)].mean()) for budget in (20, 200, 1000)]
    assert means[0] > means[1] + 0.1 > means[2] + 0.2


@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_confidence_at_the_end_of_its_range_has_a_finite_weight(extreme: float) -> None:
    pool = pool_of([0.1] * 6, [extreme] * 6)
    assert sorted(select(pool, 6)) == list(range(6))
    assert len({select(pool, 1, seed)[0] for seed in range(60)}) == 6


def test_scores_of_zero_and_below_fill_up() -> None:
    pool = pool_of([0.0, 0.2, -1.0, 0.1], [0.5] * 4)
    for seed in range(20):
        picked = select(pool, 4, seed)
        assert set(picked[:2]) == {1, 3}
        assert sorted(picked) == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_row_without_a_score_is_never_drawn(bad: float) -> None:
    pool = pool_of([0.1, bad, 0.1, 0.1], [0.5, 0.5, bad, 0.5])
    assert sorted(select(pool, 2)) == [0, 3]
    with pytest.raises(UsageError, match=r"the budget is 3 images, expected 1 to 2: .*\(2 of 4 are settled or have no"):
        select(pool, 3)


@pytest.mark.parametrize("missing", ["dual", "confidence"])
def test_scores_are_needed(missing: str) -> None:
    scores = {name: torch.ones(3) for name in ("dual", "confidence") if name != missing}
    with pytest.raises(ValueError, match=f"needs the pool's {missing}, got None"):
        selection.select(
            "dual-beta", Pool(tie_breaker=torch.arange(3), scores=scores), 1, SelectorOptions(), torch.Generator()
        )

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.selection import Pool
from elfs.ops.selection import hard_rate as module
from elfs.ops.selection.hard_rate import HARD_RATES, CoverageJudge, best_hard_rate, usual_hard_rate


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.001, 0.3),
        (0.05, 0.3),
        (0.075, 0.275),
        (0.1, 0.25),
        (0.2, 0.2),
        (0.3, 0.15),
        (0.5, 0.075),
        (0.7, 0.0),
        (1, 0.0),
    ],
)
def test_usual_rate(share: float, expected: float) -> None:
    assert usual_hard_rate(share) == expected


def test_usual_rate_leaves_room_for_the_budget_and_falls() -> None:
    shares = [number / 1000 for number in range(1, 1001)]
    rates = [usual_hard_rate(share) for share in shares]
    assert rates == sorted(rates, reverse=True)
    assert max(rate + share for rate, share in zip(rates, shares, strict=True)) <= 1


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan])
def test_usual_rate_of_an_impossible_share(share: float) -> None:
    with pytest.raises(ValueError, match="expected above 0 and at most 1"):
        usual_hard_rate(share)


def pool(num_rows: int = 30, seed: int = 0) -> Pool:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(num_rows, 4, generator=generator)
    return Pool(
        tie_breaker=torch.arange(num_rows),
        embeddings=embeddings.half(),
        hardness=torch.randn(num_rows, generator=generator),
    )


def test_coverage_by_hand() -> None:
    """Weights 1/8, 3/8, 5/8, 7/8; the last row points away from what is selected."""
    rows = Pool(
        tie_breaker=torch.arange(4),
        embeddings=torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0], [-1.0, 0.0]]),
        hardness=torch.tensor([0.0, 1.0, 2.0, 3.0]),
    )
    judge = CoverageJudge.of(rows, torch.Generator())
    assert judge.coverage(torch.tensor([0])) == pytest.approx((1 + 5 * math.sqrt(0.5)) / 16)
    assert judge.coverage(torch.tensor([0, 1, 2, 3])) == pytest.approx(1.0)


def test_evenness_by_hand() -> None:
    """Clusters of 4, 2 and 2 of 8 rows (one number is not used); half is selected: 3 of 2, 1 of 1 and 0 of 1."""
    rows = replace(pool(8), pseudo_labels=torch.tensor([0, 0, 0, 0, 1, 1, 3, 3]))
    judge = CoverageJudge.of(rows, torch.Generator())
    assert judge.evenness(torch.tensor([0, 1, 2, 4])) == pytest.approx(2 / 3)
    assert judge.evenness(torch.tensor([0, 4])) == pytest.approx((1 + 1 + 0) / 3)
    assert judge.evenness(torch.arange(8)) == 1
    assert CoverageJudge.of(pool(8), torch.Generator()).evenness(torch.tensor([0])) == 1


def test_worth_is_coverage_and_a_fifth_of_evenness() -> None:
    judge = CoverageJudge.of(replace(pool(8), pseudo_labels=torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])), torch.Generator())
    for rows in (torch.tensor([0]), torch.tensor([1, 5, 7]), torch.arange(8)):
        assert judge.worth(rows) == pytest.approx((judge.coverage(rows) + 0.2 * judge.evenness(rows)) / 1.2)
    assert judge.worth(torch.arange(8)) == pytest.approx(1.0)


def test_a_window_that_leaves_the_rare_cluster_out_is_worth_less() -> None:
    """A long tail: the rare cluster is the hardest, and every window from a rate of 0.1 on leaves it out."""
    common, rare = torch.tensor([[1.0, 0.0]]).repeat(90, 1), torch.tensor([[0.0, 1.0]]).repeat(10, 1)
    rows = Pool(
        tie_breaker=torch.arange(100),
        embeddings=torch.cat([rare, common]),
        hardness=torch.arange(100, 0, -1).float(),
        pseudo_labels=torch.tensor([1] * 10 + [0] * 90),
    )
    judge = CoverageJudge.of(rows, torch.Generator())
    rate, _ = best_hard_rate(lambda rate: torch.arange(20) + round(100 * rate), judge.worth, usual_hard_rate(0.2))
    assert rate == 0.0


def test_more_rows_never_cover_less_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = CoverageJudge.of(pool(), torch.Generator())
    values = [judge.coverage(torch.arange(count)) for count in range(1, 31)]
    assert values == sorted(values)
    monkeypatch.setattr(module, "_BLOCK_ROWS", 4)
    assert judge.coverage(torch.arange(30)) == pytest.approx(values[-1])


def test_large_pool_is_judged_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NUM_JUDGED", 12)
    judge = CoverageJudge.of(pool(), torch.Generator().manual_seed(3))
    again = CoverageJudge.of(pool(), torch.Generator().manual_seed(3))
    assert judge.judged.shape == (12, 4)
    assert torch.equal(judge.judged, again.judged)
    assert torch.equal(judge.weights, again.weights)


def test_a_large_selection_covers_by_itself_and_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is selected is covered whole; of what covers others a part counts, the same of whatever is selected."""
    rows = pool(400)
    whole = CoverageJudge.of(rows, torch.Generator())
    everything, half = torch.arange(400), torch.arange(0, 400, 2)
    monkeypatch.setattr(module, "_MOST_COVERING", 100)
    sampled = CoverageJudge.of(rows, torch.Generator())
    assert whole.luck is None
    assert sampled.luck is not None
    assert sampled.coverage(everything) == 1
    assert sampled.coverage(half[:100]) == pytest.approx(whole.coverage(half[:100]))  # as many as count
    assert half[sampled.luck[half] < 0.5].numel() == pytest.approx(100, abs=20)
    weight_of_selected = float(sampled.weights[half].sum() / sampled.weights.sum())
    assert weight_of_selected < sampled.coverage(half) < whole.coverage(half)
    assert sampled.coverage(half) == sampled.coverage(half.flip(0))


@pytest.mark.parametrize("name", ["embeddings", "hardness"])
def test_judge_needs_its_fields(name: str) -> None:
    whole = pool()
    fields = {field: getattr(whole, field) for field in ("embeddings", "hardness") if field != name}
    with pytest.raises(ValueError, match=f"needs the pool's {name}, got None"):
        CoverageJudge.of(Pool(tie_breaker=torch.arange(30), **fields), torch.Generator())


def picks(limit: float) -> dict[float, Tensor]:
    return {rate: torch.tensor([round(100 * rate)]) for rate in HARD_RATES if rate <= limit}


def test_without_a_usual_rate_the_judgement_alone_counts() -> None:
    values = {10: 0.7, 20: 0.9, 40: 0.9}
    rate, curve = best_hard_rate(picks(1.0).__getitem__, lambda rows: values.get(int(rows), 0.0))
    assert rate == 0.2
    assert curve == [
        (0.0, 0.0),
        (0.1, 0.7),
        (0.2, 0.9),
        (0.3, 0.0),
        (0.4, 0.9),
        (0.5, 0.0),
        (0.6, 0.0),
        (0.7, 0.0),
        (0.8, 0.0),
    ]


def test_usual_rate_holds_back_by_hand() -> None:
    """Of nine judgements one is 1: standardised -0.354 and 2.828; from 0.1, 0.7 costs 3.6 and 0.6 costs 2.5."""
    rate, curve = best_hard_rate(picks(1.0).__getitem__, lambda rows: float(int(rows) == 70), 0.1)
    assert rate == 0.1  # -0.354 against 2.828 - 3.6 = -0.772
    assert curve[7] == (0.7, 1.0)
    assert best_hard_rate(picks(1.0).__getitem__, lambda rows: float(int(rows) == 60), 0.1)[0] == 0.6  # 2.828 - 2.5


def test_equal_judgements_give_the_rate_next_to_the_usual_one() -> None:
    assert best_hard_rate(picks(1.0).__getitem__, lambda rows: 0.5, 0.28)[0] == 0.3
    assert best_hard_rate(picks(1.0).__getitem__, lambda rows: 0.5, 0.0)[0] == 0.0


def test_rates_that_leave_too_few_rows_are_not_tried() -> None:
    found = picks(0.15)

    def pick(rate: float) -> Tensor:
        if rate not in found:
            raise UsageError("does not fit")
        return found[rate]

    rate, curve = best_hard_rate(pick, lambda rows: float(rows))
    assert (rate, len(curve)) == (0.1, 2)


def test_no_rate_fits() -> None:
    def pick(rate: float) -> Tensor:
        raise UsageError("the budget is too large")

    with pytest.raises(UsageError, match="the budget is too large"):
        best_hard_rate(pick, lambda rows: math.nan)

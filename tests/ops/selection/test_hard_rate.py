import math

import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.selection import Pool
from elfs.ops.selection import hard_rate as module
from elfs.ops.selection.hard_rate import HARD_RATES, LinearProbe, best_hard_rate, neighbor_vote


def test_neighbors_vote_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    neighbors = torch.tensor([[1, 2, -1], [2, 3, 0], [3, 0, 1], [2, 4, -1], [-1, -1, -1]])
    # 0: votes 0 and 1, the lower; 1: two votes for 1; 2: two for 0; 3: 1 and 2, the lower; 4: nobody votes, its own
    assert neighbor_vote(labels, neighbors).tolist() == [0, 1, 0, 1, 2]


def test_only_the_first_twenty_vote() -> None:
    labels = torch.tensor([0] * 20 + [1] * 30)
    neighbors = torch.arange(50).expand(50, 50)
    assert neighbor_vote(labels, neighbors).unique().tolist() == [0]


def two_clusters(num_rows: int = 60) -> Pool:
    """Two blobs on a line, every tenth row with the other cluster's label."""
    generator = torch.Generator().manual_seed(0)
    side = torch.arange(num_rows) % 2
    embeddings = torch.randn(num_rows, 3, generator=generator) * 0.1
    embeddings[:, 0] += side.float()
    labels = torch.where(torch.arange(num_rows) % 10 == 9, 1 - side, side)
    same = [torch.nonzero(side == int(side[row])).flatten() for row in range(num_rows)]
    neighbors = torch.stack([rows[rows != row][:20] for row, rows in enumerate(same)])
    return Pool(
        tie_breaker=torch.arange(num_rows),
        embeddings=embeddings.half(),
        neighbors=neighbors,
        pseudo_labels=labels,
    )


def test_probe_prefers_rows_of_both_clusters_and_sees_through_wrong_labels() -> None:
    pool = two_clusters()
    probe = LinearProbe.of(pool, torch.Generator())
    assert probe.clusters.tolist() == (torch.arange(60) % 2).tolist()
    assert probe.accuracy(torch.tensor([0, 1, 2, 3])) == 1.0
    assert probe.accuracy(torch.tensor([9, 19])) == 0.5  # two wrong labels of one cluster: the other one is never told
    assert probe.accuracy(torch.tensor([0])) == 0.5


def test_probe_is_the_ridge_regression_of_its_formula() -> None:
    """Against the textbook solution with an intercept, on centred data: w = (X'X + 0.01 n I)^-1 X'(Y - mean Y)."""
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(30, 4, generator=generator)
    labels = torch.randint(3, (30,), generator=generator)
    none = torch.full((30, 1), -1)
    pool = Pool(tie_breaker=torch.arange(30), embeddings=embeddings, neighbors=none, pseudo_labels=labels)
    rows = torch.arange(0, 30, 3)
    x = ((embeddings - embeddings.mean(0)) / embeddings.std(0, correction=0)).double()
    y = torch.eye(3, dtype=torch.float64)[labels]
    center, offset = x[rows].mean(0), y[rows].mean(0)
    a = x[rows] - center
    weight = torch.linalg.inv(a.T @ a + 0.01 * 10 * torch.eye(4)) @ a.T @ (y[rows] - offset)
    expected = (((x - center) @ weight + offset).argmax(1) == labels).double().mean()
    assert LinearProbe.of(pool, torch.Generator()).accuracy(rows) == pytest.approx(float(expected))


def test_large_pool_is_judged_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NUM_JUDGED", 12)
    probe = LinearProbe.of(two_clusters(), torch.Generator().manual_seed(3))
    assert len(probe.judged) == 12
    assert probe.judged.tolist() == sorted(set(probe.judged.tolist()))
    assert probe.accuracy(torch.tensor([0, 1, 2, 3])) == 1.0


@pytest.mark.parametrize("name", ["embeddings", "neighbors", "pseudo_labels"])
def test_probe_needs_its_fields(name: str) -> None:
    fields = {field: getattr(two_clusters(), field) for field in ("embeddings", "neighbors", "pseudo_labels")}
    pool = Pool(tie_breaker=torch.arange(60), **{field: fields[field] for field in fields if field != name})
    with pytest.raises(ValueError, match=f"needs the pool's {name}, got None"):
        LinearProbe.of(pool, torch.Generator())


def picks(limit: float) -> "dict[float, Tensor]":
    return {rate: torch.tensor([round(100 * rate)]) for rate in HARD_RATES if rate <= limit}


@pytest.mark.parametrize(("best", "expected"), [([10], 0.1), ([10, 15], 0.1), ([5, 10, 20], 0.1), ([0], 0.0)])
def test_best_rate_is_the_middle_one_of_equally_good_ones(best: list[int], expected: float) -> None:
    found = picks(1.0)
    values = {5: 0.7} | dict.fromkeys(best, 0.9)
    rate, curve = best_hard_rate(found.__getitem__, lambda rows: values.get(int(rows), 0.0))
    assert rate == expected
    assert [point[0] for point in curve] == list(HARD_RATES)
    assert dict(curve)[0.05] == values[5]


def test_rates_that_leave_too_few_rows_are_not_tried() -> None:
    found = picks(0.15)

    def pick(rate: float) -> Tensor:
        if rate not in found:
            raise UsageError("does not fit")
        return found[rate]

    rate, curve = best_hard_rate(pick, lambda rows: float(rows))
    assert (rate, len(curve)) == (0.15, 4)


def test_no_rate_fits() -> None:
    def pick(rate: float) -> Tensor:
        raise UsageError("the budget is too large")

    with pytest.raises(UsageError, match="the budget is too large"):
        best_hard_rate(pick, lambda rows: math.nan)

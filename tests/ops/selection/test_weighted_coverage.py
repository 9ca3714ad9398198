import dataclasses
import importlib
import math

import pytest
import torch

from elfs.ops.selection import Pool, SelectorOptions, select
from elfs.ops.selection.weighted_coverage import hardness_share


def picked(pool: Pool, budget: int, trust: float = 1.0) -> list[int]:
    return select("auto", pool, budget, SelectorOptions(trust=trust), torch.Generator().manual_seed(0)).tolist()


def test_share_by_hand() -> None:
    hardness = torch.tensor([3.0, 1.0, math.nan, 1.0, 9.0])
    assert hardness_share(hardness).tolist() == [(2 + 3) / 8, 2 / 8, 0, 2 / 8, (3 + 4) / 8]
    assert hardness_share(hardness, torch.tensor([4, 2, 0])).tolist() == [(3 + 4) / 8, 0, (2 + 3) / 8]
    assert hardness_share(torch.ones(3)).tolist() == [0.5] * 3
    assert hardness_share(torch.tensor([math.nan])).tolist() == [0]


def groups(hardness: list[float], copies: int = 1) -> Pool:
    """Three rows along one axis, two along another, one along a third; one cluster."""
    axes = torch.tensor([0, 0, 0, 1, 1, 2]).repeat_interleave(copies)
    rows = len(axes)
    return Pool(
        tie_breaker=torch.arange(rows),
        embeddings=torch.eye(3)[axes],
        hardness=torch.tensor(hardness).repeat_interleave(copies),
        pseudo_labels=torch.zeros(rows, dtype=torch.int64),
    )


def test_first_picks_are_what_is_typical_however_hard_the_rest_is() -> None:
    assert picked(groups([1.0] * 6), 3) == [0, 3, 5]
    assert picked(groups([0.0, 1.0, 2.0, 4.0, 5.0, 3.0]), 3) == [0, 3, 5]


def late(pool: Pool) -> Pool:
    """Return the pool with twenty more rows in the middle of nowhere, all settled: twenty picks of one cluster."""
    assert pool.embeddings is not None
    assert pool.hardness is not None
    return Pool(
        tie_breaker=torch.arange(len(pool) + 20),
        settled=torch.arange(len(pool) + 20) >= len(pool),
        embeddings=torch.cat([pool.embeddings, torch.zeros(20, 3)]),
        hardness=torch.cat([pool.hardness, torch.full((20,), math.nan)]),
        pseudo_labels=torch.zeros(len(pool) + 20, dtype=torch.int64),
    )


def test_later_a_hard_group_comes_before_a_larger_easy_one() -> None:
    """Weights by rank: 1/12, 3/12, 5/12 | 9/12, 11/12 | 7/12: gains 9/12, 20/12 and 7/12."""
    hardness = [0.0, 1.0, 2.0, 4.0, 5.0, 3.0]
    assert picked(late(groups([1.0] * 6)), 3) == [0, 3, 5]
    assert picked(late(groups(hardness)), 3) == [3, 0, 5]
    # With a trust of 0.6 the gains are 0.64 x (3, 2, 1) + 0.36 x (9, 20, 7) / 12 = 2.19, 1.88 and 0.85.
    assert picked(late(groups(hardness)), 3, trust=0.6) == [0, 3, 5]
    # With 0.8: 0.36 x (3, 2, 1) + 0.64 x (9, 20, 7) / 12 = 1.56, 1.79 and 0.73.
    assert picked(late(groups(hardness)), 3, trust=0.8) == [3, 0, 5]


def test_without_trust_it_is_facility_location() -> None:
    generator = torch.Generator().manual_seed(1)
    pool = Pool(
        tie_breaker=torch.arange(200),
        embeddings=torch.randn(200, 5, generator=generator),
        hardness=torch.randn(200, generator=generator),
        pseudo_labels=torch.arange(200) % 3,
    )
    plain = select("facility-location", pool, 120, SelectorOptions(), torch.Generator()).tolist()
    assert picked(pool, 120, trust=0.0) == plain
    assert picked(pool, 120) != plain
    assert picked(pool, 4) == plain[:4]  # three picks, one for each cluster, before difficulty begins to count


@pytest.mark.parametrize("trust", [1.0, 0.5])
def test_greedy_picks_are_those_of_brute_force(trust: float) -> None:
    """Difficulty counts more from pick to pick: two clusters, so from the third pick to the fortieth."""
    generator = torch.Generator().manual_seed(4)
    embeddings = torch.randn(60, 3, generator=generator)
    hardness = torch.randn(60, generator=generator)
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    cosine = (unit @ unit.T).clamp_min(0).double()
    share = hardness_share(hardness)
    covered = torch.zeros(60, dtype=torch.float64)
    expected: list[int] = []
    for number in range(45):
        growth = trust**2 * min(1, max(0, (number - 2) / 38))
        gains = ((cosine - covered).clamp_min(0) * (1 - growth * (1 - share))).sum(dim=1)
        gains[expected] = -1
        expected.append(int(gains.argmax()))
        covered = torch.maximum(covered, cosine[expected[-1]])
    pool = Pool(
        tie_breaker=torch.arange(60),
        embeddings=embeddings,
        hardness=hardness,
        pseudo_labels=torch.arange(60) % 2,
    )
    assert picked(pool, 20, trust) == expected[:20]  # beyond it, gains are as small as the steps of the cosines


def test_degenerate_pools() -> None:
    """One row, two rows, rows that are all equal, a cluster for each row."""
    for rows, clusters in ((1, 1), (2, 1), (2, 2), (7, 1), (7, 7)):
        pool = Pool(
            tie_breaker=torch.arange(rows),
            embeddings=torch.ones(rows, 4),
            hardness=torch.ones(rows),
            pseudo_labels=torch.arange(rows) % clusters,
        )
        for budget in {1, rows}:
            assert picked(pool, budget) == list(range(budget))


@pytest.mark.parametrize("name", ["embeddings", "hardness", "pseudo_labels"])
def test_fields_are_needed(name: str) -> None:
    whole = groups([1.0] * 6)
    fields = {field: getattr(whole, field) for field in ("embeddings", "hardness", "pseudo_labels") if field != name}
    with pytest.raises(ValueError, match=f"needs the pool's {name}, got None"):
        picked(Pool(tie_breaker=torch.arange(6), **fields), 2)


def test_where_people_have_annotated_hard_is_what_their_classifier_is_unsure_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draws = torch.Generator().manual_seed(0)
    pool = Pool(
        tie_breaker=torch.randperm(60, generator=draws),
        settled=torch.arange(60) % 6 == 0,
        embeddings=torch.randn(60, 4, generator=draws),
        hardness=torch.randn(60, generator=draws),
        pseudo_labels=torch.zeros(60, dtype=torch.int64),
    )
    unsure = torch.rand(60, generator=draws)
    told = picked(dataclasses.replace(pool, unsure=unsure), 20, trust=0.1)
    monkeypatch.setattr(importlib.import_module("elfs.ops.selection.weighted_coverage"), "_HARD_PICKS", 10)
    assert told == picked(dataclasses.replace(pool, hardness=unsure), 20)
    assert told != picked(pool, 20)
    alike = dataclasses.replace(pool, unsure=torch.zeros(60))  # of one class a classifier is always sure
    assert picked(alike, 20) == picked(dataclasses.replace(pool, hardness=torch.zeros(60)), 20)

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from elfs.errors import UsageError
from elfs.ops import selection
from elfs.ops.selection import Pool, SelectorOptions
from elfs.ops.selection.strata import NUM_STRATA, equal_width_strata, stratum_quotas

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "selection.npz")
each_case = pytest.mark.parametrize(("budget", "hard_rate"), [(0.1, 0.3), (0.5, 0.1)])


def select(pool: Pool, budget: int, *, hard_rate: float = 0.0, seed: int = 0) -> list[int]:
    options, generator = SelectorOptions(hard_rate=hard_rate), torch.Generator().manual_seed(seed)
    return [int(position) for position in selection.select("ccs", pool, budget, options, generator)]


def pool_of(hardness: torch.Tensor, aum: torch.Tensor | None = None, settled: torch.Tensor | None = None) -> Pool:
    scores = {"aum": -hardness if aum is None else aum}
    return Pool(tie_breaker=torch.arange(len(hardness)), hardness=hardness, scores=scores, settled=settled)


def golden_pool(hard_rate: float) -> torch.Tensor:
    """Return the AUM of the rows that the reference leaves over."""
    aum = torch.from_numpy(GOLDEN["aum"])
    return aum.sort().values[round(hard_rate * len(aum)) :]


@each_case
def test_strata_match_reference(budget: float, hard_rate: float) -> None:
    """eltsai/elfs@089444b, core/data/Coreset.py, stratified_sampling, by AUM; it stretches the range by 1.0001 * max.

    A row at the end of the stretched range gives the same borders; without it a few rows beside a border change sides.
    """
    left = golden_pool(hard_rate)
    stretched = torch.cat([left, left.max(dim=0, keepdim=True).values * 1.0001])
    counts = torch.bincount(equal_width_strata(stretched)[:-1], minlength=NUM_STRATA)
    expected = GOLDEN[f"ccs_pool_per_stratum_b{budget}_m{hard_rate}"]
    np.testing.assert_array_equal(counts.numpy(), expected)
    ours = torch.bincount(equal_width_strata(left), minlength=NUM_STRATA).numpy()
    assert np.abs(np.cumsum(ours) - np.cumsum(expected)).max() <= 1


@each_case
def test_quotas_match_reference(budget: float, hard_rate: float) -> None:
    pool = torch.from_numpy(GOLDEN[f"ccs_pool_per_stratum_b{budget}_m{hard_rate}"]).long()
    expected = GOLDEN[f"ccs_selected_per_stratum_b{budget}_m{hard_rate}"]
    quotas = stratum_quotas(pool, round(budget * 1000), held=torch.zeros_like(pool))
    np.testing.assert_array_equal(quotas.numpy(), expected)


@each_case
def test_selection_has_the_quota_of_each_stratum(budget: float, hard_rate: float) -> None:
    aum = torch.from_numpy(GOLDEN["aum"])
    picked = select(pool_of(-aum), round(budget * 1000), hard_rate=hard_rate)
    left = golden_pool(hard_rate)
    assert aum[picked].min() >= left.min()
    stratum_of = dict(zip((-left).tolist(), equal_width_strata(-left).tolist(), strict=True))
    strata = torch.tensor([stratum_of[value] for value in (-aum[picked]).tolist()])
    sizes = torch.bincount(equal_width_strata(-left), minlength=NUM_STRATA)
    quotas = stratum_quotas(sizes, round(budget * 1000), held=torch.zeros_like(sizes))
    assert torch.equal(torch.bincount(strata, minlength=NUM_STRATA), quotas)


def test_quotas_by_hand() -> None:
    """Of 8, the strata of 1 and 2 give all; the two others share 5, and the larger gets the odd one."""
    available, none = torch.tensor([9, 1, 2, 5]), torch.zeros(4, dtype=torch.int64)
    assert stratum_quotas(available, 8, held=none).tolist() == [3, 1, 2, 2]
    assert stratum_quotas(torch.tensor([4, 4, 4]), 7, held=torch.zeros(3, dtype=torch.int64)).tolist() == [3, 2, 2]


def test_what_a_stratum_holds_already_counts() -> None:
    available, held = torch.tensor([5, 5, 5]), torch.tensor([3, 0, 1])
    assert stratum_quotas(available, 5, held=held).tolist() == [0, 3, 2]


def test_strata_by_hand() -> None:
    values = torch.tensor([0.0, 1.0, 1.99, 2.0, 98.0, 100.0])
    assert equal_width_strata(values).tolist() == [0, 0, 0, 1, 49, 49]
    assert equal_width_strata(torch.tensor([-2.0, -1.0, 0.0])).tolist() == [0, 25, 49]
    assert equal_width_strata(torch.full((3,), 0.1)).tolist() == [0, 0, 0]


def test_largest_row_is_kept_where_the_maximum_is_not_positive() -> None:
    """The reference loses it: all of range(n) are asked for, and it returns one less."""
    pool = pool_of(torch.tensor([-3.0, -2.0, -1.0, 0.0]))
    assert sorted(select(pool, 4)) == [0, 1, 2, 3]


def test_strata_take_turns_from_hard_to_easy() -> None:
    """Two rows in each of the strata 0, 25 and 49."""
    pool = pool_of(torch.tensor([0.0, 0.1, 5.0, 5.1, 9.9, 10.0]))
    ranks = [position // 2 for position in select(pool, 6)]
    assert ranks == [2, 1, 0, 2, 1, 0]
    assert [position // 2 for position in select(pool, 2)] != [0, 0]


def test_aum_decides_what_is_pruned_and_the_key_what_is_covered() -> None:
    pool = pool_of(torch.tensor([9.0, 8.0, 1.0, 0.0]), aum=torch.tensor([3.0, -1.0, 2.0, -2.0]))
    assert sorted(select(pool, 2, hard_rate=0.5)) == [0, 2]
    assert sorted(select(pool, 3, hard_rate=0.25)) == [0, 1, 2]


@pytest.mark.slow
def test_draw_inside_a_stratum_is_uniform() -> None:
    pool = pool_of(torch.zeros(5))
    counts = np.bincount([row for seed in range(2000) for row in select(pool, 2, seed=seed)], minlength=5)
    assert np.abs(counts - 800).max() < 5 * math.sqrt(2000 * 0.4 * 0.6)  # five standard deviations


def test_settled_rows_fill_their_stratum() -> None:
    hardness = torch.tensor([0.0, 0.0, 0.0, 10.0, 10.0, 10.0])
    pool = pool_of(hardness, settled=torch.tensor([True, True, False, False, False, False]))
    assert set(select(pool, 2)) < {3, 4, 5}
    assert set(select(pool, 3)) in ({3, 4, 5}, {2, 3, 4}, {2, 3, 5}, {2, 4, 5})
    assert sorted(select(pool, 4)) == [2, 3, 4, 5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_row_without_key_or_aum_is_never_selected(bad: float) -> None:
    hardness, aum = torch.arange(5.0), torch.arange(5.0)
    hardness[1], aum[3] = bad, bad
    pool = pool_of(hardness, aum)
    assert sorted(select(pool, 3)) == [0, 2, 4]
    with pytest.raises(UsageError, match="the budget is 4 images, expected 1 to 3"):
        select(pool, 4)


def test_hard_rate_that_leaves_too_few_names_the_largest_that_fits() -> None:
    pool = pool_of(torch.arange(10.0))
    with pytest.raises(UsageError, match=r"a hard rate of 0.6 leaves 4 of 10 images .*that fits is 0\.5\.$"):
        select(pool, 5, hard_rate=0.6)
    assert len(select(pool, 5, hard_rate=0.5)) == 5


def test_clusters_are_balanced_over_the_rows_that_have_all_scores() -> None:
    """Both scores of the first cluster's rows but one are missing, so that it can give one row alone."""
    aum = torch.tensor([math.nan, math.nan, 2.0, 3.0, 4.0, 5.0])
    pool = Pool(
        tie_breaker=torch.arange(6),
        hardness=torch.arange(6.0),
        scores={"aum": aum},
        pseudo_labels=torch.tensor([0, 0, 0, 1, 1, 1]),
    )
    generator = torch.Generator().manual_seed(0)
    picked = selection.select("ccs", pool, 4, SelectorOptions(), generator, balance="pseudo_labels")
    assert sorted(picked.tolist()) == [2, 3, 4, 5]

from typing import Any

import numpy as np
import pytest

from elfs.delivery.chosen import load_selection
from elfs.delivery.pool import EASY, HARD, KEPT, REST, Pool, evenly, load_pool


def bands(pool: Pool) -> dict[str, list[int]]:
    return {band.kind: pool.rows[band.positions].tolist() for band in pool.bands}


def test_a_window_has_two_ends(shop: Any) -> None:
    pool = load_pool(load_selection(shop.path, None))
    assert bands(pool) == {HARD: list(range(8)), KEPT: list(range(8, 13)), EASY: list(range(13, 20))}
    assert [band.name for band in pool.bands] == ["left out, too hard", "selected", "left out, too easy"]
    assert len(pool) == 20


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"method": "elfs", "budget": "4", "hard_rate": 0.0}, {KEPT: [0, 1, 2, 3], EASY: list(range(4, 20))}),
        ({"method": "elfs", "budget": "4", "hard_rate": 0.8}, {HARD: list(range(16)), KEPT: [16, 17, 18, 19]}),
        ({"method": "elfs", "budget": "20", "hard_rate": 0.0}, {KEPT: list(range(20))}),
        ({"budget": "3", "method": "hardest"}, {KEPT: [0, 1, 2], EASY: list(range(3, 20))}),
        ({"budget": "3", "method": "easiest"}, {HARD: list(range(17)), KEPT: [17, 18, 19]}),
    ],
)
def test_bands_follow_the_method(shop: Any, config: dict[str, Any], expected: dict[str, list[int]]) -> None:
    shop.select(name="other", **config)
    assert bands(load_pool(load_selection(shop.path, "other"))) == expected


def test_tied_scores_are_cut_where_the_selector_cuts(shop: Any) -> None:
    shop.score(np.zeros(20))
    shop.select(method="elfs", budget="5", hard_rate=0.25, name="tied")
    assert {kind: len(rows) for kind, rows in bands(load_pool(load_selection(shop.path, "tied"))).items()} == {
        HARD: 5,
        KEPT: 5,
        EASY: 10,
    }


def test_chance_leaves_a_rest(shop: Any) -> None:
    shop.select(method="random", budget="5", name="chance")
    selection = load_selection(shop.path, "chance")
    found = bands(load_pool(selection))
    assert sorted(found[KEPT]) == sorted(selection.rows.tolist())
    assert found[REST] == sorted(set(range(20)) - set(found[KEPT]))


def test_what_cannot_be_used_is_not_in_the_pool_and_no_score_comes_last(broken: Any) -> None:
    pool = load_pool(load_selection(broken.path, None))
    assert {3, 4}.isdisjoint(pool.rows.tolist())
    found = bands(pool)
    assert (len(found[HARD]), found[EASY][-1]) == (8, 19)


def test_chance_before_the_other_stages(empty: Any) -> None:
    empty.draw([f"{number}.png" for number in range(6)])
    empty.embed()
    empty.select(method="random", budget="2", name="chance")
    pool = load_pool(load_selection(empty.path, None))
    assert (pool.scores, pool.pseudo_labels) == (None, None)
    assert {kind: len(rows) for kind, rows in bands(pool).items()} == {KEPT: 2, REST: 4}


@pytest.mark.parametrize(
    ("size", "count", "expected"), [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (7, 1, [0]), (4, 4, [0, 1, 2, 3])]
)
def test_evenly(size: int, count: int, expected: list[int]) -> None:
    assert evenly(np.arange(size), count).tolist() == expected

"""Laws that every score and every selector obeys; a new one is tested by being in its table."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from elfs import catalog
from elfs.errors import UsageError
from elfs.ops.distances import unit_rows
from elfs.ops.neighbors import cosine_neighbors
from elfs.ops.scores import EMBEDDING_SCORES, SCORES, TRACE_SCORES, Geometry, compute_scores, hardness
from elfs.ops.selection import SELECTORS, Pool, SelectorOptions, select
from elfs.ops.traces import TRACES, trace_batch

each_score = pytest.mark.parametrize("key", SCORES)
each_selector = pytest.mark.parametrize("name", SELECTORS)

each_way = pytest.mark.parametrize(
    "how",
    [{}, {"balance": "pseudo_labels"}, {"num_blocks": 3}, {"balance": "pseudo_labels", "num_blocks": 2}],
    ids=["plain", "balanced", "blocks", "balanced-blocks"],
)
EXTRA_SCORES = {key for entry in catalog.SELECTORS.values() for key in entry.scores}
ALIKE = ("hardness", "embeddings", "similarity", "features", "errors", "probabilities", "disagreement", "unsure")


def test_lists_cover_the_tables() -> None:
    assert set(SCORES) == set(catalog.SCORES)
    assert set(SELECTORS) == set(catalog.SELECTORS)
    assert set(SELECTORS) >= PREFIX
    assert set(SCORES) == set(TRACE_SCORES) | set(EMBEDDING_SCORES)
    sources = {"dynamics": set(TRACE_SCORES), "embeddings": set(EMBEDDING_SCORES)}
    assert all(key in sources[score.source] for key, score in catalog.SCORES.items())


# Scores


def make_traces(num_samples: int = 40, num_classes: int = 5, num_epochs: int = 8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    logits = 2 * torch.randn(num_epochs, num_samples, num_classes, generator=generator)
    epochs = [trace_batch(epoch, labels) for epoch in logits]
    stacked = {name: torch.stack([epoch[name] for epoch in epochs]) for name in TRACES}
    return {name: values if name == "correct" else values.half() for name, values in stacked.items()}


def make_geometry(num_samples: int = 40, num_prototypes: int = 4) -> Geometry:
    embeddings = unit_rows(torch.randn(num_samples, 6, generator=torch.Generator().manual_seed(0)))
    similarity = cosine_neighbors(embeddings, min(25, num_samples - 1), device="cpu")[1]
    return Geometry(embeddings, similarity, embeddings[:num_prototypes] / 2)


def score_of(key: str, traces: dict[str, Tensor], geometry: Geometry) -> Tensor:
    if key in TRACE_SCORES:
        return TRACE_SCORES[key](traces, 3)
    return EMBEDDING_SCORES[key](geometry)


@each_score
def test_score_moves_with_its_sample(key: str) -> None:
    traces, geometry = make_traces(), make_geometry()
    permutation = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    permuted = {name: values[:, permutation] for name, values in traces.items()}
    moved = Geometry(geometry.embeddings[permutation], geometry.similarity[permutation], geometry.prototypes)
    assert torch.equal(score_of(key, permuted, moved), score_of(key, traces, geometry)[permutation])


@each_score
def test_score_is_float32_finite_and_leaves_its_input_alone(key: str) -> None:
    traces, geometry = make_traces(), make_geometry()
    before = [values.clone() for values in (*traces.values(), *geometry)]
    score = score_of(key, traces, geometry)
    assert (score.dtype, score.shape) == (torch.float32, (40,))
    assert score.isfinite().all()
    assert len(score.unique()) > 1
    assert all(map(torch.equal, (*traces.values(), *geometry), before))


@each_score
def test_row_of_which_nothing_is_known_is_nan_and_the_others_do_not_notice(key: str) -> None:
    traces, geometry = make_traces(), make_geometry()
    expected = score_of(key, traces, geometry)
    for name in TRACES:
        traces[name][:, 7] = 0 if name == "correct" else math.nan
    geometry.embeddings[7] = geometry.similarity[7] = math.nan
    score = score_of(key, traces, geometry)
    assert score.isnan().nonzero().tolist() == [[7]]
    others = torch.arange(40) != 7
    assert torch.equal(score[others], expected[others])


@each_score
def test_hardness_is_higher_for_the_harder_sample(key: str) -> None:
    """Sample 0 is right with confidence at all visits, and in a crowd; sample 1 wavers, ends badly, and is alone."""
    easy, hard = [8.0, 0.0, 0.0], [[0.6, 0.0, 0.0], [0.0, 0.6, 0.0]]
    labels = torch.tensor([0, 0])
    epochs = [trace_batch(torch.tensor([easy, hard[visit % 2]]), labels) for visit in range(6)]
    traces = {name: torch.stack([epoch[name] for epoch in epochs]) for name in TRACES}
    geometry = Geometry(torch.eye(2), torch.tensor([[0.9, 0.8], [0.1, 0.0]]), torch.tensor([[0.9, 0.1]]))
    easy_one, hard_one = hardness(score_of(key, traces, geometry), key).tolist()
    assert hard_one > easy_one


@each_score
def test_score_of_a_single_class(key: str) -> None:
    """Nothing is learned, and nothing tells two equal samples apart."""
    traces = make_traces(num_samples=2, num_classes=1)
    geometry = Geometry(torch.ones(2, 3), torch.ones(2, 1), torch.ones(1, 3))
    score = score_of(key, traces, geometry)
    assert score.isfinite().all()
    assert score[0] == score[1]


@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("num_epochs", [1, 2, 3, 6])
def test_scores_are_there_as_soon_as_the_epochs_are(num_epochs: int, window: int) -> None:
    scores = compute_scores(make_traces(num_epochs=num_epochs), window)
    assert set(scores) == {key for key in TRACE_SCORES if catalog.required_epochs(key, window) <= num_epochs}
    assert all(score.isfinite().all() for score in scores.values())
    assert all(catalog.required_epochs(key, window) == 0 for key in EMBEDDING_SCORES)


# Selectors


NUM_ROWS = 30
PREFIX = {
    *("auto", "easiest", "elfs", "entropy", "facility-location", "hardest", "herding", "k-center", "margin"),
    *("prototypicality", "random", "uherding"),
}
"""Selectors whose first n picks are what a budget of n selects (elfs: at the same hard rate)."""


def make_pool(num_rows: int = NUM_ROWS, *, ties: bool = False, seed: int = 0) -> Pool:
    """Return a pool with every field, so that a selector of any kind can be run on it; 4 rows of 30 are settled."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        if ties:
            return torch.randint(3, (num_rows, *shape), generator=generator).float()
        return torch.randn(num_rows, *shape, generator=generator)

    return Pool(
        tie_breaker=torch.randperm(num_rows, generator=generator) * 7919,
        settled=torch.arange(num_rows) % 8 == 7 if num_rows > 8 else None,
        barred=torch.zeros(num_rows, dtype=torch.bool),
        groups=torch.arange(num_rows).square() % 11,  # 6 groups of 2 to 6 of the 30 rows
        column=torch.arange(num_rows) % 3 // 2,
        hardness=numbers(),
        scores={
            key: numbers() for key in sorted({key for entry in catalog.SELECTORS.values() for key in entry.scores})
        },
        pseudo_labels=torch.arange(num_rows) % 4,
        embeddings=numbers(6),
        neighbors=((torch.arange(num_rows).unsqueeze(1) + torch.arange(1, 4)) % num_rows).int(),
        similarity=torch.tensor([0.9, 0.8, 0.7]).expand(num_rows, 3),
        features=numbers(5).abs(),
        errors=numbers(4).softmax(dim=1) - torch.eye(4)[torch.arange(num_rows) % 4],
        probabilities=numbers(4).softmax(dim=1),
        disagreement=torch.randint(4, (num_rows,), generator=generator) / 3,
        unsure=numbers().sigmoid(),
    )


def permuted_pool(pool: Pool, permutation: Tensor) -> Pool:
    """Return the pool with row ``permutation[i]`` at position i, and its neighbours renumbered."""
    moved = {
        field.name: value[permutation]
        for field in dataclasses.fields(Pool)
        if isinstance(value := getattr(pool, field.name), Tensor)
    }
    assert pool.neighbors is not None
    moved["neighbors"] = permutation.argsort()[pool.neighbors[permutation].long()].int()
    return Pool(**moved, scores={key: score[permutation] for key, score in pool.scores.items()})


def run(name: str, pool: Pool, budget: int, *, hard_rate: float = 0.0, seed: int = 0, **how: Any) -> Tensor:
    return select(name, pool, budget, SelectorOptions(hard_rate=hard_rate), torch.Generator().manual_seed(seed), **how)


@each_selector
@each_way
def test_selection_has_the_exact_size_no_row_twice_and_none_that_is_settled(name: str, how: dict[str, Any]) -> None:
    for ties, budget in itertools.product((False, True), (1, 7, 26, 27)):
        pool = make_pool(ties=ties)
        positions = run(name, pool, budget, **how)
        assert (positions.dtype, positions.shape) == (torch.int64, (budget,)), (ties, budget)
        assert len(set(positions.tolist())) == budget, (ties, budget)
        assert pool.candidates()[positions].all(), (ties, budget)


@each_selector
@each_way
def test_selection_follows_the_samples_when_rows_move(name: str, how: dict[str, Any]) -> None:
    permutation = torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(5))
    for ties in (False, True):
        pool = make_pool(ties=ties)
        moved = run(name, permuted_pool(pool, permutation), 9, hard_rate=0.2, **how)
        assert torch.equal(permutation[moved], run(name, pool, 9, hard_rate=0.2, **how)), ties


@each_selector
@each_way
def test_selection_is_the_same_for_the_same_seed(name: str, how: dict[str, Any]) -> None:
    pool = make_pool()
    assert torch.equal(run(name, pool, 9, seed=3, **how), run(name, pool, 9, seed=3, **how))


@each_selector
def test_without_options_nothing_is_pruned_and_all_is_believed(name: str) -> None:
    options = SelectorOptions(hard_rate=0.0, trust=1.0, per_group=None, whole_groups=False)
    plain, told = (select(name, make_pool(), 9, how, torch.Generator()) for how in (SelectorOptions(), options))
    assert torch.equal(plain, told)


@each_selector
def test_selector_leaves_its_pool_alone(name: str) -> None:
    pool, before = make_pool(), make_pool()
    run(name, pool, 9, hard_rate=0.2)
    for field in dataclasses.fields(Pool):
        value, expected = getattr(pool, field.name), getattr(before, field.name)
        same = torch.equal(value, expected) if isinstance(value, Tensor) else value.keys() == expected.keys()
        assert same, field.name
    assert all(torch.equal(pool.scores[key], before.scores[key]) for key in pool.scores)


@pytest.mark.parametrize("name", sorted(PREFIX))
@pytest.mark.parametrize("ties", [False, True])
def test_smaller_budget_is_the_beginning_of_the_larger(name: str, ties: bool) -> None:
    pool = make_pool(ties=ties)
    longest = run(name, pool, 15, hard_rate=0.2)
    for budget in (1, 4, 10):
        assert torch.equal(run(name, pool, budget, hard_rate=0.2), longest[:budget])


@each_selector
def test_row_without_a_score_is_never_selected_by_it(name: str) -> None:
    entry = catalog.SELECTORS[name]
    pool = make_pool()
    missing = torch.tensor([0, 1, 9])
    hardness, scores = pool.hardness, dict(pool.scores)
    assert hardness is not None
    hardness[missing] = math.nan
    for score in scores.values():
        score[missing] = math.nan
    if not entry.keyed:
        pool = dataclasses.replace(pool, hardness=None)
    if entry.keyed or entry.scores:
        assert not set(run(name, pool, 24).tolist()) & set(missing.tolist())
        with pytest.raises(UsageError, match=r"the budget is 25 images, expected 1 to 24: that many are eligible"):
            run(name, pool, 25)
    else:
        assert set(run(name, pool, 27).tolist()) >= set(missing.tolist())


@each_selector
def test_budget_out_of_range(name: str) -> None:
    for budget in (0, -1, 28):
        expected = f"the budget is {budget} images, expected 1 to 27: that many are eligible"
        with pytest.raises(UsageError, match=expected):
            run(name, make_pool(), budget)


@each_selector
def test_field_that_the_catalog_does_not_name_is_not_needed(name: str) -> None:
    """The select stage fills what the catalog says that a method reads, and nothing else."""
    entry, pool = catalog.SELECTORS[name], make_pool()
    fields = {
        "pseudo_labels": ("pseudo_labels",),
        "embeddings": ("embeddings",),
        "neighbors": ("neighbors", "similarity"),
        "proxy": ("features", "errors"),
        "annotations": ("disagreement",) if name == "dropquery" else ("probabilities",),
    }
    kept = {field: getattr(pool, field) for artifact in entry.reads for field in fields.get(artifact, ())}
    kept |= {"hardness": pool.hardness} if entry.keyed else {}
    lean = Pool(tie_breaker=pool.tie_breaker, scores={key: pool.scores[key] for key in entry.scores}, **kept)
    assert len(run(name, lean, 9)) == 9
    for field in kept:
        with pytest.raises(ValueError, match=f"this selector needs the pool's {field}, got None"):
            run(name, dataclasses.replace(lean, **{field: None}), 9)  # type: ignore[arg-type]
    for key in entry.scores:
        others = {other: score for other, score in lean.scores.items() if other != key}
        with pytest.raises(ValueError, match=f"this selector needs the pool's {key}, got None"):
            run(name, dataclasses.replace(lean, scores=others), 9)


@each_selector
def test_pool_of_one(name: str) -> None:
    assert run(name, make_pool(1), 1).tolist() == [0]


@each_selector
def test_all_samples_alike(name: str) -> None:
    """Constant scores, equal embeddings, a single cluster: any rows will do, but exactly as many as asked for."""
    pool = make_pool(4)
    alike = {field: value for field in ALIKE if (value := getattr(pool, field)) is not None}
    pool = dataclasses.replace(
        pool,
        **{field: torch.ones_like(value) for field, value in alike.items()},
        scores={key: torch.ones_like(score) for key, score in pool.scores.items()},
        pseudo_labels=torch.zeros(4, dtype=torch.int64),
    )
    assert sorted(run(name, pool, 4).tolist()) == [0, 1, 2, 3]
    assert len(set(run(name, pool, 2).tolist())) == 2


# Limits by group


GOES_DOWN_A_RANKING = {"easiest", "elfs", "entropy", "hardest", "margin"}
"""Selectors that are nothing but an order, so that a limit must be the walk down that order."""

each_limited_way = pytest.mark.parametrize(
    "how",
    [{}, {"balance": "column", "num_blocks": 2}],
    ids=["plain", "balanced-blocks"],
)


LIMITS: list[dict[str, Any]] = [{"per_group": 2}, {"whole_groups": True}]


def limited(name: str, pool: Pool, budget: int, how: dict[str, Any], **limits: Any) -> list[int]:
    options = SelectorOptions(hard_rate=0.1, **limits)
    return [int(row) for row in select(name, pool, budget, options, torch.Generator().manual_seed(0), **how)]


def counted(pool: Pool, rows: list[int]) -> Tensor:
    assert pool.groups is not None
    return torch.bincount(pool.groups[rows], minlength=int(pool.groups.max()) + 1)


@each_selector
@each_limited_way
def test_no_group_has_more_than_the_limit_and_settled_rows_count(name: str, how: dict[str, Any]) -> None:
    for per_group, budget in itertools.product((1, 3), (5, 20)):
        pool = make_pool(ties=per_group == 3)
        held = counted(pool, torch.nonzero(pool.held()).flatten().tolist())
        free = counted(pool, torch.nonzero(pool.candidates()).flatten().tolist())
        room = (per_group - held).clamp_min(0).minimum(free)
        rows = limited(name, pool, budget, how, per_group=per_group)
        assert len(set(rows)) == len(rows)
        assert bool(pool.candidates()[rows].all())
        assert bool((counted(pool, rows) <= room).all())
        if not catalog.SELECTORS[name].prunes:  # what is pruned may be all that a group has
            assert len(rows) == min(budget, int(room.sum()))


@pytest.mark.parametrize("name", sorted(GOES_DOWN_A_RANKING))
def test_limit_is_the_walk_down_the_ranking_that_passes_over_full_groups(name: str) -> None:
    pool = make_pool()
    assert pool.groups is not None
    held = counted(pool, torch.nonzero(pool.held()).flatten().tolist())
    expected: list[int] = []
    for row in limited(name, pool, 24, {}):
        group = int(pool.groups[row])
        if held[group] < 2 and len(expected) < 7:
            expected.append(row)
            held[group] += 1
    assert limited(name, pool, 7, {}, per_group=2) == expected


@each_selector
@each_limited_way
def test_groups_are_taken_whole_within_the_budget_until_none_fits(name: str, how: dict[str, Any]) -> None:
    pool = make_pool()
    assert pool.groups is not None
    size = counted(pool, torch.nonzero(pool.candidates()).flatten().tolist())
    for budget in (1, 11, 27):
        rows = limited(name, pool, budget, how, whole_groups=True)
        found = counted(pool, rows)
        assert len(set(rows)) == len(rows) <= budget
        assert bool(((found == 0) | (found == size)).all())
        if not catalog.SELECTORS[name].prunes:  # a group that is pruned as a whole is never come to
            assert not bool(((found == 0) & (size > 0) & (size <= budget - len(rows))).any())
        assert len(pool.groups[rows].unique_consecutive()) == int((found > 0).sum())  # one after the other


@each_selector
def test_limited_selection_follows_the_samples_and_the_seed_and_needs_groups(name: str) -> None:
    pool = make_pool()
    permutation = torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(5))
    for limits in LIMITS:
        rows = limited(name, pool, 9, {}, **limits)
        assert permutation[limited(name, permuted_pool(pool, permutation), 9, {}, **limits)].tolist() == rows, limits
        assert limited(name, pool, 9, {}, **limits) == rows, limits
        with pytest.raises(ValueError, match="this selector needs the pool's groups, got None"):
            limited(name, dataclasses.replace(pool, groups=None), 3, {}, **limits)


@each_selector
@each_way
def test_barred_row_is_not_selected_and_covers_nothing(name: str, how: dict[str, Any]) -> None:
    pool = make_pool()
    barred = torch.arange(NUM_ROWS) % 5 == 0
    rows = run(name, dataclasses.replace(pool, barred=barred), 12, **how)
    assert len(set(rows.tolist())) == 12
    assert not bool((barred | pool.held())[rows].any())
    if not how and name in {"hardest", "random", "margin"}:
        walked = [row for row in run(name, pool, 27).tolist() if not barred[row]]
        assert rows.tolist() == walked[:12]

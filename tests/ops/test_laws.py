"""Laws that every score and every selector obeys; a new one is tested by being in its table."""

import math

import pytest
import torch
from torch import Tensor

from elfs import catalog
from elfs.ops.scores import SCORES, compute_scores, hardness
from elfs.ops.selection import SELECTORS, Pool, SelectorOptions
from elfs.ops.traces import TRACES, trace_batch

each_score = pytest.mark.parametrize("key", SCORES)
each_selector = pytest.mark.parametrize("name", SELECTORS)

# Which end of the hardness range each selector's first pick comes from: another table that new selectors must enter.
FIRST_PICK = {"elfs": "hard", "hardest": "hard", "easiest": "easy", "random": "any"}


def test_lists_cover_the_tables() -> None:
    assert set(SCORES) == set(catalog.SCORES)
    assert set(SELECTORS) == set(catalog.SELECTORS)
    assert set(FIRST_PICK) == set(SELECTORS)
    assert set(compute_scores(make_traces(), 3)) == set(SCORES)


# Scores


def make_traces(num_samples: int = 40, num_classes: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    logits = 2 * torch.randn(8, num_samples, num_classes, generator=generator)
    epochs = [trace_batch(epoch, labels) for epoch in logits]
    stacked = {name: torch.stack([epoch[name] for epoch in epochs]) for name in TRACES}
    return {name: values if name == "correct" else values.half() for name, values in stacked.items()}


@each_score
def test_score_moves_with_its_sample(key: str) -> None:
    traces = make_traces()
    permutation = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    permuted = {name: values[:, permutation] for name, values in traces.items()}
    assert torch.equal(SCORES[key](permuted, 3), SCORES[key](traces, 3)[permutation])


@each_score
def test_score_is_float32_finite_and_leaves_its_input_alone(key: str) -> None:
    traces = make_traces()
    before = {name: values.clone() for name, values in traces.items()}
    score = SCORES[key](traces, 3)
    assert (score.dtype, score.shape) == (torch.float32, (40,))
    assert score.isfinite().all()
    assert all(torch.equal(traces[name], before[name]) for name in TRACES)


@each_score
def test_row_that_was_never_visited_is_nan_and_the_others_do_not_notice(key: str) -> None:
    traces = make_traces()
    expected = SCORES[key](traces, 3)
    for name in TRACES:
        traces[name][:, 7] = 0 if name == "correct" else math.nan
    score = SCORES[key](traces, 3)
    assert score.isnan().nonzero().tolist() == [[7]]
    others = torch.arange(40) != 7
    assert torch.equal(score[others], expected[others])


@each_score
def test_hardness_is_higher_for_the_harder_sample(key: str) -> None:
    """Sample 0 is right with confidence at all visits; sample 1 wavers and ends badly."""
    easy, hard = [8.0, 0.0, 0.0], [[0.6, 0.0, 0.0], [0.0, 0.6, 0.0]]
    labels = torch.tensor([0, 0])
    epochs = [trace_batch(torch.tensor([easy, hard[visit % 2]]), labels) for visit in range(6)]
    traces = {name: torch.stack([epoch[name] for epoch in epochs]) for name in TRACES}
    easy_one, hard_one = hardness(SCORES[key](traces, 3), key).tolist()
    assert hard_one > easy_one


@each_score
def test_score_of_a_single_class_and_a_single_epoch(key: str) -> None:
    one = {name: values.unsqueeze(0) for name, values in trace_batch(torch.zeros(2, 1), torch.tensor([0, 0])).items()}
    score = SCORES[key](one, 1)
    assert score.isfinite().all()
    assert score[0] == score[1]


# Selectors


def make_pool(num_rows: int = 30, *, ties: bool = False, seed: int = 0) -> Pool:
    """Return a pool with every field, so that a selector of any kind can be run on it."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(3, (num_rows,), generator=generator).float()
    return Pool(
        tie_breaker=torch.randperm(num_rows, generator=generator) * 7919,
        hardness=levels if ties else torch.randn(num_rows, generator=generator),
        pseudo_labels=torch.arange(num_rows) % 4,
        embeddings=torch.randn(num_rows, 6, generator=generator),
        neighbors=(torch.arange(num_rows).unsqueeze(1) + torch.arange(1, 4)) % num_rows,
    )


def permuted_pool(pool: Pool, permutation: Tensor) -> Pool:
    """Return the pool with row ``permutation[i]`` at position i, and its neighbours renumbered."""
    assert pool.hardness is not None
    assert pool.pseudo_labels is not None
    assert pool.embeddings is not None
    assert pool.neighbors is not None
    return Pool(
        tie_breaker=pool.tie_breaker[permutation],
        hardness=pool.hardness[permutation],
        pseudo_labels=pool.pseudo_labels[permutation],
        embeddings=pool.embeddings[permutation],
        neighbors=permutation.argsort()[pool.neighbors[permutation]],
    )


def select(name: str, pool: Pool, budget: int, *, hard_rate: float = 0.0, seed: int = 0) -> Tensor:
    return SELECTORS[name](pool, budget, SelectorOptions(hard_rate=hard_rate), torch.Generator().manual_seed(seed))


@each_selector
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("budget", [1, 7, 29, 30])
def test_selection_has_the_exact_size_and_no_row_twice(name: str, ties: bool, budget: int) -> None:
    positions = select(name, make_pool(ties=ties), budget)
    assert (positions.dtype, positions.shape) == (torch.int64, (budget,))
    assert len(set(positions.tolist())) == budget
    assert 0 <= int(positions.min()) <= int(positions.max()) < 30


@each_selector
@pytest.mark.parametrize("ties", [False, True])
def test_selection_follows_the_samples_when_rows_move(name: str, ties: bool) -> None:
    pool = make_pool(ties=ties)
    permutation = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    moved = select(name, permuted_pool(pool, permutation), 9, hard_rate=0.2)
    assert torch.equal(permutation[moved], select(name, pool, 9, hard_rate=0.2))


@each_selector
def test_selection_is_the_same_for_the_same_seed(name: str) -> None:
    pool = make_pool()
    global_state = torch.get_rng_state()
    assert torch.equal(select(name, pool, 9, seed=3), select(name, pool, 9, seed=3))
    assert torch.equal(torch.get_rng_state(), global_state)  # the generator that is passed in is the only one


@each_selector
def test_selection_starts_at_the_right_end(name: str) -> None:
    pool = make_pool()
    assert pool.hardness is not None
    first = select(name, pool, 1).item()
    ends = {"hard": [pool.hardness.argmax()], "easy": [pool.hardness.argmin()], "any": range(30)}
    assert first in ends[FIRST_PICK[name]]


@each_selector
def test_pool_of_one(name: str) -> None:
    assert select(name, make_pool(1), 1).tolist() == [0]


@each_selector
def test_all_scores_equal(name: str) -> None:
    pool = Pool(tie_breaker=torch.tensor([3, 1, 2, 0]), hardness=torch.zeros(4))
    assert sorted(select(name, pool, 4).tolist()) == [0, 1, 2, 3]

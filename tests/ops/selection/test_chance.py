"""Coverage of a selection and of random ones: by brute force, by hand, and what changes nothing."""

import math

import pytest
import torch

from elfs.ops.selection import chance
from elfs.ops.selection.chance import coverage_and_chance


def draw(num_rows: int, seed: int = 0, num_dims: int = 5) -> torch.Tensor:
    return torch.randn(num_rows, num_dims, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def brute(embeddings: torch.Tensor, covering: list[int]) -> float:
    """Return the mean over all rows of the largest cosine, pair by pair, in Python's numbers."""
    rows = [[float(value) for value in row] for row in embeddings]

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    return sum(max(0.0, *(cosine(row, rows[other]) for other in covering)) for row in rows) / len(rows)


@pytest.mark.parametrize("held", [[], [3, 17]])
def test_selection_and_draws_are_those_of_brute_force(held: list[int]) -> None:
    embeddings = draw(40)
    candidates = torch.ones(40, dtype=torch.bool)
    candidates[held] = False
    picked = torch.tensor([5, 30, 2])
    found = coverage_and_chance(embeddings, picked, candidates, generator(), num_draws=6)
    assert found.selected == pytest.approx(brute(embeddings, [*picked.tolist(), *held]), abs=1e-6)
    same, open_rows = generator(), torch.nonzero(candidates).flatten()
    for value in found.draws:
        rows = open_rows[torch.randperm(len(open_rows), generator=same)[:3]].tolist()
        assert value == pytest.approx(brute(embeddings, [*rows, *held]), abs=1e-6)


def test_one_pick_for_each_group_beats_chance_and_one_group_alone_does_not() -> None:
    groups = torch.eye(10).repeat_interleave(20, dim=0)
    everyone = torch.ones(200, dtype=torch.bool)
    spread = coverage_and_chance(groups, torch.arange(0, 200, 20), everyone, generator())
    assert spread.selected == 1.0
    assert max(spread.draws) < 1.0
    heap = coverage_and_chance(groups, torch.arange(10), everyone, generator())
    assert heap.selected == pytest.approx(0.1)
    assert min(heap.draws) > 0.3
    assert len(heap.draws) == 20


def test_length_and_storage_of_the_embeddings_change_nothing() -> None:
    embeddings, everyone, picked = draw(60), torch.ones(60, dtype=torch.bool), torch.tensor([1, 2])
    found = coverage_and_chance(embeddings, picked, everyone, generator())
    longer = coverage_and_chance(embeddings * 4, picked, everyone, generator())
    assert longer == found
    halves = coverage_and_chance(embeddings.half(), picked, everyone, generator())
    assert halves.selected == pytest.approx(found.selected, abs=1e-3)


def test_a_sample_of_a_large_pool_tells_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, everyone, picked = draw(2000), torch.ones(2000, dtype=torch.bool), torch.arange(10)
    whole = coverage_and_chance(embeddings, picked, everyone, generator(), num_draws=2)
    monkeypatch.setattr(chance, "_MOST_PAIRS", 1)
    part = coverage_and_chance(embeddings, picked, everyone, generator(), num_draws=2)
    assert part.selected != whole.selected
    assert part.selected == pytest.approx(whole.selected, abs=0.03)
    assert part == coverage_and_chance(embeddings, picked, everyone, generator(), num_draws=2)


@pytest.mark.usefixtures("three_threads")
def test_threads_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, candidates = draw(400).half(), torch.rand(400, generator=generator(3)) < 0.8
    picked = torch.nonzero(candidates).flatten()[::4].flip(0)
    by_threads = coverage_and_chance(embeddings, picked, candidates, generator())
    torch.set_num_threads(1)
    assert coverage_and_chance(embeddings, picked, candidates, generator()) == by_threads
    monkeypatch.setattr(chance, "_BLOCK_ROWS", 7)
    in_blocks = coverage_and_chance(embeddings, picked, candidates, generator())
    assert [in_blocks.selected, *in_blocks.draws] == pytest.approx([by_threads.selected, *by_threads.draws], abs=1e-7)


@pytest.mark.parametrize("picked", [[], [0, 1]])
def test_picks_are_candidates(picked: list[int]) -> None:
    candidates = torch.tensor([True, False, True])
    with pytest.raises(ValueError, match=rf"picked has {len(picked)} rows, expected at least 1, all of them cand"):
        coverage_and_chance(draw(3), torch.tensor(picked, dtype=torch.int64), candidates, generator())

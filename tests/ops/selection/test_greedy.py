"""Greedy picks from gains that are kept up to date, against those from gains that are computed anew."""

import numpy as np
import pytest
import torch

from elfs.ops.selection import greedy
from elfs.ops.selection.greedy import GRID, Weights, lazy_greedy, similarity, updated_greedy
from tests.ops.selection.rows import clustered_rows, unit


@pytest.mark.parametrize("width", [None, 0.5])
def test_rows_with_themselves_are_multiplied_once_and_mirrored(width: float | None) -> None:
    rows = unit(clustered_rows(600, 9)).float()
    mirrored = similarity(rows, rows, width, torch.empty(600 * 600))
    assert torch.equal(mirrored, mirrored.T)
    assert (mirrored - similarity(rows, rows.clone(), width, torch.empty(600 * 600))).abs().max() <= 1
    assert mirrored.diagonal().min() == mirrored.max() == GRID


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covered_before", [False, True])
def test_both_ways_pick_the_same(weighted: bool, covered_before: bool) -> None:
    draws = torch.Generator().manual_seed(3)
    rows = unit(clustered_rows(300, 9)).float()
    rows[250:260] = rows[:10]  # equal gains
    rows[290:] = 0  # cover nothing, and are never covered
    near = similarity(rows, rows, None, torch.empty(300 * 300))
    covered = near[[7, 99]].amax(dim=0) if covered_before else torch.zeros(300)
    less = torch.rand(300, generator=draws).double().numpy() if weighted else None
    weights = Weights(300, less, lambda num_picks: min(1.0, num_picks / 50))
    picks, gains = lazy_greedy(near, covered.clone(), weights, 295)
    kept_picks, kept_gains = updated_greedy(near.numpy(), covered.numpy().copy(), weights, 295)
    assert kept_picks.tolist() == picks.tolist()
    torch.testing.assert_close(kept_gains, gains, rtol=1e-6, atol=0.0)
    assert (gains == 0).any()
    assert len(set(picks.tolist())) == 295


@pytest.mark.parametrize("many", [0.0, 0.2, 2.0])  # gains are summed anew after each pick, after some, never
@pytest.mark.parametrize("few", [0, 1000])  # rows are clamped by torch, by numpy
def test_gains_summed_anew_are_those_that_were_kept(many: float, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = unit(clustered_rows(300, 9)).float()
    near = similarity(rows, rows, None, torch.empty(300 * 300)).numpy()
    weights = Weights(300, np.linspace(0, 1, 300), lambda num_picks: min(1.0, max(0, num_picks - 3) / 50))
    expected = updated_greedy(near, np.zeros(300, np.float32), weights, 200)
    monkeypatch.setattr(greedy, "_MANY", many)
    monkeypatch.setattr(greedy, "_FEW_ROWS", few)
    found = updated_greedy(near, np.zeros(300, np.float32), weights, 200)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])

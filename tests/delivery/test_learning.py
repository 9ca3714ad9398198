"""How the proxy learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.delivery import learning
from elfs.delivery.chosen import load_selection
from elfs.delivery.learning import margins_of, mean_curves
from elfs.delivery.pool import load_pool
from tests.chain import Finished, run_stage


def test_curves_are_means_over_the_bands(digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits.copy(workspace)
    run_stage("select", workspace, method="elfs", hard_rate="0.2", budget="30", name="x")
    selection = load_selection(workspace, "x")
    pool, margins = load_pool(selection), selection.workspace.arrays("dynamics")["margin"]
    found = mean_curves(selection, pool)
    assert found is not None
    epochs, curves = found
    assert epochs.tolist() == list(range(len(margins)))
    assert [kind for kind, _ in curves] == [band.kind for band in pool.bands] == ["hard", "kept", "easy"]
    for (_, values), band in zip(curves, pool.bands, strict=True):
        wanted = margins[:, pool.rows[band.positions]].astype(np.float64).mean(axis=1)
        assert values == pytest.approx(wanted, abs=1e-6)
    monkeypatch.setattr(learning, "_MOST_EPOCHS", 2)
    some = margins_of(selection, pool.rows[:3])
    assert some is not None
    assert some[0].tolist() == [0, len(margins) - 1]
    assert np.array_equal(some[1], margins[[0, -1]][:, pool.rows[:3]])


def test_there_are_none_without_dynamics(shop: Any) -> None:
    selection = load_selection(shop.path, None)
    assert mean_curves(selection, load_pool(selection)) is None
    assert margins_of(selection, np.array([0])) is None

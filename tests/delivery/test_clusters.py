"""What is said of each cluster."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.delivery.chosen import load_selection
from elfs.delivery.clusters import cluster_facts, cluster_means, typical_first
from elfs.delivery.pool import load_pool
from tests.chain import Finished, run_stage


def test_means_are_those_of_the_images(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    run_stage("select", workspace, budget="30", name="x")
    selection = load_selection(workspace, "x")
    pool, arrays = load_pool(selection), selection.workspace.arrays
    labels, near = arrays("pseudo_labels")["pseudo_labels"], arrays("neighbors")["indices"][:, :10]
    found = cluster_facts(selection, pool)
    assert sum(each.images for each in found) == len(pool)
    assert sum(each.selected for each in found) == 30
    assert [each.images for each in found] == sorted((each.images for each in found), reverse=True)
    for each in found:
        rows = pool.rows[labels[pool.rows] == each.cluster]
        assert each.images == len(rows)
        assert each.score == pytest.approx(np.nanmean(arrays("scores")["aum"][rows]), rel=1e-4)
        assert each.confidence == pytest.approx(arrays("pseudo_labels")["confidence"][rows].mean(), rel=1e-3)
        alike = [np.mean(labels[near[row][near[row] >= 0]] == each.cluster) for row in rows.tolist()]
        assert each.neighbors == pytest.approx(np.mean(alike))
        assert math.isnan(each.proxies)
    assert set(cluster_means("aum")) == {"score", "confidence", "neighbors", "proxies"}


def test_without_pseudo_labels_there_are_none(empty: Any) -> None:
    empty.draw(["a.png", "b.png"])
    empty.embed()
    empty.select(method="random", budget="1", name="one")
    selection = load_selection(empty.path, None)
    assert cluster_facts(selection, load_pool(selection)) == []


def test_typical_images_resemble_the_mean() -> None:
    angles = np.radians([0, 10, 50, 180, 190, 100])
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = typical_first(unit, np.array([0, 0, 0, 2, 2, 2]))  # means near 20 and 158 degrees
    assert {cluster: order.tolist() for cluster, order in found.items()} == {0: [1, 0, 2], 2: [3, 4, 5]}
    assert typical_first(unit[:0], np.array([], np.int64)) == {}

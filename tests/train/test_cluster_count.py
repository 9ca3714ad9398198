"""The educated guess at the number of clusters."""

from typing import Any

import numpy as np
import pytest
import torch

from elfs.ops.kmeans import KMeans, kmeans
from elfs.train import cluster_count
from elfs.train.cluster_count import CANDIDATES, estimate_num_clusters
from elfs.train.features import Features


def blobs(num_blobs: int, per_blob: int) -> Features:
    centres = np.repeat(8 * np.eye(num_blobs, 6), per_blob, axis=0)
    values = np.random.default_rng(0).normal(0, 0.2, centres.shape) + centres
    return Features(values.astype(np.float32), np.arange(len(values)), torch.device("cpu"))


@pytest.mark.parametrize("num_blobs", [2, 3, 5])
def test_separated_blobs_are_counted(num_blobs: int) -> None:
    assert estimate_num_clusters(blobs(num_blobs, 25), seed=0) == num_blobs


def test_only_a_sample_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_count, "_SAMPLE_ROWS", 40)
    sizes = []

    def watched(x: torch.Tensor, count: int, **options: Any) -> KMeans:
        sizes.append(len(x))
        return kmeans(x, count, **options)

    monkeypatch.setattr(cluster_count, "kmeans", watched)
    assert estimate_num_clusters(blobs(3, 60), seed=1) == 3
    assert sizes == [40, 40, 40]  # 2, 3 and 4 clusters leave ten rows each


@pytest.mark.parametrize("num_rows", [2, 3, 9])
def test_tiny_pool_has_two_clusters(num_rows: int) -> None:
    values = np.random.default_rng(0).normal(size=(num_rows, 3)).astype(np.float32)
    features = Features(values, np.arange(num_rows), torch.device("cpu"))
    assert estimate_num_clusters(features, seed=0) == CANDIDATES[0] == 2


def test_equal_images_have_some_answer() -> None:
    features = Features(np.ones((40, 3), np.float32), np.arange(40), torch.device("cpu"))
    assert estimate_num_clusters(features, seed=0) in CANDIDATES

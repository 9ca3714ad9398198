"""The educated guess at the number of clusters."""

import numpy as np
import pytest
import torch

from elfs.train.cluster_count import CANDIDATES, estimate_num_clusters
from elfs.train.features import Features


def blobs(num_blobs: int, per_blob: int) -> Features:
    centres = np.repeat(8 * np.eye(num_blobs, max(num_blobs, 12)), per_blob, axis=0)
    values = np.random.default_rng(0).normal(0, 0.8, centres.shape) + centres
    return Features(values.astype(np.float32), np.arange(len(values)), torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("num_blobs", [2, 3, 5, 8])
def test_separated_blobs_are_counted(num_blobs: int) -> None:
    count = estimate_num_clusters(blobs(num_blobs, 40), seed=0)
    assert count.best == num_blobs
    assert count.fewest <= num_blobs <= count.most
    assert max(count.scores, key=lambda candidate: count.scores[candidate]) == num_blobs


@pytest.mark.slow
def test_many_blobs_are_counted_on_finer_graphs() -> None:
    count = estimate_num_clusters(blobs(24, 40), seed=0)
    assert 22 <= count.best <= 26, "k-means may merge a pair"
    assert max(count.scores) == 60, "48 rows to a neighbour, and a quarter more"


def test_the_report_is_plain() -> None:
    count = estimate_num_clusters(blobs(3, 40), seed=1)
    report = count.facts().as_json()
    assert report["best"] == 3
    assert report["as_good"] == [count.fewest, count.most]
    assert report["candidates"] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert report["scores"] == pytest.approx(list(count.scores.values()), abs=1e-6)


@pytest.mark.slow
def test_equal_seeds_give_equal_counts() -> None:
    features = blobs(4, 30)
    assert estimate_num_clusters(features, seed=5) == estimate_num_clusters(features, seed=5)
    assert estimate_num_clusters(features, seed=5).scores != estimate_num_clusters(features, seed=6).scores


class Watched(Features):
    """Features that note how many rows are asked for."""

    sizes: tuple[int, ...] = ()

    def take(self, positions: torch.Tensor) -> torch.Tensor:
        self.sizes = (*self.sizes, len(positions))
        return super().take(positions)


@pytest.mark.slow
def test_only_samples_of_a_large_pool_are_looked_at() -> None:
    values = np.random.default_rng(0).normal(0, 0.2, (3_000, 12)) + 4 * np.eye(3, 12)[np.arange(3_000) % 3]
    features = Watched(values.astype(np.float32), np.arange(3_000), torch.device("cpu"))
    assert estimate_num_clusters(features, seed=0).best == 3
    assert features.sizes == (1_600,) * 3  # the coarsest graph is enough


@pytest.mark.parametrize("num_rows", [2, 3, 9])
def test_tiny_pool_has_two_clusters(num_rows: int) -> None:
    values = np.random.default_rng(0).normal(size=(num_rows, 3)).astype(np.float32)
    features = Features(values, np.arange(num_rows), torch.device("cpu"))
    assert estimate_num_clusters(features, seed=0).best == CANDIDATES[0] == 2


def test_equal_images_have_some_answer() -> None:
    features = Features(np.ones((40, 3), np.float32), np.arange(40), torch.device("cpu"))
    assert estimate_num_clusters(features, seed=0).best in CANDIDATES

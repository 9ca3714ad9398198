"""The educated guess at the number of clusters."""

import numpy as np
import pytest
import torch

from elfs.train.cluster_count import CANDIDATES, estimate_num_clusters
from elfs.train.features import Features


def features_of(values: np.ndarray) -> Features:
    return Features(values.astype(np.float32), np.arange(len(values)), torch.device("cpu"))


def blobs(sizes: list[int], spread: float = 0.8) -> Features:
    """Return groups of normal deviates, each around a centre of its own."""
    centres = np.repeat(8 * np.eye(len(sizes), max(len(sizes), 12)), sizes, axis=0)
    return features_of(np.random.default_rng(0).normal(0, spread, centres.shape) + centres)


@pytest.mark.slow
@pytest.mark.parametrize("num_blobs", [2, 3, 5, 8])
def test_separated_blobs_are_counted(num_blobs: int) -> None:
    count = estimate_num_clusters(blobs([40] * num_blobs), seed=0)
    assert count.best == num_blobs
    assert count.fewest <= num_blobs <= count.most


@pytest.mark.slow
def test_blobs_of_a_long_tail_are_counted() -> None:
    count = estimate_num_clusters(blobs([400, 200, 100, 60, 40, 30], spread=2.0), seed=0)
    assert 5 <= count.best <= 7


@pytest.mark.slow
def test_many_blobs_are_counted_on_larger_samples() -> None:
    count = estimate_num_clusters(blobs([80] * 24), seed=0)
    assert 21 <= count.best <= 27


def test_the_report_is_plain() -> None:
    count = estimate_num_clusters(blobs([40] * 3), seed=1)
    report = count.facts().as_json()
    assert report["best"] == 3
    assert report["as_good"] == [count.fewest, count.most]
    assert tuple(report["candidates"]) == CANDIDATES[: len(count.groups)]
    assert report["groups"] == pytest.approx(list(count.groups.values()), abs=1e-6)


def test_the_number_is_where_as_many_groups_are_left_as_were_supposed() -> None:
    count = estimate_num_clusters(blobs([60] * 5, spread=3.0), seed=0)
    below = [groups >= candidate for candidate, groups in count.groups.items()]
    crossing = below.index(False)
    assert list(count.groups)[crossing - 1] <= count.best <= list(count.groups)[crossing]
    assert count.groups[1] >= 1


def test_equal_seeds_give_equal_counts() -> None:
    features = blobs([90, 60, 40, 30, 30, 20], spread=2.5)
    assert estimate_num_clusters(features, seed=5) == estimate_num_clusters(features, seed=5)
    assert estimate_num_clusters(features, seed=5).groups != estimate_num_clusters(features, seed=6).groups


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
    assert features.sizes == (1_600,) * 3


@pytest.mark.parametrize("num_rows", [2, 3, 9])
def test_tiny_pool_has_two_clusters(num_rows: int) -> None:
    values = np.random.default_rng(0).normal(size=(num_rows, 3))
    assert estimate_num_clusters(features_of(values), seed=0).best == 2


def test_equal_images_have_some_answer() -> None:
    assert 2 <= estimate_num_clusters(features_of(np.ones((40, 3))), seed=0).best <= 4

"""Clusters on the neighbour graph, and the head that learns them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.parallel.runtime import Silence
from elfs.train.features import Features
from elfs.train.graph_clustering import _is_collapsed, distilled_head, graph_clusters, num_starts


def pool() -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings in four groups of very different sizes, their neighbours, and the group of each."""
    draws = torch.Generator().manual_seed(0)
    truth = torch.tensor([0] * 120 + [1] * 60 + [2] * 30 + [3] * 20)
    inputs = 3 * torch.eye(8)[truth] + 0.5 * torch.randn(230, 8, generator=draws)
    similarity = torch.nn.functional.normalize(inputs) @ torch.nn.functional.normalize(inputs).T
    return inputs, similarity.fill_diagonal_(-1).topk(10).indices, truth


def features(inputs: Tensor) -> Features:
    return Features(inputs.numpy(), np.arange(len(inputs)), torch.device("cpu"))


def test_groups_of_any_size_are_found_whatever_the_seed() -> None:
    inputs, neighbors, truth = pool()
    for seed in range(2):
        found = graph_clusters(inputs, neighbors, 4, seed=seed, task=Silence())
        labels = found.probabilities.argmax(dim=1)
        assert torch.equal(labels.unsqueeze(0) == labels.unsqueeze(1), truth.unsqueeze(0) == truth.unsqueeze(1))
        torch.testing.assert_close(found.probabilities.sum(dim=1), torch.ones(230))
        assert found.information == sorted(found.information, reverse=True)
        assert found.clusterings.shape == (8, 230)


def test_equal_seeds_give_equal_clusters_and_every_start_is_counted() -> None:
    inputs, neighbors, _ = pool()
    counted: list[int] = []

    class Counting(Silence):
        def advance(self, count: int = 1, note: str = "") -> None:
            counted.append(count)

    first = graph_clusters(inputs, neighbors, 5, seed=3, task=Counting())
    second = graph_clusters(inputs, neighbors, 5, seed=3, task=Silence())
    assert torch.equal(first.probabilities, second.probabilities)
    assert sum(counted) == num_starts()


@pytest.mark.slow
def test_mixed_neighbours_leave_no_quarter_of_the_clusters_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 rows in ten groups, 29 % of whose neighbours are of the same one: a penalty of 0.4 leaves three empty."""
    truth = torch.arange(200) % 10
    inputs = torch.eye(10)[truth] + 0.6 * torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    similarity = torch.nn.functional.normalize(inputs) @ torch.nn.functional.normalize(inputs).T
    neighbors = similarity.fill_diagonal_(-1).topk(10).indices
    found = graph_clusters(inputs, neighbors, 10, seed=0, task=Silence())
    assert (found.penalty, len(found.probabilities.argmax(dim=1).unique())) == (0.2, 10)
    monkeypatch.setattr("elfs.train.graph_clustering._LEAST_USED", 0.0)
    before = graph_clusters(inputs, neighbors, 10, seed=0, task=Silence())
    assert (before.penalty, len(before.probabilities.argmax(dim=1).unique())) == (0.4, 7)


@pytest.mark.parametrize(
    ("sizes", "collapsed"),
    [
        ([100] * 10, False),
        ([881, 640, 400, 300, 200, 150, 120, 100, 90, 88], False),  # a long tail
        ([100] * 7 + [0] * 3, True),
        ([3, 3, 3, 12, 40, 46, 76, 78, 97, 138, 338, 612, 5, 5, 5, 5], True),  # all are used, by a few rows
        ([1_000] + [1] * 9, True),
        ([1_000] + [0] * 9, False),
        ([10, 10], False),
    ],
)
def test_few_clusters_that_hold_nearly_all_are_a_collapse(sizes: list[int], collapsed: bool) -> None:
    assert _is_collapsed(torch.tensor(sizes)) == collapsed


def test_as_many_clusters_as_rows() -> None:
    inputs, neighbors, _ = pool()
    found = graph_clusters(inputs[:6], neighbors[:6, :1] % 6, 6, seed=0, task=Silence())
    assert found.probabilities.shape == (6, 6)


@pytest.mark.slow
def test_head_learns_the_probabilities() -> None:
    inputs, _, truth = pool()
    wanted = torch.full((230, 4), 0.1).scatter_(1, truth.unsqueeze(1), 0.7)
    head = distilled_head(features(inputs), wanted, hidden=32, bottleneck=16, temperature=0.1, seed=0)
    assert not head.training
    with torch.no_grad():
        found = (head(inputs)[0] / 0.1).softmax(dim=1)
    assert torch.equal(found.argmax(dim=1), truth)
    assert float(found.max(dim=1).values.mean()) == pytest.approx(0.7, abs=0.05)

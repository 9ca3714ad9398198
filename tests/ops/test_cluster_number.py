"""Criteria of groups in a graph of neighbours, against plain definitions."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import Tensor

from elfs.ops.cluster_number import compression, modularity, neighbor_graph, spectral_axes, spectral_rows


def two_triangles() -> csr_array:
    """Return two triangles with one link between them."""
    links = [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5), (2, 3)]
    dense = np.zeros((6, 6))
    for a, b in links:
        dense[a, b] = dense[b, a] = 1.0
    return csr_array(dense)


def random_graph(seed: int, num_rows: int = 30) -> csr_array:
    generator = torch.Generator().manual_seed(seed)
    others = torch.stack([torch.randperm(num_rows - 1, generator=generator)[:4] for _ in range(num_rows)])
    return neighbor_graph(others + (others >= torch.arange(num_rows)[:, None]))


def random_labels(num_rows: int, num_groups: int) -> Tensor:
    return torch.randint(num_groups, (num_rows,), generator=torch.Generator().manual_seed(9))


def test_links_count_half_where_one_side_alone_names_the_other() -> None:
    graph = neighbor_graph(torch.tensor([[1], [0], [0]], dtype=torch.int32))
    np.testing.assert_array_equal(graph.toarray(), [[0, 1, 0.5], [1, 0, 0], [0.5, 0, 0]])


def test_modularity_of_two_triangles() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert modularity(two_triangles(), labels) == pytest.approx(6 / 7 - 1 / 2)
    assert modularity(two_triangles(), torch.zeros(6, dtype=torch.int64)) == pytest.approx(0)


@pytest.mark.parametrize("seed", [0, 1])
def test_modularity_is_the_sum_over_pairs(seed: int) -> None:
    graph, labels = random_graph(seed), random_labels(30, 4)
    dense, degrees = graph.toarray(), graph.toarray().sum(axis=1)
    same = (labels[:, None] == labels).numpy()
    expected = ((dense - np.outer(degrees, degrees) / dense.sum()) * same).sum() / dense.sum()
    assert modularity(graph, labels) == pytest.approx(expected)


@pytest.mark.parametrize("seed", [0, 1])
def test_compression_is_that_of_the_two_codebooks(seed: int) -> None:
    """The map equation in its first form: entropies of the code books, each weighted by how often it is used."""
    graph, labels = random_graph(seed), random_labels(30, 4)
    dense, groups = graph.toarray(), labels.numpy()
    visit = dense.sum(axis=1) / dense.sum()

    def entropy(rates: list[float]) -> float:
        return -sum(rate / sum(rates) * math.log2(rate / sum(rates)) for rate in rates if rate > 0)

    leaves = [float(dense[groups == c][:, groups != c].sum() / dense.sum()) for c in range(4)]
    length = sum(leaves) * entropy(leaves)
    for group in range(4):
        book = [leaves[group], *visit[groups == group].tolist()]
        length += sum(book) * entropy(book)
    single = entropy(visit.tolist())
    assert compression(graph, labels) == pytest.approx((single - length) / single)
    assert compression(graph, torch.zeros(30, dtype=torch.int64)) == pytest.approx(0)


def test_compression_prefers_the_triangles() -> None:
    graph = two_triangles()
    triangles, mixed = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 0, 1])
    assert compression(graph, triangles) > 0 > compression(graph, mixed)


@pytest.mark.parametrize("num_rows", [40, 400])  # all eigenvectors, and the iteration
def test_axes_are_slow_modes_of_the_walk(num_rows: int) -> None:
    graph = random_graph(3, num_rows)
    axes = spectral_axes(graph, 5).double().numpy()
    walked = (graph.toarray() / graph.toarray().sum(axis=1, keepdims=True)) @ axes
    rate = (walked * axes).sum(axis=0) / np.square(axes).sum(axis=0)
    np.testing.assert_allclose(walked, axes * rate, atol=1e-3)
    degrees = graph.toarray().sum(axis=1)
    expected = np.linalg.eigvalsh(graph.toarray() / np.sqrt(np.outer(degrees, degrees)))[::-1][:5]
    np.testing.assert_allclose(rate, expected, atol=1e-3)
    assert torch.equal(spectral_axes(graph, 5), spectral_axes(graph, 5))


def test_rows_have_length_one() -> None:
    rows = spectral_rows(spectral_axes(random_graph(0), 4), 3)
    assert rows.shape == (30, 3)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(30))

"""Classes over a graph of neighbours, against the solution of the dense system."""

import pytest
import torch

from elfs.ops import propagation
from elfs.ops.propagation import propagate_labels


def random_graph(num_rows: int, num_neighbors: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    indices = torch.stack([torch.randperm(num_rows, generator=draws)[:num_neighbors] for _ in range(num_rows)])
    indices[indices == torch.arange(num_rows)[:, None]] = -1
    return indices.int(), torch.rand(num_rows, num_neighbors, generator=draws)


def dense(indices: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return F by the formula: every matrix written out."""
    graph = torch.zeros(len(labels), len(labels), dtype=torch.float64)
    for row, (near, how) in enumerate(zip(indices.tolist(), weights.tolist(), strict=True)):
        for other, weight in zip(near, how, strict=True):
            if other >= 0:
                graph[row, other] += weight
                graph[other, row] += weight
    scale = graph.sum(dim=1).rsqrt()
    system = torch.eye(len(labels), dtype=torch.float64) - 0.99 * scale[:, None] * graph * scale
    target = torch.zeros(len(labels), num_classes, dtype=torch.float64)
    target[labels >= 0, labels[labels >= 0]] = 1
    solution: torch.Tensor = torch.linalg.solve(system, target)
    return solution


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("block_numbers", [1, 1 << 24], ids=["a-class-a-block", "one-block"])
def test_classes_and_confidence_are_those_of_the_dense_system(
    seed: int, block_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagation, "_BLOCK_NUMBERS", block_numbers)
    indices, weights = random_graph(60, 4, seed)
    labels = torch.full((60,), -1)
    labels[:7] = torch.tensor([0, 1, 2, 3, 0, 3, 1])
    classes, confidence = propagate_labels(indices, weights, labels, 5)
    expected = dense(indices, weights, labels, 5)
    assert torch.equal(classes[7:], expected.argmax(dim=1)[7:])
    shares = expected / expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(confidence[7:], shares.amax(dim=1)[7:].float(), rtol=1e-5, atol=1e-6)
    assert torch.equal(classes[:7], labels[:7])
    assert confidence[:7].eq(1).all()


@pytest.mark.parametrize("block_numbers", [1, 1 << 24], ids=["a-class-a-block", "one-block"])
def test_of_equally_near_classes_the_first_is_taken(block_numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 0 lies in the middle of rows of the classes 2, 1 and 3."""
    monkeypatch.setattr(propagation, "_BLOCK_NUMBERS", block_numbers)
    indices = torch.tensor([[1, 2, 3], [0, -1, -1], [0, -1, -1], [0, -1, -1]])
    classes, confidence = propagate_labels(indices, torch.ones(4, 3), torch.tensor([-1, 2, 1, 3]), 4)
    assert classes.tolist() == [1, 2, 1, 3]
    assert float(confidence[0]) == pytest.approx(1 / 3)


def test_a_part_without_annotation_has_no_class() -> None:
    """Rows 0 to 2 are a chain, 3 and 4 know only one another, 5 knows nobody."""
    indices = torch.tensor([[1, -1], [2, 0], [1, -1], [4, -1], [3, -1], [-1, -1]])
    classes, confidence = propagate_labels(indices, torch.ones(6, 2), torch.tensor([1, -1, -1, -1, -1, -1]), 2)
    assert classes.tolist() == [1, 1, 1, -1, -1, -1]
    assert confidence.tolist() == [1, 1, 1, 0, 0, 0]


def test_a_neighbour_of_no_similarity_is_none() -> None:
    indices, weights = torch.tensor([[1], [0], [0]]), torch.tensor([[0.5], [0.5], [-0.1]])
    classes, _ = propagate_labels(indices, weights, torch.tensor([0, -1, -1]), 1)
    assert classes.tolist() == [0, 0, -1]


def test_without_annotations_there_are_no_classes() -> None:
    classes, confidence = propagate_labels(*random_graph(10, 3, 0), torch.full((10,), -1), 3)
    assert classes.eq(-1).all()
    assert confidence.eq(0).all()


@pytest.mark.parametrize("label", [-2, 3])
def test_labels_outside_their_range_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match=r"labels go from .* expected -1 to 2"):
        propagate_labels(*random_graph(4, 2, 0), torch.tensor([0, 1, label, 1]), 3)

"""Consensus and trust: numbers by hand, names and order of the clusterings change nothing."""

import pytest
import torch

from elfs.ops.consensus import aligned, consensus, trust


def test_aligned_takes_the_names_of_the_reference() -> None:
    reference = torch.tensor([0, 0, 1, 1, 2, 2])
    assert aligned(torch.tensor([2, 2, 0, 0, 1, 1]), reference, 3).tolist() == reference.tolist()
    assert aligned(torch.tensor([2, 2, 0, 1, 1, 1]), reference, 3).tolist() == [0, 0, 1, 2, 2, 2]


def test_aligned_refuses_other_lengths() -> None:
    with pytest.raises(ValueError, match=r"labels has the shape \(2,\), reference \(3,\)"):
        aligned(torch.zeros(2, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), 1)


def test_consensus_by_hand() -> None:
    """Row 0: clustering A (weight 3/4) says 0 and its neighbours 0, 1; B (1/4) says 1 and its neighbours 1, 1."""
    labels = torch.tensor([[0, 0, 1], [1, 1, 1]])
    neighbors = torch.tensor([[1, 2], [2, 2], [0, 0]])
    found = consensus(labels, torch.tensor([0.75, 0.25]), neighbors, 2)
    expected = torch.tensor([0.75 * (0.5 + 0.25), 0.75 * 0.25 + 0.25])
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))
    turned = consensus(labels.flip(0), torch.tensor([0.25, 0.75]), neighbors, 2)
    torch.testing.assert_close(turned, found)


LABELS = torch.tensor([0, 0, 0, 1, 1, 1])
NEIGHBORS = torch.tensor([[1], [2], [0], [4], [5], [0]])
NONE = torch.empty(0, 6, dtype=torch.int64)


def test_trust_by_hand() -> None:
    """5 of 6 neighbours agree and chance is 1/2: 2/3. So it is with the other clustering: 5 of 6, 1/2, 2/3."""
    assert trust(LABELS, LABELS[NEIGHBORS], NONE, 2) == pytest.approx(2 / 3)
    other = torch.tensor([[1, 1, 0, 0, 0, 0]])
    assert trust(LABELS, LABELS[NEIGHBORS], other, 2) == pytest.approx(4 / 9)
    assert trust(LABELS, LABELS[NEIGHBORS], torch.stack([other[0], LABELS]), 2) == pytest.approx(
        2 / 3 * (2 / 3 + 1) / 2
    )


def test_trust_knows_no_names_and_no_order() -> None:
    others = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]])
    expected = trust(LABELS, LABELS[NEIGHBORS], others, 2)
    assert trust(1 - LABELS, 1 - LABELS[NEIGHBORS], others.flip(0), 2) == pytest.approx(expected)


def test_trust_is_0_for_random_labels_and_for_a_single_cluster() -> None:
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (5_000,), generator=draws)
    neighbors = torch.randint(5_000, (5_000, 10), generator=draws)
    assert trust(labels, labels[neighbors], torch.empty(0, 5_000, dtype=torch.int64), 5) < 0.02
    single = torch.zeros(6, dtype=torch.int64)
    assert trust(single, single[NEIGHBORS], NONE, 2) == 0.0

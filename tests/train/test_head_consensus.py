"""What heads say together, against a plain definition."""

import weakref
from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.train.head_choice import JudgedRows, assignment_counts
from elfs.train.head_consensus import TENSORS, HeadConsensus


def said_by(logits: Tensor, positions: Tensor) -> list[Tensor]:
    return list(logits[:, positions])


def drawn(seed: int, heads: int = 3, rows: int = 30, clusters: int = 4) -> Tensor:
    return 3 * torch.randn(heads, rows, clusters, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_consensus_is_the_weighted_mean_of_probabilities_under_the_best_names(seed: int) -> None:
    logits = drawn(seed)
    labels, trust = logits.argmax(dim=2), [0.2, 0.5, 0.3]
    found = HeadConsensus.of(labels, trust, 4)
    expected = torch.zeros(30, 4)
    for own, probabilities, weight in zip(labels, logits.softmax(dim=2), trust, strict=True):
        names = max(permutations(range(4)), key=lambda names: int((torch.tensor(names)[own] == labels[1]).sum()))
        for cluster, name in enumerate(names):
            expected[:, name] += weight * probabilities[:, cluster]
    torch.testing.assert_close(found(said_by(logits, torch.arange(30))).exp(), expected)


def test_names_of_the_heads_do_not_count() -> None:
    logits = drawn(0)
    other = torch.stack([logits[0], logits[1][:, [2, 0, 3, 1]], logits[2][:, [3, 2, 1, 0]]])
    trust = [1.0, 0.6, 0.4]
    one, same = (HeadConsensus.of(values.argmax(dim=2), trust, 4) for values in (logits, other))
    torch.testing.assert_close(one(said_by(logits, torch.arange(30))), same(said_by(other, torch.arange(30))))


def test_untrusted_heads_do_not_speak_and_without_any_trust_all_do() -> None:
    logits = drawn(1)
    labels, rows = logits.argmax(dim=2), torch.arange(30)
    alone = HeadConsensus.of(labels, [0.0, 0.7, 0.0], 4)(said_by(logits, rows))
    torch.testing.assert_close(alone.exp(), logits[1].softmax(dim=1))
    assert HeadConsensus.of(labels, [0.0, 0.0, 0.0], 4).weights.tolist() == pytest.approx([1 / 3] * 3)


def test_every_head_is_asked_and_then_all_together() -> None:
    logits, rows = drawn(2), torch.tensor([4, 9])
    consensus = HeadConsensus.of(logits.argmax(dim=2), [0.5, 0.4, 0.1], 4)
    *heads, last = consensus.after(lambda positions: said_by(logits, positions))(rows)
    assert all(torch.equal(own, wanted) for own, wanted in zip(heads, said_by(logits, rows), strict=True))
    assert torch.equal(last, consensus(said_by(logits, rows)))


def test_what_heads_say_is_not_kept() -> None:
    """Of fifty heads with a thousand clusters that would be gigabytes."""
    logits, alive = drawn(4, heads=8), 0
    consensus = HeadConsensus.of(logits.argmax(dim=2), [1.0] * 8, 4)
    told: list[weakref.ref[Tensor]] = []

    def said() -> Iterator[Tensor]:
        nonlocal alive
        for own in logits:
            alive = max(alive, sum(one() is not None for one in told))
            told.append(weakref.ref(copy := own.clone()))
            yield copy

    consensus(said())
    assert alive <= 2


def test_what_is_kept_comes_back() -> None:
    consensus = HeadConsensus.of(drawn(3).argmax(dim=2), [0.1, 0.2, 0.3], 4)
    tensors = consensus.to_tensors()
    assert {name: values.dtype for name, values in tensors.items()} == {n: np.dtype(t) for n, t in TENSORS.items()}
    again = HeadConsensus.from_tensors(tensors)
    assert torch.equal(again.names, consensus.names)
    assert torch.equal(again.weights, consensus.weights)


def test_impossible_clusters_stay_finite() -> None:
    logits = torch.full((2, 3, 2), -torch.inf).index_fill(2, torch.tensor([0]), 0.0)
    assert HeadConsensus.of(logits.argmax(dim=2), [1.0, 1.0], 2)(said_by(logits, torch.arange(3))).isfinite().all()


def test_good_clusters_are_trusted_more_than_bad_ones() -> None:
    truth = torch.arange(60) % 3
    neighbors = torch.stack([(torch.arange(60) + 3 * step) % 60 for step in range(1, 6)], dim=1)
    noise = torch.randint(3, (60,), generator=torch.Generator().manual_seed(0))
    labels = torch.stack([noise, truth, (truth + 1) % 3])
    rows = JudgedRows.of(neighbors)
    found = rows.qualities(rows.clusters(lambda at: list(torch.eye(3)[labels][:, at])), None, 3)
    assert (found[1].information, found[1].trust) == pytest.approx((found[2].information, found[2].trust))
    assert found[1].information > found[0].information
    assert found[1].trust > found[0].trust
    assert rows.num_sampled == 60
    assert len(rows.positions) == 60 * 6


@pytest.mark.parametrize("block_rows", [7, 40, 100])
def test_clusters_are_counted_some_images_at_a_time(block_rows: int) -> None:
    logits, sizes = drawn(5, rows=40, clusters=6), []

    def said(positions: Tensor) -> list[Tensor]:
        sizes.append(len(positions))
        return said_by(logits, positions)

    counts = assignment_counts(said, 40, 6, block_rows)
    expected = [np.bincount(own, minlength=6) for own in logits.argmax(dim=2).numpy()]
    np.testing.assert_array_equal(counts.numpy(), expected)
    assert max(sizes) <= block_rows

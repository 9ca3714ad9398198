"""Information about neighbours' clusters: against scikit-learn and counting by hand, and the laws of the search."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor

from elfs.ops import neighbor_information as module
from elfs.ops.neighbor_information import (
    Linkage,
    information,
    merged,
    mutual,
    neighbor_joint,
    neighbor_votes,
    pair_joint,
    refined,
    smoothed,
)

LINKAGES: tuple[Linkage, ...] = ("information", "lift", "cut")


def groups(sizes: tuple[int, ...], *, num_neighbors: int = 6, astray: float = 0.1) -> tuple[Tensor, Tensor]:
    """Return the group of every row and neighbours that are mostly in the same group."""
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    inside = [random.choice(np.flatnonzero(truth == group), num_neighbors) for group in truth]
    anywhere = random.integers(0, len(truth), (len(truth), num_neighbors))
    chosen = np.where(random.random(anywhere.shape) < astray, anywhere, np.stack(inside))
    return torch.from_numpy(truth), torch.from_numpy(chosen)


def same_groups(left: Tensor, right: Tensor) -> bool:
    return torch.equal(left.unsqueeze(0) == left.unsqueeze(1), right.unsqueeze(0) == right.unsqueeze(1))


def test_mutual_neighbors_by_hand() -> None:
    """0 and 1 name each other, 2 and 3 too; 1 names 2, which does not name it, and nobody names 0 back but 1."""
    neighbors = torch.tensor([[1, 3], [0, 2], [3, 0], [2, 1]])
    assert mutual(neighbors).tolist() == [[1, 0], [0, 1], [3, 2], [2, 3]]


def test_mutual_neighbors_are_those_of_a_symmetric_table_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    _, neighbors = groups((30, 20, 10))
    table = torch.zeros(60, 60, dtype=torch.bool).scatter_(1, neighbors, True)
    both = (table & table.T).gather(1, neighbors)
    expected = torch.where(both, neighbors, torch.arange(60).unsqueeze(1))
    assert torch.equal(mutual(neighbors), expected)
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 7 * 36)
    assert torch.equal(mutual(neighbors), expected)


def test_joint_by_hand() -> None:
    """Row 0 (cluster 0) has neighbours in 0 and 1, row 1 (cluster 1) has two in 1: counts 1, 1, 0, 2 of 4."""
    labels, neighbors = torch.tensor([0, 1, 0, 1]), torch.tensor([[2, 1], [3, 1]])
    expected = torch.tensor([[0.25, 0.125], [0.125, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(pair_joint(labels[:2], labels[neighbors], 2), expected)


def test_information_is_mutual_information_less_entropy() -> None:
    labels, neighbors = groups((30, 20, 10))
    pairs = torch.stack([labels.repeat_interleave(6), labels[neighbors].flatten()])
    both = torch.cat([pairs, pairs.flip(0)], dim=1).numpy()
    joint = neighbor_joint(labels, neighbors, 3)
    mutual, entropy = mutual_info_score(both[0], both[1]), mutual_info_score(both[0], both[0])
    assert information(joint, 0.0) == pytest.approx(mutual)
    assert information(joint, 0.4) == pytest.approx(mutual - 0.4 * entropy)
    assert torch.equal(joint, joint.T)
    assert float(joint.sum()) == pytest.approx(1)


def test_names_of_clusters_do_not_matter() -> None:
    labels, neighbors = groups((30, 20, 10))
    renamed = torch.tensor([2, 0, 1])[labels]
    found = information(neighbor_joint(renamed, neighbors, 3), 0.4)
    assert found == pytest.approx(information(neighbor_joint(labels, neighbors, 3), 0.4))


def test_votes_by_hand() -> None:
    votes = neighbor_votes(torch.tensor([0, 1, 1]), torch.tensor([[1, 2], [0, 1], [1, 0]]), 3)
    torch.testing.assert_close(votes, torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]))


def test_smoothed_by_hand() -> None:
    x, neighbors = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[1], [1]])
    torch.testing.assert_close(smoothed(x, neighbors, 0), torch.eye(2))
    torch.testing.assert_close(smoothed(x, neighbors, 1), torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))


@pytest.mark.parametrize("penalty", [0.0, 0.4])
def test_refining_mends_wrong_labels_and_never_loses_information(penalty: float) -> None:
    truth, neighbors = groups((40, 40, 40))
    start = truth.clone()
    start[::4] = (start[::4] + 1) % 3
    found, value = refined(start, neighbors, 3, penalty=penalty)
    assert torch.equal(found, truth)
    assert value == pytest.approx(information(neighbor_joint(found, neighbors, 3), penalty))
    assert value > information(neighbor_joint(start, neighbors, 3), penalty)
    for seed in range(5):
        start = torch.randint(3, (120,), generator=torch.Generator().manual_seed(seed))
        _, value = refined(start, neighbors, 3, penalty=penalty, max_steps=2)
        assert value >= information(neighbor_joint(start, neighbors, 3), penalty)


@pytest.mark.parametrize("penalty", [0.0, 0.4])
def test_one_step_by_hand(penalty: float) -> None:
    """To the cluster that the neighbours speak for most, of probabilities of which 1e-4 is spread over all pairs."""
    truth, neighbors = groups((6,) * 30, astray=0.3)
    start = truth.clone()
    start[::4] = (start[::4] + 1) % 30
    joint = neighbor_joint(start, neighbors, 30).numpy()
    smooth = (1 - 1e-4) * joint + 1e-4 / 900
    share = smooth.sum(axis=1)
    expected = []
    for near in start.numpy()[neighbors.numpy()]:
        says = np.log(smooth[:, near] / share[:, None]).mean(axis=1) + penalty / 2 * np.log(share)
        expected.append(int(says.argmax()))
    assert refined(start, neighbors, 30, penalty=penalty, max_steps=1)[0].tolist() == expected


def test_penalty_keeps_a_small_group_whole() -> None:
    """A large group cut in two and two small ones joined: preferred without a penalty alone."""
    truth, near = groups((300, 10, 10), astray=0.0)
    halves = torch.cat([(torch.arange(300) >= 150).long(), torch.full((20,), 2)])
    near[:150] = torch.randint(150, (150, 6), generator=torch.Generator().manual_seed(0))
    near[150:300] = 150 + torch.randint(150, (150, 6), generator=torch.Generator().manual_seed(1))
    near[:300, :2] = torch.randint(300, (300, 2), generator=torch.Generator().manual_seed(2))

    def value(labels: Tensor, penalty: float) -> float:
        return information(neighbor_joint(labels, near, 3), penalty)

    assert value(halves, 0.0) > value(truth, 0.0)
    assert value(halves, 0.8) < value(truth, 0.8)


@pytest.mark.parametrize("linkage", LINKAGES)
def test_merging_finds_the_groups_again(linkage: Linkage) -> None:
    truth, neighbors = groups((40, 40, 40))
    fine = 3 * truth + torch.arange(120) % 2  # six clusters under nine names
    found = merged(fine, neighbors, 9, 3, linkage)
    assert same_groups(found, truth)
    assert found.max() == 2


def test_merge_loses_the_least_information() -> None:
    """What `information` merges is the pair after which scikit-learn finds most information about the fine clusters."""
    labels, neighbors = groups((30, 25, 20, 15, 10), astray=0.6)
    own, near = labels.repeat_interleave(6).numpy(), labels[neighbors].flatten().numpy()
    own, near = np.concatenate([own, near]), np.concatenate([near, own])
    left = {
        (first, second): mutual_info_score(np.where(own == second, first, own), near)
        for first in range(5)
        for second in range(first + 1, 5)
    }
    first, second = max(left, key=left.__getitem__)
    found = merged(labels, neighbors, 5, 4, "information")
    assert same_groups(found, torch.where(labels == second, first, labels))


def test_every_merge_loses_the_least_information() -> None:
    """Down to two clusters, and to the last bit, as if all pairs were looked at after every merge."""
    labels, neighbors = groups((30, 25, 20, 15, 10, 9, 8, 7), astray=0.5)

    def paid(rows: Tensor) -> Tensor:
        said: Tensor = torch.special.entr(rows.sum(dim=-1)) - torch.special.entr(rows).sum(dim=-1)
        return said

    rows, expected = neighbor_joint(labels, neighbors, 8), labels.clone()
    for left in range(8, 2, -1):
        own, both = paid(rows), torch.stack([paid(rows + row) for row in rows])
        lost = (own.unsqueeze(0) + own.unsqueeze(1) - both).masked_fill(torch.ones(left, left).tril() == 1, torch.inf)
        first, second = divmod(int(lost.argmin()), left)
        expected = torch.where(expected == second, first, expected)
        expected -= (expected > second).long()
        rows[first] += rows[second]
        rows = torch.cat([rows[:second], rows[second + 1 :]])
        assert torch.equal(merged(labels, neighbors, 8, left - 1, "information"), expected)


def test_lift_does_not_mind_sizes() -> None:
    """Two large clusters share most pairs, two small ones share more than chance."""
    labels = torch.tensor([0] * 100 + [1] * 100 + [2] * 4 + [3] * 4)
    neighbors = torch.arange(208).unsqueeze(1).clone()
    neighbors[:20, 0] += 100
    neighbors[200:202, 0] += 4
    assert same_groups(merged(labels, neighbors, 4, 3, "lift"), labels.clamp(max=2))


def test_enough_clusters_are_left_as_they_are() -> None:
    truth, neighbors = groups((5, 5))
    assert torch.equal(merged(truth, neighbors, 2, 2, "cut"), truth)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, neighbors = groups((40, 30, 20))
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    start = (truth + torch.arange(90) % 5 // 4) % 3
    whole = smoothed(x, neighbors, 3), refined(start, neighbors, 3, penalty=0.4)
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 50)
    parts = smoothed(x, neighbors, 3), refined(start, neighbors, 3, penalty=0.4)
    torch.testing.assert_close(parts[0], whole[0])
    assert torch.equal(parts[1][0], whole[1][0])
    assert parts[1][1] == pytest.approx(whole[1][1])

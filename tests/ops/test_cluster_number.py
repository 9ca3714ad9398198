"""How close groups of a neighbour graph are, against a plain definition."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from elfs.ops.cluster_number import merge_closeness, number_of_groups
from elfs.ops.neighbor_information import neighbor_joint


def plain(joint: NDArray[np.float64]) -> list[float]:
    """Return the closeness of each merge, everything computed anew from lists of the first groups."""
    groups, found = [[c] for c in range(len(joint))], []

    def shared(one: list[int], other: list[int]) -> float:
        return float(joint[np.ix_(one, other)].sum())

    def share(one: list[int]) -> float:
        return float(joint[one].sum())

    while len(groups) > 1:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a)]
        lifts = [shared(groups[a], groups[b]) / (share(groups[a]) * share(groups[b])) for a, b in pairs]
        a, b = (groups[c] for c in pairs[int(np.argmax(lifts))])
        own, its = (max(shared(c, c) - share(c) ** 2, 1e-9) for c in (a, b))
        found.append((shared(a, b) - share(a) * share(b)) / math.sqrt(own * its))
        groups = [c for c in groups if c is not a and c is not b] + [a + b]
    return found[::-1]


def random_joint(seed: int, num_groups: int) -> NDArray[np.float64]:
    draws = np.random.default_rng(seed)
    half = draws.random((num_groups, num_groups)) ** 4 + np.diag(3 * draws.random(num_groups))
    joint: NDArray[np.float64] = (half + half.T) / (half + half.T).sum()
    return joint


@pytest.mark.parametrize("num_groups", [1, 2, 3, 9, 30])
def test_closeness_is_that_of_the_definition(num_groups: int) -> None:
    for seed in range(5):
        joint = random_joint(seed, num_groups)
        kept = joint.copy()
        np.testing.assert_allclose(merge_closeness(joint), plain(joint), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(joint, kept)


def test_a_group_that_was_cut_at_random_is_one_and_others_are_apart() -> None:
    rows = np.arange(600)
    groups = rows % 2 + 2 * (rows >= 300)  # two groups, each cut in two at random
    half = np.where(rows < 300, 0, 300)
    neighbors = half[:, None] + np.random.default_rng(0).integers(300, size=(600, 200))
    joint = neighbor_joint(torch.from_numpy(groups), torch.from_numpy(neighbors), 4)
    closeness = merge_closeness(joint.numpy())
    np.testing.assert_allclose(closeness, [-1.0, 1.0, 1.0], atol=0.03)
    assert [number_of_groups(closeness, least) for least in (-2.0, 0.5, 1.1)] == [1, 2, 4]


def test_groups_that_meet_as_often_as_by_chance_have_no_closeness() -> None:
    share = np.array([0.5, 0.5])
    by_chance = np.outer(share, share)
    np.testing.assert_allclose(merge_closeness(by_chance), [0.0], atol=1e-12)
    assert merge_closeness(by_chance + 0.1 * np.eye(2) - 0.1 * np.eye(2)[::-1])[0] == pytest.approx(-1.0)


def test_names_of_groups_do_not_count() -> None:
    joint = random_joint(3, 12)
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_allclose(merge_closeness(joint[np.ix_(order, order)]), merge_closeness(joint))


@pytest.mark.parametrize(("closeness", "groups"), [([], 1), ([0.2], 1), ([0.0], 2), ([0.3, 0.0], 3), ([0.0, 0.3], 2)])
def test_merging_stops_at_the_first_two_that_are_not_close(closeness: list[float], groups: int) -> None:
    assert number_of_groups(np.array(closeness), 0.1) == groups

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.distances import centre_distance, unit_clusters
from elfs.ops.kmeans import nearest_centroid
from elfs.ops.selection import SELECTORS, Pool, SelectorOptions, clusters
from elfs.ops.selection.clusters import farthest_first
from elfs.ops.selection.quotas import even_quotas

DATA = Path(__file__).parents[2] / "data"
NAMES = ("moderate", "prototypicality", "typiclust")
each_selector = pytest.mark.parametrize("name", NAMES)


def run(
    name: str,
    embeddings: Tensor,
    budget: int,
    *,
    labels: list[int] | Tensor | None = None,
    settled: list[int] | None = None,
    seed: int = 0,
) -> list[int]:
    rows = torch.arange(len(embeddings))
    pool = Pool(
        tie_breaker=rows,
        embeddings=embeddings,
        pseudo_labels=None if labels is None else torch.as_tensor(labels),
        settled=None if settled is None else torch.isin(rows, torch.tensor(settled)),
    )
    found = SELECTORS[name](pool, budget, SelectorOptions(), torch.Generator().manual_seed(seed))
    assert found.dtype == torch.int64
    return [int(row) for row in found]


def random_rows(num_rows: int = 30, num_dims: int = 4) -> Tensor:
    return torch.randn(num_rows, num_dims, generator=torch.Generator().manual_seed(0))


def at_angles(*degrees: float) -> Tensor:
    """Return points on the unit circle."""
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1).float()


# Laws of all three


@each_selector
@pytest.mark.parametrize("num_labels", [1, 3, 30])
def test_whole_pool_with_equal_rows_and_zeros(name: str, num_labels: int) -> None:
    x = random_rows()
    x[4:9] = x[3]
    x[20] = x[21] = 0
    labels = torch.arange(30) % num_labels
    assert sorted(run(name, x, 30, labels=labels)) == list(range(30))
    assert sorted(run(name, x, 27, labels=labels, settled=[4, 20, 29])) == sorted(set(range(30)) - {4, 20, 29})


@each_selector
def test_pools_of_equal_rows(name: str) -> None:
    labels = torch.zeros(20, dtype=torch.int64)
    assert len(set(run(name, torch.ones(20, 3), 7, labels=labels))) == 7
    assert run(name, torch.zeros(1, 3), 1, labels=labels[:1]) == [0]


@each_selector
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_embeddings_that_are_not_finite(name: str, bad: float) -> None:
    x = random_rows()
    x[5, 1] = bad
    with pytest.raises(ValueError, match="embeddings are not finite: row 5 holds a NaN or an infinity"):
        run(name, x, 3, labels=torch.zeros(30, dtype=torch.int64))


@each_selector
@pytest.mark.parametrize("budget", [0, 28])
def test_budget_out_of_range(name: str, budget: int) -> None:
    with pytest.raises(UsageError, match=rf"the budget is {budget} images, expected 1 to 27.*\(3 of 30 are settled"):
        run(name, random_rows(), budget, labels=torch.zeros(30, dtype=torch.int64), settled=[0, 1, 2])


@each_selector
def test_fields_that_are_needed(name: str) -> None:
    pool = Pool(tie_breaker=torch.arange(3), pseudo_labels=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="needs the pool's embeddings, got None"):
        SELECTORS[name](pool, 1, SelectorOptions(), torch.Generator())


def test_moderate_needs_pseudo_labels() -> None:
    with pytest.raises(ValueError, match="needs the pool's pseudo_labels, got None"):
        run("moderate", random_rows(), 3)


@each_selector
def test_length_does_not_count(name: str) -> None:
    x, labels = random_rows(), torch.arange(30) % 2
    scaled = x * 2.0 ** (torch.arange(30).unsqueeze(1) % 5)
    assert run(name, scaled, 10, labels=labels) == run(name, x, 10, labels=labels)


# TypiClust


def bundles(*sizes: int) -> tuple[Tensor, Tensor]:
    """Return bundles of directions around different axes, and the axis of each row; each bundle has a dense middle."""
    axis = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    generator = torch.Generator().manual_seed(1)
    spread = 0.3 * torch.rand(len(axis), 1, generator=generator) ** 2
    noise = torch.randn(len(axis), len(sizes), generator=generator)
    return torch.eye(len(sizes))[axis] + spread * noise, axis


def test_one_of_each_cluster_the_largest_first() -> None:
    x, axis = bundles(10, 30, 20)
    picked = run("typiclust", x, 3)
    assert axis[picked].tolist() == [1, 2, 0]
    for row in picked:
        own = torch.nn.functional.normalize(x[axis == axis[row]].double(), dim=1)
        distance = torch.cdist(own, own).sort(dim=1).values[:, 1:21].mean(dim=1)  # column 0: the row itself
        assert row == int(torch.nonzero(axis == axis[row]).flatten()[distance.argmin()])


def test_clusters_with_fewer_taken_rows_come_first() -> None:
    """The bundle of 30 has a settled row, so those of 20 and of 10 come first."""
    x, axis = bundles(10, 30, 20)
    picked = run("typiclust", x, 2, settled=[15])  # as many clusters as rows to select and settled: 3
    assert axis[picked].tolist() == [2, 0]


def test_they_go_round_again_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_MOST_CLUSTERS", 3)
    x, axis = bundles(10, 30, 20)
    assert axis[run("typiclust", x, 9)].tolist() == [1, 2, 0] * 3
    assert axis[run("typiclust", x, 60)].tolist() == [1, 2, 0] * 10 + [1, 2] * 10 + [1] * 10
    settled = [10, 11, 0]  # two of the largest bundle, one of the smallest: 20, then 10 and 20, then all
    assert axis[run("typiclust", x, 6, settled=settled)].tolist() == [2, 2, 0, 1, 2, 0]


def test_small_clusters_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 rows are too few where clusters have 18 on average, as in the paper, and enough where they have 6."""
    monkeypatch.setattr(clusters, "_MOST_CLUSTERS", 3)
    x, axis = bundles(4, 30, 20)
    assert axis[run("typiclust", x, 54)].tolist() == [1, 2] * 20 + [1] * 10 + [0] * 4
    x, axis = bundles(4, 6, 8)
    assert axis[run("typiclust", x, 4)].tolist() == [2, 1, 0, 2]


def test_neighbours_by_hand() -> None:
    """Half the sum of the two shortest chords: of 3 and 4, 1 and 3, 1 and 4, 4 and 5, 5 and 9 degrees."""
    x = at_angles(0, 3, 4, 8, 13)
    chords = [(3, 4), (1, 3), (1, 4), (4, 5), (5, 9)]
    expected = [sum(2 * math.sin(math.radians(degrees) / 2) for degrees in pair) / 2 for pair in chords]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "_NUM_NEIGHBORS", 2)
        patch.setattr(clusters, "_MOST_CLUSTERS", 1)
        distance = clusters._neighbor_distance(x, torch.zeros(5, dtype=torch.int64), torch.Generator())
        np.testing.assert_allclose(distance.numpy(), expected, rtol=2e-3)  # float32 cosines of close directions
        assert run("typiclust", x, 5) == [1, 2, 0, 3, 4]


def test_large_clusters_are_compared_with_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample keeps the dense middle dense; no row is its own neighbour."""
    x, _ = bundles(900, 0)
    everything = torch.zeros(900, dtype=torch.int64)
    exact = clusters._neighbor_distance(x, everything, torch.Generator())
    monkeypatch.setattr(clusters, "_COMPARED_ROWS", 300)
    monkeypatch.setattr(clusters, "_QUERY_ROWS", 128)
    sampled = clusters._neighbor_distance(x, everything, torch.Generator().manual_seed(0))
    assert bool((sampled >= exact - 1e-6).all())  # among fewer rows the nearest are no nearer
    ranks = torch.stack([exact, sampled]).argsort(dim=1).argsort(dim=1).double()
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.9


def test_typiclust_follows_the_generator() -> None:
    x = random_rows(200)
    assert run("typiclust", x, 20, seed=1) == run("typiclust", x, 20, seed=1) != run("typiclust", x, 20, seed=2)


# Prototypicality


def test_farthest_first_matches_reference() -> None:
    """eltsai/elfs@089444b, core/data/Coreset.py and core/utils/misc.py: distance to the own centre, far first."""
    golden = np.load(DATA / "prototypicality.npz")
    x, centroids = torch.from_numpy(golden["x"]), torch.from_numpy(golden["centroids"])
    distance = centre_distance(x, centroids, nearest_centroid(x, centroids)[0])
    found = farthest_first(distance, torch.ones(300, dtype=torch.bool), 50)
    assert found.tolist() == golden["top50"].tolist()


def test_farthest_first_in_each_cluster_matches_reference() -> None:
    """``select_balanced_coreset_prototypicality``: 50 // 7 of each cluster, and one more of the first that it meets.

    Which cluster gets that one follows there from the order of the rows, here from the number of the cluster: the
    quotas are the reference's but for that, and inside a cluster the picks are.
    """
    golden = np.load(DATA / "prototypicality.npz")
    labels, expected = torch.from_numpy(golden["labels"]).long(), torch.from_numpy(golden["balanced50"])
    quotas = torch.bincount(labels[expected], minlength=7)
    assert sorted(quotas.tolist()) == sorted(even_quotas(torch.bincount(labels), 50).tolist())
    for cluster, quota in enumerate(quotas.tolist()):
        found = farthest_first(torch.from_numpy(golden["distance"]), labels == cluster, quota)
        assert found.tolist() == expected[labels[expected] == cluster].tolist()


def test_farthest_first_ties_and_budget() -> None:
    everything = torch.ones(4, dtype=torch.bool)
    assert farthest_first(torch.tensor([0.5, 0.9, 0.5, 0.9]), everything, 4).tolist() == [1, 3, 0, 2]
    with pytest.raises(UsageError, match="the budget is 5 images, expected 1 to 4"):
        farthest_first(torch.zeros(4), everything, 5)


def test_as_many_centres_as_pseudo_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spy(embeddings: Tensor, num_clusters: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        seen.append(num_clusters)
        return unit_clusters(embeddings, num_clusters, generator)

    monkeypatch.setattr(clusters, "unit_clusters", spy)
    labels = torch.arange(30) % 3 * 2 + 5  # 5, 7 and 9: different ones count, not the largest
    run("prototypicality", random_rows(), 5, labels=labels)
    run("prototypicality", random_rows(), 5)
    run("prototypicality", random_rows(6), 5)
    assert seen == [3, 10, 6]


def test_prototypicality_by_hand() -> None:
    """Two bundles of three: the middle of each is its centre; the settled rows are in the clusters all the same."""
    x = at_angles(0, 1, 2, 90, 93, 96)
    labels = [0, 0, 0, 1, 1, 1]
    picked = run("prototypicality", x, 6, labels=labels)
    assert {*picked[:2]} == {3, 5}
    assert {*picked[2:4]} == {0, 2}
    assert {*picked[4:]} == {1, 4}
    assert run("prototypicality", x, 2, labels=labels, settled=[3, 0]) == [5, 2]


# Moderate


def test_moderate_by_hand() -> None:
    """Label 0: 0, 1, 2, 4 and 13 degrees around a mean at 4: distances of 4, 3, 2, 0 and 9, median 3 (of 1 degree).

    Off the median: 1, 0, 1, 3, 6 degrees. Label 1: 90 and 92, equally far but for rounding. Five and two rows: of a
    budget of 4, label 0 gets 2.86 and label 1 gets 1.14, so 3 and 1.
    """
    x = at_angles(0, 1, 2, 4, 13, 90, 92)
    labels = [0, 0, 0, 0, 0, 1, 1]
    picked = run("moderate", x, 4, labels=labels)
    assert picked[0] == 1
    assert set(picked) == {0, 1, 2, 5} or set(picked) == {0, 1, 2, 6}
    assert [row for row in run("moderate", x, 7, labels=labels) if row < 5][3:] == [3, 4]


def test_moderate_is_the_definition() -> None:
    x, labels = random_rows(60), torch.arange(60) % 2
    unit = torch.nn.functional.normalize(x.double(), dim=1)
    picked = run("moderate", x, 20, labels=labels)
    assert [row % 2 for row in picked] == [0, 1] * 10  # equally many rows: in turn
    for label in (0, 1):
        rows = torch.nonzero(labels == label).flatten()
        distance = (unit[rows] - unit[rows].mean(dim=0)).norm(dim=1)
        off = (distance - np.median(distance.numpy())).abs()
        assert [row for row in picked if row % 2 == label] == rows[off.argsort()[:10]].tolist()


def test_moderate_counts_settled_rows_in_centre_and_median() -> None:
    x, labels = random_rows(60), torch.arange(60) % 2
    full = run("moderate", x, 60, labels=labels)
    settled = full[:6]
    assert run("moderate", x, 10, labels=labels, settled=settled) == full[6:16]


def test_moderate_shares_out_in_proportion_and_skips_empty_labels() -> None:
    x, labels = random_rows(40), torch.tensor([1] * 30 + [4] * 10)
    picked = torch.tensor(run("moderate", x, 8, labels=labels))
    assert torch.bincount(labels[picked], minlength=5).tolist() == [0, 6, 0, 0, 2]

"""Clusters and pseudo-labels: automatic settings, the choice of the head, k-means, confidence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.config import ClusterConfig, LabelConfig
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from elfs.models.heads import ClusterHeads
from elfs.ops.database import Database
from elfs.ops.inverted_lists import probed_neighbors
from elfs.ops.neighbors import exact_neighbors
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.stages import cluster, label
from elfs.stages.clustering import pool, temi
from elfs.stages.embedding import neighbors as search
from elfs.train.graph_clustering import GraphClusters, graph_clusters
from elfs.train.head_settings import method_for, settings_for
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage


class TestSettings:
    """Every ``auto`` worked out."""

    def test_large_pool_gets_the_settings_of_the_paper(self) -> None:
        found = settings_for(ClusterConfig(), 1_281_167, 1000, on_cpu=False)
        assert (found.heads, found.hidden, found.bottleneck) == (50, 512, 256)
        assert (found.epochs, found.batch_size, found.learning_rate) == (200, 1024, 4e-4)
        assert (found.teacher_momentum, found.clusters) == (0.996, 1000)

    @pytest.mark.parametrize(
        ("num_images", "batch_size", "epochs"), [(1437, 256, 134), (19_999, 256, 11), (256, 256, 800), (10, 10, 800)]
    )
    def test_small_pool_gets_800_steps(self, num_images: int, batch_size: int, epochs: int) -> None:
        found = settings_for(ClusterConfig(), num_images, 10, on_cpu=False)
        steps = found.epochs * -(-num_images // found.batch_size)
        assert (found.heads, found.hidden, found.bottleneck) == (8, 256, 128)
        assert (found.batch_size, found.epochs) == (batch_size, epochs)
        assert 800 <= steps < 800 + -(-num_images // batch_size)
        assert found.learning_rate == 1e-3 * batch_size / 256
        assert found.teacher_momentum == pytest.approx(1 - 16 / steps)

    @pytest.mark.parametrize(("num_images", "epochs"), [(19_999, 11), (20_000, 11), (100_000, 4), (1_281_167, 4)])
    def test_a_cpu_gets_them_for_any_pool_and_at_least_four_epochs(self, num_images: int, epochs: int) -> None:
        found = settings_for(ClusterConfig(), num_images, 10, on_cpu=True)
        assert (found.heads, found.hidden, found.batch_size, found.epochs) == (8, 256, 256, epochs)

    def test_settings_by_hand_count(self) -> None:
        given: dict[str, Any] = {"heads": 3, "epochs": 2, "batch_size": 7, "learning_rate": 0.0, "hidden": 5}
        given |= {"bottleneck": 4, "teacher_momentum": 0.0, "seed": 9, "beta": 0.5, "loss": "scan"}
        found = settings_for(ClusterConfig(**given), 100, 10, on_cpu=False)
        assert {name: getattr(found, name) for name in given} == given

    def test_teacher_of_a_short_training_follows_at_once(self) -> None:
        assert settings_for(ClusterConfig(epochs=1, batch_size=50), 100, 10, on_cpu=False).teacher_momentum == 0


class TestNumberOfClusters:
    """What was asked for, else what is known of the data set, else a guess."""

    def test_data_set_knows(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)
        assert run_stage("cluster", workspace, clusters=None, epochs=1).summary["clusters"] == 10

    def test_guess_is_said_and_is_no_warning(self, embeddings: Finished, workspace: Path) -> None:
        embeddings.copy(workspace)
        said: list[str] = []
        outcome = run_stage("cluster", workspace, clusters=None, runtime=Runtime(devices="cpu", warn=said.append))
        assert outcome.summary["clusters"] == 3
        assert "--clusters N" not in "".join(said)
        assert outcome.summary["estimate"]["best"] == 3
        assert outcome.headline.endswith("   auto, no other as good")

    def test_more_than_images_is_refused(self, embeddings: Finished, workspace: Path) -> None:
        embeddings.copy(workspace)
        with pytest.raises(InputDataError, match=r"^--clusters 61 is more than the 60 images of the pool\.$"):
            run_stage("cluster", workspace, clusters=61)


def test_head_with_the_lowest_loss_is_chosen_and_labels(digits: Finished, tmp_path: Path) -> None:
    digits.copy(tmp_path / "workspace")
    run_stage("cluster", tmp_path / "workspace", head_choice="loss")
    run_stage("label", tmp_path / "workspace")
    workspace = Workspace.open(tmp_path / "workspace")
    report = workspace.json("clusters")
    losses = [head["loss"] for head in report["heads"]]
    assert report["chosen"] == int(np.argmin(losses))
    tensors = dict(workspace.arrays("heads"))
    mean, inverse = tensors.pop("mean"), tensors.pop("inverse_deviation")
    values = workspace.arrays("embeddings")["embeddings"].astype(np.float32)
    inputs = torch.from_numpy((values - mean) * inverse)
    with torch.no_grad():
        logits = ClusterHeads.from_tensors(tensors)(inputs)[report["chosen"]]
    chosen = report["heads"][report["chosen"]]
    probabilities = (chosen["confidence_power"] * logits / 0.1).softmax(dim=1).max(dim=1)
    found = workspace.arrays("pseudo_labels")
    np.testing.assert_array_equal(found["pseudo_labels"], probabilities.indices)
    np.testing.assert_allclose(found["confidence"], probabilities.values, atol=1e-5)


def test_report_counts_the_pool(digits: Finished) -> None:
    workspace = Workspace.open(digits.path)
    report = workspace.json("clusters")
    labels = workspace.arrays("pseudo_labels")["pseudo_labels"][:160]
    sizes = np.bincount(labels, minlength=3)
    chosen = report["consensus"]
    share = sizes / sizes.sum()
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum() / np.log(3)
    assert (chosen["smallest_cluster"], chosen["largest_cluster"]) == (sizes.min(), sizes.max())
    assert (chosen["used_clusters"], chosen["assignment_entropy"]) == (
        (sizes > 0).sum(),
        pytest.approx(entropy, abs=1e-6),
    )
    summary = workspace.manifest.records["label"].summary
    assert (summary["smallest_cluster"], summary["largest_cluster"]) == (sizes.min(), sizes.max())
    confidence = workspace.arrays("pseudo_labels")["confidence"][:160]
    assert summary["confident"] == pytest.approx((confidence > 0.9).mean())


def test_head_by_hand(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    labels = []
    for head in (0, 1):
        assert run_stage("label", workspace, head=head).summary["head"] == head
        labels.append(Workspace.open(workspace).arrays("pseudo_labels")["pseudo_labels"].copy())
    assert (labels[0] != labels[1]).any()


@pytest.mark.slow
def test_turtle_end_to_end(embeddings: Finished, workspace: Path) -> None:
    """Three separate groups of twenty, by the run that was chosen."""
    embeddings.copy(workspace)
    outcome = run_stage("cluster", workspace, method="turtle", heads=3, batch_size=60, head_choice="loss")
    report = Workspace.open(workspace).json("clusters")
    assert outcome.headline == f"TURTLE, 3 runs, 3 clusters   run {report['chosen']} chosen"
    losses = [head["loss"] for head in report["heads"]]
    assert losses[report["chosen"]] == min(losses)
    run_stage("label", workspace)
    labels = Workspace.open(workspace).arrays("pseudo_labels")
    assert [len(np.unique(labels["pseudo_labels"][20 * group : 20 * group + 20])) for group in range(3)] == [1, 1, 1]
    assert len(np.unique(labels["pseudo_labels"])) == 3
    assert (labels["confidence"] > 1 / 3).all()


@pytest.mark.slow
def test_turtle_takes_the_encoders_one_by_one(workspace: Path) -> None:
    run_stage("embed", workspace, source="digits", encoder="pixels+patches", limit=200)
    widths = Workspace.open(workspace).manifest.artifacts["embeddings"].metadata["widths"]
    outcome = run_stage("cluster", workspace, method="turtle", heads=2, batch_size=20)
    assert outcome.headline.startswith("TURTLE on 2 encoders, 2 runs, 3 clusters")
    heads = Workspace.open(workspace).arrays("heads")
    assert [heads[f"turtle.{number}"].shape for number in range(2)] == [(width, 2, 3) for width in widths]


def test_kmeans_end_to_end(embeddings: Finished, workspace: Path) -> None:
    """Three separate groups of twenty: found on the unit sphere, with hand numbers for the confidence."""
    embeddings.copy(workspace)
    outcome = run_stage("cluster", workspace, method="kmeans")
    assert outcome.headline == "k-means, 3 clusters"
    run_stage("label", workspace)
    found = Workspace.open(workspace)
    labels = found.arrays("pseudo_labels")
    assert [len(np.unique(labels["pseudo_labels"][20 * group : 20 * group + 20])) for group in range(3)] == [1, 1, 1]
    assert len(np.unique(labels["pseudo_labels"])) == 3
    heads = found.arrays("heads")
    inputs = found.arrays("embeddings")["embeddings"]
    inputs = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    assert (heads["mean"] == 0).all()
    squared = ((inputs[:, None] - heads["centroids"]) ** 2).sum(axis=2)
    report = found.json("clusters")
    memberships = squared ** -report["heads"][0]["confidence_power"]
    expected = memberships.max(axis=1) / memberships.sum(axis=1)
    np.testing.assert_allclose(labels["confidence"], expected, rtol=1e-4)
    assert report["heads"][0]["agreement"] == 1
    assert report["heads"][0]["loss"] == pytest.approx(squared.min(axis=1).mean(), rel=1e-5)


def test_collapse_is_warned_of(embeddings: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings.copy(workspace)
    said: list[str] = []
    monkeypatch.setattr(temi, "assignment_counts", lambda *_: torch.tensor([[60, 0, 0]] * 3))
    outcome = run_stage("cluster", workspace, force=True, runtime=Runtime(devices="cpu", warn=said.append))
    assert said == [
        "collapse: 1 of 3 clusters are used, assignment entropy 0.00 of 1. "
        "There will be no signal of difficulty: try a better encoder, or select by coverage or chance."
    ]
    assert (outcome.summary["used_clusters"], outcome.summary["assignment_entropy"]) == (1, 0.0)


def test_healthy_clusters_are_not_warned_of(embeddings: Finished, workspace: Path) -> None:
    embeddings.copy(workspace)
    said: list[str] = []
    run_stage("cluster", workspace, method="kmeans", runtime=Runtime(devices="cpu", warn=said.append))
    assert said == []


@pytest.mark.parametrize(("clusters", "expected"), [(3, 5), (20, 4), (79, 1), (160, 1)])
def test_heads_see_at_most_half_a_mean_cluster_of_neighbours(
    digits: Finished, workspace: Path, clusters: int, expected: int
) -> None:
    digits.copy(workspace)
    run_stage("cluster", workspace, clusters=clusters, epochs=1)
    assert Workspace.open(workspace).json("clusters")["neighbors"] == expected


def test_blocks_change_nothing(digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits.copy(workspace)
    monkeypatch.setattr(pool, "BLOCK_ROWS", 33)
    monkeypatch.setattr(temi, "_COUNTED_ROWS", 33)
    monkeypatch.setattr(label, "_BLOCK_ROWS", 33)
    run_stage("cluster", workspace, force=True)
    run_stage("label", workspace, force=True)
    ours, theirs = Workspace.open(workspace), Workspace.open(digits.path)
    assert json.loads((workspace / "clusters.json").read_text()) == theirs.json("clusters")
    found, expected = ours.arrays("pseudo_labels"), theirs.arrays("pseudo_labels")
    np.testing.assert_array_equal(found["pseudo_labels"], expected["pseudo_labels"])
    np.testing.assert_allclose(found["confidence"], expected["confidence"], atol=1e-5)


class TestMethod:
    """What ``--method auto`` stands for."""

    def test_by_the_size_of_the_pool(self) -> None:
        assert method_for(ClusterConfig(), 2_000_000, 768, 10) == "graph"
        assert method_for(ClusterConfig(), 2_000_001, 768, 10) == "temi"
        assert method_for(ClusterConfig(), 1_281_167, 768, 1000) == "temi"
        assert method_for(ClusterConfig(method="kmeans"), 2_000_001, 768, 10) == "kmeans"

    @pytest.mark.parametrize("dims", [64, 176, 768, 1280])
    def test_by_what_the_graph_takes_beside_the_heads(self, dims: int) -> None:
        assert all(method_for(ClusterConfig(), num, dims, 100) == "graph" for num in (300, 2_000, 20_000, 100_000))
        assert all(method_for(ClusterConfig(), num, dims, 1000) == "temi" for num in (2_000, 19_999, 20_000, 20_100))

    @pytest.mark.parametrize("dims", [64, 176, 768, 1280])
    @pytest.mark.parametrize("clusters", [10, 100, 300, 500])
    def test_once_it_is_the_heads_it_stays_so_for_more_images(self, dims: int, clusters: int) -> None:
        sizes = [round(1_000 * 1.03**step) for step in range(260)]
        chosen = [method_for(ClusterConfig(), size, dims, clusters) for size in sizes]
        assert chosen == sorted(chosen)

    def test_options_of_the_heads_mean_heads(self) -> None:
        assert method_for(ClusterConfig(heads=3), 100, 64, 3) == "temi"
        assert method_for(ClusterConfig(clusters=3, hidden=8), 100, 64, 3) == "graph"


@pytest.mark.slow
def test_graph_end_to_end(embeddings: Finished, workspace: Path) -> None:
    """Three separate groups: found, trusted, and a head labels as the clusters do."""
    embeddings.copy(workspace)
    outcome = run_stage("cluster", workspace, method="graph", heads=None, epochs=None)
    assert outcome.headline == "neighbour graph, 3 clusters"
    label_outcome = run_stage("label", workspace)
    found = Workspace.open(workspace)
    labels = found.arrays("pseudo_labels")["pseudo_labels"]
    assert [len(set(labels[20 * group : 20 * group + 20])) for group in range(3)] == [1, 1, 1]
    assert len(set(labels)) == 3
    assert outcome.summary["trust"] == pytest.approx(1)
    assert found.manifest.artifacts["pseudo_labels"].metadata["trust"] == outcome.summary["trust"]
    assert label_outcome.headline == "3 clusters, trust 1.00   others agree: 100%"
    assert found.json("clusters")["heads"][0]["used_clusters"] == 3


@pytest.mark.parametrize("criterion", ["trust", "information"])
def test_head_of_the_highest_criterion_is_chosen(criterion: str, digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    run_stage("cluster", workspace, head_choice=criterion)
    report = Workspace.open(workspace).json("clusters")
    values = [head[criterion] for head in report["heads"]]
    assert report["chosen"] == int(np.argmax(values))
    assert report["head_choice"] == criterion


@pytest.mark.slow
@pytest.mark.parametrize("method", ["temi", "turtle"])
def test_all_heads_label_together_unless_asked_otherwise(method: str, digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    outcome = run_stage("cluster", workspace, method=method, heads=3)
    assert outcome.headline.endswith(f"   all {'run' if method == 'turtle' else 'head'}s together")
    found = Workspace.open(workspace)
    report, tensors = found.json("clusters"), found.arrays("heads")
    assert report["head_choice"] == "consensus"
    assert report["chosen"] == int(np.argmax([head["trust"] for head in report["heads"]]))
    trust = np.array([head["trust"] for head in report["heads"]])
    np.testing.assert_allclose(tensors["weights"], trust / trust.sum(), atol=1e-5)
    singles = []
    for head in range(3):
        run_stage("label", workspace, head=head)
        singles.append(Workspace.open(workspace).arrays("pseudo_labels")["pseudo_labels"].copy())
    labelled = run_stage("label", workspace)
    assert labelled.summary["head"] is None
    together = Workspace.open(workspace).arrays("pseudo_labels")["pseudo_labels"]
    named = np.stack([names[own] for names, own in zip(tensors["names"], singles, strict=True)])
    unanimous = (named == named[0]).all(axis=0)
    assert unanimous.any()
    np.testing.assert_array_equal(together[unanimous], named[0][unanimous])
    sizes = np.bincount(together[:160], minlength=3)
    consensus = report["consensus"]
    assert (consensus["smallest_cluster"], consensus["largest_cluster"]) == (sizes.min(), sizes.max())
    assert consensus["loss"] is None


@pytest.mark.slow
@pytest.mark.parametrize("method", ["temi", "kmeans", "turtle"])
def test_mean_confidence_is_how_often_another_clustering_agrees(method: str, digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    run_stage("cluster", workspace, method=method)
    outcome = run_stage("label", workspace)
    found = Workspace.open(workspace)
    report, pool = found.json("clusters"), SampleTable.from_tensors(found.arrays("samples")).eligible()
    labelling = report.get("consensus") or report["heads"][report["chosen"]]
    agreement, num = labelling["agreement"], int(pool.sum())
    confidence = found.arrays("pseudo_labels")["confidence"]
    assert float(confidence[pool].mean()) == pytest.approx((agreement * num + 1) / (num + 2), abs=1e-3)
    assert 1 / 3 < agreement < 1
    assert outcome.summary["agreement"] == agreement
    assert outcome.headline.endswith(f"   others agree: {agreement:.0%}")


@pytest.mark.slow
def test_confidence_of_the_graph_is_that_of_its_own_clusterings(embeddings: Finished, workspace: Path) -> None:
    embeddings.copy(workspace)
    run_stage("cluster", workspace, method="graph", heads=None, epochs=None)
    assert "confidence_power" not in Workspace.open(workspace).json("clusters")["heads"][0]
    assert run_stage("label", workspace).summary["agreement"] == 1.0


def test_pool_without_clusters_is_said_to_be_one(
    embeddings: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings.copy(workspace)
    said: list[str] = []
    monkeypatch.setattr(cluster, "_LEAST_TRUST", 1.5)
    run_stage("cluster", workspace, method="kmeans", runtime=Runtime(devices="cpu", warn=said.append))
    assert said == [
        "the pool shows no 3 clusters: trust is 1.00 of 1, neighbours or other starts disagree. "
        "Try another --clusters, a better encoder, or select by coverage."
    ]


@pytest.mark.parametrize(("least", "num_said"), [(0.0, 0), (1.01, 1)])
def test_few_confident_labels_are_commented_on(
    least: float, num_said: int, digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    said: list[str] = []
    monkeypatch.setattr(label, "_FEW", least)
    outcome = run_stage("label", workspace, runtime=Runtime(devices="cpu", note=said.append), force=True)
    expected = (
        f"{outcome.summary['confident']:.0%} of the pseudo-labels are confident, above 0.9: most images lie between "
        "clusters. Another --clusters, --method or encoder may tell more of them apart."
    )
    assert said == [expected] * num_said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("offset", "is_searched", "most"), [(0.0, False, 9999), (100.0, True, 9999), (100.0, True, 99)]
)
def test_embeddings_that_point_one_way_are_centred_and_their_mutual_neighbours_asked(
    offset: float, is_searched: bool, most: int, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far from the origin all cosines are nearly 1; the groups are seen from the mean. Many rows are put into lists."""
    monkeypatch.setattr(search, "EXACT_ROWS", {"cpu": most})
    random = np.random.default_rng(0)
    truth = np.arange(240) % 4
    rows = 5 * np.eye(4)[truth] + random.normal(0, 1, (240, 4))
    rows -= rows.mean(axis=0)
    np.save(tmp_path / "own.npy", (rows + offset * np.ones(4)).astype(np.float32))
    searched: list[int] = []

    def watched(database: Database, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        assert most > len(database)
        searched.append(k)
        return exact_neighbors(database, queries, k)

    linked: list[torch.Tensor] = []

    def clustered(inputs: torch.Tensor, neighbors: torch.Tensor, *rest: Any, **settings: Any) -> GraphClusters:
        linked.append(neighbors)
        return graph_clusters(inputs, neighbors, *rest, **settings)

    def probed(index: Any, database: Database, queries: torch.Tensor, k: int, num_probes: int) -> Any:
        assert most < len(database)
        searched.append(k)
        return probed_neighbors(index, database, queries, k, num_probes)

    monkeypatch.setattr("elfs.stages.clustering.graph.exact_neighbors", watched)
    monkeypatch.setattr("elfs.stages.clustering.graph.probed_neighbors", probed)
    monkeypatch.setattr("elfs.stages.clustering.graph.graph_clusters", clustered)
    run_stage("embed", workspace, source="embeddings", embeddings=str(tmp_path / "own.npy"), encoder=None)
    execute("cluster", workspace, ClusterConfig(clusters=4, method="graph"), Runtime(devices="cpu"))
    execute("label", workspace, LabelConfig(), Runtime(devices="cpu"))
    labels = Workspace.open(workspace).arrays("pseudo_labels")["pseudo_labels"]
    assert searched == [5] * is_searched
    own = torch.arange(len(linked[0])).unsqueeze(1)
    assert bool((linked[0] == own).any()) == is_searched  # in the place of neighbours that are not mutual
    assert all(len(set(labels[truth == group])) <= 3 for group in range(4))
    assert np.mean([np.bincount(labels[truth == group]).max() for group in range(4)]) > 55

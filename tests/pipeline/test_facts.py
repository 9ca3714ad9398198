"""What stages report is read as it was written."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from elfs.config import CompareConfig, PlanConfig, TrainConfig
from elfs.errors import CorruptArtifactError
from elfs.evaluation.compare import compare
from elfs.evaluation.comparison import Comparison
from elfs.evaluation.predict import predict_pool
from elfs.evaluation.train import train
from elfs.parallel.runtime import Runtime
from elfs.pipeline.artifact_facts import EmbeddingsNote, ProxyNote, PseudoLabelsNote
from elfs.pipeline.cluster_facts import ClusterFacts, ClustersFacts
from elfs.pipeline.facts import EmbedFacts, ScoreFacts, SelectionFacts, TrustFacts
from elfs.pipeline.plan_facts import PlanFacts
from elfs.pipeline.training_facts import ModelFacts, PredictionFacts
from elfs.stages.selection.plan import plan_budgets
from elfs.workspace.manifest import read_manifest
from elfs.workspace.parsing import Facts
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage


def summary(path: Path, record: str) -> dict[str, Any]:
    """Return what is in the manifest but for what every record has."""
    found = dict(read_manifest(path).records[record].summary)
    del found["headline"]
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {"budget": "20", "method": "elfs"},
        {"budget": "20", "method": "random", "dedup": "off"},
        {"budget": "0.2", "balance": "cluster", "include": "selections/first", "name": "second"},
        {"budget": "5", "holdout": "5", "name": "test"},
    ],
)
def test_a_selection(digits: Finished, workspace: Path, settings: dict[str, Any]) -> None:
    digits.copy(workspace)
    run_stage("select", workspace, budget="10", name="first")
    record = run_stage("select", workspace, **settings).record
    assert SelectionFacts.of(summary(workspace, record)).as_json() == summary(workspace, record)


def test_a_plan(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    plan_budgets(workspace, PlanConfig(budgets="10,20,99999"), Runtime(devices="cpu"))
    assert PlanFacts.of(summary(workspace, "plan")).as_json() == summary(workspace, "plan")


def test_a_comparison(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    config = CompareConfig(methods="elfs@aum:0.9,random", budgets="20,1300", seeds=2, network="linear", iterations=5)
    report = compare(workspace, config, Runtime(devices="cpu"))
    found = Comparison.of(summary(workspace, "compare"))
    assert found == report.comparison
    assert found.as_json() == summary(workspace, "compare")


def test_scores(digits: Finished) -> None:
    assert ScoreFacts.of(summary(digits.path, "score")).as_json() == summary(digits.path, "score")


def test_what_others_read_of_embed_and_label(digits: Finished) -> None:
    embedded, labelled = summary(digits.path, "embed"), summary(digits.path, "label")
    assert EmbedFacts.of(embedded) == EmbedFacts(embedded["train"], embedded["encoder"])
    assert TrustFacts.of(labelled) == TrustFacts(labelled["confident"], labelled["trust"], None)


WRITTEN_BY_ALL = {"name": "r1", "method": "random", "count": 5, "eligible": 50, "share": 0.1}
"""What every version of select reported."""


def test_a_selection_of_an_older_version_is_read() -> None:
    facts = SelectionFacts.of(WRITTEN_BY_ALL)
    assert (facts.count, facts.eligible, facts.share) == (5, 50, 0.1)
    assert (facts.balance, facts.copies_left_out, facts.encoder, facts.trust_by) == (None, None, None, {})


@pytest.mark.parametrize("name", WRITTEN_BY_ALL)
def test_a_selection_without_what_every_version_wrote_is_refused(name: str) -> None:
    rest = {key: value for key, value in WRITTEN_BY_ALL.items() if key != name}
    with pytest.raises(CorruptArtifactError, match=rf"^field 'summary\.{name}': expected .*, got None"):
        SelectionFacts.of(rest)


def test_a_training_and_what_its_network_says(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    report = train(workspace, TrainConfig(network="linear", iterations=5, seeds=2), Runtime(devices="cpu"))
    written = summary(workspace, f"train/{report.facts.selection}")
    own = report.facts.as_json()
    assert {name: written[name] for name in own} == own
    assert set(written) - set(own) >= {"name", "network", "iterations", "test_images"}
    model = Workspace.open(workspace).document(f"models/{report.facts.selection}", ModelFacts)
    assert model.classes == report.facts.classes
    assert len(model.learned_from or ()) == report.facts.images
    said = predict_pool(workspace, None, Runtime(devices="cpu")).facts()
    assert PredictionFacts.of(said.as_json()) == said
    assert said.images == sum(said.by_class.values())


def test_the_number_of_clusters_and_the_heads(folder: Finished, workspace: Path) -> None:
    folder.copy(workspace)
    run_stage("cluster", workspace, clusters=None, force=True)
    written = summary(workspace, "cluster")
    estimate = ClusterFacts.of(written).estimate
    assert estimate is not None
    assert estimate.as_json() == written["estimate"]
    found = Workspace.open(workspace).document("clusters", ClustersFacts)
    assert (found.clusters, found.chosen) == (estimate.best, written["chosen"])
    assert found.labelling.trust == written["trust"]


def test_an_estimate_of_an_older_version_is_read() -> None:
    """It scored the numbers of clusters, and did not count groups."""
    written = {"best": 3, "as_good": [3, 4], "candidates": [2, 3, 4], "scores": [0.1, 0.4, 0.4]}
    estimate = ClusterFacts.of({"estimate": written}).estimate
    assert estimate is not None
    assert (estimate.best, estimate.groups) == (3, ())


@pytest.mark.parametrize(
    ("artifact", "kind"),
    [("embeddings", EmbeddingsNote), ("proxy", ProxyNote), ("pseudo_labels", PseudoLabelsNote)],
)
def test_what_is_noted_about_artifacts(everything: Finished, artifact: str, kind: type[Facts]) -> None:
    """Reading gives back what was written, as far as others read it; what does not fit names its rebuilding."""
    workspace = Workspace.open(everything.path / "w")
    entry = workspace.manifest.artifacts[artifact]
    noted = workspace.metadata(artifact, kind).as_json()
    assert {name: entry.metadata.get(name) for name in noted} == noted
    spoilt = dataclasses.replace(entry, metadata={name: {1: 2} for name in kind.__annotations__})
    artifacts = workspace.manifest.artifacts | {artifact: spoilt}
    workspace.manifest = dataclasses.replace(workspace.manifest, artifacts=artifacts)
    with pytest.raises(CorruptArtifactError, match=rf"^field 'artifacts\.{artifact}\.metadata\.\w+.*': expected "):
        workspace.metadata(artifact, kind)

"""What stages report is read as it was written."""

from pathlib import Path
from typing import Any

import pytest

from elfs.config import CompareConfig, PlanConfig
from elfs.errors import CorruptArtifactError
from elfs.evaluation.compare import compare
from elfs.evaluation.comparison import Comparison
from elfs.parallel.runtime import Runtime
from elfs.pipeline.facts import EmbedFacts, ScoreFacts, SelectionFacts, TrustFacts
from elfs.pipeline.plan_facts import PlanFacts
from elfs.stages.selection.plan import plan_budgets
from elfs.workspace.manifest import read_manifest
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

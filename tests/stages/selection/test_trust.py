"""Who speaks for the pseudo-labels, from what select finds in the workspace."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.pipeline.facts import SelectionFacts
from elfs.pipeline.trust import doubt
from elfs.pipeline.verdict import verdict
from elfs.stages.selection.trust import witnesses
from elfs.workspace.tensors import RowArray
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage

ROWS = np.array([5, 1, 2, 4])
LABELS = torch.tensor([0, 0, 1, 1])
NEIGHBORS = np.array([[-1], [5], [4], [1], [2], [1]])


def tell(path: Path, artifact: str, **facts: Any) -> None:
    """Add facts to the metadata of an artifact."""
    workspace = Workspace.open(path)
    entry = workspace.manifest.artifacts[artifact]
    changed = dataclasses.replace(entry, metadata=dict(entry.metadata) | facts)
    artifacts = dict(workspace.manifest.artifacts) | {artifact: changed}
    workspace.write_manifest(dataclasses.replace(workspace.manifest, artifacts=artifacts))


@pytest.fixture
def silent(digits: Finished, workspace: Path) -> Path:
    """A workspace whose own stages say nothing about the pseudo-labels."""
    digits.copy(workspace)
    tell(workspace, "dynamics", estimated_wrong=None)
    tell(workspace, "pseudo_labels", trust=None)
    return workspace


def test_each_speaks_where_it_is_there(silent: Path) -> None:
    assert witnesses(Workspace.open(silent), ROWS, LABELS, NEIGHBORS) == {"neighbors": 1.0}
    shards = RowArray([NEIGHBORS[:2], NEIGHBORS[2:]])
    assert witnesses(Workspace.open(silent), ROWS, LABELS, shards) == {"neighbors": 1.0}
    assert witnesses(Workspace.open(silent), ROWS, LABELS, None) == {}
    tell(silent, "dynamics", estimated_wrong=0.25)
    tell(silent, "pseudo_labels", trust=0.875)
    assert witnesses(Workspace.open(silent), ROWS, LABELS, NEIGHBORS) == {
        "neighbors": 1.0,
        "proxies": 0.75,
        "heads": 0.875,
    }


@pytest.mark.parametrize(("wrong", "trusted"), [(0.9, False), (0.0, True)])
def test_least_of_them_is_the_trust_and_is_kept(silent: Path, wrong: float, trusted: bool) -> None:
    tell(silent, "dynamics", estimated_wrong=wrong)
    tell(silent, "pseudo_labels", trust=0.9999)
    outcome = run_stage("select", silent, method="elfs", budget="20", name="x")
    by = outcome.summary["trust_by"]
    assert set(by) == {"neighbors", "proxies", "heads"}
    assert outcome.summary["trust"] == min(by.values())
    assert Workspace.open(silent).manifest.records["select/x"].summary["trust_by"] == by
    assert (outcome.summary["trust"] < 0.2) is not trusted
    assert (doubt(SelectionFacts.of(outcome.summary)) is None) is trusted


def test_auto_without_trust_picks_as_facility_location_does(silent: Path) -> None:
    def picked(**settings: Any) -> list[int]:
        summary = run_stage("select", silent, budget="120", **settings).summary
        rows: np.ndarray = Workspace.open(silent).arrays(f"selections/{summary['name']}")["indices"]
        return [int(row) for row in rows]

    trusting = picked(name="trusting")
    tell(silent, "dynamics", estimated_wrong=1.0)
    plain = picked(method="facility-location")
    assert picked(name="doubting") == plain != trusting
    assert picked(name="density", key="density") != plain  # no pseudo-label went into it


def test_methods_that_look_at_no_score_say_nothing_of_trust(silent: Path) -> None:
    assert "trust" not in run_stage("select", silent, method="random", budget="20").summary


def test_how_far_pseudo_labels_are_believed_does_not_move_the_hard_rate(silent: Path) -> None:
    def rate() -> float:
        summary = run_stage("select", silent, method="elfs", budget="20", name="x", force=True).summary
        return float(summary["hard_rate"])

    before = rate()
    tell(silent, "dynamics", estimated_wrong=0.9)
    assert rate() == before


def test_every_witness_has_words() -> None:
    """The verdict below a selection names whoever select may ask."""
    for name in ("annotations", "heads", "neighbors", "proxies"):
        said = verdict(SelectionFacts("r1", "auto", 5, 50, 0.1, 0, None, trust=0.4, trust_by={name: 0.4}))
        assert "0.40" in said.findings[0].detail

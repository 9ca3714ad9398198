from pathlib import Path

import numpy as np
import pytest

from elfs.config import CONFIGS, as_json, from_json
from elfs.errors import MissingUpstreamError, StaleUpstreamError, UsageError
from elfs.pipeline.selections import mending_command, require_fresh, selection_name
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace


def commit(path: Path, record: str, makes: str, reads: tuple[str, ...], version: int = 0, day: int = 1) -> None:
    workspace = Workspace.create(path)
    draft = open_draft(workspace, record, digest_json([record, version]))
    draft.save(makes, {"values": np.full(3, version, np.int64)})
    stage, _, name = record.partition("/")
    draft.commit(
        record,
        stage=stage,
        config=as_json(from_json(CONFIGS[stage], {"name": name} if name else {})),
        inputs={item: workspace.manifest.artifacts[item].digest for item in reads},
        seed=None,
        smoke=False,
        summary={},
        metadata={},
        run={"started": f"2025-01-0{day}T00:00:00+00:00"},
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The chain of stages in short, with two selections of which "b" was made first."""
    path = tmp_path / "ws"
    reads: tuple[str, ...] = ()
    for stage, makes in (
        ("embed", "samples"),
        ("cluster", "heads"),
        ("label", "pseudo_labels"),
        ("dynamics", "dynamics"),
        ("score", "scores"),
    ):
        commit(path, stage, makes, reads)
        reads = (makes,)
    commit(path, "select/a", "selections/a", ("scores",), day=3)
    commit(path, "select/b", "selections/b", ("scores",), day=2)
    return Workspace.open(path)


def test_the_selection_made_last_is_the_default(workspace: Workspace) -> None:
    assert selection_name(workspace, None) == "a"
    assert selection_name(workspace, "b") == "b"


def test_selections_of_a_comparison_come_after_all_others(workspace: Workspace) -> None:
    commit(workspace.path, "select/compare-x", "selections/compare-x", ("scores",), day=4)
    workspace.reload()
    assert selection_name(workspace, None) == "a"
    workspace.remove("select/a")
    workspace.remove("select/b")
    assert selection_name(workspace, None) == "compare-x"


def test_an_unknown_selection_gets_a_suggestion(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match=r"unknown selection 'bb'\. Did you mean 'b'\? Available: a, b\."):
        selection_name(workspace, "bb")


def test_no_selection_yet(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "ws")
    with pytest.raises(MissingUpstreamError, match="holds no selection yet") as caught:
        selection_name(workspace, None)
    assert caught.value.hint == f"elfs select --workspace {workspace.path}"


def test_a_fresh_selection_passes(workspace: Workspace) -> None:
    require_fresh(workspace, "a")


def test_a_selection_older_than_its_scores_is_made_anew_alone(workspace: Workspace) -> None:
    commit(workspace.path, "score", "scores", ("dynamics",), version=1)
    workspace.reload()
    with pytest.raises(StaleUpstreamError, match=r"selection 'a' is stale: scores were rebuilt after it") as caught:
        require_fresh(workspace, "a")
    assert caught.value.hint == f"elfs select --name a --workspace {workspace.path}"


def test_what_mends_begins_at_the_first_stale_stage(workspace: Workspace) -> None:
    commit(workspace.path, "label", "pseudo_labels", ("heads",), version=1)
    workspace.reload()
    commands = [command.split()[:2] for command in mending_command(workspace, "a").split(" && ")]
    assert commands == [["elfs", "dynamics"], ["elfs", "score"], ["elfs", "select"]]

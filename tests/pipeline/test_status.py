"""Where a workspace stands, and the commands that mend it."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from elfs.catalog import STAGES
from elfs.config import DEFAULT_WORKSPACE, SMOKE, ClusterConfig, EmbedConfig, SelectConfig, StageConfig
from elfs.errors import MissingUpstreamError, StaleUpstreamError, UsageError
from elfs.pipeline.selections import selection_name
from elfs.pipeline.status import recorded_config, states
from elfs.pipeline.upstream import require
from elfs.workspace.commands import command_line, config_of
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, config, run_stage
from tests.damage import edited_manifest


@pytest.mark.parametrize(
    ("stage", "settings", "expected"),
    [
        ("embed", None, "elfs embed SOURCE"),
        ("cluster", None, "elfs cluster"),
        ("cluster", ClusterConfig(), "elfs cluster"),
        (
            "cluster",
            ClusterConfig(clusters=3, standardize=False, seed=2),
            "elfs cluster --clusters 3 --no-standardize --seed 2",
        ),
        ("embed", EmbedConfig(source="digits", download=True), "elfs embed digits --download"),
        ("embed", EmbedConfig(source="folder", limit=5), "elfs embed --limit 5"),
        ("embed", EmbedConfig(source="embeddings", embeddings="my e.npy"), "elfs embed --embeddings 'my e.npy'"),
        ("select", SelectConfig(hard_rate="0.25", budget="5"), "elfs select --budget 5 --hard-rate 0.25"),
    ],
)
def test_command_line(stage: str, settings: StageConfig | None, expected: str) -> None:
    assert command_line(stage, settings, DEFAULT_WORKSPACE) == expected


def test_command_line_names_another_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path("my work")
    assert command_line("label", None, place) == "elfs label --workspace 'my work'"
    monkeypatch.setenv("ELFS_WORKSPACE", "my work")
    assert command_line("label", None, place) == "elfs label"


def test_recorded_config_is_what_ran_last(digits: Finished, workspace: Path) -> None:
    assert recorded_config(workspace, "cluster") is None
    assert recorded_config(digits.path, "cluster") == config("cluster")
    assert recorded_config(digits.path, "train") is None
    digits.copy(workspace)
    found = Workspace.open(workspace)
    run_stage("select", workspace, budget="9")
    for last, budget in (("select/aum-0.2", "0.2"), ("select/aum-9", "9")):
        found.reload()
        started = {name: {"started": "2030" if name == last else "2020"} for name in found.manifest.runs}
        found.write_manifest(dataclasses.replace(found.manifest, runs=started))
        assert recorded_config(workspace, "select") == config("select", budget=budget)
    run_stage("select", workspace, holdout="5", name="test")
    assert recorded_config(workspace, "select") == config("select", budget="9")


def test_states(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    assert [(found.record, found.state) for found in states(workspace)] == [
        *((stage, "fresh") for stage in STAGES[:-1]),
        ("select/aum-0.2", "fresh"),
    ]
    run_stage("label", workspace, head=0)
    run_stage("label", workspace, head=1)
    found = {state.stage: state for state in states(workspace)}
    assert (found["label"].state, found["label"].command) == ("fresh", f"elfs label --head 1 --workspace {workspace}")
    assert found["label"].headline.startswith("3 clusters, ")


def test_states_of_a_new_workspace(workspace: Path) -> None:
    with pytest.raises(MissingUpstreamError, match="there is no workspace at"):
        states(workspace)
    Workspace.create(workspace)
    found = states(workspace)
    assert [(state.stage, state.state, state.reason) for state in found] == [(s, "missing", None) for s in STAGES]
    assert found[0].command == f"elfs embed SOURCE --workspace {workspace}"


def test_settings_of_a_smoke_run_are_not_recommended(workspace: Path) -> None:
    run_stage("embed", workspace, smoke=True, source="digits", **SMOKE["embed"])
    run_stage("select", workspace, method="random", budget="9")
    assert Workspace.open(workspace).manifest.records["embed"].config["limit"] == SMOKE["embed"]["limit"]
    assert recorded_config(workspace, "embed") == EmbedConfig(source="digits", encoder="pixels")
    assert states(workspace)[0].command == f"elfs embed digits --encoder pixels --workspace {workspace}"
    assert states(workspace)[-1].command == f"elfs select --budget 9 --method random --workspace {workspace}"


class TestStale:
    """Pseudo-labels and all after them are stale: the embeddings have changed."""

    @pytest.fixture(autouse=True)
    def _changed(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)
        run_stage("embed", workspace, source="digits", limit=200, neighbors=4)

    def test_states_say_why(self, workspace: Path) -> None:
        found = {state.stage: (state.state, state.reason) for state in states(workspace)}
        assert found["embed"] == ("fresh", None)
        assert found["cluster"] == ("stale", "neighbors were rebuilt after it (embed)")
        assert found["select"] == ("kept", "made from older neighbors, pseudo_labels, scores")

    def test_require_refuses_with_the_chain(self, workspace: Path) -> None:
        with pytest.raises(
            StaleUpstreamError, match=r"^pseudo_labels is stale: heads .*must be rebuilt first"
        ) as caught:
            require(Workspace.open(workspace), "evaluate", ("samples", "pseudo_labels"))
        assert caught.value.hint is not None
        commands = [shlex.split(part)[:2] for part in caught.value.hint.split(" && ")]
        assert commands == [["elfs", "cluster"], ["elfs", "label"]]

    def test_selection_can_be_used(self, workspace: Path) -> None:
        require(Workspace.open(workspace), "train", ("samples", "embeddings", "selections/aum-0.2"))


def test_columns_alone_make_no_selection_older(digits: Finished, workspace: Path) -> None:
    """Chance looks at no score, so no score makes it an older one."""
    digits.copy(workspace)
    run_stage("select", workspace, method="random", name="chance", dedup="off")
    run_stage("select", workspace, key="el2n", name="scored", dedup="off", hard_rate="0.1")
    run_stage("score", workspace, window=3)
    found = {state.record: (state.state, state.reason) for state in states(workspace)}
    assert found["select/chance"] == ("fresh", None)
    assert found["select/scored"] == ("kept", "made from older scores")
    assert not run_stage("select", workspace, method="random", name="chance", dedup="off").ran


def test_options_of_another_version_are_left_out(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    with edited_manifest(workspace) as manifest:
        recorded = manifest["records"]["select/aum-0.2"]["config"]
        recorded["of_tomorrow"] = 1
        del recorded["blocks"]
    assert config_of(Workspace.open(workspace).manifest.records["select/aum-0.2"]) == config("select")


class TestSelections:
    """Which selection is meant."""

    def test_the_last_one_or_the_one_that_is_named(self, digits: Finished) -> None:
        found = Workspace.open(digits.path)
        assert selection_name(found, None) == selection_name(found, "aum-0.2") == "aum-0.2"

    def test_unknown_one(self, digits: Finished) -> None:
        message = r"^unknown selection 'aum-0\.3'\. Did you mean 'aum-0\.2'\? Available: aum-0\.2\.$"
        with pytest.raises(UsageError, match=message):
            selection_name(Workspace.open(digits.path), "aum-0.3")

    def test_none_yet(self, workspace: Path) -> None:
        with pytest.raises(MissingUpstreamError, match=r"holds no selection yet\.$") as caught:
            selection_name(Workspace.create(workspace), None)
        assert caught.value.hint == f"elfs select --workspace {workspace}"


def test_the_command_of_a_folder_names_it_where_it_is_known() -> None:
    config = EmbedConfig(source="folder", embeddings="x.npy")
    assert command_line("embed", config, DEFAULT_WORKSPACE, "/a b") == "elfs embed '/a b' --embeddings x.npy"
    assert command_line("embed", EmbedConfig(source="digits"), DEFAULT_WORKSPACE, "/a") == "elfs embed digits"

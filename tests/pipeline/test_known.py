"""What is there already, found without the stage's code."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elfs.config import ClusterConfig, EmbedConfig, ScoreConfig, SelectConfig, StageConfig
from elfs.errors import InputDataError, MissingUpstreamError, StaleUpstreamError
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.pipeline.known import known
from elfs.workspace.commands import config_of
from elfs.workspace.workspace import Workspace
from tests.chain import Finished

CPU = Runtime(devices="cpu", num_workers=0)


@pytest.fixture
def used(digits: Finished, tmp_path: Path) -> Path:
    return digits.copy(tmp_path / "used")


def recorded(path: Path) -> dict[str, StageConfig]:
    return {record.stage: config_of(record) for record in Workspace.open(path).manifest.records.values()}


def test_every_stage_of_a_finished_chain_is_there(used: Path) -> None:
    for stage, config in recorded(used).items():
        outcome = known(stage, used, config)
        assert outcome == execute(stage, used, config, CPU)
        assert outcome is not None
        assert not outcome.ran


def test_another_config_is_not_there(used: Path) -> None:
    assert known("cluster", used, ClusterConfig(clusters=3)) is None
    assert known("select", used, SelectConfig(budget="7", method="random")) is None


@pytest.mark.parametrize("left", ["partial", ".lock-holder"])
def test_what_a_killed_writer_left_is_cleared_away_by_a_stage_that_has_nothing_to_do(used: Path, left: str) -> None:
    config = recorded(used)["select"]
    if left == "partial":
        (used / left).mkdir()
    else:
        (used / left).write_text('{"pid": 4194305}')
    assert known("select", used, config) is None
    assert not execute("select", used, config, CPU).ran
    assert not (used / left).exists()
    assert known("select", used, config) is not None


@pytest.mark.parametrize("look", [known, lambda stage, path, config: execute(stage, path, config, CPU)])
def test_what_is_missing_or_stale_is_refused_as_the_stage_refuses_it(look: Callable[..., Any], used: Path) -> None:
    with pytest.raises(MissingUpstreamError, match="there is no workspace at"):
        look("score", used / "nowhere", ScoreConfig())
    with pytest.raises(InputDataError, match=r"no\.csv"):
        look("select", used, SelectConfig(budget="7", name="next", exclude=str(used / "no.csv")))
    execute("cluster", used, ClusterConfig(method="kmeans", clusters=4), CPU)
    with pytest.raises(StaleUpstreamError, match="pseudo_labels is stale"):
        look("dynamics", used, recorded(used)["dynamics"])


def test_torch_is_not_loaded(used: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from elfs.pipeline.known import known;"
        "from elfs.workspace.workspace import Workspace; from elfs.workspace.commands import config_of;"
        "path = Path(sys.argv[1]); records = Workspace.open(path).manifest.records.values();"
        "found = [known(record.stage, path, config_of(record)) for record in records];"
        "print(sum(outcome is not None for outcome in found), 'torch' in sys.modules)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, str(used)], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(len(recorded(used))), "False"]


def test_where_there_is_no_workspace_embed_would_run(tmp_path: Path) -> None:
    assert known("embed", tmp_path / "nowhere", EmbedConfig(source="digits")) is None

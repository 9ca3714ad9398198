"""What select finds of a selection's coverage, from the artifacts that it may read."""

from pathlib import Path
from typing import Any

import pytest

from elfs.stages.selection import coverage as module
from tests.chain import Finished, run_stage


def summary(path: Path, **settings: Any) -> dict[str, Any]:
    return run_stage("select", path, budget="20", name="x", force=True, **settings).summary


def test_covering_beats_chance_and_the_hardest_do_not(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    covering = summary(workspace, method="facility-location")["coverage"]
    assert (covering["beaten"], covering["draws"]) == (20, 20)
    assert covering["lowest"] <= covering["random"] <= covering["highest"] < covering["selected"] <= 1
    hardest = summary(workspace, method="hardest")["coverage"]
    assert hardest["beaten"] < 20
    assert {name: hardest[name] for name in ("random", "lowest")} == {
        name: covering[name] for name in ("random", "lowest")
    }


def test_only_what_the_selection_may_read_is_read(
    digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    found = summary(workspace, method="random", dedup="off")
    assert "coverage" not in found
    assert found["confident"] > 0
    assert summary(workspace, method="random")["coverage"]["draws"] == 20
    monkeypatch.setattr(module, "_MOST_ROWS", 10)
    assert "coverage" not in summary(workspace, method="random")
    assert "coverage" in summary(workspace, method="auto")

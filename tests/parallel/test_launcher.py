"""Which of several failures led to the others, and how a rank leaves word of its own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from elfs.parallel import launcher
from elfs.parallel.launcher import RankFailure, first_failure, launch, report_failure


def report(time: float, *, lost: bool = False) -> dict[str, Any]:
    return {"message": "m", "hint": None, "code": 3, "traceback": None, "lost": lost, "time": time}


OWN_LATE, OWN_EARLY = RankFailure(0, 3, report(9.0)), RankFailure(3, 3, report(8.5))
KILLED, STOPPED, UNWOUND = RankFailure(2, -9, None), RankFailure(1, -15, None), RankFailure(0, 143, None)
LOST = RankFailure(0, 8, report(1.0, lost=True))


def test_own_error_comes_before_all() -> None:
    assert first_failure([LOST, KILLED, STOPPED, OWN_LATE, OWN_EARLY]) == OWN_EARLY


def test_killed_rank_comes_before_those_that_lost_it() -> None:
    assert first_failure([LOST, STOPPED, UNWOUND, KILLED]) == KILLED


def test_rank_that_was_told_to_stop_comes_last() -> None:
    assert first_failure([STOPPED, UNWOUND, LOST]) == LOST


def test_report(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    assert report_failure({"TORCHELASTIC_ERROR_FILE": str(path)}, report(12.5))
    document = json.loads(path.read_text())
    assert document["elfs"] == report(12.5)
    assert document["message"] == {"message": "m", "extraInfo": {"timestamp": 12}}  # what the launcher itself reads


def test_report_without_a_launcher(tmp_path: Path) -> None:
    assert not report_failure({}, report(1.0))
    assert not report_failure({"TORCHELASTIC_ERROR_FILE": str(tmp_path / "no" / "folder")}, report(1.0))


@pytest.mark.parametrize(("cpus", "processes", "threads"), [(8, 3, "2"), (2, 4, "1")])
def test_ranks_share_the_cpus_that_they_may_use(
    monkeypatch: pytest.MonkeyPatch, cpus: int, processes: int, threads: str
) -> None:
    """A container or a batch system may leave fewer to this process than the host has."""
    found: list[str] = []

    def elastic_launch(config: Any, entrypoint: str) -> Any:
        return lambda *arguments: found.append(os.environ["OMP_NUM_THREADS"])

    monkeypatch.setattr(launcher, "available_cpus", lambda: cpus)
    monkeypatch.setattr(launcher, "elastic_launch", elastic_launch)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    assert launch(["status"], processes) == (0, None)
    assert found == [threads]

"""Ranks that run a stage together, as threads of one process over a store of torch's."""

import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]  # public, but not in its __all__

from elfs.config import CONFIGS, StageConfig
from elfs.errors import CorruptArtifactError, DeviceError, RankLostError
from elfs.parallel.place import Place
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Runtime
from elfs.pipeline import following
from elfs.pipeline.following import follow, invite, require_same_call, withdraw
from elfs.pipeline.graph import STAGES
from elfs.pipeline.job import Job, Prepared, Result, StageCall, StageCode
from elfs.workspace.draft import open_draft
from elfs.workspace.workspace import Workspace

CONFIG = CONFIGS["cluster"]()


class Watch:
    """Stands in for what tells the ranks that one of them is gone."""

    lost: str | None = None


def together(work: Callable[[Ranks], Any], size: int = 2) -> list[Any]:
    """Return what every rank makes of it, or the error in which it ends, of which the others hear."""
    store, watch = HashStore(), Watch()

    def one(rank: int) -> Any:
        try:
            return work(Ranks(Place(rank, size, rank, size, "localhost", 0), store, cast(Any, watch)))
        except Exception as error:
            watch.lost = str(error)
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def test_ranks_that_were_told_the_same_go_on() -> None:
    call = ["cluster", {"k": 3}, True]
    assert together(lambda ranks: require_same_call(ranks, call), size=3) == [None, None, None]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (["cluster", {"k": 4, "seed": 0}, True], "{'k': 3}, rank 2 (HOST) {'k': 4}"),
        (["cluster", {"k": 3, "seed": 0}, False], "['cluster', {'k': 3, 'seed': 0}, True], rank 2 (HOST) ['cluster', "),
    ],
)
def test_what_differs_is_named_on_every_rank(other: list[Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "HOST")
    call = ["cluster", {"k": 3, "seed": 0}, True]
    errors = together(lambda ranks: require_same_call(ranks, other if ranks.rank == 2 else call), size=3)
    for error in errors:
        assert isinstance(error, DeviceError)
        assert f"different options: rank 0 (HOST) {said}" in error.message


def wait(job: Job) -> None:
    job.runtime.ranks.wait()


def led(
    workspace: Path, code: StageCode[Any], root: Path | None = None, then: Callable[[Job], None] = wait
) -> list[Any]:
    """Return what becomes of two ranks of which the first invites, and then does something."""
    first = Workspace.create(workspace)
    draft = open_draft(first, "cluster", "0" * 64)
    call = StageCall(STAGES["cluster"], "cluster", (), force=True, code=code)

    def work(ranks: Ranks) -> None:
        runtime = Runtime(devices="cpu", ranks=ranks)
        if not ranks.is_first:
            follow(call, workspace, CONFIG, runtime)
            return
        job = Job(first, draft, runtime, root, inputs=frozenset({"samples"}))
        invite(job)
        then(job)

    return together(work)


@pytest.mark.parametrize("root", [None, Path("pictures")])
def test_who_follows_gets_the_job_of_the_first(workspace: Path, root: Path | None) -> None:
    told: dict[str, Any] = {}

    def join(config: StageConfig, source_root: Path | None, directory: Path) -> Prepared:
        told.update(config=config, source_root=source_root, directory=directory)
        return Prepared()

    def run(job: Job, config: StageConfig) -> Result:
        told.update(job=job, run_config=config)
        return Result("", {})

    assert led(workspace, StageCode(run, join=join), root) == [None, None]
    job, directory = told["job"], told["directory"]
    assert directory.is_relative_to(workspace)
    assert (told["config"], told["run_config"], told["source_root"]) == (CONFIG, CONFIG, root)
    assert (job.draft.directory, job.draft.record, job.source_root) == (directory, "cluster", root)
    assert (job.workspace.path, job.runtime.ranks.rank) == (workspace, 1)
    assert (job.inputs, job.force) == ({"samples"}, True)


def test_nobody_follows_where_nothing_runs(workspace: Path) -> None:
    def run(job: Job, config: StageConfig) -> Result:
        raise AssertionError

    call = StageCall(STAGES["cluster"], "cluster", (), code=StageCode(run))

    def work(ranks: Ranks) -> None:
        if ranks.is_first:
            ranks.broadcast()
        else:
            follow(call, workspace, CONFIG, Runtime(ranks=ranks))

    assert together(work) == [None, None]


@pytest.mark.parametrize("error", [CorruptArtifactError("it is damaged."), OSError("no such file")])
@pytest.mark.parametrize("gone", [False, True])
def test_what_cannot_be_read_is_the_first_ones_end_where_it_is_gone(
    workspace: Path, error: Exception, gone: bool
) -> None:
    def join(config: StageConfig, source_root: Path | None, directory: Path) -> Prepared:
        while gone and (directory / "ranks").exists():
            time.sleep(0.001)
        raise error

    def run(job: Job, config: StageConfig) -> Result:
        raise AssertionError

    _, met = led(workspace, StageCode(run, join=join), then=withdraw if gone else lambda job: None)
    assert isinstance(met, RankLostError if gone else type(error))
    assert (met.__cause__ if gone else met) is error


def test_rank_that_does_not_see_the_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(following, "_reads", lambda path, token: False)
    monkeypatch.setattr(platform, "node", lambda: "HOST")
    for error in led(workspace, StageCode(lambda job, config: Result("", {}))):
        assert isinstance(error, DeviceError)
        assert error.message.startswith(f"rank 1 (HOST) cannot see the workspace {workspace} that rank 0 writes:")


def test_a_file_of_another_command_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PATIENCE_S", 0.0)
    (tmp_path / "ranks").write_text("token")
    assert following._sees(tmp_path / "ranks", "token")
    assert not following._sees(tmp_path / "ranks", "other")
    assert not following._sees(tmp_path / "nothing", "token")

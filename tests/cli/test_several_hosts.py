"""Two hosts, joined by a cable: they choose what one chooses, and end in time when one of them or the cable goes."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from elfs.workspace.workspace import Workspace
from tests.chain import STRIDE
from tests.hosts import Hosts, is_root, two_hosts
from tests.ranks import free_port
from tests.warm import WarmCommand

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_root("ip netns add elfs-probe && ip netns delete elfs-probe"),
        reason="network namespaces need iproute2 and a true root",
    ),
]

TIMEOUT_S = 4

LONGEST_S = 60.0
"""What a busy machine may take to notice; without a timeout of its own a rank waits for 600 s."""
STAGES: dict[str, tuple[str, ...]] = {
    "embed": ("digits", "--encoder", "pixels", "--neighbors", "10", "--batch-size", "100"),
    "cluster": ("--clusters", "10", "--heads", "2", "--epochs", "4", "--hidden", "32", "--bottleneck", "16"),
    "label": (),
    "dynamics": ("--recipe", "small", "--network", "mlp", "--epochs", "3", "--batch-size", "100"),
}
BREAK = """
import signal, subprocess, time
from elfs.parallel.ranks import Ranks
beats, beat = 0, Ranks.beat
def broken(self):
    global beats
    beat(self)
    beats += 1
    if beats == 2:
        {what}
Ranks.beat = broken
"""
BREAKS = {
    "cable": "subprocess.run(['ip', 'link', 'set', 'cable', 'down'], check=True)",
    "host": "os.kill(os.getpid(), signal.SIGKILL)",
}
SHARED = ("embed", "cluster", "dynamics")
"""Stages in which every host has a part; label is made by the first alone, in less than two beats."""

CASES = [(stage, what) for stage in SHARED for what in BREAKS][:: 3 if STRIDE > 1 else 1]


@dataclass(frozen=True)
class Ended:
    """How the process of a rank ended."""

    code: int
    err: str


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts(os.getpid()) as joined:
        yield joined


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The workspace as each stage finds it, made by one process."""
    folder = tmp_path_factory.mktemp("hosts")
    found = {}
    for stage in STAGES:
        found[stage] = folder / f"before-{stage}"
        if (folder / "straight").exists():
            shutil.copytree(folder / "straight", found[stage])
        (ended,) = run(folder, stage, folder / "straight")
        assert ended.code == 0, ended.err
    return found | {"done": folder / "straight"}


def run(
    folder: Path, stage: str, workspace: Path, hosts: Hosts | None = None, broken: str = "", **more: str
) -> list[Ended]:
    """Run a stage, on one host or two of which the second breaks."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ELFS_", "SLURM_"))}
    environ |= {"OMP_NUM_THREADS": "1", "CI": "1"} | more
    words = (stage, *STAGES[stage], "-w", str(workspace), "--devices", "cpu", "--rank-timeout", str(TIMEOUT_S))
    if hosts is None:
        running = [WarmCommand(words, folder, environ, folder / f"written-{time.monotonic()}")]
    else:
        running = []
        place = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": hosts.addresses[0]}
        place["MASTER_PORT"] = str(free_port())
        for rank in range(2):
            first = folder / f"first-{rank}.py"
            first.write_text(hosts.first(rank) + (broken if rank else ""))
            variables = environ | place | {"RANK": str(rank)}
            running.append(WarmCommand(words, folder, variables, folder / f"written-{time.monotonic()}", first))
    said = [process.communicate(timeout=120)[1] for process in running]
    return [Ended(process.wait(), err) for process, err in zip(running, said, strict=True)]


@pytest.mark.parametrize("is_slow", [False, True][: 1 if STRIDE > 1 else 2])
def test_two_hosts_make_what_one_makes(before: dict[str, Path], hosts: Hosts, tmp_path: Path, is_slow: bool) -> None:
    """Their own names lead nowhere, as on many hosts: the way to the first rank tells the network interface."""
    if is_slow:
        hosts.slow_down()
    for stage in STAGES:
        for ended in run(tmp_path, stage, tmp_path / "w", hosts):
            assert ended.code == 0, ended.err
    made, expected = (Workspace.open(path).manifest for path in (tmp_path / "w", before["done"]))
    for name in ("samples", "embeddings", "neighbors"):
        assert made.artifacts[name].digest == expected.artifacts[name].digest
    run_facts = Workspace.open(tmp_path / "w").manifest.runs["dynamics"]
    assert run_facts["ranks"] == 2
    for name in ("score", "select"):
        assert name not in made.records


@pytest.mark.parametrize(("stage", "what"), CASES)
def test_row_55_a_host_or_a_cable_that_is_gone_ends_the_stage_and_one_host_goes_on(
    before: dict[str, Path], hosts: Hosts, tmp_path: Path, stage: str, what: str
) -> None:
    workspace = tmp_path / "w"
    if before[stage].exists():
        shutil.copytree(before[stage], workspace)
    broken = BREAK.format(what=BREAKS[what])
    began = time.monotonic()
    first, second = run(tmp_path, stage, workspace, hosts, broken)
    assert time.monotonic() - began < LONGEST_S
    assert first.code == 8, first.err
    assert second.code == (8 if what == "cable" else -9), second.err
    told = [line for line in first.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "rank 1 has not been heard of" in told[0] or "another rank is gone" in told[0], first.err
    assert "Traceback" not in first.err + second.err
    if what == "cable":
        assert "error: rank 1 of 2" in second.err
        assert "rank 0 has not been heard of" in second.err or "another rank is gone" in second.err
    assert stage not in (Workspace.open(workspace).manifest.records if (workspace / "manifest.json").exists() else ())
    (again,) = run(tmp_path, stage, workspace)
    assert again.code == 0, again.err
    assert not (workspace / "partial").exists()
    made, expected = (Workspace.open(path).manifest for path in (workspace, before["done"]))
    assert made.records[stage].outputs == expected.records[stage].outputs
    if stage == "embed":
        for name in made.records[stage].outputs:
            assert made.artifacts[name].digest == expected.artifacts[name].digest


def test_wrong_interfaces_are_told_in_time(before: dict[str, Path], hosts: Hosts, tmp_path: Path) -> None:
    shutil.copytree(before["label"], tmp_path / "w")
    began = time.monotonic()
    ended = run(tmp_path, "label", tmp_path / "w", hosts, GLOO_SOCKET_IFNAME="lo")
    assert time.monotonic() - began < LONGEST_S
    assert [each.code for each in ended] == [8, 8]
    assert any("over the network interface lo: GLOO_SOCKET_IFNAME names another" in each.err for each in ended)

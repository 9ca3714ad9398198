"""Commands in several processes: what a rank that dies, hangs or fails leads to, and that the next run goes on."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from elfs.workspace.workspace import Workspace
from tests.chain import ROOT
from tests.ranks import free_port
from tests.warm import WarmCommand

pytestmark = pytest.mark.slow

STAGES: dict[str, tuple[str, ...]] = {
    "embed": ("digits", "--encoder", "pixels", "--neighbors", "10"),
    "cluster": ("--clusters", "10", "--heads", "2", "--epochs", "4", "--hidden", "32", "--bottleneck", "16"),
    "label": (),
    "dynamics": ("--recipe", "small", "--network", "mlp", "--epochs", "3", "--batch-size", "100"),
    "score": ("--window", "2"),
    "select": ("--budget", "0.1", "--key", "aum"),
    "train": ("--network", "mlp", "--iterations", "20"),
    "compare": (
        "--network",
        "mlp",
        "--iterations",
        "10",
        "--methods",
        "elfs,random",
        "--budgets",
        "0.1",
        "--seeds",
        "2",
    ),
}
FAULTS = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without
if "FAULT" in os.environ and os.environ.get("RANK") == os.environ["FAULTY_RANK"]:
    import time
    from elfs.errors import InputDataError
    from elfs.parallel.ranks import Ranks
    kind, _, after = os.environ["FAULT"].partition(":")
    beats, beat = 0, Ranks.beat
    def faulty(self):
        global beats
        beat(self)
        beats += 1
        if beats == int(after):
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif kind == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif kind == "hang":
                time.sleep(1000)
            elif kind == "fail":
                raise InputDataError("this rank has bad luck.", hint="elfs doctor")
            elif kind == "bug":
                raise ZeroDivisionError("nobody thought of this")
    Ranks.beat = faulty
"""


NUMBERS = itertools.count()


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True)
class Shell:
    """Runs elfs as people do, with the faults that a test asks for."""

    folder: Path

    def environ(self, variables: dict[str, str]) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ELFS_", "SLURM_"))}
        return environ | {"OMP_NUM_THREADS": "1", "CI": "1"} | variables

    def start(self, *words: str, **variables: str) -> WarmCommand:
        written = self.folder / f"written-{next(NUMBERS)}"
        return WarmCommand(words, self.folder, self.environ(variables), written, self.folder / "faults.py")

    def run(self, *words: str, **variables: str) -> Ran:
        started = time.monotonic()
        process = self.start(*words, **variables)
        out, err = process.communicate(timeout=280)
        return Ran(process.wait(), out, err, time.monotonic() - started)

    def run_cold(self, *words: str) -> Ran:
        """Run elfs by a command line and in ranks that a shell and torch start as they do."""
        command = [sys.executable, "-m", "elfs", *words]
        environ = self.environ({"PYTHONPATH": str(ROOT)})
        ran = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=280)
        return Ran(ran.returncode, ran.stdout, ran.stderr, 0.0)

    def stage(self, stage: str, workspace: Path, devices: str, *words: str, **variables: str) -> Ran:
        return self.run(stage, *STAGES[stage], "-w", str(workspace), "--devices", devices, *words, **variables)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("shell")
    (folder / "faults.py").write_text(FAULTS)
    return Shell(folder)


@pytest.fixture(scope="module")
def before(shell: Shell) -> dict[str, Path]:
    """The workspace as each stage finds it, made by one process."""
    found: dict[str, Path] = {}
    current = shell.folder / "straight"
    for stage in STAGES:
        found[stage] = shell.folder / f"before-{stage}"
        if current.exists():
            shutil.copytree(current, found[stage])
        ran = shell.stage(stage, current, "cpu")
        assert ran.code == 0, ran.err
    found["done"] = current
    return found


def at(before: dict[str, Path], stage: str, tmp_path: Path) -> Path:
    """Return a copy of the workspace as a stage finds it."""
    path = tmp_path / "workspace"
    if before[stage].exists():
        shutil.copytree(before[stage], path)
    return path


def require_equal(stage: str, path: Path, straight: Path) -> None:
    """Compare what a stage has made with what one process makes: bit for bit, or to rounding where it trains."""
    made, expected = Workspace.open(path), Workspace.open(straight)
    records = [name for name, record in made.manifest.records.items() if record.stage == stage]
    assert records
    for name in (output for record in records for output in made.manifest.records[record].outputs):
        if stage in ("embed", "label", "compare"):
            assert made.manifest.artifacts[name].digest == expected.manifest.artifacts[name].digest, name
        elif stage != "train" and name != "clusters":
            for key, tensor in made.arrays(name).items():
                np.testing.assert_allclose(
                    tensor.astype(np.float64), expected.arrays(name)[key].astype(np.float64), rtol=2e-3, atol=1e-4
                )
    if stage == "train":
        accuracies = [space.manifest.records[records[0]].summary["accuracies"] for space in (made, expected)]
        assert accuracies[0] == accuracies[1]


PARALLEL = ("embed", "cluster", "label", "dynamics", "train", "compare")


@pytest.mark.parametrize("stage", PARALLEL)
def test_row_55_a_killed_rank_ends_the_stage_and_the_next_run_goes_on(
    shell: Shell, before: dict[str, Path], stage: str, tmp_path: Path
) -> None:
    workspace = at(before, stage, tmp_path)
    records = set() if stage == "embed" else set(Workspace.open(workspace).manifest.records)
    beats = {"label": 1, "compare": 1}.get(stage, 2)
    killed = shell.stage(stage, workspace, "cpu:2", FAULTY_RANK="1", FAULT=f"kill:{beats}")
    assert killed.code == 8, killed.err
    assert "error: rank 1 of 2 was ended by signal 9 (SIGKILL)" in killed.err
    assert "Traceback" not in killed.err
    assert killed.seconds < 60
    if (workspace / "manifest.json").exists():
        assert set(Workspace.open(workspace).manifest.records) - {"select/compare"} >= records
        assert not any(
            record.stage == stage and name not in records
            for name, record in Workspace.open(workspace).manifest.records.items()
        )
    again = shell.stage(stage, workspace, "cpu:3")
    assert again.code == 0, again.err
    require_equal(stage, workspace, before["done"])
    assert not (workspace / "partial").exists()


@pytest.mark.parametrize("fault", ["stop", "hang"])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_rank_that_hangs_ends_the_stage(
    shell: Shell, before: dict[str, Path], fault: str, rank: str, tmp_path: Path
) -> None:
    workspace = at(before, "dynamics", tmp_path)
    ran = shell.stage("dynamics", workspace, "cpu:2", "--rank-timeout", "4", FAULTY_RANK=rank, FAULT=f"{fault}:5")
    assert ran.code == 8, ran.err
    assert f"rank {rank} " in ran.err
    assert ("has not been heard of for" if fault == "stop" else "has made no progress for") in ran.err
    assert "What is finished is kept, the same command continues from there." in ran.err
    if fault == "hang":
        assert f"rank {rank} (" in ran.err
        assert "time.sleep(1000)" in ran.err  # where it stands
    assert "dynamics" not in Workspace.open(workspace).manifest.records
    assert shell.stage("dynamics", workspace, "cpu").code == 0


@pytest.mark.parametrize("rank", ["0", "1"])
def test_own_error_of_a_rank_comes_first(shell: Shell, before: dict[str, Path], rank: str, tmp_path: Path) -> None:
    workspace = at(before, "cluster", tmp_path)
    ran = shell.stage("cluster", workspace, "cpu:2", FAULTY_RANK=rank, FAULT="fail:2")
    assert ran.code == 3
    who = "rank 1 of 2: " if rank == "1" else ""
    assert ran.err.strip().endswith(f"error: {who}this rank has bad luck.\nrun:   elfs doctor")
    assert "is gone" not in ran.err


def test_bug_in_a_rank_shows_its_traceback(shell: Shell, before: dict[str, Path], tmp_path: Path) -> None:
    workspace = at(before, "cluster", tmp_path)
    ran = shell.stage("cluster", workspace, "cpu:2", "--json", FAULTY_RANK="1", FAULT="bug:2")
    assert ran.code == 1
    assert "ZeroDivisionError: nobody thought of this" in ran.err
    error = json.loads(ran.out)["error"]
    assert error["message"].startswith("rank 1 of 2: ZeroDivisionError: nobody thought of this. This is a bug in elfs")


def test_signal_ends_all_ranks(shell: Shell, before: dict[str, Path], tmp_path: Path) -> None:
    workspace = at(before, "dynamics", tmp_path)
    process = shell.start(
        "dynamics",
        "--recipe",
        "small",
        "--network",
        "mlp",
        "--epochs",
        "3000",
        "-w",
        str(workspace),
        "--devices",
        "cpu:2",
    )
    deadline = time.monotonic() + 100
    while not list(workspace.glob("partial/dynamics/*/checkpoint*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.count("stopped: what is finished is kept") == 1
    assert "death signal" not in err  # the launcher's own words
    assert Workspace.open(workspace).manifest.records.keys() == {"embed", "cluster", "label"}


def test_same_selection(shell: Shell, before: dict[str, Path], tmp_path: Path) -> None:
    options = [word for stage in ("cluster", "dynamics", "score") for word in STAGES[stage]]
    for name in ("--epochs", "--batch-size"):
        options[options.index(name)] = "--cluster" + name[1:] if name == "--epochs" else "--dynamics" + name[1:]
    options[options.index("--epochs")] = "--dynamics-epochs"
    words = ("run", *STAGES["embed"], *options, *STAGES["select"], "--json")
    chosen = []
    for devices in ("cpu", "cpu:3"):
        ran = shell.run(*words, "-w", str(tmp_path / devices), "--devices", devices)
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["selection"]["count"] == 144
        with Path(json.loads(ran.out)["selection"]["path"]).open(newline="") as file:
            chosen.append(list(csv.DictReader(file)))
    for alone, ranked in zip(*chosen, strict=True):
        # Sums of gradients are added in another order, and traces are float16: a score may differ by one step of it.
        assert float(alone.pop("score")) == pytest.approx(float(ranked.pop("score")), abs=1e-3)
        assert alone == ranked


def test_ranks_that_begin_with_nothing(shell: Shell, before: dict[str, Path], tmp_path: Path) -> None:
    """Command line and ranks start as people's do, each reading torch for itself."""
    workspace = at(before, "label", tmp_path)
    ran = shell.run_cold("label", "-w", str(workspace), "--devices", "cpu:2")
    assert ran.code == 0, ran.err
    require_equal("label", workspace, before["done"])


def external(shell: Shell, commands: list[list[str]], **variables: str) -> list[Ran]:
    """Run one command a rank, as torchrun does."""
    port = str(free_port())
    running = []
    for rank, words in enumerate(commands):
        place = {"RANK": str(rank), "WORLD_SIZE": str(len(commands)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        running.append(shell.start(*words, **place, **variables))
    found = []
    for process in running:
        out, err = process.communicate(timeout=200)
        found.append(Ran(process.wait(), out, err, 0.0))
    return found


def test_joins_what_torchrun_started(shell: Shell, before: dict[str, Path], tmp_path: Path) -> None:
    workspace = at(before, "label", tmp_path)
    words = ["label", "-w", str(workspace), "--devices", "cpu", "--json"]
    first, second = external(shell, [words, words])
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert json.loads(first.out)["stages"][0]["ran"]
    assert second.out == ""
    require_equal("label", workspace, before["done"])


def test_interrupted_ranks_do_not_wait_for_each_other(shell: Shell, before: dict[str, Path], tmp_path: Path) -> None:
    workspace, port = at(before, "dynamics", tmp_path), str(free_port())
    words = [
        "dynamics",
        "--recipe",
        "small",
        "--network",
        "mlp",
        "--epochs",
        "3000",
        "-w",
        str(workspace),
        "--devices",
        "cpu",
    ]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [shell.start(*words, RANK=str(rank), **place) for rank in range(2)]
    deadline = time.monotonic() + 100
    while not list(workspace.glob("partial/dynamics/*/checkpoint*")):
        assert running[0].poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for process in running:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # one is further than the other
    for process in running:
        _, err = process.communicate(timeout=60)
        assert "frame #" not in err  # what torch's C++ has to say of a rank that is gone
    assert running[0].returncode == 130
    assert running[1].returncode in (8, 130)  # it may have noticed first that the other is gone


def test_commands_that_cannot_be_shared_run_once(shell: Shell, before: dict[str, Path], tmp_path: Path) -> None:
    workspace = at(before, "train", tmp_path)
    compare = ["compare", *STAGES["compare"], "--dry-run", "--rank-timeout", "5"]
    for words in (["status"], ["select", "--budget", "9"], compare):
        words += ["-w", str(workspace)]
        first, second = external(shell, [words, words])
        assert (first.code, second.code) == (0, 0), first.err + second.err
        assert first.out
        assert second.out == second.err == ""


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ([[], ["--head", "0"]], "rank 0 ("),
        ([["--force"], []], "the ranks were given different options"),
    ],
)
def test_ranks_with_different_options(
    shell: Shell, before: dict[str, Path], own: list[list[str]], message: str, tmp_path: Path
) -> None:
    workspace = at(before, "label", tmp_path)
    commands = [["label", "-w", str(workspace), "--devices", "cpu", *words] for words in own]
    for ran in external(shell, commands):
        assert ran.code == 8
        assert "the ranks were given different options" in ran.err
        assert message in ran.err
    assert not (workspace / "partial").exists()


def test_meeting_place_out_of_reach(shell: Shell, before: dict[str, Path], tmp_path: Path) -> None:
    workspace = at(before, "label", tmp_path)
    place = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ran = shell.run("label", "-w", str(workspace), "--devices", "cpu", "--rank-timeout", "1", **place)
    assert ran.code == 8
    assert "could not meet the others at 127.0.0.1, port" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("stage", ["embed", "label"])
def test_workspace_that_a_rank_cannot_see(shell: Shell, before: dict[str, Path], stage: str, tmp_path: Path) -> None:
    """Rank 1 stands in another folder, so that the same relative path leads elsewhere."""
    workspace = at(before, stage, tmp_path)
    elsewhere = tmp_path / "elsewhere" / "workspace"
    if workspace.exists():
        shutil.copytree(workspace, elsewhere)
    elsewhere.parent.mkdir(exist_ok=True)
    impatient = tmp_path / "impatient.py"
    impatient.write_text("from elfs.pipeline import following; following._PATIENCE_S = 0.5")
    words = [stage, *STAGES[stage], "-w", "workspace", "--devices", "cpu", "--force"]
    port = str(free_port())
    running = []
    for rank, folder in enumerate((tmp_path, elsewhere.parent)):
        place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        running.append(WarmCommand(words, folder, shell.environ(place), tmp_path / f"written-{rank}", impatient))
    for process in running:
        _, err = process.communicate(timeout=100)
        assert process.returncode == 8
        assert "rank 1 (" in err
        assert "cannot see the workspace workspace that rank 0 writes" in err
    for path in (workspace, elsewhere):
        assert not (path / "partial").exists()
        assert path.exists() == (stage != "embed")


@pytest.mark.parametrize(
    ("devices", "code", "message"),
    [
        ("7", 8, "GPU 7 does not exist"),
        ("cpu:0", 2, "--devices is 'cpu:0', expected auto, cpu, cpu:2"),
    ],
)
def test_devices_that_cannot_be_used(
    shell: Shell, before: dict[str, Path], devices: str, code: int, message: str, tmp_path: Path
) -> None:
    workspace = at(before, "label", tmp_path)
    ran = shell.stage("label", workspace, devices)
    assert ran.code == code
    assert message in ran.err

"""Hosts that give little: few open files, next to no shared memory, a limit of memory and a quota of CPUs."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chain import make_pictures
from tests.hosts import is_root
from tests.warm import WarmCommand

pytestmark = pytest.mark.slow

CHAIN = (
    *("--encoder", "patches", "--neighbors", "5", "--clusters", "3", "--heads", "2", "--cluster-epochs", "2"),
    *("--dynamics-epochs", "2", "--window", "2", "--budget", "9", "--name", "few", "--quiet"),
)
FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
"""
SMALL = """
import ctypes, os, pathlib, subprocess
if ctypes.CDLL(None, use_errno=True).unshare(0x00020000):  # mounts of its own
    raise OSError(ctypes.get_errno(), "unshare")
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/dev/shm"], check=True)
for group in os.environ["GROUPS_TO_JOIN"].split(":"):
    pathlib.Path(group, "cgroup.procs").write_text(str(os.getpid()))
from elfs.parallel.cpus import cpu_quota
assert cpu_quota() == 1.5
"""
MEMORY = 1 << 30
"""Bytes for a command with two workers; a terabyte's host would give them no more."""


def run(folder: Path, name: str, first: str, *words: str, **variables: str) -> str:
    """Run the chain in a process that begins with some Python; return the list of the selection."""
    (folder / f"{name}.py").write_text(first)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("ELFS_", "SLURM_"))}
    environ |= {"OMP_NUM_THREADS": "1", "CI": "1"} | variables
    command = ("run", "pool", *CHAIN, "--workspace", name, *words)
    process = WarmCommand(command, folder, environ, folder / f"written-{name}", folder / f"{name}.py")
    _, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (0, "")
    return (folder / name / "selections/few/selection.csv").read_text()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with pictures, and the list of the selection where nothing is scarce."""
    folder = tmp_path_factory.mktemp("limited")
    make_pictures(folder / "pool")
    return folder, run(folder, "straight", "", "--devices", "cpu")


@contextlib.contextmanager
def groups() -> Iterator[str]:
    """Make control groups with a limit of memory and of CPUs; yield their directories, joined by colons."""
    top, unified = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cgroup.controllers")
    name = f"elfs-test-{os.getpid()}"
    made = [top / name] if unified.exists() else [top / "memory" / name, top / "cpu" / name]
    limits = {
        "memory.max": str(MEMORY),
        "cpu.max": "150000 100000",
        "memory.limit_in_bytes": str(MEMORY),
        "cpu.cfs_quota_us": "150000",
    }
    try:
        try:
            for group in made:
                group.mkdir()
            for group in made:
                found = [file for file in limits if (group / file).exists()]
                assert found or len(made) > 1
                for file in found:
                    (group / file).write_text(limits[file])
        except (OSError, AssertionError) as error:
            pytest.skip(f"no control groups can be made here: {error}")
        yield ":".join(map(str, made))
    finally:
        for group in made:
            if group.exists():
                group.rmdir()


def test_row_56_sixty_four_open_files_are_enough(straight: tuple[Path, str]) -> None:
    folder, expected = straight
    assert run(folder, "files", FEW_FILES, "--devices", "cpu", "--workers", "2") == expected


@pytest.mark.skipif(not is_root("mount -t tmpfs -o size=64k tmpfs /dev/shm"), reason="mounts need a true root")
def test_row_56_little_shared_memory_and_limits_of_memory_and_cpus(straight: tuple[Path, str]) -> None:
    folder, expected = straight
    with groups() as joined:
        found = run(folder, "small", SMALL, "--devices", "cpu", "--workers", "2", GROUPS_TO_JOIN=joined)
    assert found == expected

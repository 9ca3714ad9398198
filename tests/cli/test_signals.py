"""Real signals at each file operation of a command in a process of its own, once and twice.

``FAULT_STRIDE=1 python -m pytest -n 0 -s --timeout 3600 tests/cli/test_signals.py`` takes every operation, and says how
many there were.
"""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from elfs.workspace.workspace import Workspace
from tests.chain import STRIDE, Finished
from tests.everything import command, hold
from tests.warm import WarmCommand

pytestmark = pytest.mark.slow

SIGNALS = {"SIGINT": ("SIGINT",), "SIGINT twice": ("SIGINT", "SIGINT"), "SIGTERM": ("SIGTERM",)}
SIGNALS |= {"SIGTERM, SIGINT": ("SIGTERM", "SIGINT")}
SEND = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
seen, busy = 0, False
counted = os.open({counted!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
def look(event, arguments):
    global seen, busy
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if busy or not (writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")):
        return
    if not os.path.abspath(os.fsdecode(arguments[0])).startswith({folder!r}):
        return
    seen += 1
    os.write(counted, b".")
    if seen == {number}:
        busy = True
        for name in {names!r}:
            os.kill(os.getpid(), getattr(signal, name))
sys.addaudithook(look)
"""


def operations(everything: Finished, place: Path, name: str) -> int:
    """Return how many operations the command has."""
    assert signalled(everything, place, name, 0, ())[0] == 0
    return (place.parent / "counted").stat().st_size


def signalled(everything: Finished, place: Path, name: str, number: int, names: tuple[str, ...]) -> tuple[int, str]:
    """Run a command on a fresh copy, with signals at its n-th operation; return its exit code and what it said."""
    shutil.rmtree(place, ignore_errors=True)
    everything.copy(place)
    first, written = place.parent / "first.py", place.parent / "written"
    counted = str(place.parent / "counted")
    first.write_text(SEND.format(folder=str(place), number=number, names=names, counted=counted))
    shutil.rmtree(written, ignore_errors=True)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("ELFS_", "SLURM_"))}
    process = WarmCommand(command(name), place / "w", environ | {"OMP_NUM_THREADS": "1"}, written, first)
    out, err = process.communicate(60)
    return process.wait(), out + err


@pytest.mark.parametrize("name", ["score", "annotate"])
def test_row_7_signals_at_any_operation_leave_a_workspace_that_goes_on(
    everything: Finished, tmp_path: Path, name: str
) -> None:
    place = tmp_path / "place"
    everything.copy(place)
    golden = hold(place, name)
    assert golden.code == 0
    trials = [(number, what) for number in range(1, operations(everything, place, name) + 1) for what in SIGNALS]
    counts: Counter[tuple[str, int]] = Counter()
    for number, what in trials[7::STRIDE]:
        code, said = signalled(everything, place, name, number, SIGNALS[what])
        where = f"{what} at operation {number}: exit {code}, {said}"
        assert code in (0, 130, 143), where
        assert "Traceback" not in said, where
        assert Workspace.open(place / "w").verify() == [], where
        again = hold(place, name)
        assert again.code == 0, where
        assert again.files == golden.files, where
        counts[what, code] += 1
    print(f"{name}: {counts.total()} signals, {dict(counts)}")  # noqa: T201  # for -s
    assert counts

"""Whatever file operation of a command fails or is its last: nothing half-written is used, the same command goes on.

``FAULT_STRIDE=1 python -m pytest -n 0 -s --timeout 3600 tests/cli/test_interrupted_commands.py`` takes every
operation, and says how many there were.
"""

import shutil
import zlib
from collections import Counter
from pathlib import Path

import pytest

from elfs.workspace.workspace import Workspace
from tests.chain import STRIDE, Finished
from tests.everything import COMMANDS, STARTS, Held, contents, hold
from tests.faults import faults

pytestmark = pytest.mark.slow

KEEPS = {"export": ("--force",), "predict": ("--force",), "doubtful": ("--force",)}
"""What makes commands replace what is there: an export that was whole before its process was killed is kept."""

WITHOUT_ROW = ("train", "export", "report", "predict", "plan", "compare", "annotate", "doubtful")


def copied(everything: Finished, name: str, target: Path) -> Path:
    """Return a copy of what a command finds."""
    if name not in STARTS:
        return everything.copy(target)
    (target / "w").mkdir(parents=True)
    return target


def try_once(place: Path, name: str, golden: Held, number: int, *, dies: bool) -> str:
    """Run a command with a fault and again without; return what came of the fault.

    Notes of progress come as time goes, so that one run has a few operations more or less than another.
    """
    with faults(place, number, dies=dies) as found:
        held = hold(place, name)
    if not found.happened:
        assert contents(place) == golden.files
        return "none"
    outcome = "killed"
    if not dies:
        outcome = "failed" if held.code else "did not matter"
        assert held.code in (0, 7), held.err
        assert ("No space left on device" in held.err + held.out) == (held.code == 7), held.err
        assert not [file for file in contents(place) if ".tmp-" in file]
        if held.code == 0:  # an empty folder that could not be removed goes with the next command
            assert only_files(contents(place)) == only_files(golden.files)
    if (place / "w" / "manifest.json").exists():
        assert Workspace.open(place / "w").verify() == []
    again = hold(place, name, *KEEPS.get(name, ()))
    assert again.code == 0, again.err
    assert again.files == golden.files
    return outcome


def only_files(found: dict[str, bytes | None]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if data is not None}


def walk(everything: Finished, tmp_path: Path, name: str) -> None:
    """Try every so manieth operation of a command, failing and dying."""
    place = copied(everything, name, tmp_path / "place")
    with faults(place, -1, dies=False) as operations:
        golden = hold(place, name)
    assert golden.code == 0, golden.err
    counts: Counter[str] = Counter()
    trials = [(number, dies) for number in range(operations.count) for dies in (True, False)]
    wrong = []
    for number, dies in trials[zlib.crc32(name.encode()) % min(STRIDE, len(trials)) :: STRIDE]:
        shutil.rmtree(place)
        copied(everything, name, place)
        try:
            counts[try_once(place, name, golden, number, dies=dies)] += 1
        except AssertionError as error:
            wrong.append(f"{'death' if dies else 'failure'} at operation {number} of {name}: {error}")
    print(f"{name}, {operations.count} operations: {dict(counts)}, {len(wrong)} wrong")  # noqa: T201  # for -s
    assert not wrong, "\n".join(wrong)
    assert counts.total() > counts["none"]


def test_row_3_label_fails_or_dies_at_any_operation(everything: Finished, tmp_path: Path) -> None:
    walk(everything, tmp_path, "label")


def test_row_5_score_fails_or_dies_at_any_operation(everything: Finished, tmp_path: Path) -> None:
    walk(everything, tmp_path, "score")


def test_row_6_select_fails_or_dies_at_any_operation(everything: Finished, tmp_path: Path) -> None:
    walk(everything, tmp_path, "select")


@pytest.mark.parametrize("name", ["embed", "cluster", "dynamics", *WITHOUT_ROW])
def test_row_9_every_other_command_fails_or_dies_at_any_operation(
    everything: Finished, tmp_path: Path, name: str
) -> None:
    assert name in COMMANDS or name in STARTS
    walk(everything, tmp_path, name)

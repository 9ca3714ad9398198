"""Whatever operation fails or kills a commit: the workspace opens with the old record, none or the new, and goes on."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elfs
from elfs.workspace.lock import writer_lock
from elfs.workspace.tensors import RowArray
from elfs.workspace.workspace import Workspace

SCRIPT = Path(__file__).with_name("crashing.py")


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def check_sound(path: Path) -> str:
    """Return which record is there, after holding it against its files."""
    workspace = Workspace.open(path)
    assert workspace.verify() == []
    if not workspace.has("embeddings"):
        assert workspace.manifest.records == {}
        assert workspace.manifest.artifacts == {}
        return "none"
    version = workspace.manifest.records["embed"].config["version"]
    assert workspace.manifest.source_root == f"/images/{version}"
    rows = workspace.tensors("embeddings")["embeddings"]
    assert isinstance(rows, RowArray)
    np.testing.assert_array_equal(rows.take([0, 3]), [[10 * version] * 2, [10 * version + 1] * 2])
    assert workspace.contents("notes") == b"{}\n" * version
    return "old" if version == 1 else "new"


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "had_record"), [("fail", True), ("kill", True), ("kill", False)])
def test_row_9_every_operation_of_a_commit_may_fail_or_be_the_last(
    tmp_path: Path, mode: str, had_record: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    stage: Any = runpy.run_path(str(SCRIPT))["stage"]
    for name in ("base", "golden"):
        Workspace.create(tmp_path / name)
        if had_record:
            stage(tmp_path / name, 1, 3)
    stage(tmp_path / "golden", 2, 2)
    golden = contents(tmp_path / "golden")

    command = [sys.executable, str(SCRIPT), str(tmp_path / "base"), str(tmp_path / "runs"), mode]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(Path(elfs.__file__).parents[1])})
    statuses = [int(line) for line in (tmp_path / "runs" / "statuses").read_text().split()]
    assert len(statuses) > 50
    assert statuses[-1] == 0
    assert set(statuses[:-1]) == {9} if mode == "kill" else {3, 7}

    seen = []
    for number, status in enumerate(statuses):
        path = tmp_path / "runs" / str(number)
        found = check_sound(path)
        if status in (0, 3):
            assert found == "new"
        else:
            seen.append(found)
        if mode == "fail":
            assert not [name for name in contents(path) if ".tmp-" in name]
        if found == "new":  # whatever writes next leaves nothing behind, though the stage itself is fresh
            with writer_lock(path):
                Workspace.open(path).clean_leftovers()
            assert not (path / "partial").exists()
        else:
            stage(path, 2, 2)
        assert contents(path) == golden
    assert set(seen) == {"none", "new"} | ({"old"} if had_record else set())
    order = ["old", "none", "new"] if had_record else ["none", "new"]
    assert seen == sorted(seen, key=order.index)

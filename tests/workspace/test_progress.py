import dataclasses
import json
import os
from pathlib import Path

import pytest

from elfs.workspace.names import HOLDER_NAME, PROGRESS_NAME
from elfs.workspace.progress import Doing, forget_progress, note_progress, read_progress
from elfs.workspace.temporary import host_mark

DRAFT = "partial/dynamics/0123456789abcdef"
DOING = Doing("dynamics", "dynamics", DRAFT, {"seed": 0}, force=True, work="dynamics", unit="steps", done=7, total=9)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / DRAFT).mkdir(parents=True)
    return tmp_path


def test_what_is_noted_is_read_with_the_process(root: Path) -> None:
    note_progress(root, DOING)
    found = read_progress(root)
    assert found is not None
    assert dataclasses.replace(found, pid=0, host="", mark="") == DOING
    assert (found.pid, found.mark) == (os.getpid(), host_mark())
    assert sorted(os.listdir(root)) == [PROGRESS_NAME, "partial"]
    forget_progress(root)
    assert read_progress(root) is None
    forget_progress(root)


def test_it_runs_while_its_process_lives_and_holds_the_lock(root: Path) -> None:
    note_progress(root, DOING)
    found = read_progress(root)
    assert found is not None
    assert not found.is_running(root)
    (root / HOLDER_NAME).touch()
    assert found.is_running(root)
    assert not dataclasses.replace(found, pid=999_999_999).is_running(root)
    assert dataclasses.replace(found, pid=999_999_999, mark="another").is_running(root)


def test_nothing_is_read_without_the_unfinished_work(root: Path) -> None:
    note_progress(root, DOING)
    (root / DRAFT).rmdir()
    assert read_progress(root) is None


SPOILT = [b"", b"[]", b"{}", b"\xff", b"null", json.dumps(dataclasses.asdict(DOING) | {"done": "x"}).encode()]


@pytest.mark.parametrize("note", [*SPOILT, json.dumps(dataclasses.asdict(DOING) | {"draft": 1}).encode()])
def test_a_spoilt_note_is_none(root: Path, note: bytes) -> None:
    (root / PROGRESS_NAME).write_bytes(note)
    assert read_progress(root) is None


def test_a_note_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    note_progress(tmp_path / "none", DOING)
    assert os.listdir(tmp_path) == []

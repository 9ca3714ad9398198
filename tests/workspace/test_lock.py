import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elfs.errors import StorageError, WorkspaceLockedError
from elfs.workspace.lock import writer_lock
from elfs.workspace.names import HOLDER_NAME, LOCK_NAME

HOLD = """
import pathlib, sys
from elfs.workspace.lock import writer_lock
with writer_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_row_10_another_process_is_refused_and_told_who_holds_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    message = rf"workspace {tmp_path} is being written by process {holder.pid} on {socket.gethostname()} since 20\d\d-"
    with pytest.raises(WorkspaceLockedError, match=message) as info, writer_lock(tmp_path):
        pass
    assert info.value.exit_code == 6
    assert info.value.hint == f"elfs status --workspace {tmp_path}"


def test_row_11_the_lock_of_a_killed_process_is_simply_taken(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / HOLDER_NAME).exists()
    with writer_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / HOLDER_NAME).read_text()


def test_the_lock_is_free_after_a_clean_end(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.communicate("\n")
    assert holder.returncode == 0
    assert not (tmp_path / HOLDER_NAME).exists()
    with writer_lock(tmp_path):
        pass


def test_the_lock_is_freed_when_the_body_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="body"), writer_lock(tmp_path):
        raise KeyError("body")
    with writer_lock(tmp_path):
        pass
    assert os.listdir(tmp_path) == [LOCK_NAME]


def test_taking_it_twice_in_one_process_is_refused(tmp_path: Path) -> None:
    message = f"process {os.getpid()} on"
    with writer_lock(tmp_path), pytest.raises(WorkspaceLockedError, match=message), writer_lock(tmp_path):
        pass
    with writer_lock(tmp_path):
        pass


@pytest.mark.parametrize("note", [b"", b"[]", b'{"pid": []}', b"\xff", b'{"pid": "x", "host": 1, "started": 2}'])
def test_a_spoilt_note_does_no_harm(tmp_path: Path, holder: subprocess.Popen[str], note: bytes) -> None:
    (tmp_path / HOLDER_NAME).write_bytes(note)
    with pytest.raises(WorkspaceLockedError, match="being written by another process"), writer_lock(tmp_path):
        pass


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot lock .*\.lock: "), writer_lock(tmp_path / "file"):
        pass


def test_a_note_that_cannot_be_written_frees_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(StorageError, match="No space left"), writer_lock(tmp_path):
            pass
    with writer_lock(tmp_path):
        pass

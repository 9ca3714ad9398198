import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.cli._errors import (
    EXIT_CODES,
    Failure,
    as_document,
    as_text,
    bug,
    describe,
    interrupted,
    naming_workspace,
)
from elfs.errors import (
    CorruptArtifactError,
    DeviceError,
    ElfsError,
    InputDataError,
    MissingUpstreamError,
    StaleUpstreamError,
    StorageError,
    UsageError,
    WorkspaceLockedError,
)
from tests.chain import make_pictures

FAMILIES: list[type[ElfsError]] = [
    UsageError,
    InputDataError,
    MissingUpstreamError,
    StaleUpstreamError,
    CorruptArtifactError,
    WorkspaceLockedError,
    StorageError,
    DeviceError,
]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_its_message_hint_and_code(family: type[ElfsError]) -> None:
    failure = describe(family("what is wrong", hint="elfs embed"))
    assert failure == Failure("what is wrong", "elfs embed", family.exit_code)


def test_every_exit_code_that_an_error_has_is_documented() -> None:
    assert {family.exit_code for family in FAMILIES} | {0, 1, 130, 143} == set(EXIT_CODES)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS])
def test_full_disks_and_forbidden_files_are_the_users_to_mend(number: int) -> None:
    failure = describe(OSError(number, "cannot write", "/data/x.safetensors"))
    assert failure == Failure("cannot write: /data/x.safetensors.", None, 7)
    assert describe(OSError(number, "cannot write")) == Failure("cannot write.", None, 7)


def test_out_of_memory_is_told_by_its_class() -> None:
    class OutOfMemoryError(RuntimeError):
        """Named as torch names its own."""

    failure = describe(OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nmore"))
    assert failure == Failure("the device is out of memory: CUDA out of memory. Tried 2 GiB.", "elfs doctor", 8)
    assert describe(OutOfMemoryError()) == Failure("the device is out of memory: ", "elfs doctor", 8)


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(lambda: bytearray(1 << 60), id="Python"),
        pytest.param(lambda: np.empty(1 << 50), id="numpy"),
        pytest.param(lambda: torch.empty(1 << 50), id="torch"),
        pytest.param(lambda: torch.empty(1 << 60, 1 << 60), id="more than there are bytes"),
    ],
)
def test_what_no_machine_can_hold_is_no_bug(refused: Callable[[], object]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        refused()
    failure = describe(caught.value)
    assert failure is not None
    assert (failure.exit_code, failure.hint) == (8, "elfs doctor")
    assert failure.message.startswith("the machine has not enough memory for this: ")
    assert describe(RuntimeError("shapes differ")) is None


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), FileNotFoundError(errno.ENOENT, "gone"), OSError()])
def test_everything_else_is_a_bug(error: Exception) -> None:
    assert describe(error) is None


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("elfs embed --root FOLDER", "elfs embed --root FOLDER --workspace 'my pool'"),
        ("elfs verify", "elfs verify --workspace 'my pool'"),
        ("elfs score -w other", "elfs score -w other"),
        ("elfs label --workspace 'my pool'", "elfs label --workspace 'my pool'"),
        ("elfs cluster && elfs label", "elfs cluster && elfs label"),
        ("elfs annotate FILE   or: elfs select --method auto", "elfs annotate FILE   or: elfs select --method auto"),
        ("elfs embed --list-encoders", "elfs embed --list-encoders"),
        ("elfs run --help", "elfs run --help"),
        ("elfs doctor", "elfs doctor"),
        ("pip install 'elfs[hf]'", "pip install 'elfs[hf]'"),
        (None, None),
    ],
)
def test_a_hint_names_the_workspace_that_was_named(
    hint: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ELFS_WORKSPACE", raising=False)
    assert naming_workspace(hint, Path("my pool")) == expected
    assert naming_workspace(hint, Path("elfs-workspace")) == hint
    monkeypatch.setenv("ELFS_WORKSPACE", "my pool")
    assert naming_workspace(hint, Path("my pool")) == hint


def test_a_folder_that_has_moved_is_named_for_its_workspace(elfs: Callable[..., Any], tmp_path: Path) -> None:
    make_pictures(tmp_path / "pool")
    assert elfs("embed", str(tmp_path / "pool"), "--encoder", "pixels", "-q", "-w", "kept").code == 0
    (tmp_path / "pool").rename(tmp_path / "moved")
    assert "run:   elfs embed --root FOLDER --workspace kept\n" in elfs("embed", "-w", "kept").err
    assert elfs("embed", "--root", str(tmp_path / "moved"), "--workspace", "kept").code == 0


def test_a_bug_asks_for_a_report() -> None:
    failure = bug(KeyError("aum"))
    assert failure.exit_code == 1
    assert failure.message == "KeyError: 'aum'. This is a bug in elfs: please report it with the traceback."


def test_text_and_document() -> None:
    with_hint = Failure("scores are stale.", "elfs score", 4)
    assert as_text(with_hint) == "error: scores are stale.\nrun:   elfs score"
    assert as_text(Failure("no.", None, 2)) == "error: no."
    assert as_document(with_hint) == {"error": {"code": 4, "message": "scores are stale.", "hint": "elfs score"}}


@pytest.mark.parametrize(
    "number", [errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.EIO, errno.ESTALE]
)
@pytest.mark.parametrize("name", ["/a/b", b"/a/\xff", "x" * 5000])
def test_row_24_every_error_about_a_file_is_a_message(number: int, name: str | bytes) -> None:
    found = describe(OSError(number, os.strerror(number), name))
    assert found is not None
    assert found.exit_code == 7
    assert found.message.startswith(f"{os.strerror(number)}: ")
    assert len(found.message) < 300


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_became_of_ctrl_c_is_told_from_other_errors(wrapped: bool) -> None:
    error: BaseException = ImportError("numpy could not be imported")
    error.__cause__ = KeyboardInterrupt()
    if wrapped:
        outer = SystemError("initialization failed")
        outer.__context__ = error
        error = outer
    assert interrupted(error)
    assert not interrupted(ImportError("no such module"))

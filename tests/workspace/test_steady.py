import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.errors import CorruptArtifactError, MissingUpstreamError, UsageError
from elfs.workspace import steady
from elfs.workspace.names import JOURNAL_NAME
from elfs.workspace.steady import read_steadily
from elfs.workspace.workspace import Workspace


def test_row_12_what_is_rewritten_while_it_is_read_is_read_again(builder: Any) -> None:
    path: Path = builder.workspace.path
    builder.commit("select/x", "selections/x", {"indices": np.arange(3)})
    calls = []

    def read() -> list[int]:
        workspace = Workspace.open(path)
        calls.append(workspace)
        if len(calls) == 1:  # between manifest and file
            builder.commit("select/x", "selections/x", {"indices": np.arange(4)})
        return [int(value) for value in workspace.arrays("selections/x")["indices"]]

    assert read_steadily(path, read) == [0, 1, 2, 3]
    assert len(calls) == 2


def test_the_moment_without_the_record_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / JOURNAL_NAME
    journal.parent.mkdir()
    journal.write_bytes(b"{}")
    monkeypatch.setattr(time, "sleep", lambda _: journal.unlink())
    calls = []

    def read() -> str:
        calls.append(1)
        if journal.exists():
            raise MissingUpstreamError("there is no selection.")
        return "here"

    assert read_steadily(tmp_path, read) == "here"
    assert len(calls) == 2


def test_a_workspace_at_rest_is_read_once(tmp_path: Path) -> None:
    calls = []

    def read() -> None:
        calls.append(1)
        raise UsageError("unknown selection.")

    with pytest.raises(UsageError, match="unknown selection"):
        read_steadily(tmp_path, read)
    assert len(calls) == 1


def test_what_never_comes_to_rest_is_refused_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / JOURNAL_NAME).write_bytes(b"{}")
    monkeypatch.setattr(steady, "_PAUSE_S", 0)

    def read() -> None:
        raise CorruptArtifactError("160 bytes, expected 152.")

    with pytest.raises(CorruptArtifactError, match="160 bytes"):
        read_steadily(tmp_path, read)

import subprocess
from pathlib import Path

import pytest

from elfs.config import DynamicsConfig
from elfs.parallel.runtime import Runtime, Silence
from elfs.pipeline.execution import execute
from elfs.pipeline.noting import NotedProgress
from elfs.workspace.names import PROGRESS_NAME
from elfs.workspace.progress import Doing, read_progress
from tests.chain import Finished

DOING = Doing("dynamics", "dynamics", "partial", {}, force=False)


def test_progress_is_noted_once_a_second_at_most(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    times = iter([0.0, 0.5, 1.0, 1.0, 1.9, 2.5, 2.5])
    progress = NotedProgress(Silence(), tmp_path, DOING, lambda: next(times))
    seen = []
    with progress.task("dynamics", 9, "steps") as task:
        for number, count in enumerate((1, 2, 3, 1)):
            (task.advance if number else task.resume)(count)
            found = read_progress(tmp_path)
            seen.append(found and (found.work, found.done, found.total, found.unit))
    assert seen == [None, ("dynamics", 3, 9, "steps"), ("dynamics", 3, 9, "steps"), ("dynamics", 7, 9, "steps")]


def test_what_was_stopped_is_told_and_what_has_ended_is_not(
    digits: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elfs.pipeline.noting._INTERVAL_SECONDS", 0.0)
    path = tmp_path / "workspace"
    subprocess.run(["cp", "-r", str(digits.path), str(path)], check=True)
    config = DynamicsConfig(network="linear", epochs=3)

    class Stopping(Silence):
        steps = 0

        def advance(self, count: int = 1, note: str = "") -> None:
            self.steps += 1
            if self.steps == 3:
                raise KeyboardInterrupt

    runtime = Runtime(devices="cpu", progress=Stopping())
    with pytest.raises(KeyboardInterrupt):
        execute("dynamics", path, config, runtime)
    found = read_progress(path)
    assert found is not None
    assert (found.record, found.force, found.is_running(path)) == ("dynamics", False, False)
    assert 0 < found.done < found.total
    execute("dynamics", path, config, Runtime(devices="cpu"))
    assert not (path / PROGRESS_NAME).exists()

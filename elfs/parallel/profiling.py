"""Where the time of a stage's loops goes, by torch's profiler: a few steps of each piece of work."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.parallel.runtime import Progress, Task

if TYPE_CHECKING:
    import torch

__all__ = ["ProfiledProgress"]

WAIT, WARM_UP, STEPS = 1, 2, 10
"""Steps before anything is recorded, steps that the profiler needs itself, and steps that are recorded."""

_ROWS = 30


class _ProfiledTask:
    """A piece of work whose every advance is a step."""

    def __init__(self, task: Task, step: Callable[[], None]) -> None:
        self._task, self._step = task, step

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more units, which end a step."""
        self._task.advance(count, note)
        self._step()

    def resume(self, count: int, note: str = "") -> None:
        """Leave out what an earlier run did: it is no step."""
        self._task.resume(count, note)


class ProfiledProgress:
    """A progress display that also records ten steps of each piece of work, after three that do not count.

    Parameters
    ----------
    progress : Progress
        What people see.
    folder : Path
        Is there. ``LABEL.txt``, a table of operators by their own time, and ``LABEL.json``, a trace for
        https://ui.perfetto.dev or ``chrome://tracing``, are written there for each piece of work that has more
        than three; one of the same name takes the place of an earlier one.
    say : Callable
        Takes the path of a table that was written.
    """

    def __init__(self, progress: Progress, folder: Path, say: Callable[[Path], None]) -> None:
        self._progress, self._folder, self._say = progress, folder, say
        self._is_recording = False
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler reports its own beginning and end

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        """Open a piece of work; one within another is not recorded by itself, since there is one profiler."""
        with self._progress.task(label, total, unit) as task:
            if self._is_recording:
                yield task
                return
            import torch
            from torch.profiler import ProfilerActivity, profile, schedule

            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
            plan = schedule(wait=WAIT, warmup=WARM_UP, active=STEPS, repeat=1)
            self._is_recording = True
            try:
                with profile(
                    activities=activities, schedule=plan, on_trace_ready=lambda found: self._write(label, found)
                ) as profiler:
                    yield _ProfiledTask(task, profiler.step)
            finally:
                self._is_recording = False

    def _write(self, label: str, found: "torch.profiler.profile") -> None:
        path = self._folder / (re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") + ".txt")
        averages: Any = found.key_averages()
        order = "self_device_time_total" if found.use_device else "self_cpu_time_total"
        path.write_text(averages.table(sort_by=order, row_limit=_ROWS) + "\n", encoding="utf-8")
        found.export_chrome_trace(str(path.with_suffix(".json")))
        self._say(path)

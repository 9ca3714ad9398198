"""Where the time of a stage's loops goes, by torch's profiler: a few steps of each piece of work."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.parallel.runtime import Progress, Task

if TYPE_CHECKING:
    import torch

__all__ = ["ProfiledProgress"]

WAIT, WARM_UP, STEPS = 1, 2, 10
"""Steps before anything is recorded, steps that the profiler needs itself, and steps that are recorded."""

_ROWS = 30

_HEAD = f"""{{label}}: up to {STEPS} steps, after the first {WAIT + WARM_UP}; torch's operators by their own time.
ProfilerStep* is a step as a whole: its own time is what passed outside of torch, such as reading images.

"""


class _ProfiledTask:
    """A piece of work whose every advance is a step, unless other work is done within it."""

    def __init__(self, task: Task, begin: Callable[[], Callable[[], None]]) -> None:
        self._task, self._begin = task, begin
        self._step: Callable[[], None] | None = None
        self.has_inner = self.has_recorded_inner = False

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more units, which end a step."""
        self._task.advance(count, note)
        if self._step is not None:
            self._step()
        elif not self.has_inner:
            self._step = self._begin()

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
        Is there. ``LABEL.txt``, a table of operators by their own time under two lines that say what it is, and
        ``LABEL.json``, a trace for https://ui.perfetto.dev or ``chrome://tracing``, are written there for each piece of
        work that has more than three; one of the same name takes the place of an earlier one.
    say : Callable
        Takes the path of a table that was written.
    """

    def __init__(self, progress: Progress, folder: Path, say: Callable[[Path], None]) -> None:
        self._progress, self._folder, self._say = progress, folder, say
        self._open: list[_ProfiledTask] = []
        self._is_recording, self._num_written = False, 0
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler reports its own beginning and end

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        """Open a piece of work, or the first within another before that one has advanced: there is one profiler."""
        with self._progress.task(label, total, unit) as shown:
            outer = self._open[-1] if self._open else None
            if self._is_recording or (outer is not None and outer.has_recorded_inner):
                yield shown
                return
            num_before = self._num_written
            with ExitStack() as recording:
                task = _ProfiledTask(shown, lambda: self._record(label, recording))
                self._open.append(task)
                try:
                    yield task
                finally:
                    self._open.pop()
            if outer is not None:
                outer.has_inner = True
                outer.has_recorded_inner = self._num_written > num_before

    def _record(self, label: str, recording: ExitStack) -> Callable[[], None]:
        """Start the profiler, which stops with `recording`; return what ends a step."""
        import torch
        from torch.profiler import ProfilerActivity, profile, schedule

        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
        plan = schedule(wait=WAIT - 1, warmup=WARM_UP, active=STEPS, repeat=1)  # one step is over
        self._is_recording = True
        recording.callback(setattr, self, "_is_recording", False)
        profiler = profile(activities=activities, schedule=plan, on_trace_ready=lambda found: self._write(label, found))
        step: Callable[[], None] = recording.enter_context(profiler).step
        return step

    def _write(self, label: str, found: "torch.profiler.profile") -> None:
        path = self._folder / (re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") + ".txt")
        averages: Any = found.key_averages()
        order = "self_device_time_total" if found.use_device else "self_cpu_time_total"
        table = averages.table(sort_by=order, row_limit=_ROWS)
        path.write_text(_HEAD.format(label=label) + table + "\n", encoding="utf-8")
        found.export_chrome_trace(str(path.with_suffix(".json")))
        self._num_written += 1
        self._say(path)

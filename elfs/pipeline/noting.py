"""Progress that is noted in the workspace too, so that ``elfs status`` can say how far a stage is."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from elfs.parallel.runtime import Progress, Task
from elfs.workspace.progress import Doing, note_progress

__all__ = ["NotedProgress"]

_INTERVAL_SECONDS = 1.0


class NotedProgress:
    """A progress display whose state is noted in the workspace, at most once a second; what is quicker never is.

    Parameters
    ----------
    shown : Progress
        What people see.
    root : Path
        The workspace.
    doing : Doing
        The stage that is running.
    clock : Callable
        Returns seconds on a clock that never runs backwards.
    """

    def __init__(self, shown: Progress, root: Path, doing: Doing, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown, self._root, self._doing, self._clock = shown, root, doing, clock
        self._noted = clock()

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["_NotedTask"]:
        """Open a piece of work."""
        with self._shown.task(label, total, unit) as task:
            yield _NotedTask(task, dataclasses.replace(self._doing, work=label, total=total, unit=unit), self.note)

    def note(self, doing: Doing) -> None:
        """Write down how far the stage is, if it is time for it.

        Parameters
        ----------
        doing : Doing
            Where it is now.
        """
        if self._clock() - self._noted >= _INTERVAL_SECONDS:
            note_progress(self._root, doing)
            self._noted = self._clock()


class _NotedTask:
    """One piece of work of a ``NotedProgress``."""

    def __init__(self, task: Task, doing: Doing, note: Callable[[Doing], None]) -> None:
        self._task, self._doing, self._note, self._done = task, doing, note, 0

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more units, for people and for the note."""
        self._task.advance(count, note)
        self._add(count)

    def resume(self, count: int, note: str = "") -> None:
        """Count what an earlier run did."""
        self._task.resume(count, note)
        self._add(count)

    def _add(self, count: int) -> None:
        self._done += count
        self._note(dataclasses.replace(self._doing, done=self._done))

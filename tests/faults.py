"""Fail, or die, at the n-th operation by which this process changes the file system below a folder.

Python tells a hook of every file that it opens for writing and every name that it makes, moves or removes, whichever
module asks for it; syncs, and the writes of atomic files, torn in half, are counted besides. Who is dead stays dead: no
later operation has an effect, neither that of a ``finally`` nor of an ``except``, until the block ends.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elfs.workspace import files

_PATHS = {"os.rename": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2, "os.truncate": 1}
"""Events of operations with the number of paths that come first."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NO_PROCESS = 2**22 + 1
"""More than any process has: so many Linux knows at most."""


class Killed(BaseException):
    """What a process that dies does not see."""


class Faults:
    """Counts file operations; the n-th fails, or is one that the process does not outlive.

    Parameters
    ----------
    folder : Path
        What happens elsewhere does not count.
    number : int
        How many operations go well; -1 for all.
    dies : bool
        Whether the process dies, or has an error to live with.
    """

    def __init__(self, folder: Path, number: int, *, dies: bool) -> None:
        self.folder = str(folder.resolve()) + os.sep
        self.left = number
        self.dies = dies
        self.count = 0

    @property
    def happened(self) -> bool:
        return 0 <= self.left < self.count

    def step(self) -> None:
        if self.left >= 0 and (self.count == self.left or (self.dies and self.count > self.left)):
            self.count += 1
            raise Killed if self.dies else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.count += 1

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at an event of Python's."""
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and flags & _WRITING and self._counts(path):
                self.step()
        elif event in _PATHS and any(self._counts(path) for path in arguments[: _PATHS[event]]):
            self.step()

    def _counts(self, path: Any) -> bool:
        name = os.fsdecode(path)
        return os.path.abspath(name).startswith(self.folder) and not name.endswith(".lock")


_current: list[Faults] = []


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if _current and (event == "open" or event in _PATHS):
        _current[0].see(event, arguments)


sys.addaudithook(_look)


@contextmanager
def faults(folder: Path, number: int, *, dies: bool) -> Iterator[Faults]:
    """Let the n-th operation of the body fail, or be the last; the death itself ends with the body."""
    found = Faults(folder, number, dies=dies)
    own = os.fsync, os.getpid

    class Raw(io.FileIO):
        torn = False

        def write(self, data: Any) -> int:
            """Write half the first time, as a disk may; the buffer above brings the rest again."""
            found.step()
            size = len(data) if self.torn else max(len(data) // 2, 1)
            self.torn = True
            return super().write(memoryview(data)[:size])

    setattr(os, "fsync", lambda _: found.step())  # noqa: B010  # mypy looks at names of parameters
    if dies:
        os.getpid = lambda: _NO_PROCESS  # whose temporary files are nobody's
    files.open = lambda path, mode: io.BufferedWriter(Raw(path, "xb"))  # type: ignore[attr-defined]
    _current.append(found)
    try:
        yield found
    except Killed:
        pass
    finally:
        _current.clear()
        os.fsync, os.getpid = own
        del files.open  # type: ignore[attr-defined]

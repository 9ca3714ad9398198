"""Run one stage in a child process that fails, or dies, at its n-th file operation, for every n.

Usage: ``python crashing.py BASE TARGET fail|kill``. `BASE` is a workspace; the n-th attempt works on the copy
``TARGET/<n>``. Its exit status is appended to ``TARGET/statuses``: 0 no n-th operation, 3 done in spite of the fault,
7 refused, 9 killed.
"""

import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from elfs.errors import StorageError
from elfs.workspace import files
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.lock import writer_lock
from elfs.workspace.workspace import Workspace


def stage(path: Path, version: int, num_shards: int) -> None:
    """Write and commit `version` of the embeddings, going on where an earlier attempt stopped."""
    workspace = Workspace.open(path)
    with writer_lock(path):
        workspace.clean_leftovers()
        draft = open_draft(workspace, "embed", digest_json([version, num_shards]))
        for index in range(num_shards):
            if not draft.has_shard("embeddings", (index, num_shards)):
                values = np.full((3, 2), 10 * version + index, np.float32)
                draft.save("embeddings", {"embeddings": values}, shard=(index, num_shards))
        draft.save_bytes("notes", "notes/embed.json", b"{}\n" * version)
        draft.commit(
            "embed",
            stage="embed",
            config={"version": version},
            inputs={},
            seed=None,
            smoke=False,
            summary={},
            metadata={},
            run={"seconds": 1},
            source_root=f"/images/{version}",
        )


class Faults:
    """Counts file operations and runs `fault` at the n-th."""

    def __init__(self, number: int, fault: Callable[[], None]) -> None:
        self.left = number
        self.fault = fault

    def step(self) -> None:
        self.left -= 1
        if self.left == -1:
            self.fault()

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.step()
            return function(*arguments, **options)

        return wrapped

    def install(self) -> None:
        faults = self

        class Raw(io.FileIO):
            torn = False

            def write(self, data: Any) -> int:
                """Write half the first time, as a disk may; the buffer above brings the rest again."""
                faults.step()
                size = len(data) if self.torn else max(len(data) // 2, 1)
                self.torn = True
                return super().write(memoryview(data)[:size])

        for name in ("replace", "unlink", "mkdir", "rmdir"):
            setattr(os, name, self.wrap(getattr(os, name)))
        setattr(os, "fsync", self.wrap(lambda _: None))  # noqa: B010  # counted, not waited for
        files.open = lambda path, mode: io.BufferedWriter(Raw(path, "xb"))  # type: ignore[attr-defined]


def refuse() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def attempt(path: Path, number: int, fault: Callable[[], None]) -> int:
    """Return the exit status of a child that runs the stage with a fault."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    faults = Faults(number, fault)
    faults.install()
    status = 1
    try:
        stage(path, 2, 2)
        status = 3 if faults.left < 0 else 0
    except StorageError as error:
        status = error.exit_code
    finally:
        os._exit(status)


def main() -> None:
    base, target, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    fault = refuse if mode == "fail" else lambda: os._exit(9)
    number, status = 0, -1
    while status != 0:
        shutil.copytree(base, target / str(number))
        status = attempt(target / str(number), number, fault)
        with (target / "statuses").open("a") as file:
            file.write(f"{status}\n")
        number += 1


if __name__ == "__main__":
    main()

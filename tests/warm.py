"""Command lines in processes of their own that begin with torch imported: forked off one server, killed as any other.

A start of ``python -m elfs`` reads torch for three seconds of a CPU, and so does every rank that it starts in turn.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.ranks import SERVER

_OUT, _ERR, _FIRST, _SERVER = "WARM_OUT", "WARM_ERR", "WARM_FIRST", "WARM_SERVER"
"""Environment variables of such a process, and of those that it starts: where it writes, which file runs first, and the
socket of the server, which a process that it has forked would start anew."""

_STOPPING_SECONDS = 3
"""How long torch's launcher waits for a rank that it has told to stop, in place of 30 s."""


class Warm:
    """A process in its own session; what `subprocess.Popen` offers, as far as tests and torch's launcher ask for it."""

    def __init__(self, code: str, argv: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        self._process: ForkServerProcess = SERVER.Process(
            target=_begin, args=(code, list(argv), str(folder), dict(environ))
        )
        self._process.start()
        self.pid = int(self._process.pid or 0)
        while self.poll() is None and os.getpgid(self.pid) != self.pid:
            time.sleep(0.001)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("elfs", timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(self.pid, number)


class WarmCommand(Warm):
    """A command line of elfs; `communicate` returns what it and its ranks wrote."""

    def __init__(
        self, words: Sequence[str], folder: Path, environ: Mapping[str, str], written: Path, first: Path | None = None
    ) -> None:
        written.mkdir()
        self._written = written / "out", written / "err"
        out, err = map(str, self._written)
        more = {_OUT: out, _ERR: err, _FIRST: str(first or "")}
        forkserver.ensure_running()
        more[_SERVER] = forkserver._forkserver._forkserver_address  # type: ignore[attr-defined]
        super().__init__("from elfs.__main__ import main; main()", ["elfs", *words], folder, {**environ, **more})

    def communicate(self, timeout: float) -> tuple[str, str]:
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            raise
        out, err = (path.read_text() for path in self._written)
        return out, err


def _begin(code: str, argv: list[str], folder: str, environ: dict[str, str]) -> None:
    os.setsid()
    for number, path in enumerate((os.devnull, environ[_OUT], environ[_ERR])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[:] = argv
    _start_ranks_warm()
    if environ[_FIRST]:
        exec(compile(Path(environ[_FIRST]).read_text(), environ[_FIRST], "exec"), {})
    exec(code, {"__name__": "__main__"})


def _start_ranks_warm() -> None:
    """Let torch's launcher start ranks as this process was started."""
    import torch
    from torch.distributed.elastic.multiprocessing.api import PContext
    from torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler import SubprocessHandler

    def popen(handler: Any, words: tuple[str, ...], environ: dict[str, str]) -> Warm:
        executable, option, code = words
        assert (executable, option) == (sys.executable, "-c")
        return Warm(code, ["-c"], Path.cwd(), environ)

    server: Any = forkserver._forkserver
    server._forkserver_address, server.ensure_running = os.environ[_SERVER], lambda: None
    close = PContext.close
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    SubprocessHandler._popen = popen  # type: ignore[assignment]
    PContext.close = lambda self, sig=None, timeout=30: close(self, sig, min(timeout, _STOPPING_SECONDS))  # type: ignore[assignment]

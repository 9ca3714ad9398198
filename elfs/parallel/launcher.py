"""Start the ranks of this host with torch's elastic launcher, and say what became of them."""

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from elfs.parallel.cpus import available_cpus

__all__ = ["STARTED_VARIABLE", "RankFailure", "first_failure", "launch", "report_failure"]

_ARGUMENTS_VARIABLE = "ELFS_RANK_ARGUMENTS"
"""Holds the module path and the command line of a rank: on its own command line the launcher would expand dollars."""

_ERROR_FILE_VARIABLE = "TORCHELASTIC_ERROR_FILE"
"""Set by the launcher for each rank: where it says why it failed."""

STARTED_VARIABLE = "ELFS_STARTED_RANK"
"""Set for ranks that elfs has started itself, which tells people what they report; torchrun does not."""

_CODE = (
    "import json, os, sys; "
    f"sys.path[:], sys.argv[1:] = json.loads(os.environ.pop('{_ARGUMENTS_VARIABLE}')); "
    "from elfs.cli.app import main; main()"
)
_LOGGERS = ("torch.distributed.elastic", "torch.distributed.launcher")
_STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGINT)
"""Exit codes of ranks that were told to stop because another one had failed."""


@dataclass(frozen=True, slots=True)
class RankFailure:
    """Why a rank failed.

    Attributes
    ----------
    rank : int
        Which one.
    exit_code : int
        Below 0: the signal that ended it.
    report : dict or None
        What it reported itself; None if it could not.
    """

    rank: int
    exit_code: int
    report: dict[str, Any] | None


def report_failure(environ: Mapping[str, str], report: Mapping[str, Any]) -> bool:
    """Leave the reason of a failure where the launcher looks for it.

    Parameters
    ----------
    environ : mapping of str to str
        Environment variables.
    report : mapping of str to Any
        Plain JSON values: ``message``, ``time`` (seconds since 1970) and whatever else the reader shall have.

    Returns
    -------
    bool
        False where no launcher looks; the caller has to tell people itself.
    """
    path = environ.get(_ERROR_FILE_VARIABLE)
    if path is None:
        return False
    document = {"message": {"message": report["message"], "extraInfo": {"timestamp": int(report["time"])}}}
    with contextlib.suppress(OSError):
        Path(path).write_text(json.dumps(document | {"elfs": dict(report)}), encoding="utf-8")
        return True
    return False


def first_failure(failures: Sequence[RankFailure]) -> RankFailure:
    """Return the failure that led to the others.

    Parameters
    ----------
    failures : sequence of RankFailure
        At least one.

    Returns
    -------
    RankFailure
        The earliest that a rank reported of itself; else one that a signal ended; else one that lost another; those
        that were told to stop come last.
    """

    def order(failure: RankFailure) -> tuple[int, float, int]:
        report = failure.report
        if report is not None:
            return 2 if report["lost"] else 0, float(report["time"]), failure.rank
        return 3 if failure.exit_code in _STOPPED else 1, 0.0, failure.rank

    return min(failures, key=order)


def launch(arguments: Sequence[str], num_processes: int) -> tuple[int, RankFailure | None]:
    """Run a command line of elfs in several processes on this host, and wait for them.

    The first one shares this process's terminal, and so do the others. If one fails or dies, all are stopped. SIGINT
    and SIGTERM stop them too.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``elfs``.
    num_processes : int
        How many.

    Returns
    -------
    tuple of (int, RankFailure or None)
        Exit code if all went well or a signal came (128 + its number), and what failed first.
    """
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(_LOGGERS)]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log is said better by the caller
    os.environ[_ARGUMENTS_VARIABLE] = json.dumps([sys.path, list(arguments)])
    os.environ[STARTED_VARIABLE] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cpus() // num_processes)))
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on one host: no need to know its name
    with tempfile.TemporaryDirectory(prefix="elfs-ranks-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=num_processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-c", _CODE)
        except SignalException as stop:
            return 128 + int(stop.sigval), None
        except ChildFailedError as error:
            return 1, first_failure([_as_failure(rank, found) for rank, found in error.failures.items()])
        finally:
            del os.environ[_ARGUMENTS_VARIABLE], os.environ[STARTED_VARIABLE]
    return 0, None


def _as_failure(rank: int, failure: ProcessFailure) -> RankFailure:
    data = failure.error_file_data
    report = data.get("elfs") if isinstance(data, dict) else None
    return RankFailure(rank, failure.exitcode, report)

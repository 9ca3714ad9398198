"""One command in several processes: start them on this host, or be one that elfs, torchrun or Slurm started."""

import os
import platform
import signal
import sys
import time
import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from elfs.cli._errors import Failure, bug, describe
from elfs.cli._output import Output
from elfs.errors import DeviceError, ElfsError, RankLostError
from elfs.parallel.devices import parse_devices
from elfs.parallel.place import Place, place_from_environment

if TYPE_CHECKING:
    from elfs.parallel.launcher import RankFailure
    from elfs.parallel.ranks import Ranks

__all__ = ["ARGUMENTS", "Joined", "fail_as_rank", "join_ranks", "own_place", "start_ranks"]

ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("ARGUMENTS")
"""The command line that is being run: what follows ``elfs``."""


class Joined:
    """The ranks that this process has joined, so that it can leave them at the end."""

    ranks: "Ranks | None" = None

    @classmethod
    def leave(cls) -> None:
        """Leave the ranks, if there are any."""
        if cls.ranks is not None:
            cls.ranks.close()
            cls.ranks = None


def own_place() -> Place | None:
    """Return which rank this process is; None where it is the only one."""
    return place_from_environment(os.environ)


def join_ranks(devices: str, timeout_s: float) -> "Ranks":
    """Meet the other ranks, if there are any; no GPU but this process's own is touched from now on.

    Parameters
    ----------
    devices : str
        As ``--devices``.
    timeout_s : float
        As ``--rank-timeout``.

    Returns
    -------
    Ranks
        The same object on every call.

    Raises
    ------
    DeviceError
        If they do not meet, or the device is not there.
    """
    import torch

    from elfs.parallel.cpus import available_cpus
    from elfs.parallel.meeting import join
    from elfs.parallel.ranks import ALONE

    place = own_place()
    if Joined.ranks is not None:
        return Joined.ranks
    choice = parse_devices(devices)
    device = choice.resolve() if place is None else choice.resolve(place.local_rank, place.local_size)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # else page-locked memory, for one, would go by way of the first GPU
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        share = available_cpus() // (1 if place is None else place.local_size)
        torch.set_num_threads(max(1, min(share, torch.get_num_threads())))
    if place is None:
        return ALONE
    Joined.ranks = join(place, device, timeout_s, on_end=_report)
    return Joined.ranks


def start_ranks(num_processes: int, output: Output) -> int:
    """Run the command line of this process in several ones, and say what failed first if anything did.

    Parameters
    ----------
    num_processes : int
        How many.
    output : Output
        Where to say it.

    Returns
    -------
    int
        The exit code.
    """
    from elfs.parallel.launcher import launch

    code, failure = launch(ARGUMENTS.get(), num_processes)
    if failure is None:
        return code
    trace, told = _told(failure, num_processes)
    if trace:
        sys.stderr.write(trace)
    output.failure(told)
    return told.exit_code


def _told(failure: "RankFailure", num_processes: int) -> tuple[str | None, Failure]:
    """Return traceback and failure as people shall see them."""
    report, who = failure.report, f"rank {failure.rank} of {num_processes}"
    if report is not None:
        message = report["message"] if failure.rank == 0 else f"{who}: {report['message']}"
        return report["traceback"], Failure(message, report["hint"], report["code"])
    number = -failure.exit_code
    if number > 0:
        name = signal.Signals(number).name if number in {*signal.Signals} else "unknown"
        why = f"was ended by signal {number} ({name})"
        if number == signal.SIGKILL:
            why += ", as the kernel does where memory runs out"
    else:
        why = f"ended with exit code {failure.exit_code} and said nothing"
    text = f"{who} {why}. What is finished is kept, the same command continues from there."
    return None, Failure(text, None, DeviceError.exit_code)


def fail_as_rank(error: BaseException, place: Place) -> int:
    """Say why this rank fails: to the launcher of elfs if there is one, else on stderr.

    Parameters
    ----------
    error : BaseException
        What was raised.
    place : Place
        Which rank this is.

    Returns
    -------
    int
        The exit code.
    """
    failure = describe(error)
    trace = None
    if failure is None:
        trace = "".join(traceback.format_exception(error))
        failure = bug(error)
    lost = isinstance(error, RankLostError)
    _leave_word(failure, place, trace, lost=lost)
    if Joined.ranks is not None:
        Joined.ranks.give_up(None if lost else failure.message)
    return failure.exit_code


def _report(error: ElfsError) -> None:
    """Say why this process is about to end, from the thread that watches over the ranks."""
    place = own_place()
    assert place is not None
    _leave_word(Failure(error.message, error.hint, error.exit_code), place, None, lost=isinstance(error, RankLostError))


def _leave_word(failure: Failure, place: Place, trace: str | None, *, lost: bool) -> None:
    from elfs.parallel.launcher import STARTED_VARIABLE, report_failure

    facts: dict[str, Any] = {"message": failure.message, "hint": failure.hint, "code": failure.exit_code}
    facts |= {"traceback": trace, "lost": lost, "time": time.time()}
    if STARTED_VARIABLE in os.environ and report_failure(os.environ, facts):
        return
    if trace:
        sys.stderr.write(trace)
    who = f"rank {place.rank} of {place.size} ({platform.node()}): "
    as_json = place.rank == 0 and "--json" in ARGUMENTS.get(())  # one document, as of a command in one process
    Output(as_json=as_json).failure(Failure(who + failure.message, failure.hint, failure.exit_code))

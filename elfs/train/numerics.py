"""How training computes, wherever it does: precision, threads, and the same numbers twice."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from elfs.errors import UsageError
from elfs.parallel.cpus import available_cpus
from elfs.parallel.ranks import Ranks

__all__ = ["mixed_precision", "repeatable", "require_finite", "threads_for"]


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return the context that networks run in on a device.

    Parameters
    ----------
    device : torch.device
        Where to compute.

    Returns
    -------
    AbstractContextManager
        bfloat16 autocast on a GPU; nothing on the CPU.
    """
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def threads_for(num_busy: int, ranks: Ranks) -> int:
    """Return on how many CPU threads a rank computes; the ranks of a host share its CPUs.

    Parameters
    ----------
    num_busy : int
        Threads that its part of a step keeps busy: more spend their time waiting for each other.
    ranks : Ranks
        All that compute together.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, min(available_cpus() // ranks.local_size, num_busy))


@contextmanager
def repeatable(num_threads: int) -> Iterator[None]:
    """Compute on a fixed number of CPU threads, and on GPUs by cuDNN's deterministic convolutions alone.

    CuDNN does not choose among them by trying (``benchmark``): which one is the fastest hangs on what else the GPU
    does, and each rounds in its own way, so that equal runs would end with other last digits.

    Parameters
    ----------
    num_threads : int
        At least 1. What was set before comes back at the end.
    """
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.set_num_threads(num_threads)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before[1:]


def require_finite(loss: float, rate: float, when: str) -> None:
    """Stop before a diverged network is written anywhere.

    Parameters
    ----------
    loss : float
        Added up since the last call.
    rate : float
        Learning rate of the last step.
    when : str
        Where in the training this is, for people.

    Raises
    ------
    UsageError
        If the loss is not finite.
    """
    if not math.isfinite(loss):
        raise UsageError(
            f"training diverged in {when}: the loss is {loss} at learning rate {rate:g}. "
            f"Try --learning-rate {rate / 10:g}."
        )

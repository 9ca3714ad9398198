"""Run a function in several processes that have met as ranks, gloo on the CPU."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch

from elfs.catalog import STAGES
from elfs.parallel.meeting import join
from elfs.parallel.place import Place
from elfs.train.checkpoint import SavingPace

TIMEOUT_S = 60.0
PRELOADED = [
    *(f"elfs.stages.{stage}" for stage in STAGES),
    "elfs.cli.app",
    "elfs.evaluation.compare",
    "elfs.parallel.launcher",
    "elfs.parallel.meeting",
    "faiss",
    "pytest",
    "pydantic",
    "scipy.optimize",
    "sklearn.datasets",
    "timm",
    "torch.distributed.elastic.rendezvous.c10d_rendezvous_backend",
    "torchvision",
]
"""Imported once for all processes; that none of them computes, and so starts threads, lets them be copied."""

SERVER = multiprocessing.get_context("forkserver")
"""Every process begins with the modules that its server knows."""

SERVER.set_forkserver_preload(PRELOADED)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def save_at_every_chance(patch: pytest.MonkeyPatch) -> None:
    """Let a training save its state after every epoch that may, also where writing just took long on a busy machine."""
    patch.setattr(SavingPace, "is_due", True)


def _rank(place: Place, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    torch.set_num_threads(1)
    ranks = join(place, torch.device("cpu"), TIMEOUT_S)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)
            save_at_every_chance(patch)
            return function(ranks, *arguments)
    except Exception:
        traceback.print_exc()
        raise
    finally:
        ranks.close()


def in_ranks(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what ``function(ranks, *arguments)`` returns in each of several ranks.

    The function is of a module that can be imported; arguments and results can be pickled.
    """
    port = free_port()
    with ProcessPoolExecutor(size, mp_context=SERVER) as pool:
        places = [Place(rank, size, rank, size, "127.0.0.1", port) for rank in range(size)]
        futures = [pool.submit(_rank, place, function, arguments) for place in places]
        return [future.result(timeout=4 * TIMEOUT_S) for future in futures]

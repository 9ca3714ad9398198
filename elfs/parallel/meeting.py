"""How the ranks of one command meet, and whether they fit together."""

import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

import elfs
from elfs.errors import DeviceError, ElfsError
from elfs.parallel.interface import interface_to
from elfs.parallel.liveness import Liveness, prefixed
from elfs.parallel.place import Place
from elfs.parallel.ranks import GRACE, Ranks
from elfs.parallel.runtime import ignore

__all__ = ["join"]


def join(place: Place, device: torch.device, timeout_s: float, on_end: Callable[[ElfsError], None] = ignore) -> Ranks:
    """Meet the other ranks.

    Parameters
    ----------
    place : Place
        Which rank this is, and where the ranks meet.
    device : torch.device
        What this rank computes on.
    timeout_s : float
        How long to wait for the others, and how long a rank may be silent, in seconds.
    on_end : Callable
        Takes the error with which this process ends where the ranks get no further.

    Returns
    -------
    Ranks
        Ready to talk.

    Raises
    ------
    DeviceError
        If the ranks do not meet in time, run different versions, or share a GPU.
    """
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = place.host, str(place.port)
    interface = interface_to(place.host, is_far=place.size > place.local_size)
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    timeout = timedelta(seconds=timeout_s)
    url = f"env://?rank={place.rank}&world_size={place.size}"
    late = DeviceError(
        f"rank {place.rank} of {place.size} on {platform.node()} has met the others at {place.host}, port "
        f"{place.port}, but one of them was lost before all were connected, or cannot be reached over the network "
        f"interface {os.environ.get('GLOO_SOCKET_IFNAME', 'of its own name')}: GLOO_SOCKET_IFNAME names another."
    )
    try:
        meeting, _, _ = next(rendezvous(url, timeout=timeout))
        store = prefixed(meeting, "ranks")
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        group = prefixed(meeting, "group")
        with _ended_after(timeout_s, late, on_end):
            dist.init_process_group(
                backend, store=group, rank=place.rank, world_size=place.size, timeout=timeout + GRACE
            )
        liveness = Liveness(place, timeout_s, on_end)
    except (RuntimeError, ValueError, OSError) as error:
        raise DeviceError(
            f"rank {place.rank} of {place.size} on {platform.node()} could not meet the others at {place.host}, port "
            f"{place.port}, within {timeout_s:g} s: {(str(error).splitlines() or [type(error).__name__])[0]} "
            "Is MASTER_ADDR right, is the port open, and have all ranks been started?"
        ) from error
    ranks = Ranks(place, store, liveness)
    _compare(ranks, device)
    return ranks


@contextmanager
def _ended_after(timeout_s: float, error: ElfsError, on_end: Callable[[ElfsError], None]) -> Iterator[None]:
    """End this process with an error unless the body is done in time: gloo waits much longer for one that is gone."""

    def end() -> None:
        on_end(error)
        sys.stderr.flush()
        os._exit(error.exit_code)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _compare(ranks: Ranks, device: torch.device) -> None:
    """Refuse ranks that would not compute the same, or that share a GPU."""
    uuid = f"{platform.node()} {torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else None
    mine = {"elfs": elfs.__version__, "torch": torch.__version__, "device": device.type}
    said = ranks.collect([platform.node(), mine, uuid])
    host, first, _ = said[0]
    owner: dict[str, int] = {}
    for rank, (other_host, facts, other_uuid) in enumerate(said):
        for what, value in facts.items():
            if value != first[what]:
                raise DeviceError(
                    f"rank 0 ({host}) has {what} {first[what]}, rank {rank} ({other_host}) has {value}: "
                    "all ranks must have the same."
                )
        if other_uuid is not None and owner.setdefault(other_uuid, rank) != rank:
            raise DeviceError(f"rank {owner[other_uuid]} and rank {rank} have the same GPU on {other_host}.")

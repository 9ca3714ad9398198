"""Several processes that run one command together: what each has to do, how they talk, how they meet.

A *rank* is one of them. What all ranks know without being told (the order of an epoch, the cut of a list) needs no
message. Small messages go through the store of the meeting, tensors through torch.distributed: NCCL between GPUs, gloo
between CPUs.
"""

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from elfs.errors import ElfsError, RankLostError
from elfs.parallel.liveness import Liveness
from elfs.parallel.place import Place

__all__ = ["ALONE", "GRACE", "Ranks"]

_SLOWEST_LOOK = 0.1
_PART_BYTES = 4 * 1024 * 1024
"""A longer message goes in parts: the store hangs up on him who sends it more than 8 MiB at once."""

GRACE = timedelta(seconds=60)
"""By how much a collective outlasts the watch over the ranks, whose message says more."""

_TALK = ("gloo", "nccl", "connection", "timed out", "tcpstore", "broken pipe", "socket", "recv", "peer")
"""What torch's messages about a lost process contain, some of them at least."""


class Ranks:
    """One of the processes that run a command together, or the only one.

    All ranks call the methods in the same order. Whatever waits for another rank that is gone raises `RankLostError`.

    Parameters
    ----------
    place : Place or None
        Which one; None for the only one.
    store : torch.distributed.Store or None
        Where the ranks meet.
    liveness : Liveness or None
        Watches over the others.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0, and how many there are.
    local_rank, local_size : int
        The same among those on this host.
    """

    def __init__(self, place: Place | None = None, store: Any = None, liveness: Liveness | None = None) -> None:
        self.rank, self.size = (0, 1) if place is None else (place.rank, place.size)
        self.local_rank, self.local_size = (0, 1) if place is None else (place.local_rank, place.local_size)
        self._store, self._liveness = store, liveness
        self._num_messages = 0

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0: the one that writes the workspace and talks to people."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """How people are told of this process."""
        return f"rank {self.rank} of {self.size} on {platform.node()}"

    def by_itself(self) -> "Ranks":
        """Return this process as the only one, for what it does without the others.

        Returns
        -------
        Ranks
            Of size 1, on the same device and the same part of the host's CPUs, under the same watch.
        """
        alone = Ranks(liveness=self._liveness)
        alone.local_rank, alone.local_size = self.local_rank, self.local_size
        return alone

    def part(self, num_items: int) -> tuple[int, int]:
        """Return the items that are this rank's, where all ranks take nearly equal runs of them.

        Parameters
        ----------
        num_items : int
            How many there are.

        Returns
        -------
        tuple of (int, int)
            First item and last item + 1; equal where there is nothing for this rank.
        """
        return self.rank * num_items // self.size, (self.rank + 1) * num_items // self.size

    def collect(self, value: Any) -> list[Any]:
        """Return what every rank says; waits until all have said it, however long, while they live.

        Parameters
        ----------
        value : Any
            Plain JSON values, small.

        Returns
        -------
        list
            By rank, the same on every rank.
        """
        if self._store is None:
            return [value]
        key = self._next_key()
        self._say(f"{key}/{self.rank}", value)
        return [self._hear(f"{key}/{rank}") for rank in range(self.size)]

    def broadcast(self, value: Any = None) -> Any:
        """Return what the first rank says; the others wait for it, however long, while it lives.

        Parameters
        ----------
        value : Any
            Plain JSON values, small; counts on the first rank alone.

        Returns
        -------
        Any
            The first rank's value.
        """
        if self._store is None:
            return value
        key = self._next_key()
        if self.is_first:
            self._say(key, value)
        return self._hear(key)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        self.collect(None)

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over the ranks, in place.

        Parameters
        ----------
        tensor : Tensor
            Of equal shape and dtype on every rank.

        Returns
        -------
        Tensor
            The same object, the same values on every rank.
        """
        if self.size > 1:
            with self.talking():
                dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Bring the tensors of all ranks to the first one; nobody else gets a copy.

        Parameters
        ----------
        tensor : Tensor
            Of equal shape and dtype on every rank.

        Returns
        -------
        list of Tensor
            By rank on the first rank; empty on the others.
        """
        if self.size == 1:
            return [tensor]
        tensor = tensor.contiguous()
        found = [torch.empty_like(tensor) for _ in range(self.size)] if self.is_first else []
        with self.talking():
            dist.gather(tensor, found if self.is_first else None)
        return found

    def rotate(self, tensor: Tensor) -> Tensor:
        """Hand a tensor to the next rank and take that of the one before.

        Parameters
        ----------
        tensor : Tensor
            Of equal shape and dtype on every rank.

        Returns
        -------
        Tensor
            A new one; after as many calls as there are ranks everybody has seen everything.
        """
        if self.size == 1:
            return tensor
        tensor = tensor.contiguous()
        received = torch.empty_like(tensor)
        both = [
            dist.P2POp(dist.isend, tensor, (self.rank + 1) % self.size),
            dist.P2POp(dist.irecv, received, (self.rank - 1) % self.size),
        ]
        with self.talking():
            for work in dist.batch_isend_irecv(both):
                work.wait()
        return received

    def data_parallel(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are the mean over the ranks after every backward pass.

        Parameters
        ----------
        module : nn.Module
            Trained in place; all ranks begin with the weights of the first.

        Returns
        -------
        nn.Module
            The module to call instead; `module` itself where there is one rank.
        """
        if self.size == 1:
            return module
        with self.talking():
            return nn.parallel.DistributedDataParallel(module)

    def beat(self) -> None:
        """Say that the work goes on.

        Raises
        ------
        RankLostError
            If another rank is gone, so that it does not.
        """
        if self._liveness is not None:
            self._liveness.beat()
            if self._liveness.lost is not None:
                raise RankLostError(self._liveness.lost)

    def give_up(self, reason: str | None) -> None:
        """Tell the other ranks that this one fails, so that they do not wait for it.

        Parameters
        ----------
        reason : str or None
            Why; None where another rank has failed before.
        """
        if self._liveness is not None:
            self._liveness.give_up(reason)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark a loop that beats: where it stops to do so, the rank counts as hung.

        Yields
        ------
        None
            Once.

        Raises
        ------
        RankLostError
            If the loop fails because another rank is gone.
        """
        if self._liveness is None:
            yield
            return
        with self._liveness.working(), self.talking():
            yield

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Turn what torch says of a lost process into an error of elfs.

        Yields
        ------
        None
            Once.
        """
        try:
            yield
        except ElfsError:
            raise
        except RuntimeError as error:
            if self.size == 1 or not any(word in str(error).lower() for word in _TALK):
                raise
            raise RankLostError(
                f"{self.name} cannot go on: another rank is gone ({str(error).splitlines()[0]})."
            ) from error

    def close(self) -> None:
        """Leave: the first rank waits for the others, whose meeting place it may be."""
        if self._store is None:
            return
        self.wait()
        if self._liveness is not None:
            self._liveness.stop()
        dist.destroy_process_group()
        key = self._next_key()
        self._store.set(f"{key}/{self.rank}", "left")
        if self.is_first:
            self._store.wait([f"{key}/{rank}" for rank in range(self.size)], GRACE)
        self._store = None

    def _next_key(self) -> str:
        self._num_messages += 1
        return f"message/{self._num_messages}"

    def _say(self, key: str, value: Any) -> None:
        assert self._store is not None
        text = json.dumps(value)
        first, *others = [text[start : start + _PART_BYTES] for start in range(0, len(text), _PART_BYTES)]
        with self.talking():
            for number, part in enumerate(others, start=1):
                self._store.set(f"{key}/part/{number}", part)
            self._store.set(key, f"{len(others)} {first}")

    def _hear(self, key: str) -> Any:
        """Return a message as soon as it is there."""
        assert self._store is not None
        pause = 0.001
        with self.talking():
            while not self._store.check([key]):
                if self._liveness is not None and self._liveness.lost is not None:
                    raise RankLostError(self._liveness.lost)
                time.sleep(pause)
                pause = min(2 * pause, _SLOWEST_LOOK)
            num_others, _, first = self._store.get(key).decode().partition(" ")
            others = [self._store.get(f"{key}/part/{number}").decode() for number in range(1, int(num_others) + 1)]
            return json.loads(first + "".join(others))


ALONE = Ranks()
"""The only process."""

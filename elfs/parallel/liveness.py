"""A thread that tells the other ranks that this one lives and gets on, and notices when one of them does not."""

import json
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # public, but not in its __all__

from elfs.errors import DeviceError, ElfsError, RankLostError
from elfs.parallel.place import Place

__all__ = ["Liveness", "Sign", "hung_ranks", "prefixed"]

_LOOKS_PER_TIMEOUT = 8
_SLOWEST_LOOK = 5.0
_NEARLY = 0.75
_GRACE_LOOKS = 2
"""How many looks the ranks that are not to blame leave to the one that is, so that its error comes first."""

_SILENT = "has not been heard of for {:.0f} s: it was stopped, or its host is out of reach"
_FRAMES_SHOWN = 4
_FAILED, _HUNG = "failed", "hung"
"""Where a rank that fails leaves word for the others, and rank 0 for those that hang."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What a rank last said of itself, and for how long it has said the same.

    Attributes
    ----------
    beats : int
        Units of work that it has done.
    is_working : bool
        Whether it is in a loop that beats.
    silent_s : float
        Seconds since it last said anything.
    stuck_s : float
        Seconds since `beats` or `is_working` last changed.
    """

    beats: int
    is_working: bool
    silent_s: float
    stuck_s: float


def hung_ranks(signs: dict[int, Sign], timeout_s: float) -> dict[int, str]:
    """Return the ranks that are to blame if the ranks get no further.

    Parameters
    ----------
    signs : dict of int to Sign
        By rank.
    timeout_s : float
        For how long a rank may be silent, or make no progress while it works.

    Returns
    -------
    dict of int to str
        Rank to what is wrong with it. Silent ranks come before stuck ones, which may wait for them; of several stuck
        ones those with the least work done are to blame.
    """
    silent = {rank: _SILENT.format(sign.silent_s) for rank, sign in signs.items() if sign.silent_s >= timeout_s}
    if silent:
        return silent
    working = {rank: sign for rank, sign in signs.items() if sign.is_working}
    if all(sign.stuck_s < timeout_s for sign in working.values()):
        return {}
    # Those that wait for one another stop within a moment, and are looked at now and then.
    stuck = {rank: sign for rank, sign in working.items() if sign.stuck_s >= timeout_s * _NEARLY}
    fewest = min(sign.beats for sign in stuck.values())
    return {
        rank: f"has made no progress for {sign.stuck_s:.0f} s" for rank, sign in stuck.items() if sign.beats == fewest
    }


def prefixed(store: Any, name: str) -> Any:
    """Return a part of a store that nobody else uses, nor an earlier start of the same ranks.

    Parameters
    ----------
    store : torch.distributed.Store
        Where the ranks meet.
    name : str
        Of the part.

    Returns
    -------
    torch.distributed.Store
        The same store, its keys prefixed.
    """
    return PrefixStore(f"elfs/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{name}", store)


class Liveness:
    """Signs of life of this rank, and a watch over those of the others.

    Parameters
    ----------
    place : Place
        Which rank this is, and where the ranks meet.
    timeout_s : float
        For how long a rank may be silent, or make no progress while it works, in seconds.
    on_end : Callable
        Takes the error with which this process is about to end.

    Attributes
    ----------
    lost : str or None
        What to say of a rank that is gone, once that is noticed.
    """

    def __init__(self, place: Place, timeout_s: float, on_end: Callable[[ElfsError], None]) -> None:
        self.lost: str | None = None
        self._place, self._timeout_s = place, timeout_s
        self._on_end = on_end
        self._beats, self._is_working = 0, False
        self._interval_s = min(_SLOWEST_LOOK, timeout_s / _LOOKS_PER_TIMEOUT)
        self._store = prefixed(TCPStore(place.host, place.port, timeout=timedelta(seconds=timeout_s)), "alive")
        self._main = threading.get_ident()
        self._stopped = threading.Event()
        self._answered = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="elfs-liveness", daemon=True)
        self._thread.start()
        threading.Thread(target=self._guard, name="elfs-liveness-guard", daemon=True).start()

    def beat(self) -> None:
        """Say that a unit of work is done."""
        self._beats += 1

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark a loop that beats.

        Yields
        ------
        None
            Once.
        """
        before, self._is_working = self._is_working, True
        try:
            yield
        finally:
            self._is_working = before
            self._beats += 1

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def give_up(self, reason: str | None) -> None:
        """End the thread, and tell the other ranks that this one fails.

        Parameters
        ----------
        reason : str or None
            Why; None where another rank has failed before.
        """
        self._stopped.set()
        if reason is not None:
            with suppress(RuntimeError):  # nobody is left to be told
                self._store.set(_FAILED, f"rank {self._place.rank} ({platform.node()}) has failed: {reason}")

    def _run(self) -> None:
        # Rank 0 watches over all, itself included, and says who is to blame; the others see whether it is silent.
        is_first = self._place.rank == 0
        watched = range(self._place.size) if is_first else (0,)
        seen: dict[int, tuple[str, float, str, float]] = {}
        number = 0
        while not self._stopped.wait(self._interval_s):
            number += 1
            hung: dict[int, str] = {}
            try:
                self._store.set(str(self._place.rank), f"{number} {self._beats} {int(self._is_working)}")
                said = {rank: self._said(rank) for rank in watched}
                failed = self._store.get(_FAILED).decode() if self._store.check([_FAILED]) else None
                if self._store.check([_HUNG]):
                    hung = {int(rank): what for rank, what in json.loads(self._store.get(_HUNG)).items()}
            except RuntimeError as error:
                failed = f"rank 0 is gone: its host can no longer be reached ({str(error).splitlines()[0]})."
            if failed is not None:
                self._follow(failed)
                return
            self._answered = now = time.monotonic()
            signs = {rank: _sign(seen, rank, text, now) for rank, text in said.items()}
            if not is_first:
                signs = {rank: replace(sign, is_working=False) for rank, sign in signs.items()}
            hung = hung or hung_ranks(signs, self._timeout_s)
            if hung:
                self._end(hung)

    def _guard(self) -> None:
        """Look after the thread that looks: where the cable is cut, its question to rank 0 is never answered."""
        while not self._stopped.wait(self._interval_s):
            silent_s = time.monotonic() - self._answered
            if self._thread.is_alive() and silent_s >= self._timeout_s + _GRACE_LOOKS * self._interval_s:
                self._end({0: _SILENT.format(silent_s)})

    def _said(self, rank: int) -> str:
        return self._store.get(str(rank)).decode() if self._store.check([str(rank)]) else "0 0 0"

    def _follow(self, lost: str) -> None:
        """End this process too, unless it ends by itself as soon as it looks at `lost`: a GPU may wait in vain."""
        if self._stopped.is_set():
            return
        self.lost = lost
        if not self._stopped.wait(_GRACE_LOOKS * self._interval_s):
            self._exit(RankLostError(lost))

    def _end(self, hung: dict[int, str]) -> None:
        """End this process with an error that says which ranks hang, and show where if it is one of them."""
        is_own = self._place.rank in hung
        if is_own:
            frames = traceback.format_stack(sys._current_frames()[self._main])[-_FRAMES_SHOWN:]
            sys.stderr.write(f"rank {self._place.rank} ({platform.node()}) stands here:\n{''.join(frames)}")
            sys.stderr.flush()
        if self._place.rank == 0:
            with suppress(RuntimeError):
                self._store.set(_HUNG, json.dumps(hung))
        if not is_own or len(hung) > 1:
            time.sleep(_GRACE_LOOKS * self._interval_s)
        each = "; ".join(f"rank {rank} {what}" for rank, what in sorted(hung.items()))
        self._exit(DeviceError(f"{each}. What is finished is kept, the same command continues from there."))

    def _exit(self, error: ElfsError) -> None:
        self._on_end(error)
        sys.stderr.flush()
        os._exit(error.exit_code)


def _sign(seen: dict[int, tuple[str, float, str, float]], rank: int, text: str, now: float) -> Sign:
    """Return a rank's sign, and note when what it says changed."""
    _, _, state = text.partition(" ")
    before, heard, old_state, moved = seen.get(rank, (text, now, state, now))
    heard, moved = (heard if text == before else now), (moved if state == old_state else now)
    seen[rank] = text, heard, state, moved
    beats, is_working = state.split()
    return Sign(int(beats), is_working == "1", now - heard, now - moved)

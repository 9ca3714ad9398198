"""Blocks of work side by side on the CPU."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_threads"]

# Each holds a block of its own in memory.
_MOST_THREADS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Yield what a function makes of each item, on as many threads as torch computes on.

    For blocks that fit into a cache: torch by itself divides each operation among the threads, and such a block is too
    small for that.

    Parameters
    ----------
    work : callable
        From an item to a result. It spends its time in torch or NumPy, and each call on its own rows; torch computes
        within it on one thread.
    items : iterable
        Items, drawn one after the other in the thread of the caller, and a few ahead.

    Yields
    ------
    Any
        The results, in the order of the items; with one thread nothing else happens than in ``map``.

    Examples
    --------
    >>> list(in_threads(abs, [-3, 2, -1]))
    [3, 2, 1]
    """
    before = torch.get_num_threads()
    num_threads = min(before, _MOST_THREADS)
    if num_threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(num_threads, "elfs-block", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # a thread's setting is also that of later threads

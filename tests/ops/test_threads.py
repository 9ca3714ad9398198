"""Blocks side by side: the results of ``map``, whatever is late, fails, or is not waited for."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from elfs.ops import threads
from elfs.ops.threads import in_threads


@pytest.mark.usefixtures("three_threads")
def test_results_come_in_the_order_of_the_items() -> None:
    def late_first(number: int) -> int:
        time.sleep(0.002 * (6 - number))
        return number * number

    assert list(in_threads(late_first, range(6))) == [0, 1, 4, 9, 16, 25]
    assert list(in_threads(late_first, [])) == []


@pytest.mark.usefixtures("three_threads")
def test_calls_run_in_threads_of_their_own_and_torch_on_one_within() -> None:
    together = threading.Barrier(3)

    def meet(_: int) -> tuple[int, int]:
        together.wait(timeout=10)
        return torch.get_num_threads(), threading.get_ident()

    found = list(in_threads(meet, range(6)))
    assert {number for number, _ in found} == {1}
    assert len({thread for _, thread in found}) == 3
    assert threading.get_ident() not in {thread for _, thread in found}
    with_new_thread: list[int] = []
    later = threading.Thread(target=lambda: with_new_thread.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert (torch.get_num_threads(), with_new_thread) == (3, [3])


@pytest.mark.usefixtures("three_threads")  # which are as many as before afterwards
def test_one_thread_computes_where_the_caller_is() -> None:
    torch.set_num_threads(1)
    assert set(in_threads(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}


@pytest.mark.usefixtures("three_threads")
def test_no_more_threads_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_MOST_THREADS", 1)
    assert set(in_threads(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}


@pytest.mark.usefixtures("three_threads")
def test_items_are_drawn_a_few_ahead_and_no_more_once_nobody_asks() -> None:
    drawn = []

    def items() -> Iterator[int]:
        for number in range(100):
            drawn.append(number)
            yield number

    results = in_threads(str, items())
    assert next(results) == "0"
    assert drawn == [0, 1, 2, 3]
    results.close()
    assert (drawn, torch.get_num_threads()) == ([0, 1, 2, 3], 3)


@pytest.mark.usefixtures("three_threads")
def test_what_fails_fails_for_the_caller() -> None:
    with pytest.raises(ZeroDivisionError, match="by zero"):
        list(in_threads(lambda number: 1 // number, [1, 2, 0, 4]))
    assert torch.get_num_threads() == 3

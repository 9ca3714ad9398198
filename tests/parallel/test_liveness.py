"""Who is to blame if the ranks get no further."""

import pytest

from elfs.parallel.liveness import Sign, hung_ranks

ALIVE = Sign(beats=7, is_working=True, silent_s=1, stuck_s=1)


def test_nobody() -> None:
    waiting = Sign(beats=3, is_working=False, silent_s=2, stuck_s=1e6)
    assert hung_ranks({0: ALIVE, 1: waiting}, 10) == {}


def test_silent_rank_comes_before_those_that_wait_for_it() -> None:
    stopped = Sign(beats=7, is_working=True, silent_s=12, stuck_s=12)
    stuck = Sign(beats=7, is_working=True, silent_s=1, stuck_s=12)
    assert hung_ranks({0: stuck, 1: stopped, 2: stuck}, 10) == {
        1: "has not been heard of for 12 s: it was stopped, or its host is out of reach"
    }


def test_of_stuck_ranks_the_one_that_is_behind() -> None:
    behind = Sign(beats=6, is_working=True, silent_s=1, stuck_s=11)
    ahead = Sign(beats=7, is_working=True, silent_s=1, stuck_s=10)
    assert hung_ranks({0: ahead, 1: behind}, 10) == {1: "has made no progress for 11 s"}


def test_stuck_ranks_that_are_level_are_all_named() -> None:
    stuck = Sign(beats=6, is_working=True, silent_s=1, stuck_s=10)
    assert hung_ranks({0: stuck, 1: stuck}, 10).keys() == {0, 1}


def test_rank_that_stopped_a_moment_later_may_be_to_blame() -> None:
    waiting = Sign(beats=6, is_working=True, silent_s=1, stuck_s=10.0)
    culprit = Sign(beats=5, is_working=True, silent_s=1, stuck_s=9.0)
    assert hung_ranks({0: waiting, 1: culprit, 2: ALIVE}, 10).keys() == {1}


@pytest.mark.parametrize("seconds", [9.99, 10.0])
def test_timeout(seconds: float) -> None:
    sign = Sign(beats=1, is_working=True, silent_s=0, stuck_s=seconds)
    assert bool(hung_ranks({0: sign}, 10)) == (seconds >= 10)

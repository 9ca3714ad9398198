"""Which neighbours from outside of a page get a picture."""

from typing import Any

import pytest

from elfs.delivery import outside
from elfs.delivery.outside import pictured_outside
from elfs.delivery.thumbnails import Thumbnail


class Drawn:
    """Makes pictures of ten bytes; of row 9 there is none."""

    def __init__(self, exist: bool = True) -> None:
        self.pictures = self
        self.exist = exist

    def small(self, row: int) -> Thumbnail:
        return Thumbnail(problem="missing") if row == 9 else Thumbnail("x" * 14)


NEAR = [[1, 2, 3], [4, 1], [], [9, 5, 2, 6]]


def rows(most_bytes: int, monkeypatch: pytest.MonkeyPatch, drawn: Any = None) -> list[int]:
    monkeypatch.setattr(outside, "_MOST_BYTES", most_bytes)
    made: Any = drawn or Drawn()
    return list(pictured_outside(NEAR, {0, 1}, made))


def test_the_nearest_of_all_come_first_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(1_000, monkeypatch) == [4, 9, 2, 5, 3, 6]


def test_they_end_where_the_room_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(20, monkeypatch) == [4, 9, 2]


def test_without_pictures_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(1_000, monkeypatch, Drawn(exist=False)) == []

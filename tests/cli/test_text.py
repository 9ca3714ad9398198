import pytest

from elfs.cli._text import clock, columns, plural, printable, stage_row


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (0.6, "0:01"), (38.2, "0:38"), (59.7, "1:00"), (725, "12:05"), (11220, "3:07:00")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_plural() -> None:
    assert plural(1, "image") == "1 image"
    assert plural(1437, "image") == "1,437 images"
    assert plural(0, "image") == "0 images"


def test_nothing_that_a_terminal_obeys_gets_through() -> None:
    assert printable("gr\u00fcn\n\tx") == "gr\u00fcn\n\tx"
    assert printable("a\x1b[31mb\rc") == "a\\x1b[31mb\\rc"
    assert printable("bad\udcff") == "bad\\udcff"


def test_columns_align_and_end_without_spaces() -> None:
    assert columns([("a", "bb", ""), ("ccc", "d", "e")], indent=" ") == [" a    bb", " ccc  d   e"]
    assert columns([]) == []


def test_rows_of_a_run_align() -> None:
    rows = [
        stage_row("embed", "digits, patches encoder   1,797 x 64", "0:02", 80),
        stage_row("label", "10 clusters, 96% confident", "0:00", 80),
    ]
    assert rows == [
        "  embed     digits, patches encoder            1,797 x 64            0:02",
        "  label     10 clusters, 96% confident                               0:00",
    ]


def test_rows_that_do_not_fit_take_more_lines() -> None:
    row = stage_row("embed", "digits, patches encoder   1,797 x 64", "0:02", 70)
    assert row == "  embed     digits, patches encoder\n            1,797 x 64, 0:02"
    row = stage_row("label", "10 clusters, 96% confident", "0:00", 50)
    assert row == "  label     10 clusters, 96% confident\n            0:00"
    assert "\n" not in stage_row("embed", "digits, patches encoder   1,797 x 64", "0:02", 80)

import io
import re
import sys
from typing import Any

import pytest

from elfs.cli._progress import Far, LiveProgress, Numbered, PlainProgress, shown_lines


def plain_lines(steps: list[tuple[float, int, str]], total: int, *, before: tuple[float, int] = (0.0, 0)) -> list[str]:
    """Return what is printed when the clock and the work advance so, after an earlier run had done a part of it."""
    lines: list[str] = []
    clock = [0.0]
    progress = PlainProgress(lines.append, lambda: clock[0])
    with progress.task("cluster", total, "steps") as task:
        clock[0] = before[0]
        task.resume(before[1])
        for seconds, count, note in steps:
            clock[0] = seconds
            task.advance(count, note)
    return lines


def test_short_work_prints_nothing() -> None:
    assert plain_lines([(1.0 * second, 10, "") for second in range(10)], 100) == []


def test_a_tenth_of_the_work_is_worth_a_line() -> None:
    steps = [(4.0, 20, ""), (20.0, 20, "loss 1.25"), (25.0, 20, ""), (30.0, 1, ""), (41.0, 1, "")]
    assert plain_lines(steps, 100) == [
        "  cluster  40 of 100 steps  2.0/s  loss 1.25  0:30 left",
        "  cluster  61 of 100 steps  2.0/s  loss 1.25  0:19 left",
    ]


@pytest.mark.parametrize("found_after", [0.0, 15.0])
def test_what_an_earlier_run_did_counts_as_done_and_not_as_speed(found_after: float) -> None:
    """However long it takes until that is known: the checkpoint of a large network is read for more than a second."""
    lines = plain_lines([(20.0, 200, "")], 10_000, before=(found_after, 6_400))
    assert lines == ["  cluster  6,600 of 10,000 steps  10.0/s  5:40 left"]


def test_a_first_step_that_takes_long_is_a_step_of_this_run() -> None:
    lines = plain_lines([(12.0, 1, ""), (120.0, 9, "")], 20, before=(3.0, 0))
    assert lines == ["  cluster  10 of 20 steps  0.1/s  2:00 left"]


def test_slow_work_prints_once_a_minute() -> None:
    lines = plain_lines([(10.0 * tick, 1, "") for tick in range(1, 19)], 10_000)
    assert [line.split()[1] for line in lines] == ["6", "12", "18"]


def test_work_without_progress_has_no_time_left() -> None:
    assert plain_lines([(60.0, 0, "waiting")], 10) == ["  cluster  0 of 10 steps  0.0/s  waiting"]


def far(done: int, seconds: float, note: str = "", *, before: int = 0) -> Far:
    """Return work that is so far after so many seconds."""
    clock = [0.0]
    work = Far("stage 4 of 6 dynamics", 3_000, "steps", lambda: clock[0])
    work.resume(before, "")
    clock[0] = seconds
    work.advance(done - before, note)
    return work


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            140,
            [
                "  stage 4 of 6 dynamics ━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄ 1,500 of 3,000 steps, loss 0.41, "
                "agreement 0.87, 1:00 left",
            ],
        ),
        (80, ["  stage 4 of 6 dynamics ━━━━━━┄┄┄┄┄┄ 50 %, loss 0.41, agreement 0.87, 1:00 left"]),
        (60, ["  stage 4 of 6 dynamics ━━━━┄┄┄┄ 50 %, loss 0.41, 1:00 left"]),
        (
            50,
            [
                "  stage 4 of 6 dynamics",
                "  ━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄ 1,500 of 3,000 steps",
                "  loss 0.41, agreement 0.87, 1:00 left",
            ],
        ),
        (20, ["  stage 4 of 6 dyna", "  ━━━━┄┄┄┄ 1,500 of", "  loss 0.41, agreem"]),
    ],
)
def test_a_narrow_terminal_gets_a_line_for_each_part(width: int, lines: list[str]) -> None:
    assert shown_lines(far(1_500, 60.0, "loss 0.41, agreement 0.87"), width) == lines


def test_no_line_is_as_wide_as_the_terminal() -> None:
    for work in (far(0, 0.0), far(1_500, 60.0, "loss 0.41, agreement 0.87"), far(3_000, 1.0)):
        for width in range(2, 200):
            assert all(len(line) < width for line in shown_lines(work, width)), width


@pytest.mark.parametrize("done", [2_999, 3_000, 3_001])
@pytest.mark.parametrize("width", [50, 80, 140])
def test_a_bar_that_is_shown_is_not_full(done: int, width: int) -> None:
    text = "\n".join(shown_lines(far(done, 60.0, "loss 0.41"), width))
    assert "┄" in text
    assert "100 %" not in text
    assert ("finishing" in text) == (done >= 3_000)
    assert "." in re.sub(r"0\.41", "", "\n".join(shown_lines(far(done, 60.0), width, ascii_only=True)))


def test_a_resumed_stage_starts_where_it_was_and_goes_by_its_own_speed() -> None:
    assert shown_lines(far(1_500, 0.0, before=1_500), 140)[0].endswith("1,500 of 3,000 steps")
    assert far(2_000, 100.0, before=1_500).left == "3:20 left"


def test_a_note_stays_until_there_is_another_one() -> None:
    work = far(10, 1.0, "loss 0.41")
    work.advance(1, "")
    assert work.note == "loss 0.41"
    work.advance(1, "loss \x1b[2J")
    assert work.note == "loss \\x1b[2J"


def test_a_stage_of_several_says_which_one_it_is() -> None:
    lines: list[str] = []
    clock = [0.0]
    with Numbered(PlainProgress(lines.append, lambda: clock[0]), "stage 2 of 6").task("cluster", 10, "steps") as task:
        clock[0] = 20.0
        task.advance(5)
    assert lines == ["  stage 2 of 6 cluster  5 of 10 steps  0.2/s  0:20 left"]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_the_live_lines_go_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    progress = LiveProgress()
    with progress.task("embed [x]", 4, "images") as outer:
        outer.advance(2, "loss 1.25")
        with progress.task("embed: neighbours", 1, "pass") as inner:
            inner.advance()
            display: Any = progress._display
            display.refresh()
    text = stream.getvalue()
    assert "embed [x] ━" in text
    assert "2 of 4 images, loss 1.25" in text
    assert "embed: neighbours ━━━━━━━━━━━━━━━━━━━━━━━┄ 1 of 1 pass, finishing" in text
    assert text.endswith("\x1b[?25h\r\x1b[1A\x1b[2K"), "the lines are erased and the cursor is back"
    assert progress._display is None


def test_the_live_lines_close_on_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = LiveProgress()
    with pytest.raises(KeyError, match="x"), progress.task("embed", 4, "images"):
        raise KeyError("x")
    assert progress._display is None

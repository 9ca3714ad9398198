import io
import json
import os
import sys
from typing import Any

import pytest

from elfs.cli._errors import Failure
from elfs.cli._output import Output, may_animate, may_colour
from elfs.cli._progress import LiveProgress, PlainProgress
from elfs.parallel.runtime import Silence


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("is_terminal", "environ", "colour", "animate"),
    [
        (True, {}, True, True),
        (False, {}, False, False),
        (True, {"NO_COLOR": "1"}, False, True),
        (True, {"NO_COLOR": ""}, True, True),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
        (False, {"FORCE_COLOR": "1"}, True, False),
        (True, {"FORCE_COLOR": "1", "CI": "true"}, True, False),
        (True, {"CI": "true"}, True, False),
        (True, {"TERM": "dumb"}, False, False),
    ],
)
def test_colour_and_animation_are_two_things(
    is_terminal: bool, environ: dict[str, str], colour: bool, animate: bool
) -> None:
    assert may_colour(is_terminal, environ) is colour
    assert may_animate(is_terminal, environ) is animate


def test_people_read_data_on_stdout_and_the_rest_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(environ={})
    output.data("data")
    output.table([("a", "b")])
    output.note("note")
    output.warn("look")
    output.document("status", {"x": 1})
    assert capsys.readouterr() == ("data\na  b\n", "note\nwarning: look\n")


def test_programs_read_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True, environ={})
    output.data("data")
    output.note("note")
    output.document("status", {"b": 1, "a": "\udcff"})
    said = capsys.readouterr()
    assert json.loads(said.out) == {"schema": "elfs/status/1", "a": "\udcff", "b": 1}
    assert said.err == "note\n"


def test_quiet_leaves_data_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(quiet=True, environ={})
    output.data("data")
    output.note("note")
    output.warn("look")
    output.failure(Failure("wrong.", "elfs status", 4))
    assert capsys.readouterr() == ("data\n", "error: wrong.\nrun:   elfs status\n")


def test_only_the_first_of_several_processes_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        output = Output(rank=1, as_json=as_json)
        output.note("note")
        output.warn("warning")
        output.data("data")
        output.document("status", {"a": 1})
        assert isinstance(output.progress(), Silence)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_colours_wrap_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    Output(environ={}).note("next", style="cyan")
    Output(environ={"NO_COLOR": "1"}).note("plain", style="cyan")
    assert stream.getvalue() == "\x1b[36mnext\x1b[0m\nplain\n"


def test_file_names_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Output(environ={}).data("a\x1b[2Jb")
    assert capsys.readouterr().out == "a\\x1b[2Jb\n"


def test_a_reader_that_has_gone_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.MonkeyPatch.context() as patch, open(writing, "w", encoding="utf-8") as stream:
        patch.setattr(sys, "stdout", stream)
        output = Output(environ={})
        output.data("nobody reads this")
        output.data("nor this")


@pytest.mark.parametrize(
    ("quiet", "terminal", "environ", "kind"),
    [
        (False, True, {}, LiveProgress),
        (False, True, {"CI": "1", "FORCE_COLOR": "1"}, PlainProgress),
        (False, False, {"FORCE_COLOR": "1"}, PlainProgress),
        (True, True, {}, Silence),
    ],
)
def test_progress_suits_the_stream(
    monkeypatch: pytest.MonkeyPatch, quiet: bool, terminal: bool, environ: dict[str, str], kind: type
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    assert type(Output(quiet=quiet, environ=environ).progress()) is kind


def plain_lines(steps: list[tuple[float, int, str]], total: int) -> list[str]:
    """Return what is printed when the clock and the work advance so."""
    lines: list[str] = []
    clock = [0.0]
    progress = PlainProgress(lines.append, lambda: clock[0])
    with progress.task("cluster", total, "steps") as task:
        for seconds, count, note in steps:
            clock[0] = seconds
            task.advance(count, note)
    return lines


def test_short_work_prints_nothing() -> None:
    assert plain_lines([(1.0 * second, 10, "") for second in range(10)], 100) == []


def test_a_tenth_of_the_work_is_worth_a_line() -> None:
    steps = [(4.0, 20, ""), (20.0, 20, "loss 1.25"), (25.0, 20, ""), (30.0, 1, ""), (41.0, 1, "")]
    assert plain_lines(steps, 100) == [
        "  cluster  40 of 100 steps  2.0/s  0:30 left  loss 1.25",
        "  cluster  61 of 100 steps  2.0/s  0:19 left",
    ]


def test_what_an_earlier_run_did_counts_as_done_and_not_as_speed() -> None:
    steps = [(0.0, 6_400, ""), (20.0, 200, "")]
    assert plain_lines(steps, 10_000) == ["  cluster  6,600 of 10,000 steps  10.0/s  5:40 left"]


def test_slow_work_prints_once_a_minute() -> None:
    lines = plain_lines([(10.0 * tick, 1, "") for tick in range(1, 19)], 10_000)
    assert [line.split()[1] for line in lines] == ["6", "12", "18"]


def test_work_without_progress_has_no_time_left() -> None:
    assert plain_lines([(60.0, 0, "waiting")], 10) == ["  cluster  0 of 10 steps  0.0/s  waiting"]


def test_the_live_line_goes_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert "embed [x]" in text
    assert "2/4 images" in text
    assert "loss 1.25" in text
    assert "embed: neighbours" in text
    assert text.rstrip().endswith("\x1b[2K\x1b[?25h"), "the line is erased and the cursor is back"
    assert progress._display is None


def test_the_live_line_closes_on_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = LiveProgress()
    with pytest.raises(KeyError, match="x"), progress.task("embed", 4, "images"):
        raise KeyError("x")
    assert progress._display is None

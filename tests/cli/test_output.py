import io
import json
import os
import sys

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

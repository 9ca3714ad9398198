import copy
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from elfs.cli._commands import COMMANDS
from elfs.cli._documents import DOCUMENTS, schema_name
from elfs.cli._errors import EXIT_CODES
from elfs.cli._json_reference import json_schema
from elfs.cli.app import run
from elfs.errors import ElfsError
from tests.chain import ROOT, finished

LITTLE = ("--network", "linear", "--iterations", "5", "--devices", "cpu")
OPEN = ("stages[].summary", "selection", "train", "compare.protocol")
"""Documents that hold, beside what is described, what the manifest says of a stage or a recipe."""

CALLS: dict[str, tuple[str, ...]] = {
    "nothing there": ("status", "-w", "nowhere"),
    "run": ("run", "--from", "score", "--budget", "12"),
    "run -n": ("run", "-n"),
    "select": ("select", "--budget", "5", "--method", "random"),
    "select again": ("select", "--budget", "5", "--method", "random"),
    "ccs": ("select", "--budget", "6", "--method", "ccs", "--hard-rate", "0.1"),
    "elfs": ("select", "--budget", "7", "--method", "elfs"),
    "holdout": ("select", "--holdout", "6", "--name", "test"),
    "select -n": ("select", "-n"),
    "score --list": ("score", "--list"),
    "select --list": ("select", "--list"),
    "embed --list": ("embed", "--list-encoders", "resnet18*"),
    "shard": ("embed", "digits", "--limit", "20", "--encoder", "pixels", "--shard", "1/2", "-w", "shards"),
    "plan": ("plan", "--budgets", "5,20,999"),
    "plan -n": ("plan", "-n"),
    "export": ("export", "--selection", "auto", "-o", "chosen.json"),
    "report": ("report", "-o", "page.html"),
    "evaluate": ("evaluate", "--labels", "labels.csv"),
    "annotate -n": ("annotate", "labels.csv", "-n"),
    "annotate": ("annotate", "labels.csv"),
    "annotate, shown": ("annotate",),
    "doubtful": ("annotate", "--doubtful", "-o", "doubtful.csv"),
    "train -n": ("train", *LITTLE, "-n"),
    "train": ("train", *LITTLE),
    "train --labels": ("train", "--labels", "labels.csv", "--selection", "aum-12", *LITTLE),
    "predict": ("predict", "-o", "named.csv", "--devices", "cpu"),
    "compare -n": ("compare", "--methods", "random", "--budgets", "10", "--seeds", "2", *LITTLE, "-n", "-w", "digits"),
    "compare": ("compare", "--methods", "random,typiclust", "--budgets", "10", "--seeds", "2", *LITTLE, "-w", "digits"),
    "rounds": ("compare", "--rounds", "2", "--batch", "5", "--methods", "random,margin", *LITTLE, "-w", "digits"),
    "status": ("status",),
    "verify": ("verify",),
    "doctor": ("doctor", "--devices", "cpu"),
}
"""What it is to the command line, in an order in which each finds what it needs."""


def strict(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a schema that has no place for fields that are not described."""
    if "properties" in schema and path not in OPEN:
        schema["additionalProperties"] = False
    for name, field in schema.get("properties", {}).items():
        strict(field, f"{path}.{name}".removeprefix("stages."))
    if "items" in schema:
        strict(schema["items"], f"{path}[]")
    return schema


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def check(text: str) -> dict[str, Any]:
    """Return the one document that was printed, which is as its schema says, and has no field that is not described."""
    document: dict[str, Any] = json.loads(text, parse_constant=refuse)
    kind = document["schema"].split("/")[1]
    assert document["schema"] == schema_name(kind)
    schema = strict(copy.deepcopy(DOCUMENTS[kind]), kind)
    wrong = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(document)]
    assert not wrong, wrong
    return document


def printed(*arguments: str) -> tuple[int, str, str]:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = run((*arguments, "--json"))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, str, str]]]:
    """Run every command line once, in one folder."""
    place, before = tmp_path_factory.mktemp("documents"), Path.cwd()
    finished("folder", tmp_path_factory).copy(place / "elfs-workspace")
    finished("digits", tmp_path_factory).copy(place / "digits")
    os.chdir(place)
    lines = [f"{folder}/{number:02d}.png,{folder}" for folder in "abc" for number in range(8)]
    Path("labels.csv").write_text("\n".join(["id,label", *lines]) + "\n", encoding="utf-8")
    try:
        yield {name: printed(*call) for name, call in CALLS.items()}
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", CALLS)
def test_a_command_prints_what_its_schema_says(said: dict[str, tuple[int, str, str]], name: str) -> None:
    code, out, err = said[name]
    assert code == 0, out + err
    assert check(out)["schema"] != "elfs/error/1"


def test_every_command_and_every_kind_of_document_is_called(said: dict[str, tuple[int, str, str]]) -> None:
    stages = {"embed", "cluster", "label", "dynamics", "score"}  # their documents are those of run
    assert {call[0] for call in CALLS.values()} | stages == set(COMMANDS) - {"completion"}
    kinds = {json.loads(out)["schema"].split("/")[1] for _, out, _ in said.values()}
    assert kinds == set(DOCUMENTS) - {"error"}
    written = re.findall(
        r'\.document\(\s*"([a-z-]+)"', "".join(path.read_text() for path in (ROOT / "elfs/cli").glob("*.py"))
    )
    assert set(written) == set(DOCUMENTS)


def test_one_schema_holds_for_all(said: dict[str, tuple[int, str, str]]) -> None:
    whole = json.loads(json_schema())
    Draft202012Validator.check_schema(whole)
    for _, out, _ in said.values():
        assert Draft202012Validator(whole).is_valid(json.loads(out))
    with pytest.raises(AssertionError, match="is a required property"):
        check('{"schema": "elfs/stages/1", "workspace": "w", "stages": [], "selection": {"name": "a"}}')


class Failing:
    """A command that fails as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    def __call__(self, error: BaseException) -> tuple[int, str, str]:
        def fail(*arguments: Any) -> None:
            raise error

        self.patch.setattr("elfs.pipeline.status.states", fail)
        return printed("status")


def every_error() -> dict[int, BaseException]:
    kinds = {kind.exit_code: kind("what is wrong.", hint="elfs status") for kind in ElfsError.__subclasses__()}
    return kinds | {1: RuntimeError("a bug"), 130: KeyboardInterrupt(), 143: SystemExit(143)}


@pytest.mark.parametrize("code", [code for code in EXIT_CODES if code])
def test_every_error_is_a_document_on_stdout(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, out, err = Failing(monkeypatch)(every_error()[code])
    error = check(out)["error"]
    assert (seen, error["code"]) == (code, code)
    assert ("Traceback" in err) == (code == 1)
    assert "error:" not in err
    if code < 100 and code != 1:
        assert (error["message"], error["hint"]) == ("what is wrong.", "elfs status")


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (("select", "--bugdet", "3"), 2, "elfs select --help"),
        (("selct1",), 2, "elfs --help"),
        (("select", "--key", "amu"), 2, None),
        (("export",), 2, None),
        (("predict",), 2, None),
        (("completion", "bash"), 2, "elfs completion --help"),
        (("embed", "nowhere"), 2, None),
        (("embed", "empty"), 3, None),
        (("select",), 4, "elfs embed SOURCE"),
        (("doctor", "--devices", "77"), 8, None),
    ],
)
def test_errors_of_commands(elfs: Callable[..., Any], arguments: tuple[str, ...], code: int, hint: str | None) -> None:
    Path("empty").mkdir()
    ran = elfs(*arguments, "--json")
    document = check(ran.out)
    assert ran.code == code, ran.out
    if "error" in document:
        assert document["error"]["code"] == code
        assert hint is None or hint in document["error"]["hint"]

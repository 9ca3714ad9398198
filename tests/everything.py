"""A workspace in which every command has been run once, and command lines that are run in this process and held."""

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elfs.cli.app import run

COMMANDS: dict[str, tuple[str, ...]] = {
    "cluster": ("--clusters", "3", "--heads", "2", "--epochs", "2", "--batch-size", "32", "--force"),
    "label": ("--force",),
    "dynamics": ("--epochs", "2", "--force"),
    "score": ("--window", "2", "--force"),
    "select": ("--budget", "7", "--name", "more"),
    "train": ("--network", "linear", "--iterations", "3", "--seed", "1", "--selection", "round1"),
    "export": ("--output", "../out", "--format", "label-studio", "--pre-annotate"),
    "report": ("--output", "../out.html"),
    "evaluate": (),
    "predict": ("--all", "--output", "../out.csv"),
    "plan": ("--budgets", "5,9"),
    "compare": (
        *("--methods", "elfs,random", "--budgets", "5", "--network", "linear", "--iterations", "2"),
        "--no-reference",
    ),
    "annotate": ("../more.csv",),
    "doubtful": ("--doubtful", "--output", "../out.csv"),
    "status": (),
    "verify": (),
}
"""Commands that read a finished workspace; run inside of it, with what people gave in the folder around it."""

STARTS = {"embed": ("digits", "--limit", "60", "--encoder", "pixels", "--neighbors", "5")}
"""Commands that make a workspace, from an empty folder of that name."""

_ON_DEVICES = ("embed", "cluster", "label", "dynamics", "score", "select", "train", "predict", "plan", "compare")
_UNSTEADY = (".times", ".lock", ".checked", ".progress")
_CLOCK = re.compile(
    rb'"(?:started|seconds|host|device|minutes)": [^\n]*|"20\d\d-\d\d-\d\dT[^"]*"|^  "digest": [^\n]*', re.MULTILINE
)


@dataclass(frozen=True)
class Held:
    """What a command line came to: the exit code, what it said, and every file that it left, but for times."""

    code: int
    out: str
    err: str
    files: dict[str, bytes | None]


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def call(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run one command line in a folder; return its exit code and what it wrote to stdout and stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with _inside(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return code, said[0], said[1]


def command(name: str) -> tuple[str, ...]:
    """Return the words of one of `COMMANDS` or `STARTS`, for the current folder."""
    verb = "annotate" if name == "doubtful" else name
    device = ("--devices", "cpu") if name in _ON_DEVICES else ()
    return verb, *(COMMANDS | STARTS)[name], "--workspace", ".", *device, "--json"


def hold(place: Path, name: str, *more: str) -> Held:
    """Run one of `COMMANDS` in ``place/w``, with more words if need be, and hold what it came to."""
    code, out, err = call(place / "w", *command(name), *more)
    return Held(code, _CLOCK.sub(b"", out.encode()).decode(), err, contents(place))


def contents(place: Path) -> dict[str, bytes | None]:
    """Return what each file below a folder holds, and None for a folder; without times of day."""
    found: dict[str, bytes | None] = {}
    for path in sorted(place.rglob("*")):
        if path.name not in _UNSTEADY:
            data = None if path.is_dir() else path.read_bytes()
            found[path.relative_to(place).as_posix()] = (
                _CLOCK.sub(b"", data) if data and path.suffix == ".json" else data
            )
    return found


def finish(place: Path) -> None:
    """Let people and every command work on a workspace ``place/w`` that has a selection."""

    def must(*words: str) -> None:
        code, _, err = call(place, *words, "--workspace", "w", "--quiet")
        assert code == 0, err

    must("select", "--budget", "9", "--name", "round1")
    must("select", "--budget", "9", "--method", "random", "--name", "draw")
    for name, file in (("round1", "given.csv"), ("draw", "more.csv")):
        lines = csv.DictReader((place / f"w/selections/{name}/selection.csv").read_text().splitlines())
        rows = [f"{line['id']},{'abc'[number % 3]}\n" for number, line in enumerate(lines)]
        (place / file).write_text("id,label\n" + "".join(rows))
    must("annotate", "given.csv")
    must("label", "--devices", "cpu")
    must("dynamics", "--devices", "cpu", "--epochs", "3")
    must("score", "--window", "2")
    must("select", "--budget", "9", "--name", "round2")
    must("train", "--network", "linear", "--iterations", "5", "--devices", "cpu")
    must("compare", *COMMANDS["compare"], "--devices", "cpu")
    must("plan", "--budgets", "4", "--devices", "cpu")

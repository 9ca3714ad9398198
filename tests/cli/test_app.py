import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import elfs as package
from elfs.cli._commands import COMMANDS, next_commands
from elfs.cli.app import assemble
from tests.warm import WarmCommand

Elfs = Callable[..., Any]

HEAVY = ("torch", "torchvision", "timm", "faiss", "sklearn", "scipy", "matplotlib")
LIGHT = [
    ["--help"],
    ["-h"],
    [],
    ["--version"],
    ["run", "--help"],
    ["status"],
    ["score", "--list"],
    ["cluster", "--dry-run"],
    ["completion", "bash"],
]
PREFIX = "import sys; from elfs.cli.app import run; "


def python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": str(Path(package.__file__).parents[1])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, **options)


@pytest.mark.slow
def test_light_commands_import_nothing_heavy() -> None:
    """One after the other in one process: what one imported all later ones would have."""
    check = f"[name for name in {HEAVY} if name in sys.modules]"
    done = python(f"{PREFIX}\nfor line in {LIGHT}:\n    print('ran', line, run(line), {check}, file=sys.stderr)")
    said = [line for line in done.stderr.splitlines() if line.startswith("ran ")]
    assert said == [f"ran {line} 0 []" for line in LIGHT], done.stderr


def test_help_without_arguments(elfs: Elfs) -> None:
    nothing = elfs()
    assert nothing.code == 0
    assert nothing.out.rstrip() == elfs("--help").out.rstrip() == elfs("-h").out.rstrip()
    assert "<bool>" not in nothing.out
    for name in COMMANDS:
        assert f" {name} " in nothing.out


def test_version(elfs: Elfs) -> None:
    assert elfs("--version").out == f"elfs {package.__version__}\n"
    assert elfs("--version", "status").out == f"elfs {package.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_sentence_and_examples(elfs: Elfs, name: str) -> None:
    ran = elfs(name, "-h")
    assert ran.code == 0
    module = importlib.import_module(f"elfs.cli.{name}")
    sentence = module.body.__doc__
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert 2 <= len(module.EXAMPLES) <= 3
    shown = "\n".join(line for line in ran.out.splitlines() if line.startswith(("│", " Usage")))
    assert not re.search(r"<\w+>|\[\[", shown)  # how Python calls a type is nothing to read
    for example in module.EXAMPLES:
        assert f" {example} " in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_parse(name: str) -> None:
    root = typer.main.get_command(assemble())
    context = root.make_context("elfs", [], resilient_parsing=True)
    for example in importlib.import_module(f"elfs.cli.{name}").EXAMPLES:
        words = example.partition(" >")[0].split()
        command: Any = root.get_command(context, words[1])  # type: ignore[attr-defined]
        command.make_context(words[1], words[2:], parent=context)


def test_no_option_text_is_lost_to_markup(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = elfs("cluster", "--help-all").out
    assert "[default: auto = 8 below 20,000 images and on a CPU, else 50]" in text
    assert "\\[" not in text


def test_an_unknown_command_gets_a_suggestion(elfs: Elfs) -> None:
    ran = elfs("selec")
    assert ran.code == 2
    assert ran.err == "error: No such command 'selec'. Did you mean 'select'?\nrun:   elfs --help\n"


def test_an_unknown_option_gets_a_suggestion_in_json_too(elfs: Elfs) -> None:
    ran = elfs("select", "--bugdet", "3")
    assert ran.code == 2
    assert "--budget" in ran.err
    assert ran.err.endswith("run:   elfs select --help\n")
    document = json.loads(elfs("select", "--bugdet", "3", "--json").out)
    assert (document["error"]["code"], document["error"]["hint"]) == (2, "elfs select --help")


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make every stage raise."""

    def execute(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("elfs.pipeline.execution.execute", execute)


def test_a_bug_shows_its_traceback(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ValueError("shapes differ"))
    ran = elfs("label", "--force")
    assert ran.code == 1
    assert ran.err.startswith("Traceback (most recent call last):")
    assert ran.err.endswith(
        "error: ValueError: shapes differ. This is a bug in elfs: please report it with the traceback.\n"
        "run:   elfs doctor --json\n"
    )


def test_ctrl_c(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    ran = elfs("label", "--force")
    assert ran.code == 130
    assert ran.err.endswith("stopped: what is finished is kept, the same command continues from there.\n")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_row_7_signals_unwind_the_stage(number: signal.Signals, code: int, tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(f"""
import os, signal, sys, time
import elfs.pipeline.execution as execution

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it

def execute(*arguments, **options):
    try:
        os.kill(os.getpid(), {int(number)})
        time.sleep(60)
    finally:
        print("unwound", file=sys.stderr)

execution.execute = execute
""")
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    process = WarmCommand(["label", "--force"], tmp_path, environ, tmp_path / "written", tmp_path / "first.py")
    _, said = process.communicate(60)
    assert process.returncode == code
    assert said.splitlines()[0] == "unwound"
    assert said.splitlines()[-1].startswith("stopped:")


@pytest.mark.slow
def test_row_7_ctrl_c_in_executed_text_and_again_at_the_end_is_130_without_a_traceback() -> None:
    """Python would end as the signal does where it was executing text, and tell of one among its last calls."""
    done = python("""
import atexit, os, signal, sys
import elfs.pipeline.execution as execution
from elfs.cli.app import main

signal.signal(signal.SIGINT, signal.default_int_handler)

def execute(*arguments, **options):
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
    exec("raise KeyboardInterrupt")

execution.execute = execute
sys.argv = ["elfs", "label", "--force"]
main()
""")
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1].startswith("stopped:")
    assert "Traceback" not in done.stderr


def test_a_library_that_exits_keeps_its_code(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, SystemExit("no way"))
    assert elfs("label", "--force").code == 1
    raising(monkeypatch, SystemExit(5))
    assert elfs("label", "--force").code == 5


@pytest.mark.slow
def test_a_closed_pipe_is_quiet() -> None:
    done = python(
        "import os, subprocess, sys\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "code = subprocess.run([sys.executable, '-m', 'elfs', 'score', '--list'], stdout=writer).returncode\n"
        "sys.exit(code)"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    environ = {"PYTHONIOENCODING": "ascii", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "elfs", "status", "-w", "gr\u00fcn"],
        capture_output=True,
        env=environ | {"PYTHONPATH": str(Path(package.__file__).parents[1])},
    )
    assert (done.returncode, done.stdout) == (0, b"no workspace at gr\\xfcn\n")


@pytest.mark.slow
def test_verbose_shows_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    done = python(f"""
import logging
{PREFIX}
import elfs.pipeline.execution as execution

def execute(*arguments, **options):
    logging.getLogger("elfs.train").info("epoch 1")
    raise KeyboardInterrupt

execution.execute = execute
run(["label", "--force", "-v"])
run(["label", "--force"])
""")
    assert done.stderr.count("elfs.train: epoch 1") == 2, "the second run is in the same process"


def test_hints_name_only_commands_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path("elfs-workspace")
    assert next_commands("embed", "embed", here, here) == ["elfs cluster"]
    assert next_commands("select", "select/a b", here, here)[-1] == "elfs train --selection 'a b'"
    unlabelled = next_commands("select", "select/a b", here, here, labelled=False)
    assert unlabelled[-1] == "elfs export --selection 'a b' --format label-studio -o 'a b'-to-label"
    monkeypatch.setitem(COMMANDS, "report", "x")
    assert next_commands("select", "select/x", Path("w"), here)[0] == "elfs report -w w"
    assert next_commands("select", "select/a b", here, here, is_default=False)[0] == "elfs report --selection 'a b'"
    rest = {name: panel for name, panel in COMMANDS.items() if name != "train"}
    monkeypatch.setattr("elfs.cli._commands.COMMANDS", rest)
    assert "elfs train" not in " ".join(next_commands("select", "select/x", here, here))


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["1", "2", "1 2", "0 1 2"])
def test_row_58_closed_streams_end_no_command_with_a_traceback(tmp_path: Path, closed: str) -> None:
    closing = " ".join(f"{number}>&-" for number in closed.split())
    script = f"{shlex.quote(sys.executable)} -m elfs status --workspace {tmp_path / 'none'} {closing}; echo $? > code"
    environ = os.environ | {"PYTHONPATH": str(Path(str(package.__file__)).parents[1])}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, env=environ, check=False)
    assert (tmp_path / "code").read_text() == "0\n"
    assert "Traceback" not in done.stdout + done.stderr


def test_ctrl_c_that_an_import_swallows_is_no_bug_in_what_breaks_of_it(tmp_path: Path) -> None:
    code = """
import os, signal, time
from elfs.cli import app

def broken(names):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except KeyboardInterrupt:
        pass
    raise RecursionError("half of numpy")

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the one does that runs the tests
app.assemble = broken
app.main()
"""
    environ = os.environ | {"PYTHONPATH": str(Path(str(package.__file__)).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor"], cwd=tmp_path, capture_output=True, env=environ, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.02, 0.3, 1.2])
def test_row_7_ctrl_c_while_code_is_being_read_leaves_no_traceback(tmp_path: Path, delay: float) -> None:
    code = """
import signal, sys
from elfs.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the one does that runs the tests
sys.argv = ["elfs", "doctor"]
print("x", flush=True)
main()
"""
    environ = os.environ | {"PYTHONPATH": str(Path(str(package.__file__)).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert b"Traceback" not in said
    assert process.returncode in (0, 130)

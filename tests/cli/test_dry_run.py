"""What ``--dry-run`` prints: what the stages take, in words that fit, and what the command itself would refuse."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from elfs.cli._invocation import Invocation
from elfs.cli._output import Output
from elfs.config import cheaper
from elfs.parallel.runtime import Runtime
from tests.cli.conftest import Ran

Elfs = Callable[..., Ran]

SOURCE = "synthetic:clean,images=60,test=0,size=12"


def own_embeddings() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


@pytest.mark.slow
def test_what_the_stages_will_take(elfs: Elfs) -> None:
    lines = elfs("run", SOURCE, "--dry-run").out.splitlines()
    assert len(lines) == 7
    assert re.fullmatch(r"embed +run  never ran +about 0:0\d  1\.2 GB  0\.\d MB", lines[0])
    assert re.fullmatch(
        r"takes about 0:\d\d on \d+ CPUs?, 1\.2 GB of memory, \d\.\d MB of disk: by measured rates, within a factor of "
        "two",
        lines[-1],
    )
    plan = json.loads(elfs("run", SOURCE, "--dry-run", "--json").out)["plan"]
    assert all(stage["seconds"] > 0 and stage["memory_bytes"] > 1e9 and stage["disk_bytes"] > 0 for stage in plan)
    assert {stage["cheaper"] for stage in plan} > {None}
    assert elfs("run", SOURCE, "--dry-run", "--smoke").out.count("about") == 7
    unknown = elfs("run", SOURCE, "--dry-run", "--network", "resnet50", "--encoder", "convnext_tiny").out
    assert unknown.count("time not known") == 2
    assert " and what is not known (embed by convnext_tiny, dynamics by resnet50) on " in unknown


def test_a_long_chain_names_what_takes_less_for_what_takes_most_of_it(elfs: Elfs) -> None:
    np.lib.format.open_memmap("own.npy", mode="w+", dtype=np.float16, shape=(600_000, 64))
    given = ("--embeddings", "own.npy", "--neighbor-search", "exact", "--clusters", "10")
    lines = elfs("run", *given, "-n").out.splitlines()
    assert lines[6].startswith("takes about ")
    said = [line.partition(". ") for line in lines[7:]]
    assert [(before.split(" takes ")[0], way) for before, _, way in said] == [
        ("embed", cheaper.than_exact_neighbors()),
        ("cluster", cheaper.CLUSTER_GRAPH),
        ("dynamics", cheaper.EMBEDDING_PROXIES.replace("--epochs", "--dynamics-epochs")),
    ]
    few = elfs("run", "--embeddings", "own.npy", "--clusters", "10", "--limit", "2000", "-n").out
    assert len(few.splitlines()) == 7


@pytest.mark.parametrize(
    ("stage", "text", "of_run"),
    [
        ("dynamics", cheaper.EMBEDDING_PROXIES, ["--dynamics-epochs", "--proxies"]),
        ("dynamics", cheaper.IMAGE_PROXIES, ["--recipe"]),
        ("cluster", cheaper.CLUSTER_GRAPH, ["--method"]),
        ("cluster", cheaper.CLUSTER_HEADS, ["--method", "--cluster-epochs"]),
        ("select", cheaper.HARD_RATE_SEARCH, ["--hard-rate"]),
        ("select", cheaper.PAIRWISE, ["--blocks"]),
        ("embed", cheaper.FEWER_IMAGES, ["--limit"]),
        ("embed", cheaper.than_encoder("lite"), ["--encoder"]),
    ],
)
def test_what_takes_less_names_options_that_the_command_has(
    elfs: Elfs, monkeypatch: pytest.MonkeyPatch, stage: str, text: str, of_run: list[str]
) -> None:
    seen: dict[str, Invocation] = {}

    def kept(invocation: Invocation, *_: object) -> None:
        seen[command] = invocation

    monkeypatch.setattr("elfs.cli._dry_run.show_plan", kept)
    for command in ("run", stage):
        assert elfs(command, *([SOURCE] if command in ("run", "embed") else []), "-n").code == 0
        said = seen[command].as_written(stage, text)
        options = re.findall(r"(elfs \w+ )?(--[a-z-]+)", said)
        assert command != "run" or [option for _, option in options] == of_run
        for other, option in options:
            assert f" {option} " in elfs(other.split()[-1] if other else command, "--help-all").out
        assert command == "run" or said == text


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("folder",), "there is no image that can be read."),
        (("cifar10",), "nothing was downloaded"),
        (("--files", "list.txt"), "expected paths below "),
    ],
)
def test_where_nothing_is_known_of_the_pool_it_is_said_why(
    elfs: Elfs, tmp_path: Path, call: tuple[str, ...], why: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "list.txt").write_text("/elsewhere/a.png\n")
    for command in ("run", "embed"):
        ran = elfs(command, *call, "--data-root", "none", "-n")
        assert ran.code == 0
        assert ran.out.startswith("embed ")
        assert "warning: what it takes is not known: " in ran.err
        assert why in " ".join(ran.err.split())


def test_memory_and_disk_are_said_of_gpus(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "on_cpu", False)
    lines = elfs("run", SOURCE, "--dry-run").out.splitlines()
    assert re.fullmatch(r"embed +run  never ran +time not known  1\.2 GB  0\.\d MB", lines[0])
    assert re.fullmatch(
        r"takes 1\.2 GB of memory beside what CUDA holds, \d\.\d MB of disk; how long is known of CPUs alone", lines[-1]
    )
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("options", "is_measured"),
    [
        (("--budget", "12", "--key", "el2n", "--seed", "3", "--limit", "50", "--name", "first"), True),
        (("--heads", "4"), False),
        (("--encoder", "pixels"), False),
        (("--clusters", "3"), False),
        (("--proxies", "3"), False),
        (("--method", "ccs"), False),
    ],
)
def test_how_sure_it_is_is_said_of_what_was_measured(elfs: Elfs, options: tuple[str, ...], is_measured: bool) -> None:
    last = elfs("run", SOURCE, "--dry-run", *options).out.splitlines()[-1]
    assert last.endswith(": by measured rates" + is_measured * ", within a factor of two")


def test_what_takes_longer_than_anybody_waits_is_said_in_words(elfs: Elfs) -> None:
    said = elfs("run", SOURCE, "--dry-run", "--heads", "1000000000000").out
    assert re.search(r"^cluster +run  embed runs before it +over a year  ", said, re.MULTILINE)
    assert "\ntakes over a year on " in said
    assert re.search(r"about \d+:\d\d:\d\d  ", elfs("run", SOURCE, "--dry-run", "--heads", "20000").out)


def test_more_than_there_is_is_said_in_words(elfs: Elfs) -> None:
    said = elfs("run", SOURCE, "--dry-run", "--heads", "1000000000").out
    assert re.search(
        r"^cluster .*  over a year +more than the \d+ GB  more than the [\d,]+ GB free$", said, re.MULTILINE
    )
    assert re.search(r", more than the \d+ GB of memory, more than the [\d,]+ GB free of disk: by", said)
    assert max(int(number.replace(",", "")) for number in re.findall(r"([\d,]+)\.?\d* [GM]B", said)) < 1_000_000


def test_sizes_are_said_where_nobody_says_what_there_is(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.parallel.cpus.memory_bytes", lambda: None)
    assert re.search(r"over a year +[\d,]+\.\d GB  more than", elfs("run", SOURCE, "-n", "--heads", "1000000000").out)


def test_a_narrow_terminal_gets_two_lines_for_each_stage(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = elfs("run", SOURCE, "--dry-run").out
    monkeypatch.setattr(Output, "data_width", 50)
    lines = elfs("run", SOURCE, "--dry-run").out.splitlines()
    assert all(len(line) < 50 for line in lines)
    assert [line.split()[0] for line in lines[:12:2]] == [line.split()[0] for line in wide.splitlines()[:6]]
    assert re.fullmatch(r"  about 0:0\d, 1\.2 GB, 0\.\d MB", lines[1])
    total = " ".join(" ".join(lines[12:]).split())
    assert re.sub(r"\d:\d\d", "", total) == re.sub(r"\d:\d\d", "", wide.splitlines()[-1])
    monkeypatch.setattr(Output, "data_width", 30)
    assert "    runs before it" in elfs("run", SOURCE, "--dry-run").out.splitlines()


@pytest.mark.parametrize("command", ["embed", "run"])
@pytest.mark.parametrize(
    "option", ["absent", "flat", "objects", "empty", "text", "table", "ids", "ids of others", "weights", "files"]
)
def test_files_that_cannot_be_used_are_refused_as_the_command_does(elfs: Elfs, command: str, option: str) -> None:
    np.save("flat.npy", np.zeros(5, np.float32))
    np.save("objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save("empty.npy", np.zeros((0, 4), np.float32))
    np.save("own.npy", own_embeddings())
    Path("text.npy").write_text("no array")
    Path("table.csv").write_text("1,2")
    Path("few.txt").write_text("a\nb\n")
    arguments = {
        "absent": ("--embeddings", "absent.npy"),
        "table": ("--embeddings", "table.csv"),
        "ids": ("--embeddings", "own.npy", "--ids", "absent.txt"),
        "ids of others": ("--embeddings", "own.npy", "--ids", "few.txt"),
        "weights": (SOURCE, "--weights", "absent.safetensors"),
        "files": (".", "--files", "absent.txt"),
    }.get(option, ("--embeddings", f"{option}.npy"))
    does, says = elfs(command, *arguments), elfs(command, *arguments, "-n")
    assert (does.code, says.code) == (3, 3)
    assert says.out == ""
    assert says.err == does.err.removeprefix(does.err.partition("error:")[0])


@pytest.mark.parametrize("name", ["own.npy", "own.safetensors"])
def test_embeddings_have_costs_and_a_budget_that_fits(elfs: Elfs, name: str) -> None:
    np.save("own.npy", own_embeddings())
    save_file({"embeddings": own_embeddings()}, "own.safetensors")
    lines = elfs("run", "--embeddings", name, "-n").out.splitlines()
    assert re.fullmatch(r"embed +run  never ran +about 0:00  1\.2 GB  0\.0 MB", lines[0])
    too_many = elfs("run", "--embeddings", name, "--budget", "41", "-n")
    assert (too_many.code, too_many.out) == (2, "")
    assert f"--budget is 41 images, and there are 40 at most in {name}" in too_many.err


class Terminal(io.TextIOWrapper):
    """A standard input that somebody would have to type."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())

    def isatty(self) -> bool:
        return True

    @property
    def buffer(self) -> Any:
        raise AssertionError("nobody types a list")


def test_a_list_from_standard_input_is_read_from_a_pipe_alone(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    for number in range(3):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(f"{number}.png")
    monkeypatch.setattr(sys, "stdin", Terminal())
    typed = elfs("embed", "--files", "-", "-n")
    assert (typed.code, typed.out) == (0, "embed  run  never ran\n")
    assert "warning: --files - lists what comes on standard input: pipe it in for the time" in typed.err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"0.png\n1.png\n2.png\n")))
    piped = elfs("embed", "--files", "-", "-n")
    assert re.match(r"embed  run  never ran  about 0:0\d", piped.out)
    assert "warning" not in piped.err


def test_the_help_says_what_it_is_for(elfs: Elfs) -> None:
    words = " ".join(elfs("run", "--help-all").out.replace("│", " ").split())
    assert "Say what would run and what that takes, and do nothing." in words

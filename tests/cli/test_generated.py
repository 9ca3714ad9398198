import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from elfs.catalog import CLUSTER_METHODS, ENCODERS, NETWORKS, SCORES, SELECTORS, STAGES
from elfs.cli._commands import COMMANDS
from elfs.cli._completion_scripts import SHELLS, script
from elfs.cli._completions import command_words
from elfs.cli._generate import generated, main
from elfs.cli.app import assemble
from elfs.models.published import PUBLISHED
from elfs.source_names import DATASETS
from tests.chain import ROOT

FILES = generated()

Complete = Callable[..., list[str]]


@pytest.mark.parametrize("name", FILES)
def test_generated_files_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == FILES[name], "run: python -m elfs.cli._generate"


def test_main_writes_them(tmp_path: Path) -> None:
    for folder in ("completions", "docs", "tests/cli"):
        (tmp_path / folder).mkdir(parents=True)
    main(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == set(FILES)


def test_the_reference_covers_every_command_and_option() -> None:
    text = FILES["docs/cli.md"]
    for command in command_words(typer.main.get_command(assemble())):
        assert f"## elfs {command.name}\n" in text
        for option in command.options:
            assert option.spellings[0] in text
    assert "--mis-ratio" not in text
    assert all(len(line) < 400 for line in text.splitlines())


def test_hidden_spellings_are_pinned_but_not_completed() -> None:
    assert "select --mis-ratio hidden" in FILES["tests/cli/options.txt"]
    assert not any("--mis-ratio" in FILES[f"completions/elfs.{shell}"] for shell in SHELLS)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_file(shell: str, elfs: Callable[..., Any]) -> None:
    assert elfs("completion", shell).out == FILES[f"completions/elfs.{shell}"]


def test_an_unknown_shell(elfs: Callable[..., Any]) -> None:
    ran = elfs("completion", "bahs")
    assert ran.code == 2
    assert "unknown shell 'bahs'. Did you mean 'bash'? Available: bash, fish, zsh." in ran.err


def test_scripts_start_nothing_for_words_that_they_know() -> None:
    root = typer.main.get_command(assemble())
    for shell in SHELLS:
        text = script(shell, root)
        assert "python" not in text.split("\n", 2)[2].replace("python -m elfs.cli._generate", "")
        assert "elfs status" not in text


@pytest.mark.parametrize("shell", SHELLS)
def test_the_syntax_is_valid(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", ROOT / f"completions/elfs.{shell}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


BASH = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_elfs
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash(*words: str, **environ: str) -> list[str]:
    """Return what bash offers; its readline hands over "=" as a word of its own."""
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", ROOT / "completions/elfs.bash", *words],
        capture_output=True,
        text=True,
        env=os.environ | environ,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


def fish(*words: str, **environ: str) -> list[str]:
    """Return the words that fish offers."""
    return [word for word, _ in fish_lines(*words, **environ)]


def fish_lines(*words: str, **environ: str) -> list[tuple[str, str]]:
    """Return what fish offers, and what it says of each."""
    line = " ".join(words)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {ROOT / 'completions/elfs.fish'}; complete -C '{line}'"],
        capture_output=True,
        text=True,
        env=os.environ | environ | {"HOME": os.getcwd()},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [(word, said) for word, _, said in (found.partition("\t") for found in done.stdout.splitlines())]


needs_fish = pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture(params=[pytest.param(bash, marks=needs_bash), pytest.param(fish, marks=needs_fish)])
def complete(request: pytest.FixtureRequest) -> Complete:
    found: Complete = request.param
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("elfs", "emb"), ["embed"]),
        (("elfs", ""), list(COMMANDS)),
        (("elfs", "select", "--key", ""), list(SCORES)),
        (("elfs", "select", "--key", "e"), ["el2n", "entropy"]),
        (("elfs", "select", "--method", ""), list(SELECTORS)),
        (("elfs", "run", "--method", "r"), ["random"]),
        (("elfs", "run", "--from", ""), list(STAGES)),
        (("elfs", "run", "--encoder", ""), ["auto", *sorted({*ENCODERS, *PUBLISHED})]),
        (("elfs", "dynamics", "--network", ""), ["auto", *NETWORKS]),
        (("elfs", "dynamics", "--recipe", "c"), ["cifar"]),
        (("elfs", "score", "--devices", "0"), ["0", "0,1"]),
        (("elfs", "select", "--budg"), ["--budget"]),
        (("elfs", "completion", ""), list(SHELLS)),
        (("elfs", "cluster", "--no-"), ["--no-standardize"]),
        (("elfs", "embed", "fash"), ["fashion-mnist"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_words_are_completed(complete: Complete, words: tuple[str, ...], expected: list[str]) -> None:
    assert sorted(complete(*words)) == sorted(expected)


def test_sources_are_data_sets_and_folders(complete: Complete) -> None:
    Path("photos").mkdir()
    Path("file.txt").touch()
    found = [word.rstrip("/") for word in complete("elfs", "embed", "")]
    assert set(DATASETS) | {"photos"} <= set(found)
    assert "file.txt" not in found


def test_files_and_folders(complete: Complete) -> None:
    Path("photos").mkdir()
    Path("weights.pth").touch()
    assert "weights.pth" in complete("elfs", "embed", "--weights", "")
    found = [word.rstrip("/") for word in complete("elfs", "status", "--workspace", "")]
    assert "photos" in found
    assert "weights.pth" not in found


def test_selections_are_looked_up_in_the_workspace(complete: Complete) -> None:
    for workspace, name in (("elfs-workspace", "aum-0.1"), ("w", "other"), ("v", "third")):
        Path(workspace, "selections", name).mkdir(parents=True)
    assert complete("elfs", "train", "--selection", "") == ["aum-0.1"]
    assert complete("elfs", "train", "-w", "w", "--selection", "") == ["other"]
    assert complete("elfs", "train", "--selection", "", ELFS_WORKSPACE="v") == ["third"]


@needs_fish
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("select", "--method", "ran"), {"random": SELECTORS["random"].summary}),
        (("run", "--key", "au"), {"aum": SCORES["aum"].summary}),
        (("cluster", "--method", "km"), {"kmeans": CLUSTER_METHODS["kmeans"]}),
        (("embed", "digi"), {"digits": DATASETS["digits"].summary}),
        (("score", "--devices", "cpu"), {"cpu": "", "cpu:2": ""}),
        (("run", "--from", "lab"), {"label": ""}),
        (("train", "--selection", "au"), {"aum-0.1": "selection"}),
    ],
)
def test_fish_says_what_each_word_means(words: tuple[str, ...], expected: dict[str, str]) -> None:
    """Not what the option means, at every word anew."""
    Path("elfs-workspace/selections/aum-0.1").mkdir(parents=True)
    found = dict(fish_lines("elfs", *words))
    assert found.keys() == expected.keys()
    for word, meaning in expected.items():
        assert meaning.startswith(found[word])
        assert bool(found[word]) == bool(meaning)


@needs_bash
def test_bash_completes_lists_and_names_with_blanks() -> None:
    Path("elfs-workspace/selections/round one").mkdir(parents=True)
    Path("old ids.txt").touch()
    assert bash("elfs", "report", "--selection", "r") == ["round\\ one"]
    assert bash("elfs", "report", "--selection", "round\\ o") == ["round\\ one"]
    assert bash("elfs", "select", "--exclude", "o") == ["old\\ ids.txt"]
    assert bash("elfs", "select", "--include", "sel") == ["selections/round\\ one"]


@needs_bash
def test_bash_completes_after_an_equals_sign() -> None:
    assert bash("elfs", "select", "--key", "=", "e") == ["el2n", "entropy"]
    assert bash("elfs", "select", "--key", "=") == list(SCORES)


@needs_bash
def test_bash_offers_every_option() -> None:
    offered = bash("elfs", "select", "-")
    assert {"--budget", "-w", "--workspace", "-h", "--help"} <= set(offered)


@needs_bash
def test_bash_offers_nothing_for_free_text() -> None:
    assert bash("elfs", "cluster", "--heads", "") == []

"""The tutorial and the notebook's script do what they say, on a few drawn pictures."""

import csv
import re
import runpy
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from elfs.cli.app import run
from tests.chain import ROOT, make_pictures

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_atoms", "few_penalties")]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELFS_DEVICES", "cpu")
    monkeypatch.setattr("elfs.train.graph_clustering._SEEDS", 1)
    monkeypatch.setattr("elfs.train.graph_clustering._DISTILL_STEPS", 150)


def commands(document: str) -> list[str]:
    """Return the indented lines of a document."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    return [line.strip().split("  #")[0] for line in lines if re.match(r"    \S", line)]


def fill_in(table: Path) -> None:
    """Annotate by the first letter of each id, as a person would by looking."""
    with table.open(newline="") as file:
        header, *rows = csv.reader(file)
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([header, *([row[0], row[0][0]] for row in rows)])


def test_the_tutorial(capsys: pytest.CaptureFixture[str]) -> None:
    make_pictures(Path("drawn"))
    Path("photos").mkdir()
    for file in Path("drawn").rglob("*.png"):
        file.rename(Path("photos") / f"{file.parent.name}{file.name}")
    said: dict[str, str] = {}
    for line in commands("docs/tutorial.md"):
        if line.startswith("elfs "):
            capsys.readouterr()
            assert run(shlex.split(line)[1:]) == 0, line
            said[line.split()[1]] = capsys.readouterr().out
        else:
            subprocess.run(["sh", "-c", line], check=True)
        if line.startswith("elfs export"):
            fill_in(Path(shlex.split(line)[-1]) / "labels.csv")
    assert "accuracy" in said["train"]
    with open("predictions.csv", newline="") as table:
        predicted = {row["id"]: row["label"] for row in csv.DictReader(table)}
    with open("elfs-workspace/selections/first/selection.csv", newline="") as table:
        first = {row["id"] for row in csv.DictReader(table)}
    assert set(predicted) == {path.name for path in Path("photos").iterdir()} - first
    assert set(predicted.values()) <= set("abc")
    assert "<html" in Path("report.html").read_text(encoding="utf-8")
    assert {"first", "second", "test"} == {path.name for path in Path("elfs-workspace/selections").iterdir()}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_notebook() -> None:
    made: dict[str, Any] = runpy.run_path(str(ROOT / "docs/notebook.py"))
    assert len(made["picked"]) == len(made["picked_by_loss"]) == 30
    assert len(set(made["picked"] // 100)) == 3
    assert len(made["hardest"]) == 10
    assert len(made["pictures"]) == 5
    assert not set(made["first"].ids) & set(made["second"].ids)
    assert "second" in made["workspace"]._repr_html_()

"""Two rounds as a person walks them: select, annotate, better pseudo-labels, select again, train."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.chain import make_pictures

pytestmark = pytest.mark.usefixtures("few_penalties")

Elfs = Callable[..., Any]

COLOURS = {"colour a", "colour b", "colour c"}
CHAIN = ("--encoder", "pixels", "--neighbors", "5", "--clusters", "3", "--dynamics-epochs", "3", "--window", "2")


def asked_for(name: str) -> list[str]:
    text = Path(f"elfs-workspace/selections/{name}/selection.csv").read_text()
    return [line["id"] for line in csv.DictReader(text.splitlines())]


def answer(ids: list[str], file: str) -> str:
    """Write what people say: the colour that the picture's folder is named after."""
    Path(file).write_text("id,label\n" + "".join(f"{name},colour {name[0]}\n" for name in ids))
    return file


@pytest.mark.slow
def test_two_rounds(elfs: Elfs, tmp_path: Path) -> None:
    make_pictures(tmp_path / "pool")
    ran = elfs("run", str(tmp_path / "pool"), *CHAIN, "--budget", "9", "--name", "round1", "--devices", "cpu", "-q")
    assert ran.code == 0, ran.err
    assert elfs("select", "--holdout", "6", "--name", "test", "-q").code == 0
    first = asked_for("round1")
    assert elfs("annotate", answer(first + asked_for("test"), "1.csv")).code == 0

    refused = elfs("select", "--budget", "9", "--name", "round2")
    assert refused.code == 4
    assert "annotations were added after it" in refused.err
    assert "stale" in elfs("status").out
    ran = elfs("run", "--from", "label", "--budget", "9", "--name", "round2", "--devices", "cpu")
    assert ran.code == 0, ran.err
    assert "9 annotations" in ran.err
    assert "left out   9 images that people have annotated already" in ran.out
    second = asked_for("round2")
    assert not set(second) & set(first + asked_for("test"))
    summary = json.loads(elfs("select", "--budget", "9", "--name", "round2", "--json").out)["selection"]
    assert summary["trust_by"].keys() == {"annotations"}
    assert elfs("export", "--format", "label-studio", "--pre-annotate", "-o", "to-label", "-q").code == 0
    offered = ElementTree.parse("to-label/config.xml").iter("Choice")
    assert {choice.get("value") for choice in offered} == COLOURS
    tasks = json.loads(Path("to-label/tasks.json").read_text())
    said_of = {result["value"]["choices"][0] for task in tasks for result in task["predictions"][0]["result"]}
    assert said_of <= COLOURS

    said = elfs("annotate", answer(second, "2.csv")).out
    assert "9 of 9 of round1 annotated, 6 of 6 of test annotated, 9 of 9 of round2 annotated, 3 classes" in said
    assert "annotations were rebuilt after it" in elfs("status").out
    report = json.loads(elfs("train", "--network", "linear", "--iterations", "50", "--devices", "cpu", "--json").out)
    assert (report["selection"], report["images"], report["held_out"]) == ("annotations", 18, 6)
    predicted = elfs("predict", "--devices", "cpu")
    assert len(predicted.out.splitlines()) == 1 + 60 - 18
    assert json.loads(elfs("verify", "--json").out)
    assert elfs("report", "-o", "report.html", "-q").code == 0

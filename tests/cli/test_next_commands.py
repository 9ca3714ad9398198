import json
import re
import shlex
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.chain import NUM_PICTURES, make_pictures

SETTINGS = """
devices = "cpu"

[embed]
encoder = "pixels"
neighbors = 5

[cluster]
clusters = 3
method = "kmeans"

[dynamics]
epochs = 2

[train]
iterations = 5
"""
"""What a person may have in a folder; with it the commands that are suggested take a moment."""

MARK = re.compile(r"^(?:next|run:)?\s+(elfs .*)$", re.MULTILINE)


def suggested(text: str) -> list[str]:
    """Return the commands that stand under what a command says, each by itself."""
    return [
        part.strip()
        for line in MARK.findall(text)
        for part in re.split(r"\s+(?:&&|or:|\|)\s+|: test set", line)
        if part
    ]


def suggested_by_files() -> list[str]:
    """Return the commands of pages and READMEs that were written."""
    found = []
    for page in Path().glob("*.html"):
        for block in re.findall(r"<pre[^>]*>(.*?)</pre>", page.read_text(encoding="utf-8"), re.DOTALL):
            found += re.findall(r"^elfs .*$", unescape(block), re.MULTILINE)
    for readme in Path().glob("*/README.md"):
        found += re.findall(r"^    (elfs .*)$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    return found


def annotate() -> None:
    """Do what people do: fill in the table that an export has written, or annotate its tasks in a tool."""
    for tasks in Path().glob("*/tasks.json"):
        answers = [
            {"image": task["data"]["image"], "choice": "ab"[number % 2]}
            for number, task in enumerate(json.loads(tasks.read_text(encoding="utf-8")))
        ]
        Path("the-export.json").write_text(json.dumps(answers), encoding="utf-8")
    for manifest in Path().glob("*/manifest.jsonl"):
        lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()[2:]]
        images = [
            f'<image name="{line["name"]}{line["extension"]}"><tag label="{"ab"[number % 2]}"/></image>'
            for number, line in enumerate(lines)
        ]
        Path("annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>", encoding="utf-8")
    for table in Path().glob("*/labels.csv"):
        lines = table.read_text(encoding="utf-8").splitlines()
        filled = [line + "ab"[number % 2] if line.endswith(",") else line for number, line in enumerate(lines[1:])]
        table.write_text("\n".join([lines[0], *filled]) + "\n", encoding="utf-8")


def make_source(kind: str) -> str:
    """Return what `elfs run` is given: digits, a folder a class, or all pictures in one folder."""
    if kind == "digits":
        return "digits --limit 80"
    pictures = make_pictures(Path("classes"))
    if kind == "folders":
        return str(pictures)
    Path("flat").mkdir()
    for number, file in enumerate(sorted(pictures.rglob("*.png"))):
        shutil.copy(file, f"flat/{number % NUM_PICTURES:03d}.png")
    return "flat"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folders", "flat", "digits"])
def test_what_is_suggested_works(elfs: Callable[..., Any], kind: str) -> None:
    """Type what elfs says is next, and what that says is next, until nothing new is said."""
    Path("elfs.toml").write_text(SETTINGS, encoding="utf-8")
    source = make_source(kind)
    todo = ["elfs status", f"elfs run {source} --budget 0.2", "elfs status"]
    done: list[str] = []
    while todo:
        line = todo.pop(0)
        annotate()
        ran = elfs(*shlex.split(line)[1:])
        assert ran.code == 0, f"{line}\n{ran.out}{ran.err}"
        done.append(line)
        new = [*suggested(ran.out), *suggested(ran.err), *suggested_by_files()]
        new = [line.replace("SOURCE", source) for line in new]
        todo += [line for line in dict.fromkeys(new) if line not in done + todo]
    assert {line.split()[1] for line in done} > {"report", "export", "train", "predict", "evaluate", "select"}

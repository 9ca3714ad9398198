"""``elfs compare`` as people and programs see it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from elfs.catalog import SELECTORS
from elfs.cli._completions import command_words
from elfs.cli._words import words
from elfs.cli.app import assemble
from elfs.config import SMOKE, CompareConfig
from elfs.evaluation.compare import CompareReport
from elfs.evaluation.comparison import Comparison
from elfs.pipeline.comparison_facts import Cell
from tests.chain import Finished, bytes_of

Elfs = Callable[..., Any]

COMPARISON = Comparison(
    {"name": "small", "network": "resnet8", "iterations": 600, "test_images": 360},
    (0, 1, 2),
    (Cell("elfs@aum", "0.1", 144, (0.95, 0.96, 0.97)), Cell("random", "0.1", 144, (0.93, 0.95, 0.94))),
    Cell("all images", "1.0", 1437, (0.97, 0.98, 0.99)),
)
TABLE = """\
accuracy (%)  0.1 (144)
elfs@aum      96.0 +- 1.0 *
random        94.0 +- 1.0

minus random
elfs@aum      +2.0 (0.6) within

protocol    resnet8, 600 iterations whatever the budget, last iterate (recipe small), 360 test images
seeds       0, 1, 2, for the selection and the training; +- is the sample standard deviation over them
*           the best mean at its budget
whole pool  98.0 +- 1.0 on 1,437 images
random      is beaten beyond the spread by: none
random      beats beyond the spread: none
spread      the 95 % interval of the mean difference, paired over 3 seeds (Student's t), each cell by itself; \
its standard error in brackets
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replace the comparison by one that notes how it was called."""
    found: list[tuple[Any, ...]] = []

    def compare(path: Path, config: CompareConfig, runtime: Any, *, say: Callable[[str], None], **options: Any) -> Any:
        found.append((path, config, runtime.devices, options))
        say("18 trainings of 600 steps, 0 recorded already")
        return CompareReport(COMPARISON, ("w/comparison/table.csv", "w/comparison/figure.svg"), True, options["smoke"])

    monkeypatch.setattr("elfs.evaluation.compare.compare", compare)
    return found


def test_table_is_data_and_the_rest_is_not(elfs: Elfs, calls: list[tuple[Any, ...]]) -> None:
    ran = elfs("compare", "--methods", "elfs,random", "--budgets", "0.1", "--devices", "cpu")
    assert (ran.code, ran.out) == (0, TABLE)
    assert ran.err.splitlines() == [
        "18 trainings of 600 steps, 0 recorded already",
        "files       w/comparison/table.csv",
        "            w/comparison/figure.svg",
    ]
    config = CompareConfig(methods="elfs,random", budgets="0.1")
    assert calls == [(Path("elfs-workspace"), config, "cpu", {"force": False, "smoke": False})]


def test_options_reach_the_config(elfs: Elfs, calls: list[tuple[Any, ...]]) -> None:
    line = "compare --key el2n --hard-rate 0.30 --no-reference --seeds 5 --seed 7 --labels x.csv --recipe cifar --force"
    assert elfs(*line.split()).code == 0
    wanted = CompareConfig(
        key="el2n", hard_rate="0.30", reference=False, seeds=5, seed=7, labels="x.csv", recipe="cifar"
    )
    assert calls[0][1:] == (wanted, "auto", {"force": True, "smoke": False})
    assert elfs("compare", "--mis-ratio", "0.2").code == 0
    assert calls[1][1].hard_rate == "0.2"


def test_smoke_is_said(elfs: Elfs, calls: list[tuple[Any, ...]]) -> None:
    ran = elfs("compare", "--smoke")
    assert calls[0][1] == CompareConfig(**SMOKE["compare"])
    assert ran.err.endswith("warning: smoke settings: every step ran, the result means nothing.\n")


def test_json_is_one_document(elfs: Elfs, calls: list[tuple[Any, ...]]) -> None:
    document = json.loads(elfs("compare", "--json").out)
    assert Comparison.of(document) == COMPARISON
    assert document["files"] == ["w/comparison/table.csv", "w/comparison/figure.svg"]
    assert (document["workspace"], document["smoke"]) == ("elfs-workspace", False)
    assert elfs("compare", "--quiet").err == ""


def test_methods_are_completed_and_come_first_in_the_help() -> None:
    (compare,) = (item for item in command_words(typer.main.get_command(assemble())) if item.name == "compare")
    methods = next(option for option in compare.options if "--methods" in option.spellings)
    assert methods.values == ("all", *SELECTORS)
    assert words(methods.values)("typ") == [("typiclust", "")]
    assert [option.spellings[0] for option in compare.options[:2]] == ["--methods", "--budgets"]


OPTIONS = "--methods random,hardest --budgets 0.1,999 --seeds 2 --iterations 3 --batch-size 16 --devices cpu"
SMALL = OPTIONS.split()


@pytest.mark.slow
def test_from_plan_to_table(elfs: Elfs, digits: Finished, tmp_path: Path) -> None:
    path = digits.copy(tmp_path / "elfs-workspace")
    before = bytes_of(path)
    plan = elfs("compare", *SMALL, "--dry-run")
    assert plan.code == 0
    assert re.fullmatch(r"10 trainings at most, 0 recorded already, about 0:\d\d\n", plan.err)
    assert [line.split() for line in plan.out.splitlines()[:2]] == [
        ["METHOD", "BUDGET", "SEED", "SELECTION", "ACTION", "ACCURACY"],
        ["random", "0.1", "0", "compare-random-0.1", "select", "and", "train", "-"],
    ]
    assert plan.out.splitlines()[-1].split() == ["all", "images", "1.0", "1", "-", "train", "-"]
    assert bytes_of(path) == before
    ran = elfs("compare", *SMALL)
    assert ran.code == 0
    assert ran.err.splitlines()[0] == "6 trainings of 3 steps, 0 recorded already"
    assert ran.out.splitlines()[0].split() == ["accuracy", "(%)", "0.1", "(16)", "999"]
    gaps = [line.split()[2:5] for line in ran.out.splitlines() if line.startswith("not there")]
    assert gaps == [["random", "at", "999:"], ["hardest@aum", "at", "999:"]]
    again = elfs("compare", *SMALL, "--json")
    assert (again.code, again.err.splitlines()[0]) == (0, "files       elfs-workspace/comparison/table.csv")
    assert json.loads(again.out)["protocol"]["iterations"] == 3
    planned = json.loads(elfs("compare", *SMALL, "-n", "--json").out)["cells"][0]
    measured = json.loads(again.out)["cells"][0]["accuracies"][0]
    assert (planned["action"], planned["accuracy"]) == ("recorded", measured)
    shown = elfs("compare", *SMALL, "-n").out.splitlines()[1].split()
    assert shown[-2:] == ["recorded", f"{100 * measured:.1f}"]


def test_error_names_the_command_that_mends_it(elfs: Elfs, digits: Finished, tmp_path: Path) -> None:
    ran = elfs("compare")
    assert (ran.code, ran.out) == (4, "")
    assert "there is no workspace at elfs-workspace" in ran.err
    digits.copy(tmp_path / "elfs-workspace")
    ran = elfs("compare", "--methods", "elfs@amu")
    assert ran.code == 2
    assert "unknown score key in --methods: 'amu'. Did you mean 'aum'?" in ran.err

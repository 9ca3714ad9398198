"""``elfs plan`` as people and programs see it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chain import Finished, bytes_of

Elfs = Callable[..., Any]


def test_table_words_and_document(elfs: Elfs, digits: Finished, tmp_path: Path) -> None:
    path = digits.copy(tmp_path / "elfs-workspace")
    before = bytes_of(path)
    dry = elfs("plan", "--dry-run")
    assert dry.code == 0
    assert bytes_of(path) == before
    ran = elfs("plan", "--budgets", "5,20,50,999999", "--devices", "cpu")
    assert ran.code == 0
    head, *lines = ran.out.splitlines()
    assert head.split() == ["BUDGET", "IMAGES", "COVERAGE", "RANDOM", "AS", "GOOD", "AS", "CLUSTERS", "WITH", "5"]
    assert [line.split()[:2] for line in lines[:3]] == [["5", "5"], ["20", "20"], ["50", "50"]]
    assert lines[2].split()[-4:-1] == [lines[2].split()[-4], "of", lines[2].split()[-2]]
    words = {line.split()[0] for line in lines[4:]}
    assert {"coverage", "not"} <= words
    assert "file        elfs-workspace/plan/table.csv" in ran.err
    document = json.loads(elfs("plan", "--budgets", "5,20,50,999999", "--json").out)
    assert [line["images"] for line in document["budgets"]] == [5, 20, 50]
    assert document["left_out"][0]["budget"] == "999999"


def test_without_clusters_there_are_no_columns_for_them(elfs: Elfs, digits: Finished, tmp_path: Path) -> None:
    elfs("embed", "synthetic:clean,images=60,test=0", "--encoder", "pixels", "--devices", "cpu")
    ran = elfs("plan", "--budgets", "5", "--method", "k-center")
    assert ran.code == 0
    assert "CLUSTERS" not in ran.out


def test_what_is_missing_is_named(elfs: Elfs) -> None:
    ran = elfs("plan")
    assert (ran.code, ran.out) == (4, "")
    assert "elfs embed" in ran.err


@pytest.mark.slow
def test_with_annotations_it_says_what_more_bring(elfs: Elfs, tmp_path: Path) -> None:
    elfs("embed", "synthetic:clean,images=120,test=0", "--encoder", "pixels", "--devices", "cpu")
    call = ("plan", "--budgets", "5", "--method", "facility-location")
    assert "more labels" not in elfs(*call).out
    assert elfs("select", "--method", "random", "--budget", "100").code == 0
    for count, said in (
        (6, "cannot tell yet what more labels bring: 6 annotations of 2 classes"),
        (100, "100 more labels"),
    ):
        lines = Path("elfs-workspace/selections/random-100/selection.csv").read_text().splitlines()[1 : count + 1]
        rows = [f"{line.split(',')[1]},{'ab'[number % 2]}" for number, line in enumerate(lines)]
        Path("l.csv").write_text("\n".join(["id,label", *rows]) + "\n")
        assert elfs("annotate", "l.csv").code == 0
        ran = elfs(*call)
        assert said in ran.out
    assert "are expected to bring +" in ran.out
    assert "by cross-validation" in ran.out

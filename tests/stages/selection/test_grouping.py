"""Groups and columns decide what is selected, in a workspace of 60 pictures: a/00.png to c/19.png."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.annotations.annotating import annotate
from elfs.catalog import SELECTORS
from elfs.cli._selection_lines import selection_lines
from elfs.cli.app import run as elfs
from elfs.config import PlanConfig
from elfs.data.samples import SampleTable
from elfs.delivery.chosen import load_selection
from elfs.delivery.page_facts import page_facts
from elfs.delivery.pool import load_pool
from elfs.errors import InputDataError, UsageError
from elfs.ops.folds import deal_folds
from elfs.parallel.runtime import Runtime, Silence
from elfs.pipeline.job import Outcome
from elfs.pipeline.selections import read_images
from elfs.stages.doubtful_annotations import doubtful_annotations
from elfs.stages.selection.plan import plan_budgets
from elfs.train import annotated
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage

TENS = r"^(./.)"
"""Six groups of ten: a/0, a/1 and so on; b/1 has nine, since one picture is broken."""


@pytest.fixture
def used(folder: Finished, workspace: Path) -> Path:
    return folder.copy(workspace)


def ids(workspace: Path, name: str) -> list[str]:
    return [image.id for image in read_images(Workspace.open(workspace), name)]


def sizes(names: list[str]) -> Counter[str]:
    return Counter(name[:3] for name in names)


def chosen(workspace: Path, **how: Any) -> tuple[list[str], Outcome, list[str]]:
    """Return the images of a selection, what is said of it, and what is warned of."""
    said: list[str] = []
    runtime = Runtime(devices="cpu", progress=Silence(), warn=said.append)
    outcome = run_stage("select", workspace, runtime=runtime, **how)
    return ids(workspace, outcome.record.partition("/")[2]), outcome, said


def table_of(folder: Path, header: str, *lines: str) -> str:
    (folder / "meta.csv").write_text("\n".join([header, *lines]) + "\n")
    return str(folder / "meta.csv")


def film_of(workspace: Path, folder: Path) -> str:
    table = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples"))
    lines = [f"{name},{name[:3]},{'sun' if name[2:4] < '05' else 'rain'}" for name in table.names]
    return table_of(folder, "id,film,weather", *lines)


@pytest.mark.parametrize("method", [name for name, method in SELECTORS.items() if method.instead is None])
def test_every_method_stays_within_the_limit_and_says_so(used: Path, method: str) -> None:
    names, outcome, said = chosen(used, groups=TENS, per_group=2, budget="12", method=method, hard_rate=0.0)
    assert sizes(names) == dict.fromkeys(("a/0", "a/1", "b/0", "b/1", "c/0", "c/1"), 2)
    assert not [text for text in said if "selected" in text]
    assert "groups     at most 2 of each of 6 groups: 6 are in" in selection_lines(used, outcome, quiet=False)
    images = read_images(Workspace.open(used), outcome.record.partition("/")[2])
    assert all(image.group == image.id[:3] and "at most 2 of its group" in image.why for image in images)


@pytest.mark.parametrize("method", ["auto", "random", "hardest", "elfs"])
def test_whole_groups_come_in_the_order_of_their_images(used: Path, method: str) -> None:
    names, outcome, _ = chosen(used, groups=TENS, by_group=True, budget="35", method=method, hard_rate=0.0)
    assert sorted(sizes(names).values()) in ([10, 10, 10], [9, 10, 10])
    in_groups = [[name for name in names if name.startswith(group)] for group in dict.fromkeys(sizes(names))]
    assert names == [name for members in in_groups for name in sorted(members)]
    assert "groups     3 of 6 groups, each as a whole" in selection_lines(used, outcome, quiet=False)
    assert "it comes with its whole group" in read_images(Workspace.open(used), outcome.record[7:])[0].why


def test_what_is_included_excluded_or_annotated_counts_towards_the_limit(used: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id\na/00.png\na/01.png\n")
    (tmp_path / "out.csv").write_text("id\na/10.png\n")
    (tmp_path / "l.csv").write_text("id,label\nb/00.png,b\nb/01.png,b\nb/10.png,b\n")
    annotate(used, tmp_path / "l.csv")
    lists = {"include": str(tmp_path / "in.csv"), "exclude": str(tmp_path / "out.csv")}
    names, _, said = chosen(used, groups=TENS, per_group=2, budget="20", name="x", method="random", **lists)
    assert names[:2] == ["a/00.png", "a/01.png"]
    assert sizes(names) == {"a/0": 2, "a/1": 1, "b/1": 1, "c/0": 2, "c/1": 2}
    assert "6 images are selected and not 18: --per-group 2 leaves no more in 6 groups. A higher one does." in said


def test_groups_are_named_once(used: Path) -> None:
    with pytest.raises(UsageError, match=r"--per-group 1 needs to know the group .*no selection .*Give --groups FILE"):
        chosen(used, per_group=1)
    with pytest.raises(UsageError, match=r"--by-group needs to know the group of each image"):
        chosen(used, by_group=True)
    chosen(used, groups=TENS, budget="4", name="first")
    names, _, _ = chosen(used, per_group=1, budget="6", name="second")
    assert set(sizes(names).values()) == {1}
    chosen(used, groups=r"^.", budget="4", name="third")
    names, _, said = chosen(used, per_group=1, budget="6", name="fourth")
    assert sorted(name[0] for name in names) == ["a", "b", "c"]
    assert any("3 images are selected and not 6" in text for text in said)


def test_selection_with_groups_is_fresh_until_they_change(used: Path) -> None:
    assert chosen(used, groups=TENS, per_group=1, budget="6", name="x")[1].ran
    assert not chosen(used, groups=TENS, per_group=1, budget="6", name="x")[1].ran
    assert chosen(used, per_group=1, budget="6", name="y")[1].ran
    assert not chosen(used, per_group=1, budget="6", name="y")[1].ran
    chosen(used, groups=r"^.", budget="4", name="z")
    with pytest.raises(UsageError, match="selection 'y' holds another list"):
        chosen(used, per_group=1, budget="6", name="y")


def test_no_group_is_in_a_test_set_and_beside_it(used: Path) -> None:
    Workspace.open(used).remove("select/aum-0.2")
    chosen(used, groups=TENS, budget="1", method="random", name="before")
    taken = ids(used, "before")[0][:3]
    names, outcome, _ = chosen(used, holdout="25", name="test")
    assert sorted(sizes(names).values()) in ([10, 10], [9, 10])
    assert taken not in sizes(names)
    assert "groups     2 of 6 groups, each as a whole" in selection_lines(used, outcome, quiet=False)
    rest, _, _ = chosen(used, budget="1.0", method="random", name="rest")
    assert not set(sizes(rest)) & set(sizes(names))
    with pytest.raises(UsageError, match=r"every one of 6 groups has an image that is in a selection.*Draw it bef"):
        chosen(used, holdout="10", name="late")


def test_test_set_that_is_smaller_than_every_group(used: Path) -> None:
    Workspace.open(used).remove("select/aum-0.2")
    with pytest.raises(UsageError, match=r"--holdout pays for 5 images, and the smallest of 6 groups has 9: no whole"):
        chosen(used, holdout="5", groups=TENS, name="small")


def test_copies_that_are_left_out_take_no_place_in_their_group(used: Path) -> None:
    names, outcome, _ = chosen(used, groups=TENS, per_group=3, budget="18", dedup="near", method="k-center")
    assert outcome.summary["groups"]["most"] <= 3
    assert len(names) == 18 or outcome.summary["copies_left_out"]


@pytest.mark.parametrize("how", [{"groups": True}, {"metadata": True}])
@pytest.mark.parametrize("method", ["auto", "random", "k-center", "hardest"])
def test_values_of_a_column_get_equally_many(used: Path, tmp_path: Path, how: dict[str, Any], method: str) -> None:
    file = film_of(used, tmp_path)
    given = {"groups": f"{file}:film", "per_group": 5} if "groups" in how else {"metadata": file}
    names, outcome, _ = chosen(used, balance="column:weather", budget="16", method=method, **given)
    assert outcome.summary["column"] == {"name": "weather", "images": {"sun": 8, "rain": 8}}
    assert "balance    weather: sun 8, rain 8" in selection_lines(used, outcome, quiet=False)
    assert Counter(name[2:4] < "05" for name in names) == {True: 8, False: 8}
    if "groups" in how:
        assert max(sizes(names).values()) <= 5
    assert outcome.record.endswith("balanced-weather" + ("-group5" if "groups" in how else ""))


def test_images_without_a_value_are_a_part_of_their_own(used: Path, tmp_path: Path) -> None:
    file = table_of(tmp_path, "id,day", *(f"a/{number:02d}.png,1" for number in range(20)), "b/00.png,")
    names, outcome, said = chosen(used, balance="column:day", metadata=file, budget="10")
    assert outcome.summary["column"]["images"] == {"1": 5, "": 5}
    assert Counter(name[0] == "a" for name in names) == {True: 5, False: 5}
    assert any("39 of 59 images have no day in meta.csv ('b/00.png', 'b/01.png', " in text for text in said)
    assert "balance    day: 1 5, (none) 5" in selection_lines(used, outcome, quiet=False)


@pytest.mark.parametrize(
    ("balance", "lines", "message"),
    [
        ("column:weathr", ["a/00.png,1"], r"no column 'weathr'\. .*Available: weather\."),
        ("column:weather", ["a/00.png,"], "the column weather is empty for every image that can be selected"),
        ("column:weather", None, r"--balance column:weather needs a table with that column: --metadata FILE\.csv"),
    ],
)
def test_column_that_cannot_be_balanced(
    used: Path, tmp_path: Path, balance: str, lines: list[str] | None, message: str
) -> None:
    file = None if lines is None else table_of(tmp_path, "id,weather", *lines)
    with pytest.raises(UsageError, match=message):
        chosen(used, balance=balance, metadata=file, groups=None if file else TENS)


def test_column_whose_values_no_images_share(digits: Finished, workspace: Path, tmp_path: Path) -> None:
    table = SampleTable.from_ids([f"{number}.png" for number in range(1001)], 0, 1)
    file = table_of(tmp_path, "id,time", *(f"{name},{name}" for name in table.names))
    from elfs.config import SelectConfig
    from elfs.pipeline.job import Job
    from elfs.stages.selection.grouping import gather_grouping
    from elfs.workspace.draft import Draft

    used = Workspace.open(digits.copy(workspace))
    job = Job(used, Draft(used, "x", tmp_path), Runtime(devices="cpu"))
    with pytest.raises(UsageError, match=r"the column time has 1,001 values, expected at most 1,000, which images"):
        gather_grouping(job, SelectConfig(balance="column:time", metadata=file), table)


def test_what_looks_like_a_mistake_is_said(used: Path, tmp_path: Path) -> None:
    file = table_of(tmp_path, "id,film", "a/00.png,One", "a/01.png,one", "gone.png,one")
    _, outcome, said = chosen(used, groups=file, per_group=1, budget="10")
    assert any("57 of 59 images are of no group by meta.csv:film ('a/02.png', " in text for text in said)
    assert any("1 images of meta.csv:film are not in the workspace: 'gone.png'" in text for text in said)
    assert any("groups differ by case, blanks or Unicode form alone" in text for text in said)
    assert any("count as different: 'One', 'one'" in text for text in said)
    lines = selection_lines(used, outcome, quiet=False)
    assert any("at most 1 of each of 2 groups and 57 images without one" in line for line in lines)
    _, _, said = chosen(used, groups="png", budget="10", name="x")
    assert any("png puts all images into one group, 'png'" in text for text in said)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"per_group": 0}, r"--per-group is 0, expected at least 1\."),
        ({"per_group": 2, "by_group": True}, "--per-group takes a part of each group, and --by-group all of it: give"),
        (
            {"groups": TENS, "by_group": True, "budget": "5"},
            r"--budget pays for 5 images, .* 6 groups has 9: no whole",
        ),
        ({"groups": "("}, "neither a file nor a regular expression"),
        ({"balance": "column:"}, "unknown value for --balance: 'column:'|unknown value for --balance"),
        ({"balance": "cols:x"}, "unknown value for --balance"),
    ],
)
def test_options_that_cannot_be(used: Path, how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(used, **how)


@pytest.mark.parametrize("option", ["groups", "metadata"])
def test_file_that_is_not_there(used: Path, option: str) -> None:
    with pytest.raises(InputDataError, match=rf"--{option} none\.csv: there is no such file"):
        chosen(used, **{option: "none.csv"})


def test_groups_in_which_everything_is_settled(used: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("id\n" + "".join(f"{part}/{number}0.png\n" for part in "abc" for number in "01"))
    with pytest.raises(UsageError, match=r"--per-group 1: every group has as many that are included, excluded or ann"):
        chosen(used, groups=TENS, per_group=1, budget="3", exclude=str(tmp_path / "out.csv"), name="x")


def test_without_groups_nothing_of_them_is_written(used: Path) -> None:
    _, outcome, _ = chosen(used, budget="5", name="x")
    assert "groups" not in outcome.summary
    assert (used / "selections/x/selection.csv").read_text().startswith("rank,id,pseudo_label,score,why\n")
    assert not Workspace.open(used).has("groups")
    assert np.all(Workspace.open(used).arrays("selections/x")["indices"] >= 0)


@pytest.mark.slow
def test_cross_validation_of_annotations_splits_no_group(
    used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a classifier of the annotations is judged: label, the methods for rounds, plan, doubtful ones."""
    names = [f"{name}/{number:02d}.png" for name in "abc" for number in range(0, 20, 2)]
    (tmp_path / "l.csv").write_text("id,label\n" + "".join(f"{name},{name[0]}\n" for name in names))
    chosen(used, groups=TENS, budget="4", method="random", name="x")
    annotate(used, tmp_path / "l.csv")
    dealt: list[tuple[Tensor, Tensor]] = []

    def spy(labels: Tensor, num_folds: int, draws: torch.Generator, groups: Tensor) -> Tensor:
        dealt.append((deal_folds(labels, num_folds, draws, groups), groups))
        return dealt[-1][0]

    monkeypatch.setattr(annotated, "deal_folds", spy)
    run_stage("label", used)
    run_stage("select", used, method="margin", budget="4", name="y")
    plan_budgets(used, PlanConfig(method="random", budgets="3"), Runtime(devices="cpu"))
    doubtful_annotations(used)
    assert len(dealt) == 4
    for folds, groups in dealt:
        assert len(groups.unique()) == 6
        assert all(len(folds[groups == group].unique()) == 1 for group in groups.unique())
    assert not run_stage("label", used).ran


@pytest.mark.parametrize(
    ("how", "figure", "told"),
    [
        ({"per_group": 2}, ("6 of 6", "groups, at most 2 of each"), "per group 2"),
        ({"by_group": True}, ("1 of 6", "groups, each as a whole"), "whole groups"),
        ({}, None, "groups ^(./.)"),
    ],
)
def test_export_page_and_status_say_groups(
    used: Path, capsys: pytest.CaptureFixture[str], how: dict[str, Any], figure: tuple[str, str] | None, told: str
) -> None:
    chosen(used, groups=TENS, budget="12", method="random", name="x", **how)
    selection = load_selection(used, "x")
    facts = page_facts(selection, load_pool(selection))
    assert figure in facts if figure else any(text == "groups" for _, text in facts)
    assert elfs(["export", "--selection", "x", "--format", "json", "-w", str(used)]) == 0
    records = json.loads(capsys.readouterr().out)["images"]
    assert all(record["group"] == record["id"][:3] for record in records)
    assert elfs(["status", "-w", str(used)]) == 0
    assert told in capsys.readouterr().out

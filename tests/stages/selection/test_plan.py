"""What budgets would buy: each line is what select would give, and nothing of it stays."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.config import PlanConfig
from elfs.errors import MissingUpstreamError, UsageError
from elfs.parallel.runtime import Runtime
from elfs.stages.selection.plan import COLUMNS, plan_budgets
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, make_embeddings, run_stage


def plan(path: Path, **settings: Any) -> dict[str, Any]:
    return plan_budgets(path, PlanConfig(**settings), Runtime(devices="cpu")).summary


@pytest.fixture
def path(digits: Finished, workspace: Path) -> Path:
    return digits.copy(workspace)


@pytest.mark.parametrize("method", ["auto", "elfs", "random"])
def test_a_line_is_what_select_gives(path: Path, method: str) -> None:
    before = set(Workspace.open(path).manifest.records)
    (line,) = plan(path, budgets="20", method=method)["budgets"]
    assert set(Workspace.open(path).manifest.records) == before | {"plan"}
    assert not list((path / "partial").rglob("*.*"))
    selected = run_stage("select", path, budget="20", method=method, name="x").summary
    assert line["images"] == selected["count"] == 20
    assert line["clusters"] == selected.get("clusters", line["clusters"])
    assert line["clusters_with_1"] == selected.get("clusters_covered", line["clusters_with_1"])
    assert line["coverage"] == pytest.approx(selected["coverage"]["selected"], abs=5e-5)
    assert line["random"] == pytest.approx(selected["coverage"]["random"], abs=5e-5)


def test_lines_rise_and_say_what_chance_needs(path: Path) -> None:
    found = plan(path, budgets="0.5,5%,20,0.1")
    images = [line["images"] for line in found["budgets"]]
    assert images == sorted(images)
    assert len(images) == 4
    for line in found["budgets"]:
        assert line["random_lowest"] <= line["random"] <= line["random_highest"]
        assert line["as_many_random"] is None or line["as_many_random"] > line["images"]
        assert line["clusters_with_5"] <= line["clusters_with_1"] <= line["clusters"]
    coverage = [line["coverage"] for line in found["budgets"]]
    assert coverage == sorted(coverage)
    assert found["bend"] in {line["budget"] for line in found["budgets"]}
    with (path / "plan" / "table.csv").open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert tuple(written[0]) == COLUMNS
    assert [int(line["images"]) for line in written] == images


def test_budgets_that_do_not_fit_are_named(path: Path) -> None:
    found = plan(path, budgets="20,20%,999999,20")
    assert [line["budget"] for line in found["budgets"]] == ["20", "20%"]
    (left_out,) = found["left_out"]
    assert left_out["budget"] == "999999"
    assert left_out["reason"].startswith("--budget asks for 999,999 images, but only")
    with pytest.raises(UsageError, match=r"^no budget fits: 999999: --budget asks for"):
        plan(path, budgets="999999")


def test_budgets_that_pay_for_equally_many_are_one(path: Path) -> None:
    eligible = plan(path, budgets="20")["eligible"]
    found = plan(path, budgets=f"0.1,{round(eligible * 0.1)}")
    assert len(found["budgets"]) + len(found["left_out"]) == 2
    assert [item["reason"] for item in found["left_out"]] == ["pays for as many images as 0.1."]


def test_included_images_count_and_cover(path: Path) -> None:
    run_stage("select", path, budget="20", method="random", name="first")
    found = plan(path, budgets="30,40,10", include="selections/first")
    assert [line["images"] for line in found["budgets"]] == [30, 40]
    assert found["left_out"][0]["reason"].startswith("--budget is 10 images, and --include names 20")


def test_an_equal_plan_is_there_already_and_a_rescore_makes_it_anew(path: Path) -> None:
    config, runtime = PlanConfig(budgets="20"), Runtime(devices="cpu")
    assert plan_budgets(path, config, runtime).ran
    assert not plan_budgets(path, config, runtime).ran
    assert plan_budgets(path, config, runtime, force=True).ran
    run_stage("score", path, window=3)
    assert plan_budgets(path, config, runtime).ran


def test_coverage_alone_needs_no_scores_and_no_clusters(tmp_path: Path, workspace: Path) -> None:
    run_stage(
        "embed", workspace, source="embeddings", encoder=None, embeddings=str(make_embeddings(tmp_path / "x.npy"))
    )
    with pytest.raises(MissingUpstreamError, match=r"^plan needs"):
        plan(workspace, budgets="5")
    (line,) = plan(workspace, budgets="5", method="facility-location")["budgets"]
    assert line["clusters"] is None
    assert np.isfinite(line["coverage"])


@pytest.mark.parametrize("budgets", ["", " , "])
def test_no_budget_at_all_is_refused(budgets: str) -> None:
    with pytest.raises(UsageError, match=r"^--budgets is .*, expected shares or counts, comma-separated\.$"):
        PlanConfig(budgets=budgets)


def test_a_budget_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="budget"):
        PlanConfig(budgets="0.1,many")


@pytest.mark.parametrize(
    ("limit", "images", "left_out"),
    [
        ({"per_group": 2}, [10, 12], {"35": "the groups leave 12, as many as for 30."}),
        ({"by_group": True}, [10, 29], {"5": "no whole group fits", "35": "the groups leave 29, as many as for 30."}),
        ({"balance": "column:hour"}, [5, 10, 30, 35], {}),
    ],
)
def test_groups_and_columns_limit_a_plan_as_they_limit_a_selection(
    folder: Finished,
    workspace: Path,
    tmp_path: Path,
    limit: dict[str, Any],
    images: list[int],
    left_out: dict[str, str],
) -> None:
    """Six groups of ten pictures, of which one is broken."""
    path = folder.copy(workspace)
    (tmp_path / "meta.csv").write_text(
        "id,hour\n" + "".join(f"{letter}/{number:02}.png,{number % 2}\n" for letter in "abc" for number in range(20))
    )
    limit |= {"groups": "^(./.)", "metadata": str(tmp_path / "meta.csv"), "method": "random"}
    budgets = ",".join(["5"] * ("per_group" not in limit) + ["10", "30", "35"])
    said: list[str] = []
    found = plan_budgets(path, PlanConfig(budgets=budgets, **limit), Runtime(devices="cpu", warn=said.append)).summary
    assert not said  # what is left out says it, once for each budget
    assert "groups" not in Workspace.open(path).manifest.artifacts
    assert [line["images"] for line in found["budgets"]] == images
    assert {item["budget"] for item in found["left_out"]} == set(left_out)
    for item in found["left_out"]:
        assert left_out[item["budget"]] in item["reason"]
    last = found["budgets"][-1]
    selected = run_stage("select", path, budget=last["budget"], **limit).summary
    assert last["coverage"] == pytest.approx(selected["coverage"]["selected"], abs=5e-5)
    named = {name: value for name, value in limit.items() if name != "groups"}
    assert plan(path, budgets=budgets, **named)["budgets"] == found["budgets"]  # the groups that the selection named


def test_a_plan_says_that_no_whole_group_fits(folder: Finished, workspace: Path) -> None:
    with pytest.raises(UsageError, match=r"^no budget fits: 3: .*no whole group fits"):
        plan(folder.copy(workspace), budgets="3", groups="^(./.)", by_group=True, method="random")


def test_a_plan_with_groups_that_nobody_named_says_how(folder: Finished, workspace: Path) -> None:
    with pytest.raises(UsageError, match="--per-group 2 needs to know the group of each image"):
        plan(folder.copy(workspace), budgets="5", per_group=2)

"""Tables of the page."""

import base64
from pathlib import Path

import pytest

from elfs.config import CompareConfig, PlanConfig
from elfs.delivery.chosen import load_selection
from elfs.delivery.comparison_figure import comparison_figure
from elfs.delivery.pool import load_pool
from elfs.delivery.tables import PageTable, page_tables
from elfs.errors import CorruptArtifactError
from elfs.evaluation.compare import compare
from elfs.parallel.runtime import Runtime
from elfs.stages.selection.plan import plan_budgets
from tests.chain import Finished, run_stage


def tables(path: Path) -> dict[str, PageTable]:
    selection = load_selection(path, "x")
    found = page_tables(selection, load_pool(selection))
    for table in found:
        assert all(len(row) == len(table.head) for row in table.rows)
    return {table.title: table for table in found}


@pytest.fixture
def path(digits: Finished, workspace: Path) -> Path:
    digits.copy(workspace)
    run_stage("select", workspace, budget="30", name="x")
    return workspace


def test_clusters_add_up(path: Path) -> None:
    (table,) = tables(path).values()
    selection = load_selection(path, "x")
    assert comparison_figure(selection) is None
    assert "proxies that agree" not in table.head  # there is one proxy
    assert sum(int(row[1].replace(",", "")) for row in table.rows) == len(load_pool(selection))
    assert sum(int(row[2]) for row in table.rows) == 30
    assert [int(row[1]) for row in table.rows] == sorted((int(row[1]) for row in table.rows), reverse=True)


@pytest.mark.slow
def test_plan_and_comparison_are_shown_once_they_are_there(path: Path) -> None:
    runtime = Runtime(devices="cpu")
    plan_budgets(path, PlanConfig(budgets="10,20,40"), runtime)
    config = CompareConfig(
        methods="auto,random", budgets="20", seeds=2, network="linear", iterations=5, reference=False
    )
    report = compare(path, config, runtime)
    found = tables(path)
    assert [row[0] for row in found["What other budgets would buy"].rows] == ["10", "20", "40"]
    comparison = found["How methods compare"]
    assert comparison.head == ("method", "20")
    assert [row[1] for row in comparison.rows] == [cell.text for cell in report.comparison.cells]
    address = comparison_figure(load_selection(path, "x"))
    assert address is not None
    assert base64.b64decode(address.partition(",")[2]) == (path / "comparison/figure.svg").read_bytes()
    (path / "comparison/figure.svg").write_bytes(b"<svg/>")
    with pytest.raises(CorruptArtifactError, match="figure") as caught:
        comparison_figure(load_selection(path, "x"))
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("elfs compare ")

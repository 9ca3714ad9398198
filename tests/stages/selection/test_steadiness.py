"""How many picks would be the same with other proxies, and when nothing is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.stages.selection import steadiness
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage

FEW: dict[str, Any] = {"recipe": "ensemble", "proxies": 8, "folds": 2, "epochs": 4}


@pytest.fixture(scope="module")
def several(digits: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    path = digits.copy(tmp_path_factory.mktemp("several") / "w")
    run_stage("dynamics", path, **FEW)
    run_stage("score", path)
    return Finished(path, None)


def said(path: Path, **settings: Any) -> float | None:
    facts = run_stage("select", path, **settings).summary
    value = facts.get("same_with_other_proxies")
    assert value is None or isinstance(value, float)
    return value


@pytest.mark.slow
@pytest.mark.parametrize("key", ["aum", "confidence"])
def test_it_foretells_what_others_pick(several: Finished, tmp_path: Path, key: str) -> None:
    settings: dict[str, Any] = {"method": "hardest", "key": key, "budget": "40"}
    several.copy(tmp_path / "w")
    foretold = said(tmp_path / "w", **settings)
    assert foretold is not None
    mine = set(Workspace.open(tmp_path / "w").arrays(f"selections/hardest-{key}-40")["indices"].tolist())
    shares = []
    for seed in (1, 2, 3):
        several.copy(tmp_path / str(seed))
        run_stage("dynamics", tmp_path / str(seed), **FEW, seed=seed)
        run_stage("score", tmp_path / str(seed))
        run_stage("select", tmp_path / str(seed), **settings)
        other = Workspace.open(tmp_path / str(seed)).arrays(f"selections/hardest-{key}-40")["indices"]
        shares.append(len(mine & set(other.tolist())) / 40)
    assert 0.3 < np.mean(shares) < 1
    assert foretold == pytest.approx(np.mean(shares), abs=0.12)


@pytest.mark.parametrize(
    "settings",
    [
        {"key": "el2n"},
        {"key": "density"},
        {"method": "random"},
        {"method": "k-center"},
        {"method": "dual-beta"},
        {"budget": "1.0"},
    ],
    ids=str,
)
def test_nothing_is_said_where_it_is_not_known(several: Finished, workspace: Path, settings: dict[str, Any]) -> None:
    assert said(several.copy(workspace), **settings) is None


def test_nothing_is_said_of_one_proxy_or_of_a_large_pool(
    digits: Finished, several: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(digits.copy(tmp_path / "one"), budget="0.3") is None
    assert said(several.copy(tmp_path / "large"), budget="0.3") is not None
    monkeypatch.setattr(steadiness, "_MOST_ROWS", 159)
    assert said(tmp_path / "large", budget="0.4") is None


def test_what_it_goes_by_is_an_input_and_the_second_call_finds_all_fresh(several: Finished, workspace: Path) -> None:
    several.copy(workspace)
    assert run_stage("select", workspace, budget="0.3").ran
    assert not run_stage("select", workspace, budget="0.3").ran
    assert "agreement" in Workspace.open(workspace).manifest.records["select/aum-0.3"].inputs

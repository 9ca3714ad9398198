import csv
import io

import numpy as np
import pytest
import torch

from elfs import catalog
from elfs.config import SelectConfig
from elfs.data.cells import csv_text, safe_cell
from elfs.stages.selection import reasons as selection_reasons
from elfs.stages.selection.reasons import REASONS, reasons, selection_csv


def test_every_method_says_why() -> None:
    assert set(REASONS) == set(catalog.SELECTORS)


@pytest.mark.parametrize("method", catalog.SELECTORS)
def test_reason_is_a_sentence_without_holes(method: str) -> None:
    config = SelectConfig(method=method, key="el2n", seed=7)
    hardness = torch.tensor([0.1, 0.9, float("nan"), 0.5])
    (why,) = reasons(config, hardness, torch.tensor([3]), 0.25)
    assert "{" not in why
    keyed = catalog.SELECTORS[method].keyed
    assert why.startswith("33.3% of the pool is harder by el2n; ") == keyed  # one of the three that have a score
    assert ("25.0%" in why) == catalog.SELECTORS[method].prunes
    assert ("seed 7" in why) == (method == "random")


def test_balance_is_mentioned() -> None:
    config = SelectConfig(method="random", balance="cluster")
    assert reasons(config, None, torch.tensor([0, 1]), 0.0) == ["drawn at random with seed 0, inside its cluster"] * 2


def test_table_for_people() -> None:
    data = selection_csv(
        ["a.png", 'b,"c".png'], np.array([3, -1]), np.array([0.5, np.nan], dtype=np.float32), ["x", "y"]
    )
    lines = list(csv.reader(io.StringIO(data.decode())))
    assert lines[0] == ["rank", "id", "pseudo_label", "score", "why"]
    assert lines[1:] == [["1", "a.png", "3", "0.5", "x"], ["2", 'b,"c".png', "-1", "nan", "y"]]
    empty = list(csv.reader(io.StringIO(selection_csv(["a"], None, None, ["x"]).decode())))
    assert empty[1] == ["1", "a", "", "", "x"]


@pytest.mark.parametrize("groups", [None, ["", "=2", "a,b", "c"]])
def test_table_is_that_of_the_csv_module(groups: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection_reasons, "_BLOCK_LINES", 3)
    ids, why = ["a.png", '=b,"c"', "d\ne", "\udcff"], ["x", "y, z", "x", "-"]
    scores = np.array([0.1, 1e-9, 123456.789, np.nan], dtype=np.float32)
    rows: list[list[object]] = [["rank", "id", "pseudo_label", "score", "why", *([] if groups is None else ["group"])]]
    for index in range(4):
        own = [] if groups is None else [safe_cell(groups[index])]
        cells = [safe_cell(ids[index]), index - 1, f"{scores[index]:.6g}", safe_cell(why[index])]
        rows.append([index + 1, *cells, *own])
    expected = csv_text(rows).encode("utf-8", "surrogateescape")
    assert selection_csv(ids, np.arange(-1, 3), scores, why, groups) == expected

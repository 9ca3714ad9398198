"""What the page's script gets to show."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.delivery import explore, outside
from elfs.delivery.chosen import load_selection
from elfs.delivery.explore import explorer, script_json
from elfs.delivery.pictures import Pictures
from elfs.delivery.pool import load_pool
from elfs.delivery.report import render_report
from elfs.delivery.thumbnails import Thumbnails
from tests.chain import Finished, run_stage

pytestmark = pytest.mark.usefixtures("no_drawing")


def data_of(path: Path, wanted: str | None = None) -> dict[str, Any]:
    selection = load_selection(path, wanted)
    return explorer(selection, load_pool(selection), Thumbnails(Pictures(selection)))


def name_of(other: int | str, found: dict[str, Any]) -> str:
    """Return the id behind the name of a neighbour."""
    if isinstance(other, str):
        return other
    return str(found["items"][other]["id"] if other >= 0 else found["outside"][-1 - other]["id"])


@pytest.fixture
def path(digits: Finished, workspace: Path) -> Path:
    digits.copy(workspace)
    run_stage("select", workspace, budget="30", name="x")
    return workspace


def test_all_that_is_known_of_an_image(path: Path) -> None:
    selection = load_selection(path, "x")
    pool, workspace = load_pool(selection), selection.workspace
    found = data_of(path, "x")
    assert (found["total"], found["selected"], found["keys"][0]) == (len(pool), 30, "aum")
    assert [item["rank"] for item in found["items"][:30]] == list(range(1, 31))
    scores, margins = workspace.arrays("scores"), workspace.arrays("dynamics")["margin"]
    near = workspace.arrays("neighbors")["indices"]
    for number in (0, 7, 29, 40):
        item = found["items"][number]
        (row,) = selection.table.rows_of([item["id"]]).tolist()
        assert item["cluster"] == workspace.arrays("pseudo_labels")["pseudo_labels"][row]
        for key, value, rank in zip(found["keys"], item["scores"], item["ranks"], strict=True):
            values = scores[key][pool.rows]
            assert value == (None if np.isnan(scores[key][row]) else pytest.approx(float(scores[key][row]), rel=1e-3))
            if key == "aum":  # lower is harder
                assert rank == 1 + int((values < scores[key][row]).sum())
        assert item["curve"] == pytest.approx(margins[:, row].tolist(), rel=1e-3, abs=1e-6)
        named = [name_of(other, found) for other in item["near"]]
        assert named == [selection.table.id(other) for other in near[row, :6].tolist() if other >= 0]
        assert item["picture"].startswith("data:image/png;base64,")
        assert all(0 <= value <= 1 for value in item["at"])


def test_every_image_of_the_pool_is_an_item_or_a_point(path: Path) -> None:
    found = data_of(path, "x")
    assert len({item["id"] for item in found["items"]}) == len(found["items"])
    assert len(found["items"]) + len(found["points"]["at"]) == found["total"]
    assert len(found["points"]["cluster"]) == len(found["points"]["score"]) == len(found["points"]["kind"])


def test_large_pools_are_sampled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("_MOST_SELECTED", 10), ("_MOST_OTHERS", 5), ("_MOST_POINTS", 20)):
        monkeypatch.setattr(explore, name, most)
    found = data_of(path, "x")
    items, clusters = found["items"], found["clusters"]
    assert [item.get("rank") for item in items[:10]] == [1, 4, 7, 11, 14, 17, 20, 24, 27, 30]
    assert [item["kind"] for item in items[10:15]] == [3] * 5
    typical = {number for cluster in clusters for number in cluster["typical"] + cluster["odd"]}
    assert set(range(15, len(items))) <= typical
    near = [other for item in items for other in item["near"]]
    assert {other for other in near if isinstance(other, str)} == set()
    assert {-1 - other for other in near if other < 0} == set(range(len(found["outside"]))) != set()
    assert all(each["picture"].startswith("data:image/png;base64,") for each in found["outside"])
    assert {each["id"] for each in found["outside"]}.isdisjoint(item["id"] for item in items)
    monkeypatch.setattr(outside, "_MOST_BYTES", 3 * len(found["outside"][0]["picture"]))
    fewer = data_of(path, "x")
    assert fewer["outside"] == found["outside"][: len(fewer["outside"])] != found["outside"] != []
    for item, with_fewer in zip(items, fewer["items"], strict=True):
        assert [name_of(other, found) for other in item["near"]] == [
            name_of(other, fewer) for other in with_fewer["near"]
        ]
    assert (len(items) + len(found["points"]["at"]), found["selected"]) == (35, 30)


def test_each_cluster_has_typical_and_odd_images(path: Path) -> None:
    found = data_of(path, "x")
    assert len(found["clusters"]) > 1
    for cluster in found["clusters"]:
        for end in ("typical", "odd"):
            assert [found["items"][number]["cluster"] for number in cluster[end]] == [cluster["cluster"]] * 3
        assert not set(cluster["typical"]) & set(cluster["odd"])


def test_a_workspace_with_scores_alone_has_no_map_and_no_curves(shop: Any) -> None:
    found = data_of(shop.path)
    assert found["points"] == {}
    assert len(found["items"]) == 20
    assert not {"at", "curve", "near", "copy"} & set(found["items"][0])
    assert {item["kind"] for item in found["items"]} == {0, 1, 2}


def test_the_page_runs_our_script_alone_and_its_data_can_be_read(odd: Callable[..., Any]) -> None:
    names = (b"<_script><script>alert(1)<_script>.png", b"\xff.png", b"a\x1b[31m.png", b"<!--.png")
    html = render_report(odd(*names).path, None).html
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    shown = {item["id"] for item in json.loads(data)["items"]}
    assert {"a\\x1b[31m.png", "<!--.png", "\\udcff.png"} <= shown


@pytest.mark.parametrize("text", ["</script>", "<!--", "&amp;", "\u2028", "\ud800", "\0"])
def test_no_text_ends_the_element(text: str) -> None:
    written = script_json([text])
    assert written.isascii()
    assert not set("<>&\0") & set(written)
    assert json.loads(written) == [text]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json([value])


@pytest.mark.parametrize("value", [-0.0, np.float32(-0.0), 0.0])
def test_zero_has_no_sign(value: float) -> None:
    assert json.dumps(explore._number(value)) == "0.0"

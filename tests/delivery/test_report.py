import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.annotations.annotating import annotate
from elfs.catalog import SELECTORS
from elfs.data.samples import SampleTable
from elfs.delivery.chosen import load_selection
from elfs.delivery.pool import load_pool
from elfs.delivery.report import render_report, write_report
from elfs.delivery.tables import page_tables
from elfs.errors import UsageError
from tests.chain import finished, run_stage
from tests.damage import edited_manifest

pytestmark = pytest.mark.usefixtures("no_drawing")

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """What a reader of the page sees, and what a browser would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title", "script"):
            self.text += data

    def words(self) -> str:
        return " ".join(self.text.split())


def page_of(shop: Any, wanted: str | None = None) -> Page:
    page = Page(render_report(shop.path, wanted).html)
    assert page.open == []
    return page


def test_the_page_is_whole_and_fetches_nothing(shop: Any) -> None:
    page = page_of(shop)
    assert page.addresses
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert not {"link", "iframe", "object"} & set(page.tags)
    assert page.tags.count("script") == 2  # the data, and one of our own
    assert page.tags.count("svg") == 2
    html = render_report(shop.path, None).html
    assert "default-src 'none'" in html
    assert set(re.findall(r"https?://[^\"/]+", html)) == {"http://www.w3.org"}


@pytest.mark.usefixtures("sketched")
def test_it_says_what_was_selected_and_how(shop: Any) -> None:
    words = page_of(shop).words()
    assert words.startswith(
        "elfs selection quarter 5 of 20 by elfs, aum, hard rate 0.40: 25.0% of the pool, from folder"
    )
    assert "5selected 20in the pool" in words.replace(" selected", "selected")
    assert "label label done, well" in words
    assert "1.2 s" in words
    assert "method elfs budget 0.25 seed 0" in words
    assert "elfs train --selection quarter --labels quarter-images/labels.csv --network linear --workspace" in words


@pytest.mark.usefixtures("sketched")
def test_three_sheets_show_the_window_and_both_ends(shop: Any) -> None:
    words = page_of(shop).words()
    assert "Selected5 of 5" in words
    assert "Left out: too hard8 of 8" in words
    assert "Left out: too easy7 of 7" in words
    hard = words[words.index("Left out: too hard") : words.index("Left out: too easy")]
    assert hard.index("a/00.png") < hard.index("a/07.png")
    easy = words[words.index("Left out: too easy") :]
    assert easy.index("b/09.png") < easy.index("b/03.png")
    assert page_of(shop).tags.count("img") == 20


@pytest.mark.usefixtures("sketched")
def test_sheets_hold_a_few_dozen(empty: Any) -> None:
    empty.draw([f"{number:03d}.png" for number in range(200)])
    empty.embed()
    empty.label(200)
    empty.score(np.arange(200))
    empty.select(method="elfs", budget="100", hard_rate=0.25, name="half")
    page = page_of(empty)
    assert page.tags.count("img") == 36 + 24 + 24
    assert {"050.png", "149.png", "000.png", "199.png"} <= set(page.words().split())


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("method", [name for name, method in SELECTORS.items() if "annotations" not in method.reads])
def test_every_method_has_a_page(method: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = finished("folder", tmp_path_factory).copy(tmp_path / "copy")
    asks = "annotations" in SELECTORS[method].reads  # such a method looks at no score, and its page shows none
    if asks:
        labels = [f"{kind}/{number:02d}.png,{kind}\n" for kind in "abc" for number in range(3)]
        (tmp_path / "labels.csv").write_text("id,label\n" + "".join(labels))
        annotate(path, tmp_path / "labels.csv")
    name = run_stage("select", path, method=method, key="tdds", budget="4").summary["name"]
    words = Page(render_report(path, name).html).words()
    assert "4selected" in words.replace(" selected", "selected")
    told = method in ("auto", "easiest", "elfs", "hardest", "random")
    assert ("goes by more than this score, or by something else" in words) is not (told or asks)


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("wrong", [{}, {"a/03.png": "<b>", "c/07.png": "a"}], ids=["right", "wrong"])
def test_doubtful_annotations_are_shown(
    wrong: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = finished("folder", tmp_path_factory).copy(tmp_path / "copy")
    name = run_stage("select", path, method="random", budget="4").summary["name"]
    names = {"a": "a", "b": "<b>", "c": "c"}
    said = {f"{kind}/{number:02d}.png": names[kind] for kind in "abc" for number in range(20)} | wrong
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{image},{label}\n" for image, label in said.items()))
    annotate(path, tmp_path / "labels.csv")
    words = Page(render_report(path, name).html).words()
    assert ("Doubtful annotations" in words) is bool(wrong)
    if wrong:
        assert "Doubtful annotations2 of 2" in words
        assert "<b> or a?a/03.png" in words.replace(" a/03", "a/03")
        assert "a or c?c/07.png" in words.replace(" c/07", "c/07")


@pytest.mark.usefixtures("sketched")
def test_too_few_annotations_are_in_no_doubt(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = finished("folder", tmp_path_factory).copy(tmp_path / "copy")
    name = run_stage("select", path, method="random", budget="4").summary["name"]
    (tmp_path / "labels.csv").write_text("id,label\na/00.png,a\nb/00.png,b\n")
    annotate(path, tmp_path / "labels.csv")
    assert "Doubtful" not in Page(render_report(path, name).html).words()


def test_key_that_the_scores_lack_leaves_the_histogram_out(shop: Any) -> None:
    name = shop.select(method="random", key="dual", budget="4", name="unkeyed")
    assert page_of(shop, name).tags.count("svg") == 1


def test_ids_are_text_and_not_markup(odd: Callable[..., Any]) -> None:
    names = (
        b"<script>alert(1)<",
        b'"><img src=x onerror=y>.png',
        b"\xff.png",
        b"{{ 7 * 7 }}.png",
        b"a\x1b[31m\r\x07.png",
    )
    shop = odd(*names)
    page = page_of(shop)
    assert not set(map(chr, [*range(9), *range(11, 32), 127])) & set(render_report(shop.path, None).html)
    assert "a\\x1b[31m\\x0d\\x07.png" in page.words()
    assert page.tags.count("script") == 2
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    words = page.words()
    assert "<script>alert(1)<" in words
    assert "\\xff.png" in words
    assert "{{ 7 * 7 }}.png" in words


@pytest.mark.usefixtures("sketched")
def test_unreadable_images_are_listed_with_their_reasons(broken: Any) -> None:
    words = page_of(broken).words()
    assert "Unreadable images2" in words
    assert "a/03.pngbrokendamaged <b>header</b> a/04.pngtoo large9 x 9 pixels" in words


def test_equal_workspaces_give_equal_pages(shop: Any) -> None:
    assert render_report(shop.path, None) == render_report(shop.path, None)


@pytest.mark.usefixtures("sketched")
def test_a_good_selection_comes_without_warnings(shop: Any) -> None:
    assert render_report(shop.path, None).warnings == []
    assert 'class="warning"' not in render_report(shop.path, None).html


@pytest.mark.usefixtures("sketched")
def test_smoke_is_said_first(shop: Any) -> None:
    shop.label(20, smoke=True)
    shop.select(method="elfs", budget="4", hard_rate="0.1", name="smoke")
    report = render_report(shop.path, "smoke")
    assert report.warnings == ["Smoke settings (label, select): every step ran, the result means nothing."]
    assert report.warnings[0] in Page(report.html).words()


@pytest.mark.usefixtures("sketched")
def test_a_selection_from_older_scores_is_shown_as_it_is(shop: Any) -> None:
    shop.score(np.arange(20)[::-1])
    report = render_report(shop.path, None)
    page = Page(report.html)
    assert report.warnings == ["Selection 'quarter' is taken as it is: it was made from older scores."]
    assert report.warnings[0] in page.words()
    assert "Left out: too hard" not in page.words()
    assert "Not selected" in page.words()


@pytest.mark.usefixtures("sketched")
def test_a_selection_of_which_images_are_gone_is_shown_without_them(shop: Any) -> None:
    for name in ("a/08.png", "a/09.png"):
        (shop.root / name).unlink()
    table = shop.embed()
    shop.label(len(table))
    shop.score(np.arange(len(table)))
    report = render_report(shop.path, None)
    assert report.warnings[0].endswith("2 of its images are not in the pool any more: 'a/08.png', 'a/09.png'.")
    assert "rank 3: " in report.html
    assert "rank 1: " not in report.html
    assert "16.7% of the pool" in report.html


@pytest.mark.usefixtures("sketched")
def test_a_folder_that_has_moved_costs_the_pictures_only(shop: Any) -> None:
    shutil.rmtree(shop.root)
    report = render_report(shop.path, None)
    [warning] = report.warnings
    assert warning.startswith("20 images of this page can no longer be read (missing: No such file")
    assert warning.endswith(f"If the folder has moved: elfs embed --root FOLDER --workspace {shop.path}")
    assert "img" not in Page(report.html).tags


def test_embeddings_alone_have_a_page_too(empty: Any) -> None:
    table = SampleTable.from_ids([f"row/{number}" for number in range(9)], 0, 0)
    empty.embed(table, source="embeddings", has_images=False)
    empty.select(method="random", budget="3", name="three")
    page = page_of(empty)
    assert page.tags.count("svg") == 0
    assert "row/0" in page.words()
    assert render_report(empty.path, None).warnings == []


def test_all_scores_missing_draws_no_histogram(shop: Any) -> None:
    shop.score(np.full(20, np.nan))
    shop.select(method="random", budget="3", name="chance")
    assert page_of(shop, "chance").tags.count("svg") == 1


def test_the_page_is_written_whole_over_an_old_one(shop: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    report = write_report(shop.path, "quarter", path)
    assert path.read_text(encoding="utf-8") == report.html
    assert [item.name for item in tmp_path.iterdir() if "tmp" in item.name] == []
    with pytest.raises(UsageError, match="--output is the folder"):
        write_report(shop.path, "quarter", tmp_path)


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(
    ("seconds", "text"), [(0.02, "&lt; 0.1 s"), (38.24, "38.2 s"), (125.0, "2:05 min"), (7384, "2:03:04 h")]
)
def test_times_read_well(shop: Any, monkeypatch: pytest.MonkeyPatch, seconds: float, text: str) -> None:
    with edited_manifest(shop.path) as manifest:
        for run in manifest["runs"].values():
            run["seconds"] = seconds
    assert f">{text}</td>" in render_report(shop.path, None).html


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(("how", "shown"), [("groups", True), ("scores", False)])
def test_the_number_of_clusters_is_shown_where_groups_were_counted(shop: Any, how: str, shown: bool) -> None:
    """An older version scored the numbers instead."""
    estimate = {"best": 3, "as_good": [3, 3], "candidates": [2, 3, 4], how: [2.5, 3.0, 3.5]}
    with edited_manifest(shop.path) as manifest:
        summary = {"headline": "3 clusters", "estimate": estimate}
        manifest["records"]["cluster"] = manifest["records"]["label"] | {"stage": "cluster", "summary": summary}
        manifest["records"]["cluster"]["outputs"] = []
    assert ("How many clusters there are" in page_of(shop).words()) is shown


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("num", [0, 3])
def test_copies_tell_why_fewer_could_be_selected_than_the_pool_has(shop: Any, num: int) -> None:
    with edited_manifest(shop.path) as manifest:
        for record in manifest["records"].values():
            if "copies_left_out" in record["summary"]:
                record["summary"]["copies_left_out"] = num
    words = page_of(shop).words()
    assert ("3left out as copies" in words.replace(" left", "left")) is (num == 3)
    assert f"{20 - num}in the pool" in words.replace(" in", "in")  # as many as the headline says


def test_a_class_that_was_learned_is_called_by_its_name(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "said.csv").write_text("id,label\na/00.png,dog\na/01.png,<cat>\n")
    annotate(shop.path, tmp_path / "said.csv")
    shop.label(20, names=["<cat>", "dog", "cluster 2"], first=1)
    named = shop.select(method="elfs", budget="0.25", hard_rate=0.4, name="named")
    page = page_of(shop, named)
    assert "<cat>" in page.words()
    assert "cluster 0" not in page.words()
    assert "cluster 1" not in page.words()
    html = render_report(shop.path, named).html
    data = json.loads(re.findall(r'<script[^>]*id="data"[^>]*>(.*?)</script>', html, re.DOTALL)[0])
    assert data["names"] == ["<cat>", "dog", "cluster 2"]
    selection = load_selection(shop.path, named)
    table = page_tables(selection, load_pool(selection))[0]
    assert (table.head[0], {row[0] for row in table.rows}) == ("class", {"<cat>", "dog", "2"})
    before = page_of(shop, "quarter").words()
    assert "cluster 0" in before  # what was selected before has the clusters of its time

"""The page in a real browser: Chromium on the path."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elfs.delivery import explore, outside
from elfs.delivery.report import write_report
from tests.chain import finished, run_stage

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("page")
    path = finished("digits", tmp_path_factory).copy(place / "workspace")
    run_stage("select", path, method="elfs", hard_rate="0.1", budget="70", name="x")
    write_report(path, "x", place / "page.html")
    return (place / "page.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[(1400, "light"), (390, "dark")])
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Yield the open page; nothing may be fetched, and nothing go wrong."""
    width, scheme = request.param
    said: list[str] = []
    with browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme) as opened:
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else said.append(sent.url))
        opened.goto(address)
        opened.wait_for_selector("#grid .tile")
        yield opened
        assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert said == []


def number_shown(page: Any) -> int:
    return int(page.inner_text("#count").split(" of ")[1].split()[0])


def test_every_selected_image_is_shown(page: Any) -> None:
    assert (page.locator("#grid .tile").count(), number_shown(page)) == (60, 70)
    page.click("#more")
    assert page.locator("#grid .tile").count() == 70
    assert page.locator("#more").is_hidden()
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_filters_and_order(page: Any) -> None:
    page.select_option("#kind", "")
    everything = number_shown(page)
    assert everything > 70
    page.select_option("#cluster", index=1)
    one = number_shown(page)
    assert 0 < one < everything
    page.select_option("#cluster", index=0)
    page.select_option("#sort", "0/hard")
    first = page.get_attribute("#grid .tile >> nth=0", "aria-label")
    page.select_option("#sort", "0/easy")
    assert page.get_attribute("#grid .tile >> nth=0", "aria-label") != first
    page.fill("#text", first.split(",")[0].upper())
    assert number_shown(page) == 1


@pytest.mark.parametrize(("kind", "word"), [("1", "too hard"), ("2", "too easy")])
def test_images_that_were_left_out_have_a_filter(page: Any, kind: str, word: str) -> None:
    page.select_option("#kind", kind)
    assert number_shown(page) > 0
    assert all(word in tile.get_attribute("aria-label") for tile in page.locator("#grid .tile").all())


def test_clusters_show_their_images_and_lead_to_them(page: Any) -> None:
    cards = page.locator("#clusters-cards .card")
    assert cards.count() == min(12, int(page.inner_text("#clusters-count")))
    assert cards.first.locator(".tile").count() == 6
    cluster = cards.nth(1).locator("h3").inner_text().split()[1]
    cards.nth(1).locator("h3 button").click()
    assert page.input_value("#cluster") == cluster
    captions = page.locator("#grid .tile .caption span:first-child").all_inner_texts()
    assert set(captions) == {f"cluster {cluster}"}


def test_what_the_script_shows_is_not_there_twice(page: Any) -> None:
    assert page.locator(".static").count() > 4
    assert not any(part.is_visible() for part in page.locator(".static").all())


def test_without_the_script_the_page_can_be_read(browser: Any, address: str) -> None:
    with browser.new_page(java_script_enabled=False) as opened:
        opened.goto(address)
        assert opened.locator("#explore").is_hidden()
        assert all(part.is_visible() for part in opened.locator(".static").all())


@pytest.mark.slow
def test_unreadable_images_and_copies_have_a_filter(browser: Any, broken: Any) -> None:
    write_report(broken.path, None, broken.path / "page.html")
    with browser.new_page() as opened:
        opened.goto((broken.path / "page.html").as_uri())
        opened.select_option("#kind", "4")
        assert number_shown(opened) == 2
        assert opened.locator("#grid .frame").all_inner_texts() == [
            "broken: damaged <b>header</b>",
            "too large: 9 x 9 pixels",
        ]
        opened.click("#grid .tile >> nth=0")
        assert "reason" in opened.inner_text("#view-body")
        opened.keyboard.press("Escape")
        opened.select_option("#kind", "")
        assert number_shown(opened) == 18


@pytest.mark.slow
def test_neighbours_outside_of_the_sample_have_a_picture_and_a_caption(
    browser: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("_MOST_SELECTED", 10), ("_MOST_OTHERS", 5)):
        monkeypatch.setattr(explore, name, most)
    monkeypatch.setattr(outside, "_MOST_BYTES", 8_000)
    write_report(Path(address.removeprefix("file://")).with_name("workspace"), "x", tmp_path / "page.html")
    with browser.new_page(viewport={"width": 390, "height": 900}) as opened:
        opened.goto((tmp_path / "page.html").as_uri())
        frames = []
        for number in range(10):
            opened.evaluate(f"document.querySelectorAll('#grid .tile')[{number}].click()")
            assert "Not sampled: " in opened.inner_text("#view-body")
            frames += opened.locator("#view-body .elsewhere .frame").all()
            loaded = "[...document.querySelectorAll('.elsewhere img')].every((image) => image.naturalWidth > 0)"
            assert opened.evaluate(loaded)
            told = set(opened.locator("#view-body .elsewhere .frame").all_inner_texts())
            assert told <= {"", "no picture here"}
            opened.keyboard.press("Escape")
        assert frames


def test_a_large_view_and_the_keys(page: Any) -> None:
    page.focus("#grid .tile >> nth=1")
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    title = page.inner_text("#view-title")
    assert page.locator("#view-body table tbody tr").count() > 5
    assert page.locator("#view-body .curve").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#view-title") != title
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#view-title") == title
    page.keyboard.press("Escape")
    assert page.locator("dialog").is_hidden()


@pytest.mark.slow
def test_a_lasso_and_a_bar_narrow_the_sheet(page: Any) -> None:
    page.select_option("#kind", "")
    everything = number_shown(page)
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    corners = [(0.02, 0.02), (0.5, 0.02), (0.5, 0.98), (0.02, 0.98)]
    page.mouse.move(box["x"] + corners[0][0] * box["width"], box["y"] + corners[0][1] * box["height"])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()
    assert 0 < number_shown(page) < everything
    page.click("#clear")
    assert number_shown(page) == everything
    box = page.locator("#bars").bounding_box()
    page.locator("#bars").click(position={"x": box["width"] - 4, "y": box["height"] - 20})
    assert 0 < number_shown(page) < everything


def test_the_bars_have_keys(page: Any) -> None:
    page.select_option("#kind", "")
    everything = number_shown(page)
    page.focus("#bars")
    page.keyboard.press("ArrowLeft")
    assert 0 < number_shown(page) < everything
    last = page.get_attribute("#bars", "aria-valuetext")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#bars", "aria-valuetext") == last != "no bar"
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#bars", "aria-valuetext") != last
    page.keyboard.press("Escape")
    assert (number_shown(page), page.get_attribute("#bars", "aria-valuetext")) == (everything, "no bar")


@pytest.mark.slow
@pytest.mark.parametrize("view", [False, True])
def test_axe_finds_nothing(page: Any, view: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    if view:
        page.click("#grid .tile >> nth=0")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["impact"], each["id"], each["nodes"][0]["html"]) for each in found] == []

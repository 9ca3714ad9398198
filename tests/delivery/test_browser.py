"""The page in a real browser: pip install 'elfs[browser]', and Chromium on the path."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from elfs.delivery.report import write_report
from tests.chain import finished, run_stage

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("page")
    path = finished("digits", tmp_path_factory).copy(place / "workspace")
    run_stage("select", path, budget="70", name="x")
    write_report(path, "x", place / "page.html")
    return (place / "page.html").as_uri()


@pytest.fixture(params=[(1400, "light"), (390, "dark")])
def page(address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Yield the open page; nothing may be fetched, and nothing go wrong."""
    width, scheme = request.param
    said: list[str] = []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else said.append(sent.url))
        opened.goto(address)
        opened.wait_for_selector("#grid .tile")
        yield opened
        assert opened.evaluate("document.documentElement.scrollWidth") == width
        browser.close()
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


@pytest.mark.parametrize("view", [False, True])
def test_axe_finds_nothing(page: Any, view: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    if view:
        page.click("#grid .tile >> nth=0")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["impact"], each["id"], each["nodes"][0]["html"]) for each in found] == []

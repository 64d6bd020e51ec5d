"""The crash test's pages in Chromium: light, dark, on a phone, on paper, by keyboard, and without scripts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ostrich.crashtest.report import write_overview, write_report
from tests.crashtest.test_report import complete, every_block, probe

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
SCREENS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
}
RULES = {"rules": {"label-content-name-mismatch": {"enabled": True}}}  # beside those that axe has on


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report with every kind of block, and the page about two runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        (folder / name).mkdir()
        complete(folder / name)
        item = every_block(folder / name)[5]["items"][0]
        others = [{**item, "budget": f"{k}/255"} for k in range(5)]
        probe(folder / name, "vanished", blocks=[{"kind": "pairs", "items": others}])
        write_report(folder / name)
    overview = write_overview(folder / "overview.html", [folder / "first", folder / "second"])
    return {"report": folder / "first" / "index.html", "overview": overview}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def show(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """A function that opens one of the pages; what it says and asks for elsewhere is a failure."""
    contexts, complaints = [], []

    def opened(page: str, screen: str = "light", **settings: Any) -> Any:
        context = browser.new_context(**SCREENS[screen], **settings)
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        target = pages[page].as_uri()
        shown.on("request", lambda r: complaints.append(r.url) if r.url not in (target,) and NET(r) else None)
        shown.goto(target)
        return shown

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def NET(request: Any) -> bool:
    return not request.url.startswith(("data:", "about:"))


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("page", ["report", "overview"])
def test_anybody_can_read_it(show: Any, page: str, screen: str) -> None:
    shown = show(page, screen, bypass_csp=True)
    for tile in shown.locator("details:not([open]) > summary").all():
        if tile.is_visible():
            tile.click()
    found = axe.Axe().run(shown, options=RULES)
    assert found.violations_count == 0, found.generate_report()
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert shown.evaluate(wide) == 0  # nothing has to be moved sideways


def test_light_and_dark(show: Any) -> None:
    shown = show("report", "light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = shown.evaluate(paper)
    button = shown.locator(".theme")
    button.click()
    assert (button.inner_text(), shown.evaluate(paper)) == ("Light", light)
    button.click()
    assert button.inner_text() == "Dark"
    dark = shown.evaluate(paper)
    assert dark != light
    assert show("report", "dark").evaluate(paper) == dark


def test_press_and_hold_shows_the_original_in_its_place(show: Any) -> None:
    shown = show("report")
    hold = shown.locator(".best .hold")
    beneath = hold.locator(".beneath")
    assert beneath.evaluate("one => getComputedStyle(one).visibility") == "hidden"
    hold.hover()
    shown.mouse.down()
    assert hold.get_attribute("aria-pressed") == "true"
    assert beneath.evaluate("one => getComputedStyle(one).visibility") == "visible"
    assert beneath.get_attribute("src") == shown.locator(".best .original img").get_attribute("src")
    shown.mouse.up()
    assert hold.get_attribute("aria-pressed") == "false"
    hold.focus()
    shown.keyboard.down("Space")
    assert hold.get_attribute("aria-pressed") == "true"
    shown.keyboard.up("Space")
    assert hold.get_attribute("aria-pressed") == "false"


def test_the_slider_by_keyboard(show: Any) -> None:
    shown = show("report")
    slider = shown.locator(".slider")
    knob = slider.locator("input")
    knob.focus()
    assert slider.locator(".sheet[data-current]").get_attribute("data-budget") == "8/255"
    shown.keyboard.press("ArrowRight")
    assert slider.locator(".sheet[data-current]").get_attribute("data-budget") == "16/255"
    assert slider.locator("output").inner_text() == "16/255"
    assert knob.get_attribute("aria-valuetext") == "16/255"


def test_one_tile_at_a_time_opens_by_click_and_by_key(show: Any) -> None:
    shown = show("report")
    tiles = shown.locator("details.tile")
    assert tiles.count() == 5
    assert not tiles.nth(1).locator(".pair").is_visible()
    tiles.nth(1).locator("summary").click()
    assert tiles.nth(1).locator(".pair").is_visible()
    tiles.nth(2).locator("summary").focus()
    shown.keyboard.press("Enter")
    assert tiles.nth(2).locator(".pair").is_visible()
    assert not tiles.nth(1).locator(".pair").is_visible()


def test_a_curve_is_read_by_keyboard(show: Any) -> None:
    shown = show("report")
    plot = shown.locator(".curve .plot").first
    output = shown.locator(".curve .legend output").first
    plot.focus()
    shown.keyboard.press("ArrowLeft")
    before = output.inner_text()
    shown.keyboard.press("ArrowRight")
    assert output.inner_text() != before
    assert "/255" in output.inner_text()


def test_on_paper(show: Any) -> None:
    shown = show("report")
    folded = shown.locator("details:not(.tile):not([open]) .scroll").first
    assert folded.evaluate("one => one.getBoundingClientRect().height") == 0
    shown.emulate_media(media="print")
    assert folded.evaluate("one => one.getBoundingClientRect().height") > 0
    assert not shown.locator(".theme").is_visible()
    assert shown.locator("details.tile summary img").first.is_visible()
    paper = shown.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert 2 <= paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") <= 20


def test_it_reads_without_scripts(show: Any) -> None:
    shown = show("report", java_script_enabled=False)
    assert shown.locator(".best .result img").is_visible()
    assert all(sheet.is_visible() for sheet in shown.locator(".sheet").all())
    shown.locator("details.tile summary").first.click()
    assert shown.locator("details.tile .pair").first.is_visible()
    assert not shown.locator(".copy").first.is_visible()

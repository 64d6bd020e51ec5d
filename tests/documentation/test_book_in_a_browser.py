"""The site in Chromium, from files: search, copy, dark mode, a phone. Its tutorials are not run here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
for needed in (
    "sphinx",
    "myst_parser",
    "sphinx_gallery",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "furo",
):
    pytest.importorskip(needed, reason="the extra docs is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
PAGE = "made/explainers/guided.html"
COMMAND = "ostrich explain guided zoo:toybox-resnet20 toybox"
SCREENS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site: the one that OSTRICH_SITE names, else built here from a copy, its tutorials not run."""
    if "OSTRICH_SITE" in os.environ:
        return Path(os.environ["OSTRICH_SITE"])
    folder = tmp_path_factory.mktemp("book")
    left_out = shutil.ignore_patterns("_build", "made", "__pycache__")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=left_out)
    for name in ("src", "benchmarks", "tests"):
        (folder / name).symlink_to(ROOT / name)
    words = ["-m", "sphinx", "--builder", "html", "--fail-on-warning", "--keep-going", "--quiet"]
    words += ["-D", "plot_gallery=0", "docs", "site"]
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def show(browser: Any, site: Path) -> Iterator[Any]:
    """A function that opens a page of the site; what it says and asks for elsewhere is a failure."""
    contexts, complaints = [], []

    def opened(page: str, screen: str = "light") -> Any:
        context = browser.new_context(**SCREENS[screen])
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("request", lambda asked: asked.url.startswith("http") and complaints.append(asked.url))
        shown.goto((site / page).as_uri())
        return shown

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def test_guided_backpropagation_is_found_from_files_and_its_page_opens(show):
    page = show("index.html")
    page.fill("input[name=q]", "guided backpropagation")
    page.press("input[name=q]", "Enter")
    hit = page.locator(f"#search-results a[href^='{PAGE}']").first
    hit.wait_for(timeout=30_000)
    hit.click()
    assert page.locator("h1").first.inner_text().startswith("Guided backpropagation")
    assert page.locator("img[alt='Guided backpropagation']").evaluate("image => image.naturalWidth") > 200


def test_its_command_is_copied_as_it_stands(show):
    page = show(PAGE)
    page.evaluate(
        "() => { navigator.clipboard && Object.defineProperty(navigator.clipboard, 'writeText',"
        " { value: text => { window.copied = text; return Promise.resolve(); } });"
        " document.addEventListener('copy', event => { window.copied = String(getSelection()) ||"
        " document.activeElement.value; }, true); }"
    )
    block = page.locator(".highlight").first
    block.hover()
    block.locator("button.copybtn").click()
    page.wait_for_function("() => window.copied")
    assert page.evaluate("() => window.copied").strip() == COMMAND


def brightness(page: Any) -> float:
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    numbers = [float(word) for word in colour.strip("rgba()").split(",")[:3]]
    return sum(numbers) / 3


def test_it_is_light_and_dark_as_the_reader_s_screen(show):
    assert brightness(show(PAGE, "light")) > 200
    assert brightness(show(PAGE, "dark")) < 60


@pytest.mark.parametrize(
    "name", ["index.html", PAGE, "lecture/11-guided-backpropagation.html", "studies/README.html"]
)
def test_a_phone_shows_it_without_moving_it_sideways(show, name):
    page = show(name, "phone")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_formula_is_drawn_and_an_answer_opens(show):
    page = show("lecture/11-guided-backpropagation.html")
    assert page.locator("math[display=block]").first.bounding_box()["height"] > 10
    answer = page.locator("details.answer").first
    assert not answer.locator("pre").first.is_visible()
    answer.locator("summary").click()
    assert answer.locator("pre").first.is_visible()


def test_from_the_first_page_to_the_source_of_an_attack_are_three_clicks(show):
    page = show("index.html")
    page.locator("article a", has_text="Reference").first.click()
    page.locator("article a", has_text="Attacks").first.click()
    page.locator("article a", has_text="pgd").first.click()
    page.locator("article", has_text="class PGD(InputSpecificAttack)").wait_for()


def test_from_the_first_page_to_an_own_result_and_the_source_of_its_attack_are_four_clicks_at_most(show):
    page, clicks = show("index.html"), 0
    for link in ("How-to", "Load your network"):
        page.locator("article a", has_text=link).first.click()
        clicks += 1
    page.locator("article", has_text="ostrich check torchvision:resnet18 folder:photos").wait_for()
    page.locator("article a", has_text="PGD").first.click()
    page.locator("article", has_text="class PGD(InputSpecificAttack)").wait_for()
    assert clicks + 1 <= 4


def test_a_tutorial_can_be_downloaded_as_a_notebook(site):
    assert len(list(site.glob("_downloads/*/0*.ipynb"))) == 8

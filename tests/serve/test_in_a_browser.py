"""The playground in Chromium, as `ostrich serve` opens it: each panel, addresses, keyboard, colours, a phone.

Whatever the page asks for elsewhere than on this machine is a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.serve.conftest import WAIT, serving

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
pytestmark = pytest.mark.slow
RULES = {"rules": {"label-content-name-mismatch": {"enabled": True}}}
PANELS = ("turn", "budgets", "fitted", "network", "touch", "explain", "corrupt", "want", "generate")


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("serve")
    with serving(folder, "--limit", "64") as address:
        yield address, folder / "saved"


def panel(page: Any, name: str) -> None:
    page.click(f"#tab-{name}")


def test_turn_it_save_it_and_open_its_address(show: Any, toys: tuple[str, Path]) -> None:
    address, folder = toys
    page = show(address)
    assert "token" not in page.url
    page.select_option("#panel select >> nth=0", label="ostrich")
    page.click("#begin")
    page.wait_for_selector("#save", timeout=WAIT)
    assert "it fools" in page.inner_text(".verdict-line")
    page.click("#save")
    page.wait_for_selector("text=Saved in", timeout=WAIT)
    assert len(list(folder.glob("*/run.json"))) == 1
    assert len(list(folder.glob("*/images/*-adversarial.png"))) == 1
    page.click("text=Go on with this picture")
    page.wait_for_selector("#about:text-is('an image of yours')", timeout=WAIT)
    again = show(address, page.url[page.url.index("#") :])
    assert again.inner_text("#about") == "an image of yours"
    assert again.inner_text("#bars .share >> nth=0").startswith("ostrich")


def test_a_dropped_picture_is_seen(show: Any, toys: tuple[str, Path], tmp_path: Path) -> None:
    page = show(toys[0])
    Image.new("RGB", (90, 70), (20, 90, 200)).save(tmp_path / "blue.png")
    page.set_input_files("#file", tmp_path / "blue.png")
    page.wait_for_selector("#about:text-is('an image of yours')", timeout=WAIT)
    page.wait_for_selector("#bars .share", timeout=WAIT)
    refuse(page, tmp_path)


def refuse(page: Any, folder: Path) -> None:
    (folder / "no.png").write_bytes(b"no picture")
    page.set_input_files("#file", folder / "no.png")
    page.wait_for_selector("#status:has-text('no picture')", timeout=WAIT)


def test_why_a_picture_was_refused_stays_while_an_older_answer_comes(
    show: Any, toys: tuple[str, Path], tmp_path: Path
) -> None:
    page = show(toys[0])
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/jobs/look", hold)
    page.click("#strip button >> nth=1")
    refuse(page, tmp_path)
    page.evaluate("document.getElementById('panel').replaceChildren()")
    held[0].continue_()
    page.wait_for_selector("#panel .how", timeout=WAIT)  # the answer has come, and the panel is open again
    assert "no picture" in page.inner_text("#status")
    page.unroute("**/jobs/look")
    page.click("#strip button >> nth=2")  # another picture is chosen
    page.wait_for_selector("#status", state="hidden", timeout=WAIT)


def test_a_picture_of_the_camera_is_seen(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0])
    page.click("#camera")
    page.wait_for_selector("#about:text-is('an image of yours')", timeout=WAIT)


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_and_pasted(show: Any, toys: tuple[str, Path], way: str) -> None:
    page = show(toys[0])
    page.evaluate(
        """async (way) => {
          const canvas = document.createElement("canvas");
          canvas.getContext("2d").fillRect(0, 0, 40, 40);
          const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
          const transfer = new DataTransfer();
          transfer.items.add(new File([blob], "one.png", { type: "image/png" }));
          dispatchEvent(way === "drop" ? new DragEvent("drop", { dataTransfer: transfer, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: transfer }));
        }""",
        way,
    )
    page.wait_for_selector("#about:text-is('an image of yours')", timeout=WAIT)


def test_the_slider_goes_from_clean_to_fooled_for_both_networks(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=budgets")
    page.wait_for_selector("#budget[max='7']", timeout=2 * WAIT)
    page.fill("#budget", "7")
    page.wait_for_selector(".verdict-line:has-text('fooled')", timeout=WAIT)
    assert page.locator(".network-bars").count() == 2
    page.fill("#budget", "0")
    assert page.inner_text("output") == "clean"


def test_a_channel_has_a_sheet_and_an_address(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=network&unit=layer1.0.conv1:3")
    page.wait_for_selector("text=what it prefers", timeout=WAIT)
    assert page.locator("#panel .boxed").count() == 9  # this image, and the strongest eight
    page.click(".layers button >> nth=0")
    page.wait_for_selector("text=Channel of conv1", timeout=WAIT)
    page.click(".tile-map canvas")
    page.wait_for_selector("text=what it prefers", timeout=WAIT)
    assert "unit=conv1%3A" in page.url


def test_a_place_and_a_brush_move_the_bars(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=touch&layer=conv1")
    page.click("#picture", position={"x": 100, "y": 100})
    page.wait_for_selector("#panel table >> nth=1", timeout=WAIT)
    page.select_option("#panel select >> nth=0", "brush")
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 160, steps=8)
    page.mouse.up()
    page.wait_for_selector("text=Go on with this picture", timeout=WAIT)
    canvas = page.locator("#picture")
    once = canvas.evaluate("one => one.toDataURL()")
    page.click("#touch")  # a second stroke is beside the first
    page.wait_for_url(re.compile("_32.32"), timeout=WAIT)
    page.wait_for_timeout(500)
    assert canvas.evaluate("one => one.toDataURL()") != once
    page.click("#anew")
    page.wait_for_selector("#anew", state="detached", timeout=WAIT)
    assert "places=" not in page.url


def test_explanations_stand_side_by_side(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=explain")
    page.wait_for_selector("#panel figure >> nth=9", timeout=WAIT)
    assert "no attention between tokens" in page.inner_text("#panel .gallery")


def test_corruptions_answer_to_the_slider(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=corrupt&corruption=fog")
    page.fill("#severity", "5")
    page.wait_for_selector("output:text-is('5')", timeout=WAIT)


def test_a_wish_grows_live(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=want&steps=32")
    page.click("#grow")
    page.wait_for_selector("text=Go on with this picture", timeout=WAIT)
    assert "the picture that grew" in page.inner_text("#bars")
    page.click("#tab-turn")
    page.wait_for_selector("#bars:not(:has-text('grew'))", timeout=WAIT)


def test_a_sample_is_steered_beside_its_nearest_images(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=generate&generator=zoo:toybox-conditional")
    page.click("#panel .gallery button >> nth=1", timeout=WAIT)
    page.wait_for_selector("text=sample 1", timeout=WAIT)
    page.fill("#to", "7")
    page.click("#walk")
    page.wait_for_selector("#panel .gallery.small img >> nth=20", timeout=WAIT)
    again = show(toys[0], page.url[page.url.index("#") :])
    again.wait_for_selector("#panel .gallery.small img >> nth=20", timeout=WAIT)
    assert again.input_value("#to") == "7"


def test_what_was_done_is_an_address(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#image=d3")
    page.click("#begin")
    page.wait_for_selector("#save", timeout=WAIT)
    page.goto(toys[0] + page.url[page.url.index("#") :])  # as a link that somebody was sent
    page.wait_for_selector("#save", timeout=WAIT)
    page.click("#strip button >> nth=4")
    page.wait_for_selector("#strip button[data-image=d4][aria-pressed=true]", timeout=WAIT)
    assert "ran=" not in page.url


def test_a_brushed_region_is_an_address(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=touch&tool=brush&radius=6&places=20.20_24.24_28.30&ran=touch")
    page.wait_for_selector("text=Go on with this picture", timeout=WAIT)


def test_a_perturbation_is_fitted_and_laid_over(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=fitted&passes=6")
    page.click("#fit")
    page.wait_for_selector("text=others it turns", timeout=2 * WAIT)
    page.wait_for_selector("text=Go on with this picture", timeout=WAIT)


def test_a_patch_is_dragged_by_hand(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0], "#panel=fitted&fitted=patch&passes=2")
    page.click("#fit")
    page.wait_for_selector("text=Go on with this picture", timeout=2 * WAIT)
    canvas = page.locator("#picture")
    before = canvas.evaluate("one => one.toDataURL()")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 250, box["y"] + 230, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile("down=0.7"), timeout=WAIT)
    page.wait_for_timeout(500)
    assert canvas.evaluate("one => one.toDataURL()") != before
    page.focus("text=From the top >> input")
    page.keyboard.press("Home")
    page.wait_for_url(re.compile("down=0.000"), timeout=WAIT)


def test_the_page_is_saved_as_one_file(show: Any, toys: tuple[str, Path], tmp_path: Path) -> None:
    page = show(toys[0], "#panel=corrupt")
    page.wait_for_selector("#bars .share", timeout=WAIT)
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "page.html")
    saved = (tmp_path / "page.html").read_text()
    assert "<script" not in saved
    assert 'src="/' not in saved
    assert 'href="/' not in saved
    assert saved.count("data:image/png") >= 4
    alone = show((tmp_path / "page.html").as_uri(), ready=False)
    assert alone.inner_text("h2 >> nth=-1")
    assert alone.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")


def test_the_tour_has_ten_steps_by_keyboard(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0])
    page.click("#tour")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")  # on the button, which has the focus again
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#guide h2").startswith("10 of 10")
    page.keyboard.press("Escape")
    assert page.is_hidden("#guide")


def test_tabs_go_by_arrow_keys(show: Any, toys: tuple[str, Path]) -> None:
    page = show(toys[0])
    page.focus("#tab-turn")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-budgets"
    assert "panel=budgets" in page.url


@pytest.mark.parametrize(
    "screen",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}],
    ids=["light", "dark", "phone"],
)
@pytest.mark.parametrize("name", PANELS)
def test_every_panel_is_accessible_and_fits(
    show: Any, toys: tuple[str, Path], name: str, screen: dict[str, Any]
) -> None:
    page = show(toys[0], f"#panel={name}", **screen)
    page.wait_for_timeout(300)
    found = axe.Axe().run(page, options=RULES)
    assert [v["id"] + ": " + v["nodes"][0]["html"][:200] for v in found.response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

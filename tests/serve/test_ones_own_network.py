"""Networks that are not ours, through the page: a Python file, one channel, ONNX without gradients."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import ostrich
from tests.serve.conftest import WAIT, serving

pytestmark = pytest.mark.slow
FILE = """
import ostrich

def build():
    return ostrich.load("zoo:digits-cnn").network
"""
GRADIENTS = ("budgets", "fitted", "want")


def test_a_python_file_with_one_channel(show: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    with serving(tmp_path, f"{tmp_path}/mine.py:build", "digits", "--size", "8") as address:
        page = show(address)
        assert "mine" in page.inner_text("h1")
        page.fill("#panel input[type=number]", "128")
        page.click("#begin")
        page.wait_for_selector("#save", timeout=WAIT)
        page.click("#save")
        page.wait_for_selector("text=Saved in", timeout=WAIT)
        page.click("#tab-network")
        page.wait_for_selector(".tile-map canvas", timeout=WAIT)
        _touch(page)
        page.click("#tab-explain")
        page.wait_for_selector("#panel figure >> nth=2", timeout=WAIT)
        _corrupt(page)
        page.click("#tab-fitted")
        page.fill("#panel input[type=number] >> nth=1", "2")
        page.click("#fit")
        page.wait_for_selector("text=others it turns", timeout=WAIT)
        page.click("#tab-want")
        page.fill("#panel input[type=number]", "8")
        page.click("#grow")
        page.wait_for_selector("text=Go on with this picture", timeout=WAIT)


def test_onnx_has_no_gradients_and_says_so(show: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network, one = ostrich.load("zoo:toybox-resnet20").network, torch.rand(1, 3, 64, 64)
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(network, (one,), tmp_path / "net.onnx", dynamo=False, **names)
    with serving(tmp_path, f"onnx:{tmp_path}/net.onnx", "toybox") as address:
        page = show(address)
        page.wait_for_selector("#bars .share", timeout=WAIT)
        offered = page.locator("#panel select >> nth=1 >> option").all_inner_texts()
        assert all("(gradient)" not in words for words in offered)
        page.select_option("#panel select >> nth=1", "square")
        page.click("#begin")
        page.wait_for_selector("#save", timeout=WAIT)
        for name in GRADIENTS:
            page.click(f"#tab-{name}")
            page.wait_for_selector("#panel .note:has-text('needs gradients')", timeout=WAIT)
        page.click("#tab-explain")
        page.wait_for_selector("#panel figure:has-text('occlusion')", timeout=WAIT)
        page.click("#tab-network")
        page.wait_for_selector("#status:not([hidden])", timeout=WAIT)
        _touch(page)
        _corrupt(page)


def _touch(page: Any) -> None:
    """Click a pixel: what it moves is told."""
    page.click("#tab-touch")
    page.click("#picture", position={"x": 100, "y": 100})
    page.wait_for_selector("#panel table", timeout=WAIT)


def _corrupt(page: Any) -> None:
    """Open the sliders of the corruptions: the first picture is there."""
    page.click("#tab-corrupt")
    page.wait_for_selector("output:text-is('3')", timeout=WAIT)

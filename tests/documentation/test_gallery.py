"""The playground's pictures: there, light, and shown where they are promised."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageSequence

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_recording_takes_twenty_seconds_and_less_than_a_megabyte() -> None:
    file = DOCS / "gallery" / "playground.gif"
    with Image.open(file) as film:
        seconds = sum(frame.info["duration"] for frame in ImageSequence.Iterator(film)) / 1000
    assert seconds == pytest.approx(20, abs=2)
    assert file.stat().st_size < 2**20
    for page in (ROOT / "README.md", DOCS / "gallery.md"):
        assert "gallery/playground.gif" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["turn", "network", "budgets"])
def test_a_screenshot_is_in_the_gallery(name: str) -> None:
    file = DOCS / "gallery" / f"playground-{name}.jpg"
    with Image.open(file) as picture:
        assert picture.width == 1280
    assert file.stat().st_size < 400_000
    assert f"gallery/{file.name}" in (DOCS / "gallery.md").read_text(encoding="utf-8")

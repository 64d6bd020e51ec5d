"""The gallery's pictures: large enough to be looked at, enlarged and not smoothed, all there, and light."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import drawing  # noqa: E402 - the folder of the documentation comes first
import gallery  # noqa: E402

PICTURES = sorted((DOCS / "gallery").iterdir())
ENTRIES = [entry for entries in gallery.SECTIONS.values() for entry in entries]


def solid(*colours: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> list[Image.Image]:
    return [Image.new("RGB", size, colour) for colour in colours]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_can_be_looked_at(path):
    with Image.open(path) as shown:
        assert min(shown.size) >= drawing.SIDE


def test_every_entry_has_its_picture_and_every_picture_its_page():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"\(gallery/([\w-]+)\.\w+\)", text)
    assert [name for name in shown if name in {entry.name for entry in ENTRIES}] == [e.name for e in ENTRIES]
    pages = [page.read_text(encoding="utf-8") for page in (*DOCS.glob("*.md"), *DOCS.glob("*/*.md"))]
    assert [path.name for path in PICTURES if not any(f"gallery/{path.name}" in page for page in pages)] == []


def test_the_page_says_what_the_list_says():
    """Title, sentence and command of each, so that the page is written anew where one changes."""
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    for entry in ENTRIES:
        assert f"### {entry.title}\n\n{entry.said}\n\n```sh\nostrich {entry.words.split()[0]}" in text, (
            entry.name
        )


@pytest.mark.parametrize(
    ("side", "shown"), [(28, 224), (32, 224), (64, 256), (96, 288), (224, 224), (300, 300)]
)
def test_a_tile_is_enlarged_by_a_whole_number_and_not_smoothed(side, shown):
    image = Image.new("RGB", (side, side), "black")
    image.putpixel((1, 0), (255, 255, 255))
    tile = drawing.tile(image, "")
    assert tile.size == (shown, shown + drawing.LINE)
    by = shown // side
    colours = tile.crop((0, 0, shown, shown)).getcolors()
    assert sorted(colours) == [(by * by, (255, 255, 255)), (shown * shown - by * by, (0, 0, 0))]
    assert tile.crop((by, 0, 2 * by, by)).getextrema() == ((255, 255),) * 3


def test_tiles_stand_three_in_a_row():
    sheet = drawing.in_rows(solid(*[(k, 0, 0) for k in range(5)], size=(10, 20)))
    assert sheet.size == (3 * 10 + 2 * drawing.GAP, 2 * 20 + drawing.GAP)
    assert sheet.getpixel((10 + drawing.GAP, 20 + drawing.GAP)) == (4, 0, 0)


def test_the_change_is_drawn_about_grey_by_a_whole_number():
    before, after = solid((100, 100, 100), (102, 100, 99))
    shown, factor = drawing.change(before, after)
    assert factor == 63
    assert shown.getpixel((0, 0)) == (128 + 126, 128, 128 - 63)


def test_the_images_of_a_sheet_are_found_again():
    images = solid((1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), size=(8, 8))
    sheet = Image.new("RGB", (18, 18), "white")
    for place, image in zip(((0, 0), (10, 0), (0, 10), (10, 10)), images, strict=True):
        sheet.paste(image, place)
    assert [one.tobytes() for one in drawing.cells(sheet, 8)] == [one.tobytes() for one in images]
    rows = drawing.labelled_rows([("a", images[:2]), ("b", images[2:])], 2)
    assert rows.height == 2 * (8 * 2 + 2)


def test_a_film_keeps_its_frames(tmp_path):
    first, *rest = solid((255, 0, 0), (0, 255, 0), (0, 0, 255), size=(32, 40))
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=80, loop=0)
    drawing.film(tmp_path / "a.gif", tmp_path / "b.gif")
    with Image.open(tmp_path / "b.gif") as film:
        assert (film.n_frames, film.size) == (3, (7 * 32, 7 * 40))


def test_the_recording_takes_twenty_seconds_and_less_than_a_megabyte():
    file = DOCS / "gallery" / "playground.gif"
    with Image.open(file) as film:
        seconds = sum(frame.info["duration"] for frame in ImageSequence.Iterator(film)) / 1000
    assert seconds == pytest.approx(20, abs=2)
    assert file.stat().st_size < 2**20
    for page in (DOCS.parent / "README.md", DOCS / "gallery.md"):
        assert "gallery/playground.gif" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["turn", "network", "budgets"])
def test_a_screenshot_is_in_the_gallery(name):
    file = DOCS / "gallery" / f"playground-{name}.jpg"
    with Image.open(file) as picture:
        assert picture.width == 1280
    assert file.stat().st_size < 400_000
    assert f"gallery/{file.name}" in (DOCS / "gallery.md").read_text(encoding="utf-8")

"""Pictures of runs: a bus that becomes an ostrich, and the head of a report.

ostrich demo --out runs/demo && python docs/pictures.py bus runs/demo
ostrich check zoo:toybox-resnet20 toybox --images 64 --only clean,robustness,corruptions --out runs/head
python docs/pictures.py head runs/head

The report's head is photographed by Chromium, which playwright (of the extra dev) drives.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
ZOOM, GAP, LINE = 4, 24, 26  # each pixel of the network's image is shown as 4x4
HEAD = {"width": 1120, "height": 590}  # pixels of the report that are shown


def triptych(item: dict, folder: Path) -> Image.Image:
    """Image, change and result side by side, with what the network says of them."""
    before, after = item["before"][0], item["after"][0]
    captions = (
        f"{before[0]}, {before[1]:.1%}",
        f"the change, {item['factor']:g} times ({item['budget']} per value)",
        f"{after[0]}, {after[1]:.1%}",
    )
    pictures = [Image.open(folder / item[kind]) for kind in ("original", "difference", "adversarial")]
    pictures = [p.resize((p.width * ZOOM, p.height * ZOOM), Image.Resampling.NEAREST) for p in pictures]
    width, height = pictures[0].size
    sheet = Image.new("RGB", (3 * width + 2 * GAP, height + LINE), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for k, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = k * (width + GAP)
        sheet.paste(picture, (left, 0))
        draw.text((left + width / 2, height + LINE / 2 + 2), caption, fill="black", font=font, anchor="mm")
    return sheet


def head(folder: Path) -> None:
    """Write docs/report-head.png: what one sees of a report without scrolling."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=HEAD, color_scheme="light")
        page.goto((folder / "index.html").resolve().as_uri())
        page.screenshot(path=HERE / "report-head.png")
        browser.close()
    with Image.open(HERE / "report-head.png") as shown:
        small = shown.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(HERE / "report-head.png", optimize=True)


def bus(folder: Path) -> None:
    """Write docs/school-bus-to-ostrich.png."""
    probe = json.loads((folder / "probes" / "targeted-pair.json").read_text())
    pair = next(block for block in probe["blocks"] if block["kind"] == "pairs")["items"][0]
    triptych(pair, folder).save(HERE / "school-bus-to-ostrich.png", optimize=True)


if __name__ == "__main__":
    {"bus": bus, "head": head}[sys.argv[1]](Path(sys.argv[2]))

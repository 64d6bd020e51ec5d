"""The pictures of the README, made from the run of `ostrich demo`.

ostrich demo --out runs/demo && python docs/pictures.py runs/demo
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
ZOOM, GAP, LINE = 4, 24, 26  # each pixel of the network's image is shown as 4x4


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


def main(run: str) -> None:
    """Write docs/school-bus-to-ostrich.png."""
    folder = Path(run)
    probe = json.loads((folder / "probes" / "targeted-pair.json").read_text())
    pair = next(block for block in probe["blocks"] if block["kind"] == "pairs")["items"][0]
    triptych(pair, folder).save(HERE / "school-bus-to-ostrich.png", optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Fooling images side by side, each with its class and how certain the network is (Nguyen 2015, figure 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from ostrich.images import from_bytes, picture

if TYPE_CHECKING:
    from PIL import ImageFont

SMALLEST, LARGEST = 96, 128  # pixels of an image's longer side in the gallery
GAP, LINE = 6, 13
LETTERS = 11  # pixels
REACHED, MISSED, UNMOVED, UNTRIED = "reached", "missed", "unmoved", "untried"  # what became of an image
MARK, EMPTY = "#b3261e", "#dddddd"


def gallery(
    images: Tensor, names: Sequence[str], confidences: Sequence[float], states: Sequence[str] | None = None
) -> Tensor:
    """One picture (3, H', W') of images (N, C, H, W), row by row, with two lines of text below each.

    Small images are enlarged by a whole number, large ones reduced. `states` says what became of each:
    what is MISSED has a frame and says so. Where it is still the start, there is no picture: UNMOVED was
    missed without any progress, UNTRIED not attacked, because the network was certain of the start.
    """
    from PIL import ImageDraw, ImageFont

    states = states or [REACHED] * len(images)
    count, (width, height) = len(images), _shown(images.shape[-1], images.shape[-2])
    columns = max(1, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    across, down = width + GAP, height + GAP + 2 * LINE
    sheet = Image.new("RGB", (columns * across + GAP, rows * down + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    for i, (image, name, confidence, state) in enumerate(
        zip(images, names, confidences, states, strict=True)
    ):
        left, top = GAP + i % columns * across, GAP + i // columns * down
        how = Image.Resampling.NEAREST if width >= image.shape[-1] else Image.Resampling.LANCZOS
        box = left, top, left + width - 1, top + height - 1
        if state in (UNMOVED, UNTRIED):
            pen.rectangle(box, EMPTY)
        else:
            sheet.paste(picture(image).convert("RGB").resize((width, height), how), (left, top))
        if state == MISSED:
            pen.rectangle(box, None, MARK, 3)
        said = "" if state == REACHED else "the noise, " if state == UNTRIED else "not reached, "
        said = shortened(said + percent(confidence), font, across)
        colour = "black" if state == REACHED else MARK
        pen.text((left, top + height + 1), shortened(name, font, width), "black", font)
        pen.text(
            (left, top + height + 1 + LINE), shortened(said + percent(confidence), font, across), colour, font
        )
    return from_bytes(np.asarray(sheet))


def percent(probability: float) -> str:
    """With two decimals, rounded down: what is not certain is not shown as 100 %."""
    return f"{math.floor(probability * 1e4) / 100:.2f} %"


def shortened(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, end: str = "..."
) -> str:
    """The text, cut so that it is at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + end) > width:
        text = text[:-1]
    return text + end


def _shown(width: int, height: int) -> tuple[int, int]:
    """The size in the gallery of images of this size."""
    longer = max(width, height)
    scale = max(1, SMALLEST // longer) if longer <= LARGEST else LARGEST / longer
    return max(1, round(width * scale)), max(1, round(height * scale))

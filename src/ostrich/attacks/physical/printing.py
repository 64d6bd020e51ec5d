"""A patch on paper: a PDF page of A4 with the patch at its true size and marks to cut along."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from torch import Tensor

from ostrich.errors import InputError
from ostrich.images import picture
from ostrich.runtime.files import whole

PAGE = (21.0, 29.7)  # A4, cm
MARGIN = 1.5  # cm that printers leave free, with room for the marks
DOTS = 300  # an inch
CM = {"cm": 1.0, "mm": 0.1, "in": 2.54}


def read_width(text: str) -> float:
    """12cm, 120mm or 5in as centimetres. Raises InputError, also for what does not go on the page."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(cm|mm|in)", text.strip())
    if not found:
        raise InputError(f"print_width={text}: a number with cm, mm or in is expected, such as 12cm.")
    width, most = float(found[1]) * CM[found[2]], PAGE[0] - 2 * MARGIN
    if not 0.5 <= width <= most:
        raise InputError(f"print_width={text}: an A4 page holds a patch of 0.5cm to {most:g}cm.")
    return width


def write_pdf(path: Path, patch: Tensor, width: float) -> None:
    """Write a patch (C, s, s) `width` centimetres wide in the middle of a page, atomically."""
    from PIL import ImageDraw

    page = Image.new("RGB", (_dots(PAGE[0]), _dots(PAGE[1])), "white")
    side = _dots(width)
    left, top = (page.width - side) // 2, (page.height - side) // 2
    page.paste(picture(patch).convert("RGB").resize((side, side), Image.Resampling.NEAREST), (left, top))
    pen, near, far = ImageDraw.Draw(page), _dots(0.2), _dots(1.0)
    for x, outward in ((left - 1, -1), (left + side, 1)):
        for y, up in ((top - 1, -1), (top + side, 1)):
            pen.line([(x + outward * near, y), (x + outward * far, y)], fill="black", width=1)
            pen.line([(x, y + up * near), (x, y + up * far)], fill="black", width=1)
    with whole(path) as partial:
        page.save(partial, format="PDF", resolution=DOTS)


def _dots(centimetres: float) -> int:
    return round(centimetres / 2.54 * DOTS)

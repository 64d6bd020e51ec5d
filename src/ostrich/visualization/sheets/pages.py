"""Sheets of units as pages: one for each unit, and one for a layer of several, a row for each.

At the top the preferred image and how the unit's responses are distributed, those shown marked; below the
images that excite it most, cut to what it sees of them, and what each method brings back from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ostrich.attribution import EXPLAINERS
from ostrich.attribution.pictures import picture as drawn
from ostrich.images import picture
from ostrich.visualization.sheets.unit_sheets import Sheet

TILE, BIG, GAP, MARGIN = 96, 216, 6, 10  # pixels: a crop, the preferred image, between them, about all
TITLE, LINE, NAMES = 30, 18, 96  # pixels: the title's height, a line's, the width of the names of rows
BARS = 40  # of the distribution
INK, BAR, MARK = "#222222", "#9db4c8", "#b3261e"


def page(one: Sheet, network: str) -> Image.Image:
    """The page of one unit of the network of that name."""
    rows = _rows(one)
    width = 2 * MARGIN + NAMES + len(one.places) * (TILE + GAP)
    width = max(width, 2 * MARGIN + 2 * BIG + 4 * GAP)
    height = 2 * MARGIN + TITLE + BIG + LINE + GAP + len(rows) * (TILE + GAP) + LINE
    whole = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(whole)
    draw.text((MARGIN, MARGIN), f"{one.response.unit} of {network}", fill=INK, font=_font(16))
    top = MARGIN + TITLE
    whole.paste(_tile(one.preferred, BIG), (MARGIN, top))
    draw.text((MARGIN, top + BIG + 3), "preferred image", fill=INK, font=_font(11))
    left = MARGIN + BIG + 3 * GAP
    _distribution(draw, one, (left, top, width - MARGIN, top + BIG))
    top += BIG + LINE + GAP
    for name, tiles in rows.items():
        draw.text((MARGIN, top + TILE / 2), name, fill=INK, font=_font(11), anchor="lm")
        _row(whole, tiles, MARGIN + NAMES, top)
        top += TILE + GAP
    for k, place in enumerate(one.places):
        words = f"{one.response.values[place].item():.3g}"
        middle = MARGIN + NAMES + k * (TILE + GAP) + TILE / 2
        draw.text((middle, top + LINE / 2 - GAP), words, fill=INK, font=_font(11), anchor="mm")
    return whole


def _rows(one: Sheet) -> dict[str, list[Image.Image]]:
    """The rows of crops by name: images, then what each method brings back."""
    rows = {"most exciting": [_cut(image, box) for image, box in zip(one.images, one.boxes, strict=True)]}
    for name, maps in one.maps.items():
        shown = [drawn(EXPLAINERS[name], found, image) for found, image in zip(maps, one.images, strict=True)]
        rows[name] = [_cut(image, box) for image, box in zip(shown, one.boxes, strict=True)]
    return rows


def layer_pages(found: Sequence[Sheet], network: str) -> dict[str, Image.Image]:
    """For each layer with several units a page with a row for each: preferred image, then the crops."""
    layers: dict[str, list[Sheet]] = {}
    for one in found:
        layers.setdefault(one.response.unit.layer, []).append(one)
    return {name: _layer_page(own, f"{name} of {network}") for name, own in layers.items() if len(own) > 1}


def _layer_page(found: Sequence[Sheet], title: str) -> Image.Image:
    columns = 1 + max(len(one.places) for one in found)
    size = 2 * MARGIN + NAMES + columns * (TILE + GAP), 2 * MARGIN + TITLE + len(found) * (TILE + GAP)
    whole = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(whole)
    draw.text((MARGIN, MARGIN), title, fill=INK, font=_font(16))
    for k, one in enumerate(found):
        top = MARGIN + TITLE + k * (TILE + GAP)
        name = one.response.unit.index[:14]
        draw.text((MARGIN, top + TILE / 2), name, fill=INK, font=_font(12), anchor="lm")
        crops = [_cut(image, box) for image, box in zip(one.images, one.boxes, strict=True)]
        _row(whole, [_tile(one.preferred, TILE), *crops], MARGIN + NAMES, top)
    return whole


def _row(whole: Image.Image, tiles: Sequence[Image.Image], left: int, top: int) -> None:
    for k, tile in enumerate(tiles):
        whole.paste(tile, (left + k * (TILE + GAP), top))


def _cut(image: Tensor, box: Sequence[int]) -> Image.Image:
    """The box of an image (1 or 3, H, W) as a tile."""
    top, left, bottom, right = box
    return _tile(image[:, top:bottom, left:right], TILE)


def _tile(image: Tensor, side: int) -> Image.Image:
    """An image (C, H, W) in a square: enlarged by its pixels, made smaller smoothly, proportions kept."""
    shown = picture(image).convert("RGB")
    factor = side / max(shown.size)
    size = tuple(max(1, round(factor * length)) for length in shown.size)
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (side, side), "white")
    square.paste(shown.resize((size[0], size[1]), how), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _distribution(draw: ImageDraw.ImageDraw, one: Sheet, frame: tuple[int, int, int, int]) -> None:
    """How many images excite the unit how much; those shown are marked."""
    values = one.response.values.detach().double().cpu()
    marked = [float(values[place]) for place in one.places]
    values = values[values.isfinite()]
    left, top, right, bottom = frame
    low, high = float(values.min()), float(values.max())
    draw.text((left, top), f"responses of {len(values)} images", fill=INK, font=_font(11))
    if not high > low:
        draw.text((left, top + 2 * LINE), f"all of them {low:.4g}", fill=INK, font=_font(11))
        return
    counts = torch.histc(values, BARS, low, high).tolist()
    base, tall, wide = bottom - LINE, bottom - top - 2 * LINE, (right - left) / BARS
    for k, count in enumerate(counts):
        height = tall * count / max(counts)
        box = left + k * wide, base - height, left + (k + 1) * wide - 1, base
        draw.rectangle(box, fill=BAR)
    for value in marked:
        x = left + (value - low) / (high - low) * (right - left)
        draw.line((x, base, x, base + 5), fill=MARK, width=2)
    draw.text((left, bottom), f"{low:.3g}", fill=INK, font=_font(11), anchor="ls")
    draw.text((right, bottom), f"{high:.3g}", fill=INK, font=_font(11), anchor="rs")


def _font(size: int) -> Any:
    return ImageFont.load_default(size)

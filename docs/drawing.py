"""How the gallery's pictures are put together: tiles of 224 pixels and more, three in a row, with a caption.

What is smaller is enlarged by a whole number, each pixel as a square of them: nothing is smoothed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageSequence

SIDE, WIDE = 224, 700  # pixels of a tile's shorter side, and of a sheet's width, at least
COLUMNS, GAP, LINE, LETTERS = 3, 12, 28, 15
COLOURS = 64  # of a film


def times(pixels: int, least: int) -> int:
    """By how much so many pixels are enlarged to be `least` or more."""
    return max(1, -(-least // pixels))


def enlarged(image: Image.Image, by: int) -> Image.Image:
    """Each pixel as a square of `by` times `by`."""
    size = (image.width * by, image.height * by)
    return image if by == 1 else image.resize(size, Image.Resampling.NEAREST)


def tile(image: Image.Image, text: str) -> Image.Image:
    """An image, large enough to be looked at, with a line of text below it."""
    shown = enlarged(image.convert("RGB"), times(min(image.size), SIDE))
    made = Image.new("RGB", (shown.width, shown.height + LINE), "white")
    made.paste(shown, (0, 0))
    place, font = (shown.width / 2, shown.height + LINE / 2 - 1), ImageFont.load_default(LETTERS)
    ImageDraw.Draw(made).text(place, text, fill="black", font=font, anchor="mm")
    return made


def framed(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """An image with a frame around a box (left, top, right, bottom)."""
    image = image.convert("RGB")
    pen, (left, top, right, bottom) = ImageDraw.Draw(image), box
    pen.rectangle((left - 3, top - 3, right + 2, bottom + 2), None, "black", 3)
    pen.rectangle((left - 2, top - 2, right + 1, bottom + 1), None, "white", 1)
    return image


def in_rows(tiles: Sequence[Image.Image], columns: int = COLUMNS) -> Image.Image:
    """Tiles beside and below one another; all have the size of the largest."""
    columns = min(columns, len(tiles))
    width, height = (max(sizes) for sizes in zip(*(one.size for one in tiles), strict=True))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for i, one in enumerate(tiles):
        sheet.paste(one, (i % columns * (width + GAP), i // columns * (height + GAP)))
    return sheet


def above(top: Image.Image, bottom: Image.Image) -> Image.Image:
    """One image over the other."""
    both = Image.new("RGB", (max(top.width, bottom.width), top.height + bottom.height), "white")
    both.paste(top, (0, 0))
    both.paste(bottom, (0, top.height))
    return both


def cells(sheet: Image.Image, side: int, gap: int = 2) -> Iterator[Image.Image]:
    """The images of a sheet without words, row by row."""
    for y in range(0, sheet.height - side + 1, side + gap):
        for x in range(0, sheet.width - side + 1, side + gap):
            yield sheet.crop((x, y, x + side, y + side))


def labelled_rows(rows: Sequence[tuple[str, Sequence[Image.Image]]], by: int) -> Image.Image:
    """A row of small images for each name, which stands before it."""
    font = ImageFont.load_default(LETTERS)
    left = int(max(font.getlength(name) for name, _ in rows)) + GAP
    across, down = (side * by + 2 for side in rows[0][1][0].size)
    sheet = Image.new(
        "RGB", (left + across * max(len(images) for _, images in rows), down * len(rows)), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for y, (name, images) in enumerate(rows):
        pen.text((0, y * down + down / 2), name, fill="black", font=font, anchor="lm")
        for x, image in enumerate(images):
            sheet.paste(enlarged(image, by), (left + x * across, y * down))
    return sheet


def change(before: Image.Image, after: Image.Image) -> tuple[Image.Image, int]:
    """after - before about middle grey, enlarged by a whole number that fills the range."""
    larger, smaller = ImageChops.subtract(after, before), ImageChops.subtract(before, after)
    most = max(high for one in (larger, smaller) for _, high in _extrema(one))
    factor = max(1, 127 // max(1, most))
    grey = Image.new("RGB", before.size, (128, 128, 128))
    up, down = (one.point(lambda level: level * factor) for one in (larger, smaller))
    return ImageChops.subtract(ImageChops.add(grey, up), down), factor


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    return [(int(low), int(high)) for low, high in image.getextrema()]  # type: ignore[misc]


def film(source: Path, to: Path) -> None:
    """A GIF of at least SIDE pixels and, where it may be, not many more."""
    with Image.open(source) as read:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(read)]
    side = min(frames[0].size)
    by, of = times(side, SIDE), max(1, side // SIDE)
    size = frames[0].width * by // of, frames[0].height * by // of
    first, *rest = [frame.resize(size, Image.Resampling.NEAREST).quantize(COLOURS) for frame in frames]
    first.save(to, save_all=True, append_images=rest, duration=80, loop=0)

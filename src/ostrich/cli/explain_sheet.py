"""`ostrich explain sheet MODEL DATA --unit UNIT`: all about a unit on one page.

Its preferred image, the images that excite it most, cut to what it sees of them, what deconvnet and
guided backpropagation bring back from there, and how its responses are distributed. `--unit LAYER`
asks for a whole layer: a page for each channel, and one with a row for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from ostrich.cli.session import Session
from ostrich.errors import InputError
from ostrich.runtime.events import progress

if TYPE_CHECKING:
    from torch import Tensor

    from ostrich.attribution.question import Explainer
    from ostrich.inspection.units import Unit
    from ostrich.models import Classifier
    from ostrich.visualization import Ascent
    from ostrich.visualization.sheets.unit_sheets import Sheet

LIMIT = 256  # images, unless said
TILE, BIG, GAP, MARGIN = 96, 216, 6, 10  # pixels: a crop, the preferred image, between them, about all
TITLE, LINE, NAMES = 30, 18, 96  # pixels: the title's height, a line's, the width of the names of rows
BARS = 40  # of the distribution
INK, BAR, MARK = "#222222", "#9db4c8", "#b3261e"


def read_asked(settings: Sequence[str]) -> tuple[Ascent, int]:
    """The ascent to the preferred image and how many images are shown, `--set top=N`. Raises InputError."""
    from ostrich.cli.visualize_asked import read_settings
    from ostrich.runtime.settings import pairs, read_value
    from ostrich.visualization.sheets.unit_sheets import TOP

    given = pairs(settings)
    top = int(read_value("top", given.pop("top", str(TOP)), int))
    if not 1 <= top <= TOP:
        raise InputError(f"A sheet shows 1 to {TOP} images; got top={top}.")
    return read_settings([f"{name}={value}" for name, value in given.items()], None), top


def read_units(classifier: Classifier, asked: Sequence[str]) -> list[Unit]:
    """The units asked for; a layer alone stands for all its channels. Raises InputError."""
    from ostrich.cli.visualize_asked import read_objectives
    from ostrich.inspection.units import resolve

    if not asked:
        raise InputError(
            "A sheet is about a unit: --unit class:ostrich, layer3:17, or a whole layer, --unit layer3. "
            "`ostrich list units MODEL` lists the layers."
        )
    texts = [text if ":" in text else f"{text}:*" for text in asked]
    objectives = read_objectives(classifier, texts, ())
    units = [unit for objective in objectives for unit in objective.units]
    return [resolve(classifier, unit) for unit in units]


def sheet(session: Session, units: Sequence[Unit], ascent: Ascent, top: int, seed: int) -> dict[str, Any]:
    """Write a page for each unit, and one for each layer with several of them; the results."""
    from ostrich.visualization import unit_sheets

    classifier, samples, folder = session.classifier, session.samples, session.run.folder
    with progress("preferred images", 1) as advance:
        found = unit_sheets(
            classifier, samples.images, len(samples), units, ascent, top=top, seed=seed, progress=advance
        )
    rows: list[dict[str, Any]] = []
    (folder / "sheets").mkdir(exist_ok=True)
    for number, one in enumerate(found):
        file = f"sheets/{number:03d}-{_plain(one)}.png"
        _page(session, one).save(folder / file)
        values = one.response.values
        rows.append(
            {
                "unit": str(one.response.unit),
                "file": file,
                "images": [samples.files[place] for place in one.places],
                "index": [samples.index[place] for place in one.places],
                "values": [values[place].item() for place in one.places],
                "neurons": [str(one.response.neurons[place]) for place in one.places],
                "boxes": [list(box) for box in one.boxes],
                "median": values.median().item(),
                "dead": not bool(values.any()),
            }
        )
    return {"sheets": rows, "layers": _layers(session, found), "n": len(samples)}


def said(results: Mapping[str, Any]) -> list[str]:
    """What the command prints of the results."""
    lines = [
        f"{row['unit']}: {row['values'][0]:.4g} at most, {row['median']:.4g} in the middle  {row['file']}"
        + (f"; no image of {results['n']} moves it" if row["dead"] else "")
        for row in results["sheets"]
    ]
    return lines + [f"{layer}: {file}" for layer, file in results["layers"].items()]


def _plain(one: Sheet) -> str:
    from ostrich.inspection.unit_names import as_file_name

    return as_file_name(str(one.response.unit))


def _page(session: Session, one: Sheet) -> Image.Image:
    """The page of one unit."""
    rows = _rows(one)
    width = 2 * MARGIN + NAMES + len(one.places) * (TILE + GAP)
    width = max(width, 2 * MARGIN + 2 * BIG + 4 * GAP)
    height = 2 * MARGIN + TITLE + BIG + LINE + GAP + len(rows) * (TILE + GAP) + LINE
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN), f"{one.response.unit} of {session.classifier.name}", fill=INK, font=_font(16))
    top = MARGIN + TITLE
    page.paste(_tile(one.preferred, BIG), (MARGIN, top))
    draw.text((MARGIN, top + BIG + 3), "preferred image", fill=INK, font=_font(11))
    left = MARGIN + BIG + 3 * GAP
    _distribution(draw, one, (left, top, width - MARGIN, top + BIG))
    top += BIG + LINE + GAP
    for name, tiles in rows.items():
        draw.text((MARGIN, top + TILE / 2), name, fill=INK, font=_font(11), anchor="lm")
        _row(page, tiles, MARGIN + NAMES, top)
        top += TILE + GAP
    for k, place in enumerate(one.places):
        words = f"{one.response.values[place].item():.3g}"
        middle = MARGIN + NAMES + k * (TILE + GAP) + TILE / 2
        draw.text((middle, top + LINE / 2 - GAP), words, fill=INK, font=_font(11), anchor="mm")
    return page


def _rows(one: Sheet) -> dict[str, list[Image.Image]]:
    """The rows of crops by name: images, then what each method brings back."""
    from ostrich.attribution import EXPLAINERS
    from ostrich.attribution.pictures import picture

    rows = {"most exciting": [_cut(image, box) for image, box in zip(one.images, one.boxes, strict=True)]}
    for name, maps in one.maps.items():
        method: type[Explainer] = EXPLAINERS[name]
        drawn = [picture(method, found, image) for found, image in zip(maps, one.images, strict=True)]
        rows[name] = [_cut(image, box) for image, box in zip(drawn, one.boxes, strict=True)]
    return rows


def _layers(session: Session, found: Sequence[Sheet]) -> dict[str, str]:
    """For each layer with several units a page with a row for each: preferred image, then the crops."""
    from ostrich.inspection.unit_names import as_file_name

    grouped: dict[str, list[Sheet]] = {}
    for one in found:
        grouped.setdefault(one.response.unit.layer, []).append(one)
    files = {}
    for layer, sheets in grouped.items():
        if len(sheets) < 2:
            continue
        columns = 1 + max(len(one.places) for one in sheets)
        size = 2 * MARGIN + NAMES + columns * (TILE + GAP), 2 * MARGIN + TITLE + len(sheets) * (TILE + GAP)
        page = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(page)
        draw.text((MARGIN, MARGIN), f"{layer} of {session.classifier.name}", fill=INK, font=_font(16))
        for k, one in enumerate(sheets):
            top = MARGIN + TITLE + k * (TILE + GAP)
            name = one.response.unit.index[:14]
            draw.text((MARGIN, top + TILE / 2), name, fill=INK, font=_font(12), anchor="lm")
            crops = [_cut(image, box) for image, box in zip(one.images, one.boxes, strict=True)]
            _row(page, [_tile(one.preferred, TILE), *crops], MARGIN + NAMES, top)
        files[layer] = f"sheets/layer-{as_file_name(layer)}.png"
        page.save(session.run.folder / files[layer])
    return files


def _row(page: Image.Image, tiles: Sequence[Image.Image], left: int, top: int) -> None:
    for k, tile in enumerate(tiles):
        page.paste(tile, (left + k * (TILE + GAP), top))


def _cut(image: Tensor, box: Sequence[int]) -> Image.Image:
    """The box of an image (1 or 3, H, W) as a tile."""
    top, left, bottom, right = box
    return _tile(image[:, top:bottom, left:right], TILE)


def _tile(image: Tensor, side: int) -> Image.Image:
    """An image (C, H, W) in a square: enlarged by its pixels, made smaller smoothly, proportions kept."""
    from ostrich.images import picture

    shown = picture(image).convert("RGB")
    factor = side / max(shown.size)
    size = tuple(max(1, round(factor * length)) for length in shown.size)
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (side, side), "white")
    square.paste(shown.resize((size[0], size[1]), how), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _distribution(draw: ImageDraw.ImageDraw, one: Sheet, frame: tuple[int, int, int, int]) -> None:
    """How many images excite the unit how much; those shown are marked."""
    import torch

    values = one.response.values.detach().double().cpu()
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
    for place in one.places:
        x = left + (float(values[place]) - low) / (high - low) * (right - left)
        draw.line((x, base, x, base + 5), fill=MARK, width=2)
    draw.text((left, bottom), f"{low:.3g}", fill=INK, font=_font(11), anchor="ls")
    draw.text((right, bottom), f"{high:.3g}", fill=INK, font=_font(11), anchor="rs")


def _font(size: int) -> Any:
    return ImageFont.load_default(size)

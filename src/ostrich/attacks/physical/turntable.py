"""What a painted object is seen as: from all sides, and turning; before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ostrich.attacks.fitted.fitting import Tensors
from ostrich.attacks.fooling.gallery import gallery
from ostrich.data.mesh_views import Views
from ostrich.images import from_bytes, magnified, rounded, write_gif, write_png
from ostrich.models.answers import confidence, predictions
from ostrich.models.classifier import Classifier

FRAMES, MILLISECONDS, SIDE = 24, 150, 128  # a frame's picture has about so many pixels a side
WIDTH, HEIGHT, MARGIN, LINE = 720, 250, 44, 18  # pixels of the map's panels
DOT, LETTERS = 4, 12
RIGHT, TARGET, OTHER = "#1f5fa8", "#b3261e", "#c77700"
TICKS = 45  # degrees


def write_evidence(
    folder: Path,
    classifier: Classifier,
    views: Views,
    tensors: Tensors,
    label: int,
    target: int | None,
) -> dict[str, Any]:
    """Write viewpoints.png and turntable.gif; as what parts of the views are seen, before and after.

    All views (n) count, also those that were wrong before.
    """
    before = predictions(classifier.predict(views.untouched.to(tensors["texture"].device))).cpu()
    after = predictions(classifier.predict(painted(views, tensors["texture"]))).cpu()
    seen = {name: shares(found, label, target) for name, found in (("before", before), ("after", after))}
    names = (classifier.class_name(label), None if target is None else classifier.class_name(target))
    write_png(folder / "viewpoints.png", viewpoints(views, before, after, label, target, names))
    write_turntable(folder / "turntable.gif", classifier, views, tensors)
    return {"seen_before": seen["before"], "seen_after": seen["after"]}


def shares(found: Tensor, label: int, target: int | None) -> dict[str, float]:
    """Which part of predictions (n,) is the object's class, the target, or another one."""
    right = (found == label).double().mean().item()
    if target is None:
        return {"label": right, "other": 1 - right}
    hit = (found == target).double().mean().item()
    return {"label": right, "target": hit, "other": 1 - right - hit}


def painted(views: Views, texture: Tensor) -> Tensor:
    """All views (n, C, H, W) with a texture (3, T, T'), as 8-bit files hold them."""
    with torch.no_grad():
        parts = [views.show(texture, rows.tolist()) for rows in torch.arange(len(views)).split(64)]
    return rounded(torch.cat(parts))


def write_turntable(path: Path, classifier: Classifier, views: Views, tensors: Tensors) -> None:
    """The object turning, its own texture to the left, with what the network sees in every frame."""
    from ostrich.data.meshes import turning  # it brings the renderer

    around = turning(views, FRAMES)
    frames = []
    pairs = zip(painted(around, tensors["original"]), painted(around, tensors["texture"]), strict=True)
    for pair in pairs:
        both = torch.stack(pair)
        logits = classifier.predict(both)
        names = [classifier.class_name(k) for k in predictions(logits).tolist()]
        frames.append(gallery(magnified(both, SIDE), names, confidence(logits).tolist()))
    write_gif(path, frames, MILLISECONDS)


def viewpoints(
    views: Views,
    before: Tensor,
    after: Tensor,
    label: int,
    target: int | None,
    names: tuple[str, str | None],
) -> Tensor:
    """A map (3, H, W): a dot for each view where its camera stood, coloured by what was seen there."""
    page = Image.new("RGB", (WIDTH, 2 * HEIGHT + 2 * LINE), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(LETTERS)
    left = MARGIN
    legend = [(RIGHT, f"seen as {names[0]}"), (OTHER, "as something else")]
    if names[1] is not None:
        legend.insert(1, (TARGET, f"as {names[1]}, the target"))
    for colour, text in legend:
        pen.ellipse((left, LINE / 2 - DOT, left + 2 * DOT, LINE / 2 + DOT), fill=colour)
        pen.text((left + 14, LINE / 2), text, "black", font, "lm")
        left += 34 + int(font.getlength(text))
    top = max([60.0, *(look.elevation for look in views.looks)])
    for title, found, offset in (("before", before, LINE), ("after", after, LINE + HEIGHT)):
        _panel(pen, font, title, offset, top)
        for look, prediction in zip(views.looks, found.tolist(), strict=True):
            colour = RIGHT if prediction == label else TARGET if prediction == target else OTHER
            x, y = _place(look.azimuth, look.elevation, offset, top)
            pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill=colour)
    pen.text((WIDTH / 2, page.height - LINE / 2), "azimuth, degrees", "black", font, "mm")
    return from_bytes(np.asarray(page))


def _panel(pen: ImageDraw.ImageDraw, font: Any, title: str, offset: int, top: float) -> None:
    """Frame, lines and numbers of one panel."""
    corners: Sequence[tuple[float, float]] = (
        _place(0, top, offset, top),
        _place(360, 0, offset, top),
    )
    for degrees in range(0, 361, TICKS):
        x, y = _place(degrees, 0, offset, top)
        pen.line((x, corners[0][1], x, y), fill="#dddddd")
        pen.text((x, y + LINE / 2 + 2), str(degrees), "black", font, "mm")
    for degrees in range(0, int(top) + 1, 15):
        x, y = _place(0, degrees, offset, top)
        pen.line((x, y, corners[1][0], y), fill="#dddddd")
        pen.text((x - 6, y), str(degrees), "black", font, "rm")
    pen.text((corners[0][0] + 6, corners[0][1] + 4), f"{title}; elevation, degrees", "black", font)


def _place(azimuth: float, elevation: float, offset: int, top: float) -> tuple[float, float]:
    """Where a direction lies on the page."""
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 2 * LINE
    return MARGIN + azimuth / 360 * width, offset + LINE / 2 + (1 - elevation / top) * height

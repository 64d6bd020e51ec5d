"""Pictures of a camouflage: faces before and after with what the detector finds, and a look by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.attacks.camouflage.dazzle import Dazzle, Face
from ostrich.attacks.camouflage.makeup import FREE
from ostrich.images import as_rgb, from_bytes, write_png
from ostrich.images import picture as to_picture
from ostrich.models.detectors import Box, Detector, grey

TILE = 280  # pixels: the longer side of a picture on the sheet
GAP = 8
AROUND = 0.7  # of the face's side, that is shown around it
FOUND = (40, 220, 90)  # colour of a detection's frame
BLANK = 300  # pixels


def before_and_after(
    path: Path, detector: Detector, faces: Sequence[Face], looks: Sequence[np.ndarray], method: Dazzle
) -> None:
    """A row of the faces as they are, and one of them under their looks; a frame is what is found."""
    tiles = [
        [
            framed(image, face.box, detector.boxes(grey(image)))
            for image in (face.picture, face.wearing(look, method))
        ]
        for face, look in zip(faces, looks)
    ]
    height = max(tile.height for pair in tiles for tile in pair)
    width = sum(pair[0].width + GAP for pair in tiles) - GAP
    sheet, left = Image.new("RGB", (width, 2 * height + GAP), "white"), 0
    for pair in tiles:
        for row, tile in enumerate(pair):
            sheet.paste(tile, (left, row * (height + GAP)))
        left += pair[0].width + GAP
    write_png(path, from_bytes(np.asarray(sheet)))


def framed(image: Tensor, face: Box, boxes: Sequence[Box]) -> Image.Image:
    """What of a picture is around a face, at the size of a tile, with a frame around each detection."""
    from PIL import ImageDraw

    found = as_rgb(to_picture(image))
    left, top = max(0, round(face.left - AROUND * face.side)), max(0, round(face.top - AROUND * face.side))
    right = min(found.width, round(face.left + (1 + AROUND) * face.side))
    bottom = min(found.height, round(face.top + (1 + AROUND) * face.side))
    found = found.crop((left, top, right, bottom))
    factor = TILE / max(found.size)
    found = found.resize((round(found.width * factor), round(found.height * factor)))
    pen = ImageDraw.Draw(found)
    for box in boxes:
        x, y, side = factor * (box.left - left), factor * (box.top - top), factor * box.side
        pen.rectangle((x, y, x + side, y + side), outline=FOUND, width=3)
    return found


def on_a_blank_face(look: np.ndarray, method: Dazzle, room: float) -> Tensor:
    """A look (P,) on a grey square (3, 300, 300), where eyes and mouth are darker.

    `room` is that of a face that wears it: how large its picture is beside its box.
    """
    from PIL import ImageDraw

    blank = Image.new("RGB", (BLANK, BLANK), (190, 190, 190))
    pen = ImageDraw.Draw(blank)
    for x, y, a, b in FREE:
        pen.ellipse([BLANK * edge for edge in (x - a, y - b, x + a, y + b)], fill=(150, 150, 150))
    image = from_bytes(np.asarray(blank))[:1]
    worn = Face("blank", image, Box(0.0, 0.0, float(BLANK)), 0, room).wearing(look, method)
    return torch.cat([worn] * 3)

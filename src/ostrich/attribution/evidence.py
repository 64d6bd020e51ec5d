"""What an explanation leaves on disk: each map raw and as a picture, and a sheet of the first images.

images/INDEX-clean.png              the image
maps/INDEX-TURN-UNIT.npy, .png      the map (C, H, W) in float32, and its picture
sheet.png                           a row for each of the first images: the image, then its maps

Of a thousand images or more each thousand has a folder of its own, images/THOUSAND/INDEX-clean.png.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostrich.attribution.batches import Batch
from ostrich.attribution.pictures import picture
from ostrich.attribution.question import Explainer
from ostrich.data.dataset import Samples
from ostrich.images import grid, magnified, numbered, visible, write_png
from ostrich.inspection.unit_names import as_file_name

SHEET = "sheet.png"
SHEET_ROWS = 32  # images on the sheet
TILE = 128  # pixels; smaller images are enlarged by whole numbers on the sheet


def rows_of(samples: Samples, batch: Batch) -> list[dict[str, Any]]:
    """A row of `explanations` in run.json for each map of a batch, image by image."""
    rows = []
    for i, units in enumerate(batch.units):
        place = batch.start + i
        index = samples.index[place]
        for turn, unit in enumerate(units):
            stem = f"{numbered('maps', index, len(samples))}-{turn:02d}-{as_file_name(unit)}"
            rows.append(
                {
                    "index": index,
                    "file": samples.files[place],
                    "prediction": batch.predictions[i],
                    "unit": unit,
                    "largest": _largest(batch.maps[i, turn]),
                    "figures": batch.figures[i][turn],
                    "clean_file": f"{numbered('images', index, len(samples))}-clean.png",
                    "map_file": f"{stem}.npy",
                    "picture_file": f"{stem}.png",
                }
            )
    return rows


def _largest(found: Tensor) -> float | None:
    """The largest absolute value of a map; None where a value is not finite."""
    largest = found.abs().max().item()  # NaN where one is
    return largest if math.isfinite(largest) else None


def write_maps(
    folder: Path, method: Explainer, rows: Sequence[dict[str, Any]], images: Tensor, maps: Tensor
) -> None:
    """Write images (N, C, H, W) and their maps (N, U, C, H, W) as the N * U rows name them."""
    for i, image in enumerate(images):
        own = rows[i * maps.shape[1] : (i + 1) * maps.shape[1]]
        write_png(folder / own[0]["clean_file"], image)
        for row, found in zip(own, maps[i], strict=True):
            write_png(folder / row["picture_file"], picture(method, found, image))
            np.save(folder / row["map_file"], found.numpy())


def read_maps(folder: Path, rows: Sequence[dict[str, Any]]) -> Tensor:
    """The maps (len(rows), C, H, W) that the rows name."""
    return torch.stack([torch.from_numpy(np.load(folder / row["map_file"])) for row in rows])


def sheet(method: Explainer, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The sheet (3, H, W) of batches of images (N, C, H, W) and their maps (N, U, C, H, W)."""
    rows = [
        torch.stack([_tile(image), *(_tile(picture(method, found, image)) for found in own)])
        for images, maps in batches
        for image, own in zip(images, maps, strict=True)
    ]
    return grid(torch.cat(rows), columns=len(rows[0]))


def _tile(image: Tensor) -> Tensor:
    """An image (C, H, W) in colour, enlarged to some 128 pixels."""
    return magnified(visible(image.detach().cpu().float()).expand(3, -1, -1), TILE)

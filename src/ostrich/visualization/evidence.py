"""What an ascent leaves on disk, and what is to be said of it.

units/ROW-UNIT.png    the preferred image of each unit and seed; .npy where a PNG cannot hold its channels
grid.png              all of them, a row for each unit where there are several seeds
metrics.jsonl         the values at every step
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ostrich.images import grid, image_name, write_image, write_png
from ostrich.inspection.unit_names import as_file_name
from ostrich.runtime.files import json_line, write_text
from ostrich.visualization.activation_maximization import Preferred
from ostrich.visualization.objectives import Objective

GRID = "grid.png"


def rows_of(
    objectives: Sequence[Objective], found: Preferred, values: Tensor, seed: int, seeds: int
) -> list[dict[str, Any]]:
    """A row of `units` in run.json for each unit and seed; `values` (R,) are those of the 8-bit images."""
    names = [(str(one), seed + turn) for one in objectives for turn in range(seeds)]
    channels = found.images.shape[1]
    return [
        {
            "unit": unit,
            "seed": own,
            "value": values[i].item(),
            "value_float": found.values[i].item(),
            "start": found.trace[0, i].item(),
            "dead": bool(found.dead[i]),
            "file": image_name(
                f"units/{i:02d}-{as_file_name(unit)}{f'-{own}' if seeds > 1 else ''}", channels
            ),
        }
        | ({"undefined": True} if found.undefined[i] else {})
        for i, (unit, own) in enumerate(names)
    ]


def write_images(
    folder: Path, rows: Sequence[dict[str, Any]], images: Tensor, trace: Tensor, seeds: int
) -> None:
    """Write images (R, C, H, W) as the rows name them, their grid, and the trace (steps, R)."""
    for row, image in zip(rows, images, strict=True):
        write_image(folder / row["file"], image)
    write_png(folder / GRID, overview(images, seeds))
    lines = [
        json_line(
            {
                "step": step,
                "unit": row["unit"],
                **({"seed": row["seed"]} if seeds > 1 else {}),
                "value": value,
            }
        )
        for step, values in enumerate(trace.tolist())
        for row, value in zip(rows, values, strict=True)
    ]
    write_text(folder / "metrics.jsonl", "\n".join(lines) + "\n")


def overview(images: Tensor, seeds: int) -> Tensor:
    """All images (R, C, H, W) in one, (C, H', W')."""
    return grid(images, seeds if seeds > 1 else None)


def remarks(rows: Sequence[dict[str, Any]], prior: str | None) -> list[str]:
    """A sentence on each unit that nothing moves from any of its starts, or of which that is not known;
    `prior` names the generator, if any.
    """
    found = []
    for unit in dict.fromkeys(row["unit"] for row in rows):
        own = [row for row in rows if row["unit"] == unit]
        undefined = any("undefined" in row for row in own)
        if not all(row["dead"] or "undefined" in row for row in own):
            continue
        starts = f"{len(own)} start{'s' if len(own) > 1 else ''}"
        if undefined:
            found.append(
                f"{unit}: its values or slopes are not finite from {starts}, so what moves it is not known, "
                "and its image shows nothing of it."
            )
        elif prior is not None:
            found.append(
                f"{unit} is dead under {prior}: no code moves it at any step from {starts}, so its image is "
                "a random one of the generator. Other starts may wake it (--seeds 8); if none does, the "
                "generator draws nothing that does."
            )
        else:
            found.append(
                f"{unit} is dead: no pixel moves it at any step from {starts}, so its image is noise. Other "
                "starts may wake it (--seeds 8, stronger noise: --set noise=0.2 or --set deviation=1); if "
                "none does, nothing that a ReLU lets through leads there."
            )
    return found

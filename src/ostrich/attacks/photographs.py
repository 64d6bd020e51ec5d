"""photographs.csv: what a camera sees of images, and of what an attack made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ostrich.attacks.engine.evidence import write_table
from ostrich.images import numbered, write_png

COLUMNS = (
    "index",
    "clean_prediction",
    "adversarial_prediction",
    "success",
    "clean_photograph_file",
    "adversarial_photograph_file",
)
KINDS = ("clean", "adversarial")


def write_photographs(
    folder: Path,
    index: Sequence[int],
    rows: Sequence[int],
    shots: tuple[Tensor, Tensor],
    seen: tuple[Tensor, Tensor],
    success: Tensor,
) -> None:
    """Write photographs.csv of the images at some `rows` of the `index`, and their photographs as files.

    `shots` are the photographs (N, C, H, W) of all, clean and adversarial, `seen` (N,) what they are seen
    as, `success` (N,) whether the photograph fools. A photograph is a file where its image is one.
    """
    table = []
    for row in rows:
        name = numbered("images", index[row], len(index))
        kept = (folder / f"{name}-adversarial.png").exists()
        files = [f"{name}-{kind}-photograph.png" if kept else "" for kind in KINDS]
        for file, images in zip(files, shots, strict=True):
            if file:
                write_png(folder / file, images[row])
        told = "true" if success[row] else "false"
        values = (index[row], *(int(one[row]) for one in seen), told, *files)
        table.append(dict(zip(COLUMNS, values, strict=True)))
    write_table(folder / "photographs.csv", COLUMNS, table)

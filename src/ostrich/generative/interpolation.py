"""Interpolation: images on the ways between codes, or between two classes.

Between codes the way is straight if they are uniform and a great circle if they are normal (`codes.between`);
between classes it is the straight line between their embeddings, at a fixed code (Brock 2019, figure 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.figures.clips import film, is_clip, stills, write_clip
from ostrich.generative.generator import Generator
from ostrich.images import grid, magnified, write_gif, write_png

SIDE = 512  # pixels of a film; smaller ones are enlarged by whole numbers
MILLISECONDS = 80  # each frame of a GIF


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """`images` (S, R, C, H, W) in [0, 1], or clips: S steps on each of R ways; `way` says what they are.

    With `gif` the ways there and back are a film; clips are one always.
    """

    images: Tensor
    way: str
    gif: bool

    @property
    def figures(self) -> dict[str, Any]:
        """Rows, steps, the way, and which files `write` writes."""
        steps, rows = self.images.shape[:2]
        found = {"rows": rows, "steps": steps, "way": self.way, "sheet": "sheet.png"}
        return found | ({"gif": "interpolation.gif"} if self.gif or self._clips else {})

    @property
    def sheet(self) -> Tensor:
        """A row for each way in one image (C, H', W'); of clips their middle frames."""
        return grid(stills(self._by_row), len(self.images))

    def write(self, folder: Path) -> None:
        """Write the sheet, and the film."""
        steps, rows = self.images.shape[:2]
        write_png(folder / "sheet.png", self.sheet)
        if self._clips:
            write_clip(folder / "interpolation.gif", film(self._by_row, steps), SIDE)
        elif self.gif:
            larger = [magnified(grid(frame, min(rows, 3)), SIDE) for frame in self.images]
            write_gif(folder / "interpolation.gif", [*larger, *larger[-2:0:-1]], MILLISECONDS)

    @property
    def _clips(self) -> bool:
        return is_clip(tuple(self.images.shape[2:]))

    @property
    def _by_row(self) -> Tensor:
        return self.images.transpose(0, 1).flatten(0, 1)


def interpolate(
    generator: Generator,
    codes: Tensor,
    steps: int,
    *,
    classes: tuple[int, int] | None = None,
    gif: bool = False,
) -> Interpolation:
    """Ways from the first half of `codes` (2 R, Z) to the second, or of the first half between two classes.

    Raises InputError for less than one row or two steps, and for a generator without classes.
    """
    rows = len(codes) // 2
    if rows < 1 or steps < 2:
        raise InputError(f"There is at least 1 row and 2 steps; got {rows} and {steps}.")
    if classes is not None:
        shares = [step / (steps - 1) for step in range(steps)]
        images = generator.between_classes(codes[:rows], *classes, shares)
        return Interpolation(images=images, way="between classes", gif=gif)
    each = generator.in_turn(range(rows), None)
    between = generator.codes.between(codes[:rows], codes[rows:], steps)
    images = torch.stack([generator(here, each) for here in between])
    way = "great circle" if generator.codes.kind == "normal" else "straight"
    return Interpolation(images=images, way=way, gif=gif)

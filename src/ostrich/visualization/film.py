"""An ascent as a GIF: the images at some of its steps, evenly spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ostrich.images import from_bytes, grid, magnified, to_bytes, write_gif

FRAMES, MILLISECONDS = 40, 80  # of a film, and of each of its frames
SIDE = 512  # pixels; smaller films are enlarged by whole numbers


class Film:
    """Keeps the images of FRAMES of `steps` steps, in 8 bits; `watch` is handed to `ascend`."""

    def __init__(self, steps: int) -> None:
        chosen = sorted({step * (steps - 1) // (FRAMES - 1) for step in range(FRAMES)})
        self._frames: dict[int, dict[int, np.ndarray]] = {step: {} for step in chosen}

    def watch(self, step: int, places: list[int], images: Tensor) -> None:
        """Keep images (N, C, H, W) of a step, which stand at these places among all."""
        if step in self._frames:
            self._frames[step] |= dict(zip(places, to_bytes(images), strict=True))

    def frames(self, columns: int | None = None) -> list[Tensor]:
        """Each frame as a grid (C, H, W) of so many columns."""
        return [
            grid(torch.stack([from_bytes(frame[place]) for place in sorted(frame)]), columns)
            for frame in self._frames.values()
        ]

    def write(self, path: Path, columns: int | None = None) -> None:
        """The frames as an endless GIF."""
        write_gif(path, [magnified(frame, SIDE) for frame in self.frames(columns)], MILLISECONDS)

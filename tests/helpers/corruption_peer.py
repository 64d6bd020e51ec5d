"""Figures of what imagecorruptions does to a photograph, for tests that run without the library.

`PYTHONPATH=. .venv-peers/bin/python tests/helpers/corruption_peer.py` writes them down.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.corruptions import EXACT, corrupted, photographs
from ostrich.corruptions import NAMES, SEVERITIES

FILE = Path(__file__).parents[1] / "corruptions/peer.json"
DRAWS = 8  # of a random corruption; they are averaged


def seed(number: int) -> None:
    """Begin the random numbers that the library draws from."""
    np.random.seed(number)  # noqa: NPY002 - they are numpy's global ones


def photograph() -> Tensor:
    """The cat that scikit-image carries, (1, 3, 224, 224)."""
    return photographs()[:1]


def figures(images: Tensor, original: Tensor) -> list[float]:
    """Of 255: the mean, that of red, green and blue, the mean deviation, and the root mean square change."""
    red, green, blue = images.mean((0, 2, 3)).tolist()
    deviation, change = images.std((2, 3)).mean(), (images - original).square().mean().sqrt()
    found = ((red + green + blue) / 3, red, green, blue, deviation, change)
    return [round(255 * float(one), 3) for one in found]


def main() -> None:
    """Write them down."""
    seed(0)
    image = photograph()
    lines = []
    for name in NAMES:
        times = 1 if name in EXACT else DRAWS
        draws = [torch.cat([corrupted(image, name, s) for _ in range(times)]) for s in SEVERITIES]
        lines.append(f' "{name}": {json.dumps([figures(images, image) for images in draws])}')
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()

"""How strong a corruption is: published settings for two sizes, and the rule for all others.

ImageNet-C has settings for photographs of 224 pixels, CIFAR-10-C for thumbnails of 32 (both Hendrycks and
Dietterich 2019; the constants are those of the authors' `imagenet_c` and `make_cifar_c.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

PHOTOGRAPH, THUMBNAIL = 224, 32  # pixels of a side
BETWEEN = sqrt(PHOTOGRAPH * THUMBNAIL)  # 84.7


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one corruption at severities 1 to 5.

    `names` are those of its numbers; those in `lengths` are in pixels. An image whose shorter side has less
    than 84.7 pixels, the geometric mean of both sizes, takes those of the thumbnail, any other those of the
    photograph; lengths grow and shrink with the side, all other numbers stay as they are.
    """

    names: tuple[str, ...]
    photograph: tuple[tuple[float, ...], ...]
    thumbnail: tuple[tuple[float, ...], ...]
    lengths: frozenset[str] = frozenset()

    def at(self, severity: int, size: tuple[int, int]) -> dict[str, float]:
        """The numbers by name, for images of `size` (H, W)."""
        small = min(size) < BETWEEN
        numbers = (self.thumbnail if small else self.photograph)[severity - 1]
        scale = min(size) / (THUMBNAIL if small else PHOTOGRAPH)
        named = zip(self.names, numbers, strict=True)
        return {name: number * (scale if name in self.lengths else 1) for name, number in named}

"""The pointing game: does the most important pixel lie on the object?

Zhang, Lin, Brandt, Shen, Sclaroff 2016, "Top-down neural attention by excitation backprop", section 4.1,
here with the object's exact mask and no margin. Objects tend to stand in the middle, so what
pointing at the centre of every image would score stands beside.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ostrich.errors import InputError
from ostrich.statistics import wilson


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """`hits` of `n` images, and those of the centre.

    `constant` counts the maps that point nowhere, being the same everywhere or not finite: they miss.
    """

    n: int
    hits: int
    centre_hits: int
    constant: int

    @property
    def share(self) -> tuple[float, float, float]:
        """The share of hits, with its 95 % interval (Wilson)."""
        return (self.hits / self.n, *wilson(self.hits, self.n))

    @property
    def centre_share(self) -> tuple[float, float, float]:
        """The share of the centre's hits, with its 95 % interval (Wilson)."""
        return (self.centre_hits / self.n, *wilson(self.centre_hits, self.n))


def pointing_game(important: Tensor, masks: Tensor) -> Pointing:
    """For the importance of pixels (N, H, W) and masks (N, H, W), true on the object."""
    if important.shape != masks.shape or important.ndim != 3 or not len(important):
        raise InputError(
            f"Maps and masks are (N, H, W); got {tuple(important.shape)} and {tuple(masks.shape)}."
        )
    flat, on = important.flatten(1), masks.flatten(1).bool()
    constant = (flat.amin(1) == flat.amax(1)) | ~flat.isfinite().all(1)
    hits = on.gather(1, flat.argmax(1, keepdim=True))[:, 0] & ~constant
    height, width = masks.shape[1:]
    centre = masks[:, height // 2, width // 2].bool()
    return Pointing(
        n=len(flat), hits=int(hits.sum()), centre_hits=int(centre.sum()), constant=int(constant.sum())
    )

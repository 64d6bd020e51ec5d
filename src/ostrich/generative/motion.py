"""Does what moves lie inside the mask? Changes from frame to frame, within the mask and without.

A pixel of two neighbouring frames is inside where the mask is above one half in either of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ostrich.generative.video_gan import composed

EDGE = 0.5  # of the mask


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Mean absolute differences of neighbouring frames, of pixels in [0, 1], over all colours."""

    clips: int
    inside: float  # NaN where no pixel is
    outside: float
    ratio: float
    pixels_inside: int  # of pairs of frames, all clips together
    share_inside: float


def motion(clips: Tensor, masks: Tensor) -> Motion:
    """Of clips (N, C, T, H, W) in [0, 1] and their masks (N, 1, T, H, W)."""
    change = clips.diff(dim=2).abs().mean(1)  # (N, T - 1, H, W)
    marked = masks[:, 0] > EDGE
    within = marked[:, 1:] | marked[:, :-1]
    inside, outside = change[within].mean().item(), change[~within].mean().item()
    return Motion(
        clips=len(clips),
        inside=inside,
        outside=outside,
        ratio=inside / outside if outside else float("inf"),
        pixels_inside=int(within.sum()),
        share_inside=within.float().mean().item(),
    )


def unmasked(foreground: Tensor, mask: Tensor, background: Tensor) -> float:
    """The largest difference of any frame from the background where the mask is set to 0; 0 is right."""
    return (composed(foreground, mask * 0, background) - background).abs().max().item()

"""Does what moves lie inside the mask, and is it one object? Both by frames, masks and background alone.

Changes from frame to frame, within the mask and without: a pixel of two neighbouring frames is inside where
the mask is above one half in either of them.

One object is tracked through a clip: in every frame the largest connected part of what is seen. Its limits
were fixed by real clips with their true masks, before any generated clip was looked at: of 200 training clips
of the toybox 99.5 % stay well within each, and clips whose frames are of one clip each are far outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ostrich.generative.video_gan import composed

EDGE = 0.5  # of the mask
SEEN = 0.05  # of the range of a colour: by so much a pixel of the object differs from the background
WHOLE = 0.75  # of what is seen, at least, is the largest connected part
LEAST, MOST = 0.01, 0.5  # of the picture
SHARED = 0.3  # of the union of two neighbouring frames' parts, at least, is in both
GROWS, CHANGES = 1.5, 4.0  # times, at most, its area from frame to frame, and in all
PALES, RECOLOURS = 0.1, 0.25  # its mean colour at most, root mean square, from frame to frame, and in all


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


def seen(clips: Tensor, masks: Tensor, background: Tensor) -> Tensor:
    """Where an object is seen, bool (N, T, H, W): inside the mask, and unlike the background.

    Of clips (N, C, T, H, W) in [0, 1], their masks (N, 1, T, H, W) and backgrounds (N, C, 1, H, W).
    """
    return (masks[:, 0] > EDGE) & ((clips - background).abs().amax(1) > SEEN)


def one_object(clips: Tensor, marked: Tensor) -> Tensor:
    """Is what is marked one object all the while? bool (N,), of clips (N, C, T, H, W) in [0, 1].

    `marked` bool (N, T, H, W). In each frame its largest connected part is at least `WHOLE` of it, and
    `LEAST` to `MOST` of the picture; from frame to frame it overlaps itself by `SHARED`, and neither its
    area nor its mean colour changes by more than the limits above.
    """
    return torch.tensor([_is_one(clip, where) for clip, where in zip(clips, marked.numpy(), strict=True)])


def _is_one(clip: Tensor, marked: np.ndarray) -> bool:
    parts = [_largest(frame) for frame in marked]  # (H, W) each
    areas = np.array([part.sum() for part in parts])
    shares = areas / marked[0].size
    if shares.min() < LEAST or shares.max() > MOST:
        return False
    if (areas < WHOLE * marked.sum(axis=(1, 2))).any():
        return False
    if any((a & b).sum() < SHARED * (a | b).sum() for a, b in pairwise(parts)):
        return False
    growth = areas[1:] / areas[:-1]
    if max(growth.max(), 1 / growth.min()) > GROWS or areas.max() > CHANGES * areas.min():
        return False
    pixels = clip.transpose(0, 1).numpy()  # (T, C, H, W)
    colours = np.stack([frame[:, part].mean(1) for frame, part in zip(pixels, parts)])  # (T, C)
    apart = np.sqrt(np.square(colours[:, None] - colours[None]).mean(-1))  # (T, T)
    return bool(np.diagonal(apart, 1).max() <= PALES and apart.max() <= RECOLOURS)


def _largest(marked: np.ndarray) -> np.ndarray:
    """The largest connected part of a bool (H, W); corners connect."""
    from scipy.ndimage import label

    labels, count = label(marked, np.ones((3, 3)))
    return labels == 1 + np.bincount(labels.ravel(), minlength=2)[1:].argmax() if count else marked

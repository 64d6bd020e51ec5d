"""What a printer makes of colours, how far a patch is from what it can, and how rough a patch is.

Sharif, Bhagavatula, Bauer, Reiter 2016, "Accessorize to a crime", section 4.3: total variation and the
non-printability score, there a product of distances to measured colours. Here the colours are those
of four-colour print after Neugebauer 1937: area-weighted means of the solid overprints of cyan,
magenta and yellow (Demichel's weights). A picture is printed with as much of each ink as it lacks of
red, green and blue; the score is the mean distance of a pixel to the nearest of the colours at five
coverages of each ink.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ostrich.images import into_range

# Coated offset paper's solid overprints in sRGB, 0..255: with cyan, with magenta, with yellow.
SOLIDS = {
    (0, 0, 0): (255, 255, 255),
    (1, 0, 0): (0, 174, 239),
    (0, 1, 0): (236, 0, 140),
    (0, 0, 1): (255, 242, 0),
    (0, 1, 1): (237, 28, 36),
    (1, 0, 1): (0, 166, 81),
    (1, 1, 0): (46, 49, 146),
    (1, 1, 1): (35, 31, 32),  # in print, black ink stands for all three
}
COVERAGES = (0.0, 0.25, 0.5, 0.75, 1.0)


def on_paper(images: Tensor) -> Tensor:
    """Images (n, C, H, W), C of 1 or 3, in the colours in which they are printed; differentiable.

    As a camera shows them that takes the paper for white and all inks together for black.
    """
    inks = 1 - images.expand(-1, 3, -1, -1).movedim(1, -1)  # (n, H, W, 3): cyan, magenta, yellow
    black = inks.new_tensor(SOLIDS[1, 1, 1]) / 255
    colours = into_range((_neugebauer(inks) - black) / (1 - black)).movedim(-1, 1)
    return colours if images.shape[1] == 3 else colours.mean(1, keepdim=True)


def printable_colours() -> Tensor:
    """Colours (125, 3) in [0, 1]."""
    inks = torch.tensor(list(itertools.product(COVERAGES, repeat=3)), dtype=torch.float64)  # (125, 3)
    return _neugebauer(inks).float()


def _neugebauer(inks: Tensor) -> Tensor:
    """The colours (..., 3) of coverages (..., 3) in [0, 1] with cyan, magenta and yellow."""
    present = inks.new_tensor(list(SOLIDS))  # (8, 3)
    solids = inks.new_tensor(list(SOLIDS.values())) / 255
    parts = inks[..., None, :] * present + (1 - inks[..., None, :]) * (1 - present)  # (..., 8, 3)
    return parts.prod(-1) @ solids


def non_printability(patch: Tensor, mask: Tensor) -> Tensor:
    """The mean distance of the pixels of a patch (C, s, s) under its mask to the nearest colour."""
    colours = printable_colours().to(patch)
    if patch.shape[0] == 1:
        colours = colours.mean(1, keepdim=True)
    distances = torch.cdist(patch.flatten(1).T, colours)  # (s * s, 125)
    return (distances.amin(1) * mask.flatten()).sum() / mask.sum()


def total_variation(patch: Tensor) -> Tensor:
    """The mean absolute difference between neighbouring values of a patch (C, s, s)."""
    across, down = (patch[..., 1:] - patch[..., :-1]).abs(), (patch[..., 1:, :] - patch[..., :-1, :]).abs()
    return (across.sum() + down.sum()) / (across.numel() + down.numel())

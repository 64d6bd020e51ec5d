"""Does the answer to an image depend on the other images in its batch?

Asked are two dark images, each alone (or among copies of itself, where the batch is fixed), and together with
white and black ones. What moves by more than rounding is one of two things. Where the answer alone is about
that among others, as of a network in 8 bits whose scales are those of its batch, images are judged one at a
time. Where it is another answer, as of batch norm by the batch's own statistics, nothing can be said of an
image: that is for a person to know.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SAME = 1e-3  # of the largest score: kernels differ between sizes of a batch by a hundredth of this
ROUNDING = {torch.float16: 0.03, torch.bfloat16: 0.25}  # likewise: 32 steps of the type
NOTHING = 1e-6  # what is left of images in [0, 1] where everything cancels
ALIKE = 0.1  # of the answers' range, black and white included: from here on it is another answer
DARK = 0.2  # the level of the dark images: next to white ones a common scale is coarse
ONE_BY_ONE = "its answers move a little with the others in the batch: one image at a time"
APART = "the answer to an image depends on the others in its batch: nothing can be said of an image by itself"


def depends(
    ask: Callable[[Tensor], Tensor], like: Tensor, batch: int | None, kind: torch.dtype
) -> str | None:
    """ "slightly", "wholly", or None: how far the answers `ask` gives depend on the batch; or "randomly".

    `like` (1, C, H, W) is in shape and type as the images are, `batch` the only number that the network
    takes, and `kind` the type it computes in. "randomly" is one that never answers the same.
    """
    if batch == 1:
        return None
    draw = torch.Generator().manual_seed(1)
    dark = DARK * torch.rand(2, *like.shape[1:], generator=draw).to(like)
    others = torch.ones_like(dark), torch.zeros_like(dark)
    among = torch.cat([dark, *others])
    if batch is not None:
        among = torch.cat([among] * batch)[:batch]
        dark = dark[:batch]

    def by_itself(image: Tensor) -> Tensor:
        return ask(image[None].expand(batch or 1, *image.shape))[:1]

    every, once_more = ask(among).double(), ask(among).double()
    alone = torch.cat([by_itself(image) for image in dark]).double()
    finite = torch.isfinite(torch.cat([every, alone])).all(0)
    if not finite.any():
        return None
    every, alone = every[:, finite], alone[:, finite]
    if float((once_more[:, finite] - every).abs().max()) > SAME * float(every.abs().max()):
        return "randomly"
    change = float((every[: len(dark)] - alone).abs().max())
    if change <= ROUNDING.get(kind, SAME) * float(every.abs().max()) + NOTHING:
        return None
    turned = [by_itself(image) for image in dark.flip(0)]  # the other way round: answers may alternate
    again = torch.cat(turned[::-1]).double()[:, finite]
    if float((again - alone).abs().max()) > SAME * float(alone.abs().max()):
        return "randomly"  # another answer each time, whatever stands beside it
    return "slightly" if change <= ALIKE * float(every.amax() - every.amin()) else "wholly"


def very_different(like: Tensor) -> list[Tensor]:
    """Images (8, C, H, W) of very different kinds in [0, 1], and as many far outside of it."""
    draw = torch.Generator().manual_seed(0)
    channels, height, width = like.shape[1:]
    noise = torch.rand(3, channels, height, width, generator=draw)
    flat = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand_as(noise)
    colours = torch.rand(2, channels, 1, 1, generator=draw).round().expand(-1, -1, height, width)
    inside = torch.cat([noise, flat, colours]).to(like)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]).view(-1, 1, 1, 1)
    return [inside, inside.add(0.1) * signs.to(like) * 1000]

"""Occlusion: what is lost when a window of the image is covered.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2: a grey
square slides over the image. Each pixel gets the mean loss of the windows that cover it, the same
for all channels; a window without a finite answer counts for nothing, and a pixel under no other is
NaN. It needs no gradient, only scores, so it applies to every classifier.

The windows begin at multiples of the stride; the last ones are cut off by the image's edge.

Many windows of a class are computed by a copy of the network into whose convolutions batch norm is
folded, if its logits are the network's own but for the rounding of fp32.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Self, cast

import torch
from torch import Tensor

from ostrich.attribution.question import SIDES, Explainer, Question, images_per_batch
from ostrich.errors import InputError
from ostrich.inspection.units import values
from ostrich.inspection.watching import module_of
from ostrich.models.classifier import Classifier
from ostrich.models.fastpath import faster
from ostrich.models.untouched import is_scripted

WORTH = 512  # covered images from which on a quicker copy of the network is made
AGREEMENT = 1e-5  # largest difference of its logits, relative to their scale: some tens of roundings
PARTS = 8  # windows side by side along the shorter side, where no window is given


@dataclass(frozen=True, kw_only=True)
class Occlusion(Explainer):
    """The unit's value less that of the image with a window covered.

    Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2.

    window  pixels; None: an eighth of the shorter side
    stride  pixels; None: half a window
    fill    grey level of the cover, in [0, 1]; the paper's is grey
    fold    whether a copy with batch norm folded may be used

    Raises InputError for a window or stride below a pixel, and for a fill that is no grey level.
    """

    name: ClassVar[str] = "occlusion"
    needs: ClassVar[str] = "scores"
    reading: ClassVar[str] = SIDES

    window: int | None = None
    stride: int | None = None
    fill: float = 0.5
    fold: bool = True

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise InputError(f"window is at least 1 pixel; got {self.window}.")
        if self.stride is not None and self.stride < 1:
            raise InputError(f"stride is at least 1 pixel; got {self.stride}.")
        if not 0 <= self.fill <= 1:
            raise InputError(f"fill is a grey level from 0 to 1; got {self.fill}.")

    def explain(self, question: Question) -> Tensor:
        images, (height, width) = question.images, question.images.shape[2:]
        window, stride = self.sizes(height, width)
        rows, columns = (_spans(length, window, stride, images) for length in (height, width))
        boxes = len(rows) * len(columns)
        if self.fold and len(images) * boxes >= WORTH:
            question = replace(question, classifier=folded(question))
        plain = torch.cat([_asked(question, part.images, part.rows) for part in question.parts()])
        every = torch.arange(len(images) * boxes, device=images.device)  # image by image, row by row
        losses = []
        for part in every.split(images_per_batch(images)):
            owners, box = part // boxes, part % boxes
            cover = rows[box // len(columns), :, None] & columns[box % len(columns), None, :]  # (M, H, W)
            inputs = torch.where(cover[:, None], self.fill, images[owners])
            losses.append(plain[owners] - _asked(question, inputs, question.rows[owners]))  # (M, U)
        loss = torch.cat(losses).view(len(images), len(rows), len(columns), -1)
        by_row, by_column = rows.to(loss), columns.to(loss)
        finite = loss.isfinite()
        lost, windows = (
            torch.einsum("nrcu,rh,cw->nuhw", part, by_row, by_column)
            for part in (torch.where(finite, loss, 0), finite.to(loss))
        )
        found = (lost / windows).to(images)  # by how many windows with an answer cover the pixel
        return found[:, :, None].expand(-1, -1, images.shape[1], -1, -1).clone()

    def sizes(self, height: int, width: int) -> tuple[int, int]:
        """The window and the stride, in pixels, for images `height` by `width`. Raises InputError."""
        shorter = min(height, width)
        window = self.window or max(1, shorter // PARTS)
        stride = self.stride or max(1, window // 2)
        if not stride <= window <= shorter:
            raise InputError(
                f"The window is at most the image's shorter side, {shorter} pixels, and the stride at most "
                f"the window, or pixels would never be covered; got window {window} and stride {stride}."
            )
        return window, stride

    def brief(self) -> Self:
        return cast(Self, _Brief(**asdict(self)))


class _Brief(Occlusion):
    """One window, as large as the image allows."""

    def sizes(self, height: int, width: int) -> tuple[int, int]:
        super().sizes(height, width)
        return min(height, width), min(height, width)


def folded(question: Question) -> Classifier:
    """A classifier of the same logits with batch norm folded; the question's own where there is none.

    It has none for units inside the network, outside of fp32, and where the logits would differ.
    """
    plain, example = question.classifier, question.images[:1]
    inside = not all(unit.is_output for unit in question.units)
    if inside or plain.access != "gradient" or example.dtype != torch.float32 or is_scripted(plain.network):
        return plain
    quick = copy.copy(plain)
    quick.network, _ = faster(module_of(plain), plain.normalised(plain.example(example)), plain.answers)
    with torch.no_grad():
        expected, found = plain(example.clone()), quick(example.clone())
    alike = (expected - found).abs().max() <= AGREEMENT * expected.abs().max()
    return quick if alike else plain


def starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin on a line: multiples of the stride until the line is covered."""
    return [i * stride for i in range(math.ceil((length - window) / stride) + 1)]


def _spans(length: int, window: int, stride: int, like: Tensor) -> Tensor:
    """Which places of a line each window covers, (windows, length)."""
    begin = torch.tensor(starts(length, window, stride), device=like.device)[:, None]
    place = torch.arange(length, device=like.device)
    return (place >= begin) & (place < begin + window)


@torch.no_grad()
def _asked(question: Question, inputs: Tensor, rows: Tensor) -> Tensor:
    """The values (M, U) of the units rows[m, u] for inputs (M, C, H, W)."""
    return values(question.classifier, inputs.clone(), question.units).T.gather(1, rows)

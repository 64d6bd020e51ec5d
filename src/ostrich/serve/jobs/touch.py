"""Touch the picture: what one place moves, and what the network sees when a region is brushed away."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ostrich.errors import InputError
from ostrich.inspection.units import activations
from ostrich.models.untouched import untouched
from ostrich.serve.jobs.asked import AboutImage, Name
from ostrich.serve.playground import Playground, png, shares_of
from ostrich.serve.worker import Job

UNITS = 8
Place = Annotated[int, Field(ge=0, le=4096)]


class Pixel(AboutImage):
    """What a square of `side` pixels around a place moves: classes, and channels of `layer`."""

    row: Place
    column: Place
    side: Annotated[int, Field(ge=1, le=512)] = 1
    layer: Name | None = None


class Brush(AboutImage):
    """Discs at (row, column) of `radius` pixels, filled: grey, the picture's mean, or a blur of it."""

    places: Annotated[list[tuple[Place, Place]], Field(min_length=1, max_length=4000)]
    radius: Annotated[int, Field(ge=1, le=256)] = 4
    fill: Literal["grey", "mean", "blur"] = "mean"


def pixel(playground: Playground, asked: Pixel, job: Job) -> None:
    """Shares of classes and means of channels, with the square as it is and with the picture's mean there."""
    image, classifier = playground.image(asked.image), playground.classifier
    height, width = image.shape[2:]
    if asked.row >= height or asked.column >= width:
        raise InputError(f"The picture has {height} rows and {width} columns.")
    half = asked.side // 2
    mask = torch.zeros(height, width, dtype=torch.bool)
    top, left = max(0, asked.row - half), max(0, asked.column - half)
    mask[top : asked.row - half + asked.side, left : asked.column - half + asked.side] = True
    changed = filled(image, mask, "mean")
    classes = playground.moved(*(shares_of(classifier, one) for one in (image, changed)))
    units = []
    if asked.layer is not None:
        both = classifier.beside(torch.cat([image, changed]))
        with untouched(classifier.network), torch.no_grad():
            found = activations(classifier, both, asked.layer).float().cpu()
        found = found.reshape(*found.shape[:2], -1).mean(2)  # (2, C); a layer of a vector has one place
        change = (found[1] - found[0]).nan_to_num(0.0).abs()
        for k in change.topk(min(UNITS, len(change))).indices.tolist():
            units.append(
                {"unit": f"{asked.layer}:{k}", "before": found[0, k].item(), "after": found[1, k].item()}
            )
    job.emit("moved", classes=classes, units=units, box=[top, left, *(_end(mask))])


def brush(playground: Playground, asked: Brush, job: Job) -> None:
    """The brushed picture, which is an image of its own from then on, and its bars."""
    image = playground.image(asked.image)
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in image.shape[2:]), indexing="ij")
    mask = torch.zeros(image.shape[2:], dtype=torch.bool)
    for row, column in dict.fromkeys(asked.places):
        mask |= (rows - row) ** 2 + (columns - column) ** 2 <= asked.radius**2
    changed = filled(image, mask, asked.fill)
    job.emit(
        "brushed",
        made=playground.keep(changed, "m"),
        picture=png(changed[0]),
        share=mask.float().mean().item(),
        networks=playground.bars(changed),
    )


def filled(image: Tensor, mask: Tensor, fill: str) -> Tensor:
    """An image (1, C, H, W) with what a mask (H, W) covers filled."""
    if fill == "blur":
        side = max(3, min(image.shape[2:]) // 8 * 2 + 1)
        with_ = avg_pool2d(image, side, stride=1, padding=side // 2, count_include_pad=False)
    else:
        level = image.mean((2, 3), keepdim=True) if fill == "mean" else image.new_tensor(0.5)
        with_ = level.expand_as(image)
    return torch.where(mask, with_, image)


def _end(mask: Tensor) -> tuple[int, int]:
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return int(rows.max()) + 1, int(columns.max()) + 1

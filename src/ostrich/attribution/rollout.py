"""Attention rollout: how much of each patch reaches the scores by attention, layer upon layer.

Abnar and Zuidema 2020, "Quantifying attention flow in transformers", section 3: with W the weights of a
layer's attention, the mean of its heads, and I for the residual connection around it,

    A       = 0.5 W + 0.5 I, its rows divided by their sums
    rollout = A of the last layer * ... * A of the first

of which is shown the row of the token that an image's scores are read from, or the mean of the rows where
they are read from several; without class token and registers, laid on the grid of patches and brought to the
image's size bilinearly. It follows attention alone, neither the values nor the layers between, and so it
knows no unit: the map is the same for all of them. It is always positive.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.attribution.attention import Attention
from ostrich.attribution.question import SIDES, Explainer, Question, applying
from ostrich.errors import InputError
from ostrich.inspection.layouts import Grid, tokens_on
from ostrich.inspection.units import values
from ostrich.inspection.watching import module_of
from ostrich.models.untouched import is_scripted
from ostrich.runtime.randomness import keyed

PURPOSE = 0x524F  # of random numbers


@dataclass(frozen=True, kw_only=True)
class Rollout(Explainer):
    """Attention, multiplied through the layers; from 0 up, the same for every unit.

    Abnar and Zuidema 2020, "Quantifying attention flow in transformers", section 3.
    """

    name: ClassVar[str] = "rollout"
    attention: ClassVar[bool] = True
    agnostic: ClassVar[bool] = True
    reading: ClassVar[str] = SIDES

    def explain(self, question: Question) -> Tensor:
        classifier, (height, width) = question.classifier, question.images.shape[2:]
        if is_scripted(classifier.network):
            raise InputError(f"{classifier.name} is compiled: its attention cannot be seen.")
        with torch.no_grad():
            values(classifier, question.images[:1].clone(), question.units)  # the units exist
        grid, together = _tokens(question)
        found = []
        for part in question.parts() if together else question.split(1):
            with torch.enable_grad(), Attention() as seen:  # without a gradient torch computes otherwise
                logits = classifier(part.images.clone().requires_grad_(True).clone())
            means = [_mean(question, weights, len(part.images)) for weights in seen.weights]
            read = _moving(seen, logits, grid, means[-1])  # (n, T)
            rows = (read / read.sum(1, keepdim=True))[:, None] @ rolled(means)  # (n, 1, T)
            small = grid.lay(rows.mT)  # (n, 1, h, w)
            found.append(F.interpolate(small, (height, width), mode="bilinear"))
        units, channels = question.rows.shape[1], question.images.shape[1]
        return torch.cat(found)[:, None].expand(-1, units, channels, -1, -1).clone()


def rolled(weights: list[Tensor]) -> Tensor:
    """The rollout (N, T, T) of the layers' weights (N, T, T), the first layer's first."""
    one = torch.eye(weights[0].shape[-1]).to(weights[0])
    found = one.expand_as(weights[0])
    for layer in weights:
        mixed = 0.5 * layer + 0.5 * one
        found = mixed / mixed.sum(-1, keepdim=True) @ found
    return found


def _tokens(question: Question) -> tuple[Grid, bool]:
    """The grid on which the patches lie, and whether images may be asked together.

    By one image. Heads that lie on the axis of the images, in whatever order, are told from images where
    there is one alone. Raises InputError for a network that a rollout does not apply to.
    """
    classifier, image = question.classifier, question.images[:1]
    with torch.enable_grad(), _rows_of(module_of(classifier)) as counts, Attention() as seen:
        classifier(image.clone().requires_grad_(True).clone())
    if not seen.weights:
        raise _refused(question, "no attention between tokens was seen in it")
    if classifier.batch not in (None, 1):
        raise _refused(question, f"it takes {classifier.batch} images at once, no more and no fewer")
    sizes = {size for weights in seen.weights for size in weights.shape[-2:]}
    count, first = max(sizes), {weights.shape[0] for weights in seen.weights}
    heads = len(first) == 1 and count in counts and all(weights.ndim == 3 for weights in seen.weights)
    if first != {1} and not heads:
        raise _in_parts(question, max(first), 1)
    if len(sizes) > 1:
        raise _refused(question, "its layers attend between different numbers of tokens")
    grid = tokens_on(count, (image.shape[2], image.shape[3]))
    if grid is None or count not in counts:
        raise _refused(question, f"its attention is between {count} things that are no patches of an image")
    return grid, first == {1} and classifier.batch is None


@contextmanager
def _rows_of(network: nn.Module) -> Iterator[set[int]]:
    """How many rows (1, T, D) the network's layers return, of whatever number."""
    counts: set[int] = set()

    def watch(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 3 and output.shape[0] == 1:
            counts.add(output.shape[1])

    handles = [module.register_forward_hook(watch) for module in network.modules()]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def _moving(seen: Attention, logits: Tensor, grid: Grid, like: Tensor) -> Tensor:
    """Which tokens of the last attention's result move a score of their image, 1 or 0, (N, T).

    Where none does, the first, or all where each stands for a place. `like` has the shape (N, T, T).
    """
    output, slope, (images, count, _) = seen.output, None, like.shape
    assert output is not None
    over = count - math.prod(grid.size)
    usual = torch.arange(count, device=like.device) < (1 if over else count)
    if logits.requires_grad and output.requires_grad:
        weights = torch.randn(logits.shape[1:], generator=keyed(PURPOSE)).to(logits)
        (slope,) = torch.autograd.grad((logits * weights).sum(), output, allow_unused=True)
    if slope is None:
        return usual.expand(images, -1).to(like)
    moving = slope.movedim(seen.axis(count), 0).reshape(count, images, -1).any(2).T  # (N, T)
    return torch.where(moving.any(1, keepdim=True), moving, usual).to(like)


def _mean(question: Question, weights: Tensor, images: int) -> Tensor:
    """A layer's weights (N, T, T), the mean of its heads."""
    if images == 1:  # all on the first axis are heads
        return weights.flatten(0, -3).mean(0, keepdim=True)
    if weights.shape[0] != images:
        raise _in_parts(question, weights.shape[0], images)
    return weights.flatten(1, -3).mean(1) if weights.ndim > 3 else weights


def _in_parts(question: Question, times: int, images: int) -> InputError:
    of = "an image" if images == 1 else f"{images} images"
    return _refused(
        question,
        f"its attention is computed {times} times for {of}, as inside windows, and nothing says that it runs "
        "between all patches each time",
    )


def _refused(question: Question, reason: str) -> InputError:
    return InputError(f"rollout does not apply to {question.classifier.name}: {reason}. {applying()}")

"""From units back to the image: many units' gradients from one forward.

The forward is run once for all units and ends at the last of their layers. The ways back of several
units are vectorised where PyTorch can do so, which gives the same numbers and keeps an accelerator
busy; where it cannot (an operation of the user's own, say) they are gone one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import GradientEdge

from ostrich.attribution.question import Question, images_per_batch
from ostrich.errors import InputError
from ostrich.inspection.units import AnyUnit, values
from ostrich.models.classifier import Classifier

TOGETHER = 8  # images whose ways back a processor goes together: more of them leave its caches
# Images (M, C, H, W), D units: their values (D, M). It must leave the images in the graph.
Compute = Callable[[Classifier, Tensor, Sequence[AnyUnit]], Tensor]


def gradients(
    question: Question, inputs: Tensor | None = None, rows: Tensor | None = None, compute: Compute = values
) -> Tensor:
    """The gradients (M, U, C, H, W) of units rows[m, u] at inputs (M, C, H, W), all in one forward.

    `inputs` and `rows` are the question's own unless given. Raises InputError where nothing
    differentiable leads from the image to the units.
    """
    inputs = question.images if inputs is None else inputs
    rows = question.rows if rows is None else rows
    with torch.enable_grad():
        leaf = inputs.detach().clone().requires_grad_(True)
        # a clone: a network may change its input in place
        computed = compute(question.classifier, leaf.clone(), question.units)
        most = images_per_batch(inputs, len(inputs))
        at_once = min(most, max(1, TOGETHER // len(inputs))) if inputs.device.type == "cpu" else most
        found = back(computed, rows, leaf, at_once=at_once)
    if found is None:
        raise cut(question)
    return found


def back(computed: Tensor, rows: Tensor, target: Tensor | GradientEdge, *, at_once: int) -> Tensor | None:
    """d computed[rows[m, u], m] / d target[m] as (M, U, ...), None where nothing leads there.

    `computed` is (D, M), `rows` (M, U), and the first axis of the target is M. `at_once` is how many
    of the U ways back are gone together.
    """
    if not computed.requires_grad:
        return None
    chosen = F.one_hot(rows, len(computed)).to(computed.dtype).permute(1, 2, 0)  # (U, D, M)
    found = []
    parts = chosen.split(at_once)
    for turn, part in enumerate(parts):
        slopes = _pulled(computed, target, part, last=turn + 1 == len(parts))
        if slopes is None:
            return None
        found.append(slopes)
    return torch.cat(found).transpose(0, 1)


def cut(question: Question) -> InputError:
    """The answer where the graph ends between the image and the units."""
    return InputError(
        f"{question.classifier.name} cuts the gradient between the image and "
        f"{', '.join(map(str, question.units[:3]))}: nothing differentiable leads there."
    )


def _pulled(computed: Tensor, target: Tensor | GradientEdge, weights: Tensor, *, last: bool) -> Tensor | None:
    """For each of weights (K, D, M) the gradient (K, M, ...) of sum(weights[k] * computed)."""

    if len(weights) > 1:
        try:
            (slopes,) = torch.autograd.grad(
                computed, target, weights, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
            return slopes
        except RuntimeError:  # not vectorised; an error of another kind comes again below
            pass
    found = []
    for turn, weight in enumerate(weights):
        # a sum: torch imports its symbolic algebra, two seconds of it, when it is handed weights
        total = (computed * weight).sum()
        retain = not last or turn + 1 < len(weights)
        (slope,) = torch.autograd.grad(total, target, retain_graph=retain, allow_unused=True)
        if slope is None:
            return None
        found.append(slope)
    return torch.stack(found)


def weighted(question: Question, weights: Sequence[float], make: Callable[[int, int], Tensor]) -> Tensor:
    """sum_k weights[k] * (the gradients at make(n, k)), (N, U, C, H, W): several inputs of each image.

    `make` gives the k-th input (C, H, W) of image n. Inputs of several images go through the network
    together, as many as fit into memory.
    """
    images, units = question.images, question.rows.shape[1]
    total = images.new_zeros(len(images), units, *images.shape[1:])
    every = [(n, k) for n in range(len(images)) for k in range(len(weights))]
    count = images_per_batch(images)
    for start in range(0, len(every), count):
        part = every[start : start + count]
        owners = torch.tensor([n for n, _ in part], device=images.device)
        slopes = gradients(question, torch.stack([make(n, k) for n, k in part]), question.rows[owners])
        share = slopes.new_tensor([weights[k] for _, k in part]).view(-1, *[1] * (slopes.ndim - 1))
        total.index_add_(0, owners, slopes.mul_(share))
    return total

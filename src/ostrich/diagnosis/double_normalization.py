"""Does the network normalise what the classifier has normalised already?

Some networks are as often right on images that were normalised twice, only too sure (SqueezeNet is), so
trying alternatives cannot show it. But what reaches the first convolution can: where it is the network's
input times a factor of 1.6 to 12, plus an offset, per channel, the network divides by a deviation of its own
of 0.08 to 0.6, on top of the classifier's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable
from ostrich.diagnosis.significance import LIKELY, paired_test
from ostrich.models.returned import Reached

FACTORS = (1.6, 12.0)
AFFINE = 1e-3  # largest deviation from a straight line, of the values' spread


def normalised_twice(model: ModelUnderTest) -> Iterator[Finding]:
    """What the network does to its input by itself, where the classifier divides by a deviation too."""
    std = model.classifier.std
    if std is None or max(std) > 1 / FACTORS[0]:
        raise NotApplicable("The classifier does not divide by a deviation.")
    images = model.images[model.few]
    inputs = model.classifier.normalised(images)
    fitted = _affine_fit(inputs, _first_input(model, images))
    if fitted is None or not all(FACTORS[0] <= factor <= FACTORS[1] for factor, _ in fitted):
        return
    if model.labels is not None:
        without = model.answers(model.images).argmax(1) == model.labels
        _, _, p = paired_test(model.predictions == model.labels, without)
        if p < LIKELY:  # it is better as it is
            return
    shown = "; ".join(f"(x - {-offset / factor:.3g}) / {1 / factor:.3g}" for factor, offset in fitted)
    yield Finding(
        code="double-normalization",
        sentence="The network's input is normalised once too often.",
        evidence=f"The classifier divides by {', '.join(f'{s:.3g}' for s in std)}, and before its first "
        f"convolution the network computes {shown} of that (n = {len(images)} images).",
        fix="Leave --mean and --std out, or take the network's own normalisation away.",
    )


def _first_input(model: ModelUnderTest, images: Tensor) -> Tensor | None:
    """What the first convolution of a forward is given; None where there is none."""
    network = model.classifier.network
    assert isinstance(network, nn.Module)
    caught: list[Tensor] = []

    def stop(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0].detach().clone())
        raise Reached

    handles = [m.register_forward_pre_hook(stop) for m in network.modules() if isinstance(m, nn.Conv2d)]
    try:
        model.scores(images)
    except Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return caught[0] if caught else None


def _affine_fit(inputs: Tensor, reached: Tensor | None) -> list[tuple[float, float]] | None:
    """Factor and offset per channel with which `reached` is `inputs`; None where it is something else."""
    if reached is None or reached.shape != inputs.shape:
        return None
    x, y = (values.double().movedim(1, 0).flatten(1) for values in (inputs, reached))  # (C, n)
    centred = x - x.mean(1, keepdim=True)
    square = centred.square().sum(1)
    factor = (centred * y).sum(1) / square.clamp_min(1e-30)
    offset = y.mean(1) - factor * x.mean(1)
    error = (y - factor[:, None] * x - offset[:, None]).abs().amax(1)
    spread = (y.amax(1) - y.amin(1)).clamp_min(1e-30)
    if bool((square == 0).any()) or bool((error > AFFINE * spread).any()) or not torch.isfinite(factor).all():
        return None
    return list(zip(factor.tolist(), offset.tolist()))

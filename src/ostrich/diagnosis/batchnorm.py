"""Are batch norm's running statistics those of the images?

In evaluation mode batch norm subtracts a running mean and divides by a running deviation, both measured
in training. One forward with hooks measures them on the images at hand: per channel the distance of the
means in running deviations, and the ratio of the variances. A channel may differ by chance or by the choice
of images, so the median over the channels counts, and of those the median over the layers.

Calibration (benchmarks/choices.md): trained networks of the zoo lie at most 0.06 deviations and a ratio of
1.2 from 16 or more of their own test images, 0.19 and 1.9 where these are of one class; the same networks fed
without their normalisation, or with statistics that were reset, at a ratio of 6 and more.

Statistics can be wrong without being as far. So where there are labels the alternative is tried as well: each
batch norm by the statistics of the images at hand, in equal batches of 32 or more of mixed classes. A network
that is clearly more often right by these than by its own has statistics that are not its images'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ostrich.diagnosis.model_under_test import BATCH, Finding, ModelUnderTest, NotApplicable
from ostrich.diagnosis.significance import clearly_better, p_value_text

FAR, RATIO = 0.75, 3.0
FEWEST = 8  # images


@dataclass(frozen=True, kw_only=True)
class StatisticsGap:
    """How far running and measured statistics lie apart: medians over layers of medians over channels."""

    layers: int
    means: float  # in running deviations
    variances: float  # the larger by the smaller
    worst: str  # the layer of the largest ratio of variances
    worst_ratio: float

    @property
    def far(self) -> bool:
        return self.means > FAR or self.variances > RATIO


def statistics(model: ModelUnderTest) -> Iterator[Finding]:
    """Compare, and say how far they lie apart and where most; else try the images' own."""
    inputs = model.classifier.normalised(model.images)
    found = statistics_gap(model, inputs)
    if not found.far:
        yield from better_by_batch(model, inputs)
        return
    fresh = all(
        bool((mean == 0).all()) and bool((variance == 1).all())
        for mean, variance in ((m.running_mean, m.running_var) for m in _layers(model).values())
        if mean is not None and variance is not None
    )
    yield Finding(
        code="batch-norm-statistics",
        sentence="Batch norm's running statistics are far from those of the images"
        + (": they were never measured, or not loaded." if fresh else "."),
        evidence=f"In the median of {found.layers} layers the means lie {found.means:.2g} deviations apart "
        f"and the variances a factor {found.variances:.2g}; most in {found.worst}, a factor "
        f"{found.worst_ratio:.2g} (n = {len(model.images)}).",
        fix="Load a checkpoint with its buffers (running_mean, running_var); or measure them anew, by "
        "forwards of training images in training mode; or the images are unlike those of the training.",
    )


def better_by_batch(model: ModelUnderTest, inputs: Tensor) -> Iterator[Finding]:
    """The same fault, where it shows in what is right only."""
    if model.labels is None or len(inputs) < BATCH:
        return
    count = len(inputs) // BATCH
    groups = [torch.arange(i, len(inputs), count) for i in range(count)]
    then = torch.empty_like(model.labels)
    with by_batch(list(_layers(model).values())):
        for rows in groups:
            then[rows] = model.answers(inputs[rows], len(rows)).argmax(1)
    p = clearly_better(then, model.predictions, model.labels)
    if p is None:
        return
    right, own = ((said == model.labels).float().mean() for said in (then, model.predictions))
    yield Finding(
        code="batch-norm-statistics",
        sentence="Batch norm's running statistics are not those of the images.",
        evidence=f"By the statistics of batches of {len(groups[0])} of the images {right:.1%} are "
        f"right, by the network's own {own:.1%} (n = {len(inputs)}, {p_value_text(p)}).",
        fix="Measure them anew by forwards of training images "
        "(`ostrich.models.batchnorm.precise_statistics`); train longer, or with a larger share of the new "
        "(momentum in PyTorch's sense); keep frozen layers in evaluation mode.",
    )


@contextmanager
def by_batch(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Within it the layers normalise by the batch; what else they do (an activation) they do as they are.

    Before each forward they get the statistics of its input; afterwards they have their own again.
    """

    def hook(layer: _BatchNorm, given: tuple[Tensor, ...]) -> None:
        axes = [0, *range(2, given[0].ndim)]
        variance, mean = torch.var_mean(given[0], axes, correction=0)
        layer.running_mean, layer.running_var = mean.to(layer.running_mean), variance.to(layer.running_var)

    own = [(layer, layer.running_mean, layer.running_var) for layer in layers]
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer, mean, variance in own:
            layer.running_mean, layer.running_var = mean, variance


def statistics_gap(model: ModelUnderTest, inputs: Tensor) -> StatisticsGap:
    """How far the statistics lie apart for inputs (N, C, H, W) of the network. Raises NotApplicable."""
    layers = _layers(model)
    if not layers:
        raise NotApplicable("The network has no batch norm with running statistics.")
    if len(inputs) < FEWEST:
        raise NotApplicable(f"It takes at least {FEWEST} images.")
    rows = {name: distances(layers[name], *sums) for name, sums in measured(model, layers, inputs).items()}
    if not rows:
        raise NotApplicable("No batch norm is met in a forward pass.")
    means, variances = torch.tensor(list(rows.values())).T.tolist()
    worst = max(rows, key=lambda name: rows[name][1])
    return StatisticsGap(
        layers=len(rows),
        means=median(means),
        variances=median(variances),
        worst=worst,
        worst_ratio=rows[worst][1],
    )


def _layers(model: ModelUnderTest) -> dict[str, _BatchNorm]:
    network = model.classifier.network
    modules = network.named_modules() if isinstance(network, nn.Module) else ()
    return {n: m for n, m in modules if isinstance(m, _BatchNorm) and m.running_mean is not None}


def measured(
    model: ModelUnderTest, layers: dict[str, _BatchNorm], inputs: Tensor
) -> dict[str, tuple[Tensor, Tensor, int]]:
    """Sum, sum of squares (C,) in float64, and count of each layer's input. The hooks are gone afterwards."""
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = given[0].detach().double()
            axes = [0, *range(2, x.ndim)]
            part = (x.sum(axes), (x * x).sum(axes), x.numel() // x.shape[1])
            first, second, count = sums.get(name, (torch.zeros_like(part[0]), torch.zeros_like(part[1]), 0))
            sums[name] = (first + part[0], second + part[1], count + part[2])

        return hook

    handles = [module.register_forward_pre_hook(watch(name)) for name, module in layers.items()]
    try:
        model.answers(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return sums


def distances(layer: _BatchNorm, total: Tensor, squares: Tensor, count: int) -> tuple[float, float]:
    """The median over channels of |means apart| / deviation, and of the larger variance by the smaller."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean = total / count
    variance = (squares / count - mean * mean).clamp_min(0) + layer.eps
    running = layer.running_var.double() + layer.eps
    gap = (mean - layer.running_mean.double()).abs() / running.sqrt()
    return float(gap.median()), math.exp(float((variance / running).log().abs().median()))

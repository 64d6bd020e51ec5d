"""Feature visualisation beside lucent: the images that channels of a middle layer prefer.

Both take the same network, image size, batch of channels, number of steps, Fourier parametrisation,
Adam and lucid's transformations, whose strengths are lucent's own. lucent runs the whole network at
each step, and resamples four times where Ostrich does once. It computes gradients of the weights too,
unless the network it is given is frozen, which is measured apart. "value": the mean of the channels in
the images that came out, as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

import ostrich
from benchmarks.problem import IMAGENET_MEAN, IMAGENET_STD, Contestant, Problem, Row, peers
from ostrich.visualization import Adam, Ascent, Fourier, Transformations, ascend, unit, worth

SIDE, CHANNELS, STEPS = 128, 8, 10
PAD, JITTER, ANGLE, SCALE = 12, 8 + 4, 10, 0.1  # lucent's standard transforms; pixels and degrees


def rows(task: Problem) -> list[Row]:
    """torchvision's ResNet-18 with random weights: speed does not depend on them."""
    return [row("layer2"), row("layer3")]


def row(layer: str) -> Row:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(weights=None).eval()
    classifier = ostrich.Classifier(
        network, name="resnet18", size=(SIDE, SIDE), mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    units = [unit(f"{layer}:{channel}") for channel in range(CHANNELS)]
    settings = Ascent(
        steps=STEPS,
        keep="last",
        parametrisation=Fourier(),
        transformations=Transformations(pad=PAD / SIDE, jitter=JITTER / 2 / SIDE, rotate=ANGLE, scale=SCALE),
        optimiser=Adam(),
    )

    def lucent(frozen: bool) -> Callable[[ModuleType], Contestant]:
        def build(library: ModuleType) -> Contestant:
            import copy

            own = copy.deepcopy(network).requires_grad_(not frozen)
            parts = library.optvis

            def run() -> Tensor:
                for module in own.modules():
                    module._forward_hooks.clear()  # it leaves those of every run behind
                wanted = parts.objectives.Objective.sum(
                    [parts.objectives.channel(layer, channel, batch=channel) for channel in range(CHANNELS)]
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    images = parts.render.render_vis(
                        own,
                        wanted,
                        lambda: parts.param.image(SIDE, batch=CHANNELS),
                        thresholds=(STEPS,),
                        fixed_image_size=SIDE,
                        progress=False,
                        show_image=False,
                    )
                return torch.from_numpy(images[-1]).permute(0, 3, 1, 2)

            return run

        return build

    others, missing = peers(
        {
            "lucent": ("lucent.optvis.render", as_package(lucent(False))),
            "lucent, frozen": ("lucent.optvis.render", as_package(lucent(True))),
        }
    )
    return Row(
        name=f"Visualisation of {CHANNELS} channels",
        setting=f"ResNet-18, {SIDE} pixels, {layer}, {STEPS} steps, Fourier, lucid's transformations",
        contestants={"ostrich": lambda: ascend(classifier, units, settings).images, **others},
        judge=lambda found: {"value": worth(classifier, units, found.float()).mean().item()},
        work=CHANNELS * STEPS,
        unit="image step",
        missing=missing,
    )


def as_package(build: Callable[[ModuleType], Contestant]) -> Callable[[ModuleType], Contestant]:
    """`build`, given the package `lucent` once the part that is needed has been imported."""

    def from_part(_part: ModuleType) -> Contestant:
        import lucent
        import lucent.optvis.objectives
        import lucent.optvis.param

        return build(lucent)

    return from_part

"""Attributions beside captum and zennit, tuned: the same maps from the same network and images.

The libraries get what makes them quick: a network of frozen parameters, internal batches, several
perturbations at once. "difference" is the largest from Ostrich's map, in millionths of its largest value.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from benchmarks.problem import Problem, Row, installed
from ostrich.attribution import GradCAM, Gradient, IntegratedGradients, Occlusion, explain

CHANNELS, STEPS = 32, 50
WINDOW, STRIDE = 4, 2  # 225 windows of a 32-pixel image
Contestants = dict[str, Callable[[], Tensor]]


def rows(task: Problem) -> list[Row]:
    """All rows; images are the task's first ones, labels the units."""
    return [
        channels(task, count=8),
        channels(untrained(), count=1),
        integrated(task, count=32),
        gradcam(task, count=64),
        gradcam(untrained(8), count=8),
        occlusion(task, count=16),
    ]


def untrained(count: int = 1, size: int = 128) -> Problem:
    """torchvision's ResNet-18 with random weights, on noise: speed does not depend on either."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(weights=None).eval()
    classifier = ostrich.Classifier(network, name="resnet18", size=(size, size))
    images, labels = torch.rand(count, 3, size, size), torch.arange(count)
    return Problem(f"ResNet-18, {size} pixels", classifier, network, images, labels)


def row(
    task: Problem, name: str, setting: str, ours: Contestants, peers: dict[str, Callable[[], Contestants]]
) -> Row:
    """A row of Ostrich's contestants and of those libraries that are installed."""
    reference, missing, contestants = next(iter(ours.values()))(), [], dict(ours)
    for library, build in peers.items():
        if installed(library) is None:
            missing.append(library)
        else:
            contestants |= build()

    def judge(found: Tensor) -> dict[str, float]:
        return {"difference": 1e6 * ((found - reference).abs().max() / reference.abs().max()).item()}

    return Row(
        name=name,
        setting=f"{task.name}, {setting}",
        contestants=contestants,
        judge=judge,
        work=len(task.images),
        missing=tuple(missing),
    )


def frozen(task: Problem) -> nn.Module:
    return task.own_copy().requires_grad_(False)


def layer(task: Problem, network: nn.Module, name: str) -> nn.Module:
    """The layer of that name, also where the network stands behind its preprocessing."""
    return network.get_submodule(
        name if hasattr(network, name.split(".")[0]) else f"{len(network) - 1}.{name}"
    )


def units(task: Problem, count: int) -> list[list[str]]:
    return [[f"class:{int(k)}"] for k in task.labels[:count]]


def captum() -> ModuleType:
    library = installed("captum.attr")
    assert library is not None
    return library


def channels(task: Problem, count: int) -> Row:
    """The gradients of 32 channels of a middle layer."""
    images = task.images[:count]
    names = [f"layer2:{c}" for c in range(CHANNELS)]

    def loop() -> Contestants:
        network = frozen(task)
        method = captum().NeuronGradient(network, layer(task, network, "layer2"))

        def run() -> Tensor:
            x = images.clone().requires_grad_()
            maps = [method.attribute(x, lambda a, c=c: a[:, c].mean((1, 2))) for c in range(CHANNELS)]
            return torch.stack(maps, 1).detach()

        return {"captum NeuronGradient, in a loop": run}

    return row(
        task,
        f"Gradients of {CHANNELS} channels",
        f"N = {count}, layer2",
        {"ostrich": lambda: explain(Gradient(), task.classifier, images, names)},
        {"captum.attr": loop},
    )


def integrated(task: Problem, count: int) -> Row:
    images, labels = task.images[:count], task.labels[:count]

    def by_captum() -> Contestants:
        method = captum().IntegratedGradients(frozen(task))

        def run(batch: int) -> Callable[[], Tensor]:
            def attribute() -> Tensor:
                settings = {"n_steps": STEPS, "internal_batch_size": batch}
                return method.attribute(images, baselines=0.0, target=labels, **settings).detach()[:, None]

            return attribute

        return {f"captum, {batch} at once": run(batch) for batch in (64, 256)}

    return row(
        task,
        "Integrated Gradients",
        f"N = {count}, {STEPS} steps, Gauss and Legendre, black",
        {
            "ostrich": lambda: explain(
                IntegratedGradients(steps=STEPS), task.classifier, images, units(task, count)
            )
        },
        {"captum.attr": by_captum},
    )


def gradcam(task: Problem, count: int) -> Row:
    images, labels, last = (
        task.images[:count],
        task.labels[:count],
        list(task.classifier.network.named_children()),
    )
    name = next(n for n, _ in reversed(last) if n.startswith("layer"))

    def by_captum() -> Contestants:
        network = frozen(task)
        method = captum().LayerGradCam(network, layer(task, network, name))

        def run() -> Tensor:
            x = images.clone().requires_grad_()
            small = method.attribute(x, target=labels, relu_attributions=True).detach()
            return F.interpolate(small, images.shape[2:], mode="bilinear")[:, None].expand(-1, -1, 3, -1, -1)

        return {"captum LayerGradCam, enlarged": run}

    return row(
        task,
        "Grad-CAM",
        f"N = {count}, {name}",
        {
            "ostrich": lambda: explain(GradCAM(layer=name), task.classifier, images, units(task, count)),
            "ostrich, finding the layer": lambda: explain(
                GradCAM(), task.classifier, images, units(task, count)
            ),
        },
        {"captum.attr": by_captum},
    )


def occlusion(task: Problem, count: int) -> Row:
    images, labels = task.images[:count], task.labels[:count]

    def by_captum() -> Contestants:
        method = captum().Occlusion(frozen(task))
        settings = {
            "sliding_window_shapes": (3, WINDOW, WINDOW),
            "strides": (3, STRIDE, STRIDE),
            "baselines": 0.5,
        }

        def run(together: int) -> Callable[[], Tensor]:
            def attribute() -> Tensor:
                with torch.no_grad():
                    return method.attribute(
                        images, target=labels, perturbations_per_eval=together, **settings
                    )[:, None]

            return attribute

        return {f"captum, {together} windows at once": run(together) for together in (1, 4, 16)}

    return row(
        task,
        "Occlusion",
        f"N = {count}, windows of {WINDOW} every {STRIDE} pixels",
        {
            "ostrich": lambda: explain(
                Occlusion(window=WINDOW, stride=STRIDE), task.classifier, images, units(task, count)
            )
        },
        {"captum.attr": by_captum},
    )

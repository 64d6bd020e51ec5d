"""Guided backpropagation, against captum and zennit, on a network whose ReLUs are all modules.

There the two are exact; a functional ReLU they pass over without a word. Ours computes the plain
network once more on some of the images, to assert that the one it explains is the same.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers, right
from ostrich.attribution import Guided, paired


def rows(task: Problem) -> list[Row]:
    """The bundled AlexNet for the toybox, of the class of each image."""
    classifier = ostrich.load("zoo:toybox-alexnet", device="cpu")
    toys = ostrich.data.toybox("test", limit=512)
    task = right("AlexNet (small), toybox", classifier, *toys, min(len(task.images), 256))
    images, labels = task.images, task.labels
    exact = _reference(task)

    def ours() -> Tensor:
        return paired(Guided(), classifier, images, [f"class:{k}" for k in labels.tolist()])

    def captum(library: ModuleType) -> Contestant:
        explainer = library.GuidedBackprop(task.own_copy())

        def run() -> Tensor:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it hooks ReLU modules
                return explainer.attribute(images.clone().requires_grad_(True), target=labels)

        return run

    def zennit(library: ModuleType) -> Contestant:
        network, composite = task.own_copy(), library.composites.GuidedBackprop()
        wanted = torch.eye(network(images[:1]).shape[1])[labels]  # (N, K)

        def run() -> Tensor:
            with library.attribution.Gradient(network, composite) as explainer:
                return explainer(images, wanted)[1]

        return run

    def judge(found: Tensor) -> dict[str, float]:
        return {"relative difference": ((found - exact).norm() / exact.norm()).item()}

    others, missing = peers({"captum": ("captum.attr", captum), "zennit": ("zennit", zennit)})
    return [
        Row(
            name="Guided backpropagation",
            setting=f"{task.name}, N = {len(images)}",
            contestants={"ostrich": ours, **others},
            judge=judge,
            work=len(images),
            missing=missing,
        )
    ]


def _reference(task: Problem) -> Tensor:
    """The same by a network whose ReLU modules have the rule written into them."""

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.clamp_min(0)

        @staticmethod
        def backward(ctx: Any, above: Tensor) -> Tensor:
            return above.clamp_min(0) * (ctx.saved_tensors[0] > 0)

    class GuidedReLU(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Guided.apply(x)

    network = task.own_copy()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.ReLU):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, GuidedReLU())
    leaf = task.images.clone().requires_grad_(True)
    total = network(leaf).gather(1, task.labels[:, None]).sum()
    return torch.autograd.grad(total, leaf)[0]

"""Universal perturbations against ART's, and what a learned attacker costs an image.

Everyone fits on the same images and is judged on the same others, by the part of the predictions that
change. ART's DeepFool fails with its own defaults (an overshoot of 1e-6), so it has 0.02 here, as published.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from benchmarks.problem import SEED, Contestant, Problem, Row, cifar, peers, shared
from ostrich.attacks import Generator, Universal, Untargeted
from ostrich.attacks.fitted.fitting import fit
from ostrich.images import fingerprints

EPS = 10 / 255
FITTED, SHORT, HELD_OUT = 256, 64, 512
INNER_STEPS, OVERSHOOT = 10, 0.02  # of DeepFool, Moosavi-Dezfooli 2017's code
PASSES = 20  # of plain sign-SGD; ours takes its own number
BATCH = 32
ART = "art.attacks"


@dataclass(frozen=True)
class Material:
    """A network, images to fit on and others to judge on, each with their clean predictions."""

    task: Problem
    images: Tensor
    predictions: Tensor
    others: Tensor
    before: Tensor

    @classmethod
    def of(cls, task: Problem) -> Material:
        """From the CIFAR copy where it is there, else from the toybox."""
        folder, count = shared(), FITTED + HELD_OUT
        images = cifar(folder, count)[0] if folder else ostrich.data.toybox("test", limit=512)[0]
        before = seen_by(task.network, images)
        return cls(task, images[:FITTED], before[:FITTED], images[FITTED:], before[FITTED:])

    def without(self, target: int) -> Material:
        """The same less the images that are of a class already."""
        a, b = self.predictions != target, self.before != target
        return Material(self.task, self.images[a], self.predictions[a], self.others[b], self.before[b])

    def fooled(self, found: Tensor) -> dict[str, float]:
        """Of one perturbation (C, H, W) for all, or of the others changed (N, C, H, W), as files."""
        changed = (self.others + found).clamp(0, 1) if found.ndim == 3 else found
        files = (changed * 255).round() / 255
        return {
            "held-out fooling rate": (seen_by(self.task.network, files) != self.before).float().mean().item(),
            "max change x 255": (files - self.others).abs().max().item() * 255,
        }


@torch.no_grad()
def seen_by(network: nn.Module, images: Tensor) -> Tensor:
    """Predictions (N,)."""
    return torch.cat([network(part).argmax(1) for part in images.split(128)])


def rows(task: Problem) -> list[Row]:
    """The published algorithm, stochastic gradients, and a learned attacker."""
    whole = Material.of(task)
    return [_published(whole), _gradients(whole), _learned(whole)]


def _published(whole: Material) -> Row:
    """One pass of the algorithm over few images: ART looks at one image after the other."""
    few = Material(whole.task, whole.images[:SHORT], whole.predictions[:SHORT], whole.others, whole.before)
    ours = Universal(threat=ostrich.Linf(EPS), algorithm="deepfool", epochs=1, delta=0.0)
    settings = {"max_iter": INNER_STEPS, "epsilon": OVERSHOOT, "verbose": False}
    others, missing = peers({"ART": (ART, partial(_art_universal, few, "deepfool", settings))})
    return Row(
        name="Universal perturbation by DeepFool, one pass",
        setting=f"{whole.task.name}, {SHORT} fitting images, Linf 10/255, {INNER_STEPS} steps inside, "
        f"overshoot {OVERSHOOT}; judged on {len(whole.others)} others",
        contestants={"ostrich (exact)": _fitted(few, ours, "exact"), **others},
        judge=few.fooled,
        work=SHORT,
        missing=missing,
    )


def _gradients(whole: Material) -> Row:
    ours = Universal(threat=ostrich.Linf(EPS))
    settings = {"eps": 2 / 255}
    others, missing = peers(
        {"ART, FGSM inside, one pass": (ART, partial(_art_universal, whole, "fgsm", settings))}
    )
    return Row(
        name="Universal perturbation",
        setting=f"{whole.task.name}, {len(whole.images)} fitting images, Linf 10/255; judged on "
        f"{len(whole.others)} others",
        contestants={
            f"ostrich ({ours.epochs} passes, fast)": _fitted(whole, ours, "fast"),
            f"ostrich ({ours.epochs} passes, exact)": _fitted(whole, ours, "exact"),
            f"plain sign-SGD, {PASSES} passes": partial(_plain, whole),
            **others,
        },
        judge=whole.fooled,
        work=len(whole.images),
        missing=missing,
    )


def _learned(whole: Material) -> Row:
    """Fitted before anything is measured; the bare forward of the attacked network changes nothing."""
    goal = Untargeted(whole.predictions)
    keys = fingerprints(whole.others)
    methods = (Generator(threat=ostrich.Linf(EPS)), Universal(threat=ostrich.Linf(EPS)))
    applied: dict[str, Contestant] = {}
    for method in methods:
        tensors = fit(method, whole.task.classifier, whole.images, goal).tensors

        @torch.no_grad()
        def apply(method: Any = method, tensors: dict[str, Tensor] = tensors) -> Tensor:
            return method.apply(tensors, whole.others, keys, SEED)

        applied[f"ostrich {method.name}"] = apply

    def forward() -> Tensor:
        seen_by(whole.task.network, whole.others)
        return whole.others

    return Row(
        name="A learned attacker at work",
        setting=f"{whole.task.name}, {len(whole.others)} held-out images, Linf 10/255; the time is that of "
        "changing them",
        contestants={**applied, "a forward of the attacked network": forward},
        judge=whole.fooled,
        work=len(whole.others),
    )


# Contestants --------------------------------------------------------------------------------------


def _fitted(whole: Material, method: Universal, precision: str) -> Contestant:
    def run() -> Tensor:
        goal = Untargeted(whole.predictions)
        found = fit(method, whole.task.classifier, whole.images, goal, precision=precision)
        return found.tensors["perturbation"]

    return run


def _plain(whole: Material) -> Tensor:
    """What one would write in a notebook: sign-SGD on the cross-entropy, steps of a tenth of the budget."""
    network = whole.task.own_copy().requires_grad_(False)
    v = torch.zeros_like(whole.images[0])
    shuffled = torch.Generator().manual_seed(SEED)
    for _ in range(PASSES):
        for rows in torch.randperm(len(whole.images), generator=shuffled).split(BATCH):
            v.requires_grad_(True)
            logits = network((whole.images[rows] + v).clamp(0, 1))
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, whole.predictions[rows]), v)
            v = (v.detach() + EPS / 10 * gradient.sign()).clamp(-EPS, EPS)
    return v


def art_classifier(network: nn.Module, images: Tensor) -> Any:
    """The network as ART takes it."""
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        network,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(images.shape[1:]),
        nb_classes=10,
        clip_values=(0, 1),
        device_type="cpu",
    )


def _art_universal(
    whole: Material, attacker: str, settings: dict[str, Any], library: ModuleType
) -> Contestant:
    from art.attacks.evasion import UniversalPerturbation

    classifier = art_classifier(whole.task.own_copy(), whole.images)

    def run() -> Tensor:
        random.seed(SEED)  # of the order of the images
        attack = UniversalPerturbation(
            classifier,
            attacker=attacker,
            attacker_params=settings,
            delta=0.0,
            max_iter=1,
            eps=EPS,
            verbose=False,
        )
        attack.generate(whole.images.numpy(), F.one_hot(whole.predictions, 10).numpy())
        return torch.from_numpy(np.asarray(attack.noise, dtype=np.float32))[0]

    return run

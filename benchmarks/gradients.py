"""Gradients through the engine, against the bare network in its best form.

Ours is an attack that takes a gradient at each step and does nothing with it, so what it costs
beyond the bare loop is the engine: folding, clean predictions, counting, looking for successes,
and the verification of the last image. The bare loop knows its network to be folded already.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

import ostrich
from benchmarks.problem import Contestant, Normalise, Problem, Row

STEPS = 100  # gradients per image, as a strong attack takes; what is done once per image weighs less
MOST = 64  # images


@dataclass(frozen=True)
class State:
    """Where each image stays."""

    images: Tensor  # (n, C, H, W)


@dataclass(frozen=True)
class Gradients:
    """An attack that only takes gradients; the last is kept in `found`."""

    name: ClassVar[str] = "gradients"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf",)
    stop: ClassVar[str] = "budget"

    threat: Any = field(default_factory=ostrich.Unbounded)
    steps: int = STEPS
    found: list[Tensor] = field(default_factory=list)

    def init(self, problem: Any) -> State:
        return State(problem.originals)

    def step(self, problem: Any, state: State) -> State:
        self.found[:] = [problem.gradient(state.images)]
        return replace(state)


def rows(task: Problem) -> list[Row]:
    """In fp32, and in bf16: which is the better form depends on the processor."""
    task = task.first(MOST)
    images, labels = task.images, task.labels
    exact = _bare(task, folded=False, bf16=False, steps=1)()

    def ours(precision: str) -> Contestant:
        goal = ostrich.Untargeted(labels)

        def run() -> Tensor:
            method = Gradients()
            ostrich.attacks.attack(method, task.classifier, images, goal=goal, precision=precision)
            return method.found[0]

        return run

    def judge(found: Tensor) -> dict[str, float]:
        cosine = F.cosine_similarity(found.flatten(1), exact.flatten(1)).abs()  # ours is downhill
        return {"median cosine to the plain gradient": cosine.median().item()}

    return [
        Row(
            name="Gradients",
            setting=f"{task.name}, N = {len(images)}, {STEPS} each",
            contestants={
                "ostrich (fast)": ours("fast"),
                "ostrich (exact)": ours("exact"),
                "bare: frozen, folded, channels-last": _bare(task, folded=True, bf16=False),
                "bare: frozen, folded, channels-last, bf16": _bare(task, folded=True, bf16=True),
                "bare: frozen": _bare(task, folded=False, bf16=False),
            },
            judge=judge,
            work=STEPS * len(images),
            unit="gradient",
        )
    ]


def _bare(task: Problem, *, folded: bool, bf16: bool, steps: int = STEPS) -> Contestant:
    """A loop of gradients of the cross-entropy, and nothing else."""
    network = copy.deepcopy(task.classifier.network).eval()
    if folded:
        network = fuse(network).to(memory_format=torch.channels_last)
    layout = torch.channels_last if folded else torch.contiguous_format
    network.requires_grad_(False)
    normalise: nn.Module = nn.Identity()
    if task.classifier.mean is not None:
        normalise = Normalise(task.classifier.mean, task.classifier.std)

    def run() -> Tensor:
        for _ in range(steps):
            leaf = task.images.clone().requires_grad_(True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = network(normalise(leaf).contiguous(memory_format=layout))
            loss = F.cross_entropy(logits.float(), task.labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient

    return run

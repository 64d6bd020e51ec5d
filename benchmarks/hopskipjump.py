"""HopSkipJump at equal queries: a batch of ours against foolbox, one image at a time.

foolbox scales its noise over the whole batch, so only one image at a time is the published attack.
"""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType

import torch
from torch import Tensor, nn

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers

QUERIES, IMAGES = 2000, 16


class SpentError(Exception):
    """The queries are."""


class Metered(nn.Module):
    """A network that keeps, of all it is asked, the nearest image of another class, and then stops."""

    def __init__(self, network: nn.Module, original: Tensor, label: Tensor) -> None:
        super().__init__()
        self.network, self.original, self.label = network, original, label
        self.asked, self.nearest, self.distance = 0, original, float("inf")

    def forward(self, images: Tensor) -> Tensor:
        if self.asked + len(images) > QUERIES:
            raise SpentError
        self.asked += len(images)
        logits = self.network(images)
        size = (images - self.original).flatten(1).norm(dim=1)
        size = torch.where(logits.argmax(1) != self.label, size, torch.inf)
        if float(size.min()) < self.distance:
            self.distance, self.nearest = float(size.min()), images[size.argmin()][None].detach()
        return logits


def rows(task: Problem) -> list[Row]:
    """What counts is the median distance."""
    task = task.first(IMAGES)
    images, labels = task.images, task.labels

    def ours(size: int) -> Contestant:
        method, goal = ostrich.attacks.HopSkipJump(queries=QUERIES), ostrich.Untargeted(labels)
        return lambda: (
            ostrich.attacks.attack(method, task.classifier, images, goal=goal, batch_size=size).float_images
        )

    def foolbox(library: ModuleType) -> Contestant:
        network = task.own_copy().requires_grad_(False)

        def one(image: Tensor, label: Tensor) -> Tensor:
            metered = Metered(network, image, label).eval()
            model = library.PyTorchModel(metered, bounds=(0, 1), device="cpu")
            with suppress(SpentError):
                library.attacks.HopSkipJumpAttack(steps=64)(model, image, label, epsilons=None)
            return metered.nearest

        def run() -> Tensor:
            torch.manual_seed(0)
            return torch.cat([one(images[i : i + 1], labels[i : i + 1]) for i in range(len(images))])

        return run

    def judge(found: Tensor) -> dict[str, float]:
        """Distances of what fooled the network; what did not counts as infinitely far."""
        size = (found.float() - images).flatten(1).norm(dim=1)
        with torch.no_grad():
            fooled = task.network(found.float()).argmax(1) != labels
        return {
            "success": fooled.float().mean().item(),
            "median L2": torch.where(fooled, size, torch.inf).median().item(),
            "geometric mean L2": size[fooled].log().mean().exp().item(),
        }

    others, missing = peers({"foolbox, one image at a time": ("foolbox", foolbox)})
    return [
        Row(
            name="HopSkipJump, L2",
            setting=f"{task.name}, N = {len(images)}, {QUERIES} queries an image",
            contestants={"ostrich": ours(IMAGES), "ostrich, one image at a time": ours(1), **others},
            judge=judge,
            work=len(images),
            missing=missing,
        )
    ]

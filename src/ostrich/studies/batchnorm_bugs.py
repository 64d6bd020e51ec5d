"""Twelve ways to get batch norm's two modes wrong, each in a few lines, wrong number and right.

Each bug is a function from a `Case` (a small trained network and its images) to a `Shown`: what one gets with
the bug and without it. Where the result is a network that anyone could meet, it is handed on, so that the
doctor can be asked whether it sees the bug from the network and images alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.models.batchnorm import precise_statistics
from ostrich.studies.datasets import Splits
from ostrich.studies.fitting import fitted, loss_and_error
from ostrich.training.loop import logits_of, normalised, to_images
from ostrich.training.recipe import Recipe

PASSES = 5  # over the images of a bug that takes some time


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A trained network with batch norm, an untrained one, and what it was trained on and by."""

    network: nn.Module
    untrained: nn.Module
    recipe: Recipe
    given: Splits
    folder: Path

    def inputs(self, pixels: Tensor) -> Tensor:
        """uint8 (N, C, H, W) as the network takes them."""
        return normalised(to_images(pixels, torch.device("cpu")), self.recipe)

    def right(self, network: nn.Module) -> float:
        """Percent right of the test images, the network in the mode that it is in."""
        images, labels = self.given.test.tensors()
        return 100 - loss_and_error(logits_of(network, self.recipe, images), labels)[1]

    def copy(self) -> nn.Module:
        return copy.deepcopy(self.network)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The number with the bug and without; `network` has the bug, where one can be handed on."""

    wrong: float
    right: float
    network: nn.Module | None = None


@dataclass(frozen=True, kw_only=True)
class Bug:
    """`worse` says on which side of the right number the wrong one lies, by at least `margin`."""

    name: str
    number: str
    worse: str  # "higher" or "lower"
    margin: float
    show: Callable[[Case], Shown]

    def reproduced(self, shown: Shown) -> bool:
        gap = shown.wrong - shown.right
        return (gap if self.worse == "higher" else -gap) >= self.margin


class AlwaysTraining(nn.Module):
    """A network that goes back to training mode whatever is asked: `train(False)` is not passed on."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def train(self, mode: bool = True) -> AlwaysTraining:
        super().train(True)
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


def set_momentum(network: nn.Module, momentum: float) -> nn.Module:
    for layer in norms(network):
        layer.momentum = momentum
    return network


def forgot_eval(case: Case) -> Shown:
    """Predicted in training mode, an image's class depends on its neighbours in the batch."""
    pixels = case.given.test.tensor()
    shuffled = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))

    def changed(network: nn.Module) -> float:
        answers = []
        for order in (torch.arange(len(pixels)), shuffled):
            found = torch.cat(
                [network(case.inputs(pixels[rows])).argmax(1) for rows in order.split(4) if len(rows) > 1]
            )
            answers.append((order[: len(found)], found))
        (rows, first), (others, second) = answers
        place = torch.full((len(pixels),), -1)
        place[others] = second
        known = place[rows] >= 0
        return 100 * (first != place[rows])[known].float().mean().item()

    with torch.no_grad():
        return Shown(
            wrong=changed(case.copy().train()),
            right=changed(case.copy().eval()),
            network=AlwaysTraining(case.copy()).train(),
        )


def never_undone(case: Case) -> Shown:
    """eval() for a first look, never undone: from then on batch norm no longer normalises what is trained."""

    def trained(frozen: bool) -> float:
        network = copy.deepcopy(case.untrained)
        optimiser = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9)
        pixels, labels = case.given.train.tensors()
        network.train()
        for step, rows in enumerate(torch.arange(len(labels)).repeat(PASSES).split(64)):
            if frozen and step == 1:
                network.eval()
            loss = F.cross_entropy(network(case.inputs(pixels[rows])), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        return case.right(network.eval())

    return Shown(wrong=trained(True), right=trained(False))


def batch_of_one(case: Case) -> Shown:
    """n % batch_size == 1: the last batch has one image, and on 1x1 maps there is no variance of it."""
    network = nn.Sequential(case.copy(), nn.BatchNorm1d(len(case.given.class_names))).train()
    pixels = case.given.train.tensor()[:65]

    def finished(sizes: list[int]) -> float:
        steps = 0
        for rows in torch.arange(len(pixels)).split(sizes):
            try:
                network(case.inputs(pixels[rows]))
            except ValueError:  # "Expected more than 1 value per channel when training"
                break
            steps += 1
        return 100 * steps / len(sizes)

    with torch.no_grad():
        return Shown(wrong=finished([32, 32, 1]), right=finished([32, 33]))


def not_converged(case: Case) -> Shown:
    """A short training with a momentum for long ones: right in training mode, chance in evaluation mode."""
    network = set_momentum(copy.deepcopy(case.untrained), 0.01)
    recipe = replace(case.recipe, epochs=case.recipe.epochs / 2)
    fitted(network, recipe, case.given, case.folder, name="short-")
    wrong, bad = case.right(network), copy.deepcopy(network)
    precise_statistics(network, case.inputs(case.given.train.tensor()).split(128))
    return Shown(wrong=wrong, right=case.right(network), network=bad)


def evaluated_in_training(case: Case) -> Shown:
    """Other images (of a quarter of the contrast) evaluated in training mode: their statistics are kept."""
    network = case.copy().train()
    dim = case.given.test.tensor().float().div(4).to(torch.uint8)
    with torch.no_grad():
        for part in dim.repeat(PASSES, 1, 1, 1).split(64):
            network(case.inputs(part))
    network.eval()
    return Shown(wrong=case.right(network), right=case.right(case.copy().eval()), network=network)


def momentum_convention(case: Case) -> Shown:
    """Keras's 0.99 given to PyTorch, where it is the share of the new: the last batch is all there is."""
    pixels, labels = case.given.train.tensors()
    last = pixels[labels == 1][:32]  # a last batch of one class, as where data is sorted

    def after(momentum: float) -> nn.Module:
        network = set_momentum(case.copy().train(), momentum)
        with torch.no_grad():
            network(case.inputs(last))
        return network.eval()

    wrong, right = after(0.99), after(0.01)
    return Shown(wrong=case.right(wrong), right=case.right(right), network=wrong)


def frozen_but_updating(case: Case) -> Shown:
    """A frozen backbone in training mode: its statistics go over to the new images."""
    other = 255 - case.given.train.tensor()  # the new task's images: inverted

    def after(mode: bool) -> nn.Module:
        network = case.copy().requires_grad_(False).train(mode)
        with torch.no_grad():
            for part in other.repeat(PASSES, 1, 1, 1).split(64):
                network(case.inputs(part))
        return network.eval()

    wrong, right = after(True), after(False)
    return Shown(wrong=case.right(wrong), right=case.right(right), network=wrong)


def _gradient(case: Case, parts: list[Tensor], mode: bool) -> Tensor:
    """The gradient of the mean loss over all images, taken part by part and added up."""
    network = case.copy().train(mode)
    pixels, labels = case.given.train.tensors()
    total = sum(len(rows) for rows in parts)
    for rows in parts:
        loss = F.cross_entropy(network(case.inputs(pixels[rows])), labels[rows], reduction="sum") / total
        loss.backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def _apart(case: Case, parts: list[Tensor]) -> tuple[float, float]:
    """The parts' gradient from the whole batch's, relative: in training and in evaluation mode."""
    whole = [torch.cat(parts)]
    found = []
    for mode in (True, False):
        a, b = _gradient(case, parts, mode), _gradient(case, whole, mode)
        found.append(((a - b).norm() / b.norm()).item())
    return found[0], found[1]


def per_replica(case: Case) -> Shown:
    """Two replicas, each with the statistics of its own half of the batch, and classes not spread evenly."""
    labels = case.given.train.tensors()[1]
    rows = labels.argsort(stable=True)[:: max(1, len(labels) // 64)][:64]
    wrong, right = _apart(case, list(rows.split(32)))
    return Shown(wrong=wrong, right=right)


def accumulated(case: Case) -> Shown:
    """Eight batches of eight whose gradients are added up: no batch of 64 for batch norm."""
    wrong, right = _apart(case, list(torch.arange(64).split(8)))
    return Shown(wrong=wrong, right=right)


def biased_unbiased(case: Case) -> Shown:
    """It normalises by the biased variance and stores the unbiased one: of two values, twice it."""

    def stored(count: int) -> float:
        layer = nn.BatchNorm1d(4, momentum=1.0)
        x = torch.randn(count, 4, generator=torch.Generator().manual_seed(count))
        layer(x)
        assert layer.running_var is not None
        return (layer.running_var / x.var(0, unbiased=False)).mean().item()

    return Shown(wrong=stored(2), right=stored(4096))


def decayed(case: Case) -> Shown:
    """Weight decay on gamma and beta too: it pulls gamma to zero, though its size changes nothing before."""

    def mean_gamma(everywhere: bool) -> float:
        network = copy.deepcopy(case.untrained).train()
        own = [p for layer in norms(network) for p in layer.parameters()]
        others = [p for p in network.parameters() if all(p is not one for one in own)]
        groups: list[dict[str, Any]] = [
            {"params": others},
            {"params": own, "weight_decay": 0.02 if everywhere else 0.0},
        ]
        optimiser = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.02)
        pixels, labels = case.given.train.tensors()
        for rows in torch.arange(len(labels)).repeat(PASSES).split(64):
            loss = F.cross_entropy(network(case.inputs(pixels[rows])), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return torch.cat([layer.weight for layer in norms(network)]).mean().item()

    return Shown(wrong=mean_gamma(True), right=mean_gamma(False))


def without_buffers(case: Case) -> Shown:
    """Resumed from the parameters alone (strict=False): the statistics are a new network's, 0 and 1."""
    network = copy.deepcopy(case.untrained)
    network.load_state_dict(dict(case.network.named_parameters()), strict=False)
    network.eval()
    return Shown(wrong=case.right(network), right=case.right(case.copy().eval()), network=network)


BUGS = (
    Bug(
        name="1 eval() forgotten",
        number="predictions that change with the batch, %",
        worse="higher",
        margin=1,
        show=forgot_eval,
    ),
    Bug(
        name="2 eval() never undone",
        number="test images right after training, %",
        worse="lower",
        margin=5,
        show=never_undone,
    ),
    Bug(
        name="3 batch of one",
        number="steps of the epoch finished, %",
        worse="lower",
        margin=1,
        show=batch_of_one,
    ),
    Bug(
        name="4 statistics not converged",
        number="test images right, %",
        worse="lower",
        margin=5,
        show=not_converged,
    ),
    Bug(
        name="5 evaluated in training mode",
        number="test images right afterwards, %",
        worse="lower",
        margin=5,
        show=evaluated_in_training,
    ),
    Bug(
        name="6 momentum of another convention",
        number="test images right, %",
        worse="lower",
        margin=5,
        show=momentum_convention,
    ),
    Bug(
        name="7 frozen backbone that updates",
        number="first task's test images right, %",
        worse="lower",
        margin=5,
        show=frozen_but_updating,
    ),
    Bug(
        name="8 statistics of each replica",
        number="gradient's distance from the whole batch's, relative",
        worse="higher",
        margin=0.05,
        show=per_replica,
    ),
    Bug(
        name="9 gradients accumulated",
        number="gradient's distance from the whole batch's, relative",
        worse="higher",
        margin=0.05,
        show=accumulated,
    ),
    Bug(
        name="10 biased and unbiased",
        number="stored by used variance",
        worse="higher",
        margin=0.5,
        show=biased_unbiased,
    ),
    Bug(
        name="11 weight decay on gamma and beta",
        number="mean of gamma after training",
        worse="lower",
        margin=0.05,
        show=decayed,
    ),
    Bug(
        name="12 resumed without buffers",
        number="test images right, %",
        worse="lower",
        margin=5,
        show=without_buffers,
    ),
)

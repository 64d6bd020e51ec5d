"""A learned attacker: a network from an image to its perturbation, trained against a frozen classifier.

Baluja and Fischer 2018, "Learning to attack: adversarial transformation networks" (P-ATN: the network
yields the perturbation), and Poursaeed, Katsman, Gao, Belongie 2018, "Generative adversarial
perturbations" (image-dependent, scaled to the budget). At attack time an image costs one forward of the
generator and none of the classifier.

The first half of the epochs fits a universal perturbation, which fools most images alone; in the other
half the generator learns, beginning from nothing, what an image needs besides, on images mirrored and
shifted at random. It halves the image once, goes through residual blocks and comes back, with what the
first layer saw beside it. Group norm, never batch norm: neighbours in a batch do not change a
perturbation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.attacks.base import FittedAttack, FittingState, Tensors
from ostrich.attacks.fitted.fitting import Fitting
from ostrich.attacks.fitted.universal_perturbation import Universal, random_change
from ostrich.attacks.threats import Linf, Threat
from ostrich.images import into_range
from ostrich.runtime.data_parallel import DataParallel
from ostrich.runtime.randomness import keyed, seeded
from ostrich.runtime.ranges import above, at_least

SHARED, OWN = 2.0, 4.0  # weights before the tanh: what is drawn for one image can turn round what all share
SHIFT = 3  # pixels, either way
AUGMENT = 13  # the purpose of the random numbers that mirror and shift


class Perturber(nn.Module):
    """Images (n, C, H, W) in [0, 1] to what is to be added, (n, C, H, W) in [-1, 1]; at first, nothing."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        wide = 2 * width
        self.enter = _layer(channels, width, 1)
        self.down = _layer(width, wide, 2)
        self.blocks = nn.ModuleList(_block(wide) for _ in range(blocks))
        self.up = _layer(wide, width, 1)
        self.leave = nn.Conv2d(2 * width, channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        first = self.enter(2 * images - 1)  # (n, w, H, W)
        x = self.down(first)  # (n, 2w, H/2, W/2)
        for block in self.blocks:
            x = F.relu(x + block(x))
        x = self.up(F.interpolate(x, size=images.shape[2:], mode="nearest"))
        return self.leave(torch.cat([x, first], 1)).tanh()


@dataclass(frozen=True, kw_only=True)
class Generator(FittedAttack):
    """A network from image to perturbation: `epochs` forwards and backwards of both per fitting image.

    Baluja and Fischer 2018, "Learning to attack: adversarial transformation networks"; Poursaeed, Katsman,
    Gao, Belongie 2018, "Generative adversarial perturbations".

    fit         images to fit on, the rest is judged; None: half of what there is
    victims     further networks to fit on, MODELs joined by +
    epochs      passes over the fitting images
    batch_size  images
    rate        of Adam, in the second half of the epochs, falling linearly to nothing
    width       channels of the first layer
    blocks      residual blocks
    """

    name: ClassVar[str] = "generator"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    data_parallel: ClassVar[bool] = True

    threat: Threat = Linf(10 / 255)
    fit: Annotated[int | None, at_least(1)] = None
    victims: str | None = None
    epochs: Annotated[int, at_least(1)] = 60
    batch_size: Annotated[int, at_least(1)] = 16
    rate: Annotated[float, above(0)] = 1e-3
    width: Annotated[int, at_least(1)] = 16
    blocks: Annotated[int, at_least(1)] = 2

    def init(self, fitting: Fitting) -> FittingState:
        network = self._network(fitting.images, fitting.seed)
        shared = torch.zeros_like(fitting.images[0])
        return {"shared": shared, "weights": network.state_dict(), "optimiser": {}}

    def epoch(self, fitting: Fitting, state: FittingState, number: int) -> FittingState:
        universal = Universal(threat=self.threat)
        begun = {"perturbation": state["shared"], "done": torch.tensor(False)}
        if number < self.epochs // 2:
            return state | {"shared": universal.epoch(fitting, begun, number)["perturbation"]}
        if number == self.epochs // 2:  # the whole budget, spent
            state = state | {"shared": universal.tensors(begun)["perturbation"]}
        network = self._network(fitting.images)
        network.load_state_dict(state["weights"])
        optimiser = torch.optim.Adam(network.parameters(), lr=self.rate)
        if state["optimiser"]:
            optimiser.load_state_dict(state["optimiser"])
        batches, parallel = fitting.batches(self.batch_size, number), DataParallel(network)
        for done, batch in enumerate(batches):
            left = self.epochs - number - done / len(batches)  # epochs
            optimiser.param_groups[0]["lr"] = self.rate * left / (self.epochs - self.epochs // 2)
            rows = fitting.own(batch)

            def loss(rows: Tensor = rows, done: int = done, count: int = len(batch)) -> Tensor:
                varied = _varied(fitting.images[rows], keyed(fitting.seed, AUGMENT, number, done))
                broken = self._broken(network, state["shared"], varied)
                return (broken * fitting.slope(broken.detach(), rows, count)).sum()  # has that very slope

            optimiser.zero_grad()
            with torch.enable_grad():
                parallel.backward([(1.0, loss)] if len(rows) else [])
            optimiser.step()
        return {
            "shared": state["shared"],
            "weights": network.state_dict(),
            "optimiser": optimiser.state_dict(),
        }

    def tensors(self, state: FittingState) -> Tensors:
        return {"shared": state["shared"], **state["weights"]}

    def apply(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        network = self._network(images)
        network.load_state_dict({name: value for name, value in tensors.items() if name != "shared"})
        return self.threat.project(self._broken(network, tensors["shared"], images), images)

    def random_baseline(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        return random_change(self.threat, images, keys, seed)

    def picture(self, tensors: Tensors) -> Tensor | None:
        return None  # it draws another one for each image

    def _network(self, images: Tensor, seed: int = 0) -> Perturber:
        """A fresh generator for such images; the caller's random numbers stay as they are."""
        with seeded(seed):
            return Perturber(images.shape[1], self.width, self.blocks).to(images)

    def _broken(self, network: Perturber, shared: Tensor, images: Tensor) -> Tensor:
        """The images under attack, the whole budget spent, in [0, 1]."""
        common, own = SHARED * shared / max(self.threat.eps, 1e-30), OWN * network(images)
        if self.threat.norm == "linf":
            return into_range(images + self.threat.eps * (common + own).tanh())
        change = common + own / math.sqrt(shared.numel())
        size = change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        return into_range(images + self.threat.eps * change / size)


def _varied(images: Tensor, generator: torch.Generator) -> Tensor:
    """A batch (n, C, H, W) shifted by a few pixels, its border repeated, and perhaps mirrored."""
    height, width = images.shape[-2:]
    top, left = torch.randint(2 * SHIFT + 1, (2,), generator=generator).tolist()
    mirrored = torch.rand(1, generator=generator).item() < 0.5
    wide = F.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT), mode="replicate")
    shifted = wide[..., top : top + height, left : left + width]
    return shifted.flip(3) if mirrored else shifted


def _layer(ins: int, outs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(1, outs), nn.ReLU())


def _block(channels: int) -> nn.Sequential:
    last = (nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.GroupNorm(1, channels))
    return nn.Sequential(_layer(channels, channels, 1), *last)

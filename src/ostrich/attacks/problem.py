"""What an attack sees: images, a goal, a threat model, and counted access to the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ostrich.attacks.goals import Goal
from ostrich.attacks.threats import Threat
from ostrich.models.classifier import Classifier
from ostrich.models.fastpath import autocast, faster
from ostrich.randomness import keyed


@dataclass
class Access:
    """The network, with every image counted that goes forward or backward through it.

    `plain` is the network itself and decides success; `quick` computes the same faster, for
    gradients. `forwards` and `backwards` int64 (N,) count per image of the batch; `checks` are
    forwards spent on proving the quick network equal to the plain one.
    """

    classifier: Classifier
    precision: str
    forwards: Tensor
    backwards: Tensor
    checks: int = 0
    quick: nn.Module | Callable[[Tensor], Tensor] | None = None

    def prepare(self, example: Tensor) -> None:
        """Make the quick network, compared with the plain one on `example` (1, C, H, W)."""
        network = self.classifier.network
        self.quick = network
        if isinstance(network, nn.Module):
            self.quick, self.checks = faster(network, self.classifier.normalised(example))

    @torch.no_grad()
    def exact(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits (n, K) of the plain network."""
        self.forwards[rows] += 1
        return self.classifier(images)

    @torch.no_grad()
    def logits(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits (n, K) of the quick network."""
        self.forwards[rows] += 1
        return self._forward(images, self.precision)

    def gradient(
        self, images: Tensor, rows: Tensor, loss: Callable[[Tensor], Tensor], precision: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """The gradient (n, C, H, W) of the summed loss, and the logits (n, K); quick network.

        Values that are not finite become zero: such an image stands still and disturbs no other.
        `precision` overrides the run's own.
        """
        self.forwards[rows] += 1
        self.backwards[rows] += 1
        with torch.enable_grad():
            inputs = images.detach().clone().requires_grad_(True)
            logits = self._forward(inputs, precision or self.precision)
            total = loss(logits).sum()
            if not total.requires_grad:  # the network cut the graph: its gradient is zero
                return torch.zeros_like(images), logits.detach()
            (gradient,) = torch.autograd.grad(total, inputs, allow_unused=True)
        if gradient is None:
            return torch.zeros_like(images), logits.detach()
        return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0), logits.detach()

    def _forward(self, images: Tensor, precision: str) -> Tensor:
        assert self.quick is not None, "prepare() comes first"
        inputs = self.classifier.normalised(images).contiguous(memory_format=torch.channels_last)
        precision = precision if images.dtype == torch.float32 else "exact"
        with autocast(precision, images.device):
            output = self.classifier.scores(self.quick(inputs))
        return output if output.dtype == images.dtype else output.to(images.dtype)


@dataclass(frozen=True)
class Problem:
    """The part of a batch that is still being attacked; n images.

    `rows` int64 (n,) are their places in the batch, `keys` their fingerprints, from which their
    random numbers come: never from their places.
    """

    access: Access
    originals: Tensor
    goal: Goal
    threat: Threat
    rows: Tensor
    keys: tuple[int, ...]
    seed: int
    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # images (n,...) and whether reached (n,)

    def gradient(self, images: Tensor) -> Tensor:
        """The gradient (n, C, H, W) of the goal's loss at `images`."""
        gradient, logits = self.access.gradient(images, self.rows, self.goal.loss)
        self.seen.append((images, self.goal.reached(logits)))
        return gradient

    def evaluate(self, images: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """A loss (n,) of the logits, its gradient (n, C, H, W), and whether the goal is reached (n,).

        Never in bf16, whose rounding is larger than the differences that a line search compares.
        """
        gradient, logits = self.access.gradient(images, self.rows, loss, "exact")
        reached = self.goal.reached(logits)
        self.seen.append((images, reached))
        return loss(logits), gradient, reached

    def logits(self, images: Tensor) -> Tensor:
        """The logits (n, K) of `images`."""
        logits = self.access.logits(images, self.rows)
        self.seen.append((images, self.goal.reached(logits)))
        return logits

    def draw(self, kind: str, step: int = 0) -> Tensor:
        """Random numbers (n, C, H, W), "uniform" or "normal", keyed by (seed, image, step)."""
        like = self.originals
        numbers = []
        for key in self.keys:
            make = torch.rand if kind == "uniform" else torch.randn
            generator = keyed(self.seed, key, step)
            numbers.append(make(like.shape[1:], generator=generator, dtype=torch.float64))
        return torch.stack(numbers).to(like) if numbers else torch.empty_like(like)

    def keep(self, mask: Tensor) -> Problem:
        """The same problem without the images where `mask` is false."""
        kept = mask.nonzero()[:, 0].tolist()
        return replace(
            self,
            originals=self.originals[mask],
            goal=self.goal.rows(mask),
            rows=self.rows[mask],
            keys=tuple(self.keys[i] for i in kept),
            seen=[],
        )

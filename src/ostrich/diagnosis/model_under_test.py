"""What a check is given, and what it answers with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ostrich.attacks import Result, Untargeted
from ostrich.attacks import attack as run_attack
from ostrich.attacks.base import InputSpecificAttack
from ostrich.data.dataset import Samples
from ostrich.data.matching import Matching
from ostrich.errors import OstrichError
from ostrich.models import Classifier

BATCH = 32  # images per forward
FEW = 16  # images of the checks that need gradients or attacks


class NotApplicable(OstrichError):
    """A check has no meaning for this network or these images; the reason is reported."""


def evenly_spread(count: int, most: int) -> Tensor:
    """The places (n,) of at most `most` of `count` images: of a folder the first are those of one class."""
    n = min(most, count)
    return torch.arange(n) * count // n


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault: a stable code, what is wrong, the figures that show it, and the way forward."""

    code: str
    sentence: str
    evidence: str
    fix: str


class Remark(Finding):
    """What is worth knowing, and no fault."""


class Uncopied(nn.Module):
    """A network that is not copied, so that attacks take the gradients of the network itself.

    For a few images a faster copy is not worth its making, and it is the network that is examined.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> Uncopied:
        raise TypeError("this network is used as it is")


@dataclass(kw_only=True)
class ModelUnderTest:
    """A network, its images (N, C, H, W) and, where they are known, its labels (N,).

    Forwards and gradients of single images are counted. `surrogate` is another network for the same
    classes, from which attacks may transfer; `samples` are what the images were read from, row by row, where
    that is known. `tried` are the preprocessings that were compared, in words, with their accuracies.
    """

    classifier: Classifier
    images: Tensor
    labels: Tensor | None = None
    surrogate: Classifier | None = None
    samples: Samples | None = None
    seed: int = 0
    forwards: int = 0
    gradients: int = 0
    tried: list[dict[str, object]] = field(default_factory=list)
    _logits: Tensor | None = None
    _attacked: dict[str, Result] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.images = self.images.to(self.classifier.device)
        self.labels = None if self.labels is None else self.labels.to(self.classifier.device)

    def scores(self, images: Tensor) -> Tensor:
        """Scores (n, K) of images (n, C, H, W)."""
        self.forwards += len(images)
        return self.classifier.predict(images, BATCH)

    @torch.no_grad()
    def answers(self, inputs: Tensor, batch_size: int = BATCH) -> Tensor:
        """Scores (n, K) of the network itself for inputs (n, C, H, W) as they are."""
        self.forwards += len(inputs)
        return torch.cat([self.classifier.answers(part).to(inputs) for part in inputs.split(batch_size)])

    @torch.no_grad()
    def attack_logits(self, images: Tensor) -> Tensor:
        """What attacks follow (n, K): the scores, or what goes into a last softmax."""
        self.forwards += len(images)
        inputs = self.classifier.normalised(images)
        parts = [self.classifier.answers(part, before_softmax=True) for part in inputs.split(BATCH)]
        scores = torch.cat(parts)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    @property
    def logits(self) -> Tensor:
        """The scores (N, K) of all images."""
        if self._logits is None:
            self._logits = self.scores(self.images)
        return self._logits

    @property
    def matching(self) -> Matching | None:
        """How the data's classes became the network's, where that is known."""
        return None if self.samples is None else self.samples.matching

    @property
    def predictions(self) -> Tensor:
        """The predictions (N,)."""
        return self.logits.argmax(1)

    @property
    def few(self) -> Tensor:
        """The places (n,) of at most FEW images, evenly spread, so that classes stay balanced."""
        return evenly_spread(len(self.images), FEW).to(self.images.device)

    def keep(self, mask: Tensor) -> None:
        """Go on with the images where `mask` (N,) is true."""
        assert not self._attacked, "the images of attacks are chosen once"
        self.images, self._logits = self.images[mask], self.logits[mask]
        if self.samples is not None:
            self.samples = self.samples.take(mask.nonzero()[:, 0].tolist())
        self.labels = None if self.labels is None else self.labels[mask]

    def gradient(self, images: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor | None:
        """The gradient (n, C, H, W) of a value (n,) of the scores; None where the network cuts the graph.

        Of the plain network in its own precision, and as it comes: NaN stays NaN.
        """
        parts = []
        for part in images.split(FEW):
            self.forwards += len(part)
            self.gradients += len(part)
            with torch.enable_grad():
                leaf = part.detach().clone().requires_grad_(True)
                inputs = self.classifier.normalised(leaf.clone())
                scores = self.classifier.answers(inputs, before_softmax=True)  # as attacks follow it
                total = value(scores.to(torch.promote_types(scores.dtype, torch.float32))).sum()
                if not total.requires_grad:
                    return None
                (found,) = torch.autograd.grad(total, leaf, allow_unused=True)
            if found is None:
                return None
            parts.append(found)
        return torch.cat(parts)

    def attacked(self, method: InputSpecificAttack) -> Result:
        """An attack on the few images, to leave what they are predicted to be; each is run once."""
        key = repr(method)
        if key not in self._attacked:
            goal = Untargeted(self.predictions[self.few])
            self._attacked[key] = self._run(method, self.classifier, goal)
        return self._attacked[key]

    def transferred(self, method: InputSpecificAttack) -> Tensor:
        """Whether the attack's images (n, C, H, W) for the surrogate make this network err, (n,) bool."""
        assert self.surrogate is not None
        own = self.predictions[self.few]
        result = self._run(method, self.surrogate, Untargeted(own))
        return self.scores(result.images).argmax(1) != own

    def _run(self, method: InputSpecificAttack, classifier: Classifier, goal: Untargeted) -> Result:
        images, plain = self.images[self.few], copy.copy(classifier)
        if isinstance(classifier.network, nn.Module):
            plain.network = Uncopied(classifier.network)
        result = run_attack(method, plain, images, goal, seed=self.seed, precision="exact")
        self.forwards += int(result.forwards.sum()) + result.checks
        self.gradients += int(result.backwards.sum())
        return result

"""What an attack sees: images, a goal, a threat model, and counted access to the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ostrich.attacks.eot import EOT
from ostrich.attacks.goals import Goal, missed
from ostrich.attacks.per_image import where
from ostrich.attacks.threats import Threat
from ostrich.errors import OstrichError
from ostrich.models.answers import alone, answered
from ostrich.models.classifier import Classifier
from ostrich.models.fastpath import autocast, faster, rounds
from ostrich.models.returned import FailsOnImage
from ostrich.runtime.randomness import GOLDEN, counted, keyed, seed_of

VALUES_PER_FORWARD = 256 * 3 * 64 * 64  # pixels times channels at once, about 1 GB of activations
Loss = Callable[[Tensor], Tensor]  # of the logits (n, K), (n,)
Network = nn.Module | Callable[[Tensor], Tensor]
Photographed = Callable[[Tensor, Sequence[int], int], Tensor]  # of images, their keys and the seed
FOLDED_FROM = 2  # gradients of an image: for fewer, a copy that is no quicker by bf16 is not won back


@dataclass
class Access:
    """The network, with every image counted that goes forward or backward through it.

    The network itself decides success; `fast_network` computes the same faster, and `gradient_network`, of
    the surrogate where there is one, is that for gradients. `forwards` and `backwards` int64 (N,) count per
    image of the batch, `gradients` the times that an attack asked for a gradient where its goal was not
    reached, and `useless` those of them that were zero or not finite; `scored` the images that an attack on
    scores asked about, by whose first `score` (N,) it is known whether any `moved` it; `checks` are forwards
    spent on proving the fast networks equal to the plain ones.

    These are of one `member` of an ensemble; those of the ones before it are kept as `zero_before` and
    `flat_before`, images that they could not work on, and `worked`, images that any of them could.
    """

    classifier: Classifier
    precision: str
    forwards: Tensor
    backwards: Tensor
    checks: int = 0
    fast_network: Network | None = None
    gradient_network: Network | None = None
    clean: tuple[Tensor, Tensor] | None = None  # originals (N, C, H, W) and their logits, with the graph
    own_type: bool = False  # a network that fails in bf16 keeps to its own type
    gradients: Tensor = field(init=False)
    useless: Tensor = field(init=False)
    scored: Tensor = field(init=False)
    score: Tensor = field(init=False)
    moved: Tensor = field(init=False)
    zero_before: Tensor = field(init=False)
    flat_before: Tensor = field(init=False)
    worked: Tensor = field(init=False)
    member: int = 0

    def __post_init__(self) -> None:
        for name in ("zero_before", "flat_before", "worked"):
            setattr(self, name, torch.zeros_like(self.forwards, dtype=torch.bool))
        self._count_anew()

    def _count_anew(self) -> None:
        for name in ("gradients", "useless", "scored"):
            setattr(self, name, torch.zeros_like(self.forwards))
        self.score = torch.full_like(self.forwards, torch.nan, dtype=torch.float64)
        self.moved = torch.zeros_like(self.forwards, dtype=torch.bool)

    def begin(self, member: int) -> None:
        """Count for this member of an ensemble, those before it being done; one that goes on is not new."""
        if member <= self.member:
            return
        self.worked = self.could_work
        self.zero_before, self.flat_before = self.zero_gradient, self.flat_scores
        self.member = member
        self._count_anew()

    @property
    def counts(self) -> dict[str, Any]:
        """All that is counted, to be kept and set again."""
        counts = ("forwards", "backwards", "gradients", "useless", "scored", "score", "moved", "checks")
        names = (*counts, "zero_before", "flat_before", "worked", "member")
        return {name: getattr(self, name) for name in names}

    @counts.setter
    def counts(self, kept: dict[str, Any]) -> None:
        for name, value in kept.items():
            setattr(self, name, value)

    @property
    def verification(self) -> int:
        """The forwards that `judged` takes for an image."""
        draws = self.classifier.draws
        return draws if draws == 1 else 2 * draws

    @property
    def zero_gradient(self) -> Tensor:
        """Whether most gradients that a member asked for were zero or not finite, (N,) bool."""
        return self.zero_before | self._zero

    @property
    def flat_scores(self) -> Tensor:
        """Whether a member asked for scores, and no query changed what it follows, (N,) bool."""
        return self.flat_before | self._flat

    @property
    def could_work(self) -> Tensor:
        """Whether any member asked, and what it follows led somewhere, (N,) bool."""
        followed = torch.where(self.gradients > 0, ~self._zero, self.scored > 1)
        return self.worked | (followed & ~self._flat)

    @property
    def _zero(self) -> Tensor:
        return (self.gradients > 0) & (2 * self.useless >= self.gradients)

    @property
    def _flat(self) -> Tensor:
        return (self.scored > 1) & ~self.moved

    def prepare(self, example: Tensor, gradients: int = FOLDED_FROM) -> None:
        """Make the quick networks, compared with the plain ones on `example` (1, C, H, W).

        Where so few `gradients` of an image are asked for that this is not won back, the plain ones serve.
        """
        if self._plain_serves(gradients, example):
            self.fast_network = self.classifier.network
            self.gradient_network = (self.classifier.surrogate or self.classifier).network
            return
        self.fast_network, self.checks = _fast_network(self.classifier, example)
        self.gradient_network = self.fast_network
        if self.classifier.surrogate is not None:
            self.gradient_network, checks = _fast_network(self.classifier.surrogate, example)
            self.checks += checks

    def _plain_serves(self, gradients: int, images: Tensor) -> bool:
        """Whether so few gradients of an image are as well taken in the plain network."""
        exact = self._typed(self.precision, images, self._lender) == "exact"
        return not gradients or (exact and gradients < FOLDED_FROM)

    @torch.no_grad()
    def reference_logits(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits (n, K) of the plain network; where its answers are random, their mean."""
        _count(self.forwards, rows, self.classifier.draws)
        return torch.cat([self.classifier.averaged(part) for part in images.split(_at_once(images))])

    def clean_logits(self, images: Tensor, rows: Tensor, *, gradients: int) -> Tensor:
        """Logits (N, K) of the originals by the plain network.

        For an attack of few `gradients` of an image the graph is kept: one that is taken there needs no
        forward of its own.
        """
        plain = self.classifier.surrogate is None and isinstance(self.classifier.network, nn.Module)
        if (
            not self._plain_serves(gradients, images)
            or not plain
            or self.classifier.draws > 1
            or len(images) > _at_once(images)
        ):
            return self.reference_logits(images, rows)
        _count(self.forwards, rows)
        with torch.enable_grad():
            inputs = images.detach().clone().requires_grad_(True)
            logits = self.classifier(inputs.clone())  # a clone: a network may change its input in place
        if logits.requires_grad and self.classifier.form == "logits":
            self.clean = inputs, logits
        return logits.detach()

    @torch.no_grad()
    def judged(self, goal: Goal, images: Tensor, rows: Tensor, slack: float) -> tuple[Tensor, Tensor, Tensor]:
        """Whether images reach their goals in the plain network (n,), their logits (n, K), in how many draws.

        Where answers are random, `needed` of the draws have to, and of as many again: what was chosen by one
        set of draws is believed by another, whose part (n,) is returned.
        """
        if self.classifier.draws == 1:
            logits = self.reference_logits(images, rows)
            reached = goal.reached(logits, slack)
            return reached, logits, reached.double()
        first, _ = self._votes(goal, images, rows, slack)
        second, logits = self._votes(goal, images, rows, slack)
        needed = self.classifier.needed
        return (first >= needed) & (second >= needed), logits, second.double() / self.classifier.draws

    def _votes(self, goal: Goal, images: Tensor, rows: Tensor, slack: float) -> tuple[Tensor, Tensor]:
        """How many draws reach their goals (n,), and the mean logits (n, K)."""
        draws = self.classifier.draws
        _count(self.forwards, rows, draws)
        votes, logits = torch.zeros_like(rows), []
        for _ in range(draws):
            logits.append(torch.cat([self.classifier(part) for part in images.split(_at_once(images))]))
            votes = votes + goal.reached(logits[-1], slack)
        return votes, torch.stack(logits).mean(0)

    @torch.no_grad()
    def logits(self, images: Tensor, rows: Tensor, precision: str | None = None) -> Tensor:
        """Logits (n, K) of the quick network; `precision` overrides the run's own."""
        _count(self.forwards, rows)
        parts = images.split(_at_once(images))
        return torch.cat([self._forward(part, precision or self.precision) for part in parts])

    def note_scores(self, goal: Goal, logits: Tensor, rows: Tensor) -> None:
        """Note whether logits (n, K) of the goal move what is followed: by how much images miss it."""
        if self.moved[rows].all():
            return
        score = missed(goal, logits)
        first = rows[self.score[rows].isnan()]
        self.score[first] = score[self.score[rows].isnan()]
        self.moved[rows[score != self.score[rows]]] = True
        _count(self.scored, rows)

    def gradient(
        self,
        images: Tensor,
        rows: Tensor,
        loss: Callable[[Tensor], Tensor],
        precision: str | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
        reached: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The gradient (n, C, H, W) of the summed loss, and the logits (n, K); quick network.

        Values that are not finite become zero: such an image stands still and disturbs no other. A gradient
        that is zero or not finite in bf16, which may have rounded a slope or an answer away, is taken again
        in the network's own precision; not that of a mean over views. `precision` overrides the run's own.
        With `transform`, of images (n, ...) to (n * s, ...), the network sees what it returns, and the logits
        are (n * s, K). Where they have `reached` (n,) the goal, a loss may be flat: such a gradient is not
        counted.
        """
        if self.clean is not None and transform is None and torch.equal(images, self.clean[0][rows]):
            return self._clean_gradient(rows, loss, reached)
        with torch.enable_grad():
            inputs = images.detach().clone().requires_grad_(True)
            shown = inputs if transform is None else transform(inputs)
            each = len(shown) // max(1, len(images))
            _count(self.forwards, rows, each)
            _count(self.backwards, rows, each)
            logits = self._forward(shown, precision or self.precision, for_gradient=True)
            gradient = _slope(loss(logits), inputs)
        logits = logits.detach()
        if transform is None and self._typed(precision or self.precision, images, self._lender) == "fast":
            gradient, logits = self._again(images, rows, loss, gradient, logits)
        size = _size(gradient)
        self._note(_is_useless(size), logits, rows, None if reached is None else reached(logits))
        return _finite(gradient, size), logits

    def _again(
        self, images: Tensor, rows: Tensor, loss: Loss, gradient: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients (n, C, H, W) and logits (n, K), where of no use those of the network's own precision."""
        useless = _is_useless(_size(gradient)).nonzero()[:, 0]
        if not len(useless):
            return gradient, logits
        _count(self.forwards, rows[useless])
        _count(self.backwards, rows[useless])
        with torch.enable_grad():
            inputs = images[useless].detach().requires_grad_(True)
            exact = logits.index_copy(0, useless, self._forward(inputs, "exact", for_gradient=True))
            found = _slope(loss(exact), inputs)
        return gradient.index_copy(0, useless, found), exact.detach()

    def _clean_gradient(
        self, rows: Tensor, loss: Loss, reached: Callable[[Tensor], Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """As `gradient`, at the originals of `rows`, through the graph that is kept; afterwards it is not."""
        assert self.clean is not None
        inputs, every = self.clean
        self.clean = None
        _count(self.backwards, rows)
        with torch.enable_grad():
            logits = every[rows].to(inputs.dtype)
            gradient = _slope(loss(logits), inputs)
        logits = logits.detach()
        gradient = gradient[rows]
        size = _size(gradient)
        self._note(_is_useless(size), logits, rows, None if reached is None else reached(logits))
        return _finite(gradient, size), logits

    def logit_jacobian(
        self, images: Tensor, rows: Tensor, classes: Tensor, reached: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The gradients (n, k - 1, C, H, W) of the logits of `classes` (n, k) less the first's; logits.

        One forward, k - 1 backwards; in the network's own precision. A gradient that is not finite becomes
        zero; all of an image's have to be of no use for that to be counted. `reached` as above.
        """
        count = classes.shape[1] - 1
        _count(self.forwards, rows)
        _count(self.backwards, rows, count)
        with torch.enable_grad():
            inputs = images.detach().clone().requires_grad_(True)
            logits = self._forward(inputs, "exact", for_gradient=True)
            found = images.new_zeros(count, *images.shape)
            if logits.requires_grad:
                chosen = logits.gather(1, classes)
                for j in range(count):
                    lead = (chosen[:, j + 1] - chosen[:, 0]).sum()
                    (found[j],) = torch.autograd.grad(lead, inputs, retain_graph=j + 1 < count)
        logits = logits.detach()
        useless = _is_useless(_size(found.flatten(0, 1))).view(count, -1)  # (k - 1, n)
        found[useless] = 0
        self._note(useless.all(0), logits, rows, reached(logits))
        return found.transpose(0, 1), logits

    def _note(self, useless: Tensor, logits: Tensor, rows: Tensor, reached: Tensor | None) -> None:
        """Count gradients where the goal is not reached, and those that are of no use.

        They are `useless` (n,), zero or not finite, or of a score that stands alone: where in every view of
        the logits (n * s, K) all other classes are switched off, no way leads to one.
        """
        short = torch.ones_like(rows, dtype=torch.bool) if reached is None else ~reached
        single = alone(logits).view(len(rows), -1).all(1)
        _count(self.gradients, rows[short])
        _count(self.useless, rows[short & (useless | single)])

    @property
    def _lender(self) -> Classifier:
        """Whose gradients are followed."""
        return self.classifier.surrogate or self.classifier

    def _typed(self, precision: str, images: Tensor, classifier: Classifier) -> str:
        """The precision: "fast" where bf16 computes, "exact" where nothing is lost."""
        fast = images.dtype == torch.float32 and not classifier.quantised
        return precision if fast and rounds(precision, images.device) else "exact"

    def _forward(self, images: Tensor, precision: str, *, for_gradient: bool = False) -> Tensor:
        classifier = self._lender if for_gradient else self.classifier
        network = self.gradient_network if for_gradient else self.fast_network
        assert network is not None, "prepare() comes first"
        inputs = classifier.normalised(images)
        ask = partial(classifier.answers, inputs, network, before_softmax=True)
        typed = "exact" if self.own_type else self._typed(precision, images, classifier)
        try:
            with autocast(typed, images.device):
                output = ask()
        except (TypeError, RuntimeError, ValueError, FailsOnImage) as error:
            if typed == "exact" or (isinstance(error, OstrichError) and not isinstance(error, FailsOnImage)):
                raise
            output = ask()  # as where forward calls numpy, which has no bf16
            self.own_type = True
        return output if output.dtype == images.dtype else output.to(images.dtype)


class Proposals:
    """The images that a step asked the network about: every one may be a success, so none is lost.

    `answers` holds images (n, C, H, W), one for each of the problem, and whether each reaches its goal in the
    quick network, (n,).
    """

    def __init__(self) -> None:
        self.answers: list[tuple[Tensor, Tensor]] = []

    def add(self, images: Tensor, reached: Tensor) -> None:
        """Note an answer."""
        self.answers.append((images, reached))

    def clear(self) -> None:
        """Forget them: the engine has looked at them."""
        self.answers.clear()


@dataclass(frozen=True)
class Problem:
    """The part of a batch that is still being attacked; n images.

    `rows` int64 (n,) are their places in the batch, `keys` their fingerprints, from which their
    random numbers come: never from their places. `clean` (n, K) are the logits of the originals.
    `queries` is the largest number of forwards an image may cost, None for no limit, of which
    `reserve` are kept for the search on the 8-bit grid, and those of the last verification. With `eot`,
    a gradient is that of the mean over random views. `starts` are other images (P, C, H, W) and their
    logits (P, K), where an attack that knows no scores may begin. With `photographed`, of images,
    keys and seed, a success has to reach the goal there too. In a problem of copies, `copies` rows in a
    row belong to one image. With `by_scores`, an attack follows scores; with `by_gradient`,
    their gradient, and what is verified shows whether it moves them. `proposals` are what the network was
    asked about since the engine looked last.
    """

    access: Access
    originals: Tensor
    goal: Goal
    threat: Threat
    rows: Tensor
    keys: tuple[int, ...]
    seed: int
    clean: Tensor
    queries: int | None = None
    reserve: int = 0
    eot: EOT | None = None
    starts: tuple[Tensor, Tensor] | None = None
    photographed: Photographed | None = None
    copies: int = 1
    by_scores: bool = False
    by_gradient: bool = False
    proposals: Proposals = field(default_factory=Proposals)

    def gradient(self, images: Tensor, loss: Loss | None = None) -> Tensor:
        """The gradient (n, C, H, W) of the goal's loss, or of a loss (n,) of the logits (n, K)."""
        return self._differentiated(images, loss or self.goal.loss, None)[0]

    def evaluate(
        self, images: Tensor, loss: Loss, precision: str | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A loss (n,) of the logits, its gradient (n, C, H, W), and whether the goal is reached (n,).

        With precision "exact" never in bf16, whose rounding is larger than the differences that a
        line search compares.
        """
        gradient, views, reached = self._differentiated(images, loss, precision)
        return torch.stack([loss(logits) for logits in views]).mean(0), gradient, reached

    def _differentiated(
        self, images: Tensor, loss: Loss, precision: str | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """The gradient of a loss, the logits (n, K) of each view, and whether all views reach the goal.

        Without EOT the image itself is the one view. Where a surrogate lends gradient and logits, the network
        under attack says whether the image itself reaches the goal. Where there is no answer, there is no
        slope: away from a label that is an end, and the way that led there goes on, so that rounding does not
        take it back; towards a class it is walked back.
        """
        eot, samples = self.eot, 1 if self.eot is None else self.eot.samples

        def split(logits: Tensor) -> tuple[Tensor, ...]:
            return logits.view(len(images), samples, -1).unbind(1)

        def mean(logits: Tensor) -> Tensor:
            return torch.stack([loss(view) for view in split(logits)]).mean(0)

        transform = None
        if eot is not None:
            # The count of forwards so far: every gradient of an image has views of its own.
            spent = self.access.forwards[self.rows].tolist()
            generators = [keyed(self.seed, key, 1, s) for key, s in zip(self.keys, spent, strict=True)]
            transform = partial(eot.apply, generators=generators)

        judged = self._beside_surrogate(images, precision)

        def arrived(logits: Tensor) -> Tensor:
            if judged is not None:
                return self.goal.reached(judged)
            return torch.stack([self.goal.reached(view) for view in split(logits)]).all(0)

        gradient, logits = self.access.gradient(images, self.rows, mean, precision, transform, arrived)
        views, reached = split(logits), arrived(logits)
        self.propose(images, reached)
        answer = torch.stack([answered(view) for view in views]).any(0)
        if not answer.all():
            way = (images - self.originals) * (-1 if self.goal.kind == "untargeted" else 1)
            gradient = where(answer, gradient, way)
        return gradient, views, reached

    def logit_jacobian(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients (n, k - 1, C, H, W) of the logits of `classes` (n, k) less the first's, and two logits.

        Those (n, K) that the gradients are of, and those of the network under attack: where a surrogate lends
        gradients, they are others.
        """
        judged = self._beside_surrogate(images, "exact")

        def arrived(logits: Tensor) -> Tensor:
            return self.goal.reached(logits if judged is None else judged)

        gradients, logits = self.access.logit_jacobian(images, self.rows, classes, arrived)
        self.propose(images, arrived(logits))
        return gradients, logits, logits if judged is None else judged

    def _beside_surrogate(self, images: Tensor, precision: str | None) -> Tensor | None:
        """The logits (n, K) of the network under attack where a surrogate lends gradients; else None."""
        if self.access.classifier.surrogate is None:
            return None
        return self.access.logits(images, self.rows, precision)

    def logits(self, images: Tensor, precision: str | None = None) -> Tensor:
        """The logits (n, K) of `images`."""
        logits = self.access.logits(images, self.rows, precision)
        if self.by_scores:
            self.access.note_scores(self.goal, logits, self.rows)
        self.propose(images, self.goal.reached(logits))
        return logits

    def reached(self, images: Tensor) -> Tensor:
        """Whether `images` reach the goal, (n,): all that a decision-based attack may know."""
        reached = self.goal.reached(self.access.logits(images, self.rows, "exact"))
        self.propose(images, reached)
        return reached

    def reached_photographed(self, images: Tensor, slack: float = 0) -> Tensor:
        """Whether what is photographed of `images` reaches the goal in the plain network, (n,)."""
        assert self.photographed is not None
        if not len(images):
            return torch.zeros_like(self.rows, dtype=torch.bool)
        photographs = self.photographed(images, self.keys, self.seed)
        return self.goal.reached(self.access.reference_logits(photographs, self.rows), slack)

    def shared_logits(self, images: Tensor) -> Tensor:
        """The logits (m, K) of images that belong to no image of the batch but serve them all.

        Their forwards are shared out evenly: each is charged to an image that has paid least.
        """
        poorest = self.access.forwards[self.rows].argsort(stable=True)
        turns = torch.arange(len(images), device=poorest.device) % len(poorest)
        return self.access.logits(images, self.rows[poorest[turns]], "exact")

    @property
    def left(self) -> Tensor:
        """How many forwards the attack may still spend on each image, int64 (n,)."""
        if self.queries is None:
            return torch.full_like(self.rows, 2**62)
        kept = self.access.verification + self.reserve
        return (self.queries - kept - self.access.forwards[self.rows]).clamp_min(0)

    def affords(self, verifications: int) -> Tensor:
        """Whether so many verifications are within what each image may cost, (n,) bool."""
        if self.queries is None:
            return torch.ones_like(self.rows, dtype=torch.bool)
        return self.access.forwards[self.rows] + verifications * self.access.verification <= self.queries

    def ask(self, images: Tensor, owners: Tensor) -> Tensor:
        """Whether `images` (m, C, H, W) reach the goals of the images with places `owners` (m,)."""
        logits = self.access.logits(images, self.rows[owners], "exact")
        reached = self.goal.rows(owners).reached(logits)
        self.propose(images, reached, owners)
        return reached

    def propose(self, images: Tensor, reached: Tensor, owners: Tensor | None = None) -> None:
        """Show the engine `images` that the quick network takes for a success where `reached`.

        They are one for each image or copy, or have `owners` (m,); of several the nearest counts.
        """
        if not reached.any():
            return
        if owners is None and self.copies == 1:
            self.proposals.add(images, reached)
            return
        if owners is None:
            owners = torch.arange(len(images), device=images.device)
        image = owners // self.copies
        count = len(self.rows) // self.copies
        distance = images.new_full((len(images),), torch.inf)
        distance[reached] = self.threat.distance(images[reached], self.originals[owners[reached]])
        least = distance.new_full((count,), torch.inf).scatter_reduce_(0, image, distance, "amin")
        index = torch.arange(len(images), device=images.device)
        first = torch.where(distance == least[image], index, len(images))
        nearest = torch.full_like(self.rows[:count], len(images)).scatter_reduce_(0, image, first, "amin")
        asked = nearest < len(images)  # an image without owners has none
        shown = self.originals[:: self.copies].clone()
        shown[asked] = images[nearest[asked]]
        self.proposals.add(shown, asked & (least < torch.inf))

    def draw(self, kind: str, step: int | Tensor = 0, shape: tuple[int, ...] | None = None) -> Tensor:
        """Random numbers (n, *shape), "uniform" or "normal", keyed by (seed, image, step).

        `step` is one number or (n,). Without `shape`, there is one for each value of the images.
        """
        like, shape = self.originals, shape or tuple(self.originals.shape[1:])
        make = torch.rand if kind == "uniform" else torch.randn
        steps = step.tolist() if isinstance(step, Tensor) else [step] * len(self.keys)
        generator = torch.Generator()  # one for all: most of its cost is to be made
        seeds = [seed_of(self.seed, key, at) for key, at in zip(self.keys, steps, strict=True)]
        numbers = [make(shape, generator=generator.manual_seed(s), dtype=torch.float64) for s in seeds]
        return torch.stack(numbers).to(like) if numbers else like.new_empty(0, *shape)

    def numbers(self, steps: Tensor, count: int) -> Tensor:
        """Uniform random numbers (m, count) float64 in [0, 1), keyed by (seed, image, step).

        As `draw` in kind, for few numbers at many `steps` int64 (m,): m / n of each image in a row.
        """
        seeds = self._seeds.repeat(len(steps) // max(1, len(self.keys)))
        return torch.from_numpy(counted(seeds, steps.cpu().numpy(), count)).to(self.originals.device)

    @cached_property
    def _seeds(self) -> NDArray[np.uint64]:
        """A seed for each image, (n,)."""
        return np.array([seed_of(self.seed, key) for key in self.keys], np.uint64)

    def repeated(self, copies: int) -> Problem:
        """The same problem with each image `copies` times in a row, (n * copies, C, H, W).

        Each copy has its own random numbers, the first those of the image.
        """
        assert self.copies == 1, "copies of copies"
        if copies not in self._repeated:
            self._repeated[copies] = self._with_copies(copies)
        return self._repeated[copies]

    @cached_property
    def _repeated(self) -> dict[int, Problem]:
        """What `repeated` has made: the steps of an attack ask for the same again."""
        return {}

    def _with_copies(self, copies: int) -> Problem:
        if copies == 1:
            return replace(self, keys=tuple(key % 2**63 for key in self.keys))
        rows = torch.arange(len(self.rows), device=self.rows.device).repeat_interleave(copies)
        return replace(
            self,
            originals=self.originals[rows],
            goal=self.goal.rows(rows),
            rows=self.rows[rows],
            clean=self.clean[rows],
            keys=tuple((key ^ (copy * GOLDEN)) % 2**63 for key in self.keys for copy in range(copies)),
            copies=copies,
        )

    def keep(self, mask: Tensor) -> Problem:
        """The same problem without the images where `mask` is false."""
        kept = mask.nonzero()[:, 0].tolist()
        return replace(
            self,
            originals=self.originals[mask],
            goal=self.goal.rows(mask),
            rows=self.rows[mask],
            clean=self.clean[mask],
            keys=tuple(self.keys[i] for i in kept),
            proposals=Proposals(),
        )


def _fast_network(classifier: Classifier, example: Tensor) -> tuple[Network, int]:
    """A faster network with the same function, and the forwards that its proof cost."""
    network = classifier.network
    if not isinstance(network, nn.Module) or classifier.quantised or classifier.way_back is not None:
        return network, 0
    return faster(network, classifier.normalised(example), partial(classifier.answers, before_softmax=True))


def _at_once(images: Tensor) -> int:
    """How many images are one forward."""
    return max(1, VALUES_PER_FORWARD // max(1, images[:1].numel()))


def _count(counts: Tensor, rows: Tensor, each: int = 1) -> None:
    """Add `each` for every row, a row as often as it occurs."""
    counts.index_add_(0, rows, torch.full_like(rows, each))


def _slope(loss: Tensor, inputs: Tensor) -> Tensor:
    """The gradient of the summed loss (n,); zero where the network cuts the graph."""
    gradient = None
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss.sum(), inputs, allow_unused=True)
    return torch.zeros_like(inputs) if gradient is None else gradient


def _size(gradient: Tensor) -> Tensor:
    """The sum of a gradient's (n, ...) absolute values, (n,)."""
    return gradient.abs().flatten(1).sum(1)


def _is_useless(size: Tensor) -> Tensor:
    """Whether gradients of that `size` (n,) are zero or not finite, (n,)."""
    return (size == 0) | ~size.isfinite()


def _finite(gradient: Tensor, size: Tensor) -> Tensor:
    """The gradient (n, ...) of that `size` (n,) with zero in the place of what is not finite."""
    return gradient if size.isfinite().all() else torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)

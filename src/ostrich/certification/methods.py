"""The methods of `ostrich certify` and their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from ostrich.certification import intervals, linear
from ostrich.certification.balls import Ball
from ostrich.certification.graph import graph_of
from ostrich.certification.nodes import Graph
from ostrich.certification.smoothing import ABSTAINED, smoothed
from ostrich.errors import InputError, UnknownName
from ostrich.models import Classifier
from ostrich.runtime.ranges import above, at_least, check_fields

ROUNDING = (
    1e-5  # by which a margin must be clear of zero, relative to the logits: bounds are computed in fp32
)


@dataclass(frozen=True)
class Verdict:
    """What is known of one image: whether its label holds, and a margin or a radius where there is one."""

    verdict: Literal["verified", "not verified", "abstained"]
    margin: float | None = None  # least lead of the label in logits within the budget
    radius: float | None = None  # within which it holds; its own where the method finds one


@dataclass(frozen=True, kw_only=True)
class _Bounded:
    """A bound on the label's lead in logits, within a budget of images in [0, 1]."""

    name: ClassVar[str]
    norm: Literal["linf", "l2"] = "linf"
    eps: Annotated[float, at_least(0)] = 2 / 255

    def __post_init__(self) -> None:
        check_fields(self, self.name)

    def prepared(self, classifier: Classifier, shape: tuple[int, ...]) -> Graph:
        """What the method knows of a network. Raises InputError where it cannot be bounded."""
        return graph_of(classifier, shape)

    def verify(self, graph: Any, image: Tensor, label: int, key: int, seed: int) -> Verdict:
        """Whether the label holds within the budget of one image (C, H, W)."""
        image = image.to(graph.dtype)
        ball = Ball(image=image, eps=self.eps, norm=self.norm)
        with torch.no_grad():
            size = graph.forward(image[None])[-1].abs().max().clamp_min(1.0)
            margin = float((self.margins(graph, ball, label) / size).min())
            margin = margin if margin == margin else -float("inf")  # no number, nothing verified
        holds = margin > ROUNDING
        return Verdict(
            "verified" if holds else "not verified", margin * float(size), self.eps if holds else None
        )

    def margins(self, graph: Graph, ball: Ball, label: int) -> Tensor:
        """Lower bounds (K - 1,) of the label's lead."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Intervals(_Bounded):
    """Interval bounds, layer after layer: fast and wide.

    Gowal et al. 2018, "On the effectiveness of interval bound propagation for training verifiably robust
    models", section 3.

    norm  "linf" or "l2"; for L2 the box around the ball counts
    eps   the budget, of values in [0, 1]
    """

    name: ClassVar[str] = "intervals"

    def margins(self, graph: Graph, ball: Ball, label: int) -> Tensor:
        return intervals.margins(graph, ball, label)


@dataclass(frozen=True, kw_only=True)
class Linear(_Bounded):
    """Linear bounds backward through the network (CROWN), with slopes that are optimised (alpha-CROWN).

    Zhang et al. 2018, "Efficient neural network robustness certification with general activation functions";
    Xu et al. 2021, "Fast and complete".

    norm         "linf" or "l2"
    eps          the budget, of values in [0, 1]
    steps        steps on the slopes of the last walk; 0: CROWN
    inner_steps  steps on the slopes of the walks to each rectifier; dear, for large networks most of all
    """

    name: ClassVar[str] = "linear"
    steps: Annotated[int, at_least(0)] = 20
    inner_steps: Annotated[int, at_least(0)] = 0

    def margins(self, graph: Graph, ball: Ball, label: int) -> Tensor:
        return linear.margins(graph, ball, label, steps=self.steps, inner_steps=self.inner_steps)


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """Randomised smoothing: of any network, about its smoothed form, within an L2 radius.

    Cohen, Rosenfeld, Kolter 2019, "Certified adversarial robustness via randomized smoothing".

    eps     the L2 budget at which the certified accuracy is told; each image has its own radius
    sigma   deviation of the noise, of values in [0, 1]
    draws   noisy copies on which the class is tried
    select  noisy copies by which it is chosen
    alpha   probability that a statement about an image is wrong
    """

    name: ClassVar[str] = "smoothing"
    norm: ClassVar[str] = "l2"
    eps: Annotated[float, at_least(0)] = 0.25
    sigma: Annotated[float, above(0)] = 0.25
    draws: Annotated[int, at_least(1)] = 1000
    select: Annotated[int, at_least(1)] = 100
    alpha: Annotated[float, above(0, below=1)] = 0.001

    def __post_init__(self) -> None:
        check_fields(self, self.name)

    def prepared(self, classifier: Classifier, shape: tuple[int, ...]) -> Classifier:
        """Nothing but the network itself. Raises InputError where its answers depend on their neighbours."""
        classifier.examine()
        if classifier.neighbours is not None:
            raise InputError(f"{classifier.name} cannot be smoothed: {classifier.neighbours}.")
        return classifier

    def verify(self, classifier: Any, image: Tensor, label: int, key: int, seed: int) -> Verdict:
        """Whether the smoothed network says the label within the budget of one image (C, H, W)."""
        found, radius = smoothed(
            classifier,
            image,
            key,
            sigma=self.sigma,
            draws=self.draws,
            select=self.select,
            alpha=self.alpha,
            seed=seed,
        )
        if found == ABSTAINED:
            return Verdict("abstained")
        if found != label:
            return Verdict("not verified")
        return Verdict("verified" if radius > self.eps else "not verified", radius=radius)


Method = Intervals | Linear | Smoothing
METHODS: dict[str, type[Method]] = {kind.name: kind for kind in (Linear, Intervals, Smoothing)}


def find(name: str) -> type[Method]:
    """The method of that name. Raises UnknownName."""
    if name not in METHODS:
        raise UnknownName("method of certification", name, METHODS)
    return METHODS[name]

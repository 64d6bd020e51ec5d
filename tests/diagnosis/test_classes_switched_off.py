"""A score of minus infinity is a class that is switched off, not a broken answer."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import ostrich
from ostrich.attacks import PGD, Untargeted, attack
from ostrich.attacks.threats import Linf
from ostrich.diagnosis import outputs
from ostrich.diagnosis.model_under_test import ModelUnderTest
from ostrich.models import Classifier


class Masked(nn.Module):
    """The means of three channels, and two classes that are switched off."""

    def forward(self, x: Tensor) -> Tensor:
        scores = 20 * x.mean((2, 3))
        return torch.cat([scores, torch.full_like(scores[:, :2], -torch.inf)], 1)


def test_classes_that_are_switched_off_are_no_fault():
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model = ModelUnderTest(classifier=Classifier(Masked(), size=(8, 8), channels=3), images=images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for check in (
            outputs.finite,
            outputs.stochastic,
            outputs.batch_dependent,
            outputs.constant,
            outputs.probabilities,
        ):
            assert [finding.code for finding in check(model)] == []
    assert len(model.images) == 20


class Lying(torch.autograd.Function):
    """The image as it is, with a gradient of the other sign."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class Constant(Lying):
    """A cube whose gradient is that of a line."""

    @staticmethod
    def forward(context, x):
        return x**3

    @staticmethod
    def backward(context, gradient):
        return gradient


class Around(nn.Module):
    """Twenty times the means of three channels; `after` is done to them, `before` to the image."""

    def __init__(self, after, before=lambda x: x) -> None:
        super().__init__()
        self.after, self.before = after, before

    def forward(self, x: Tensor) -> Tensor:
        return self.after(20 * self.before(x).mean((2, 3)))


def with_two(number: float, *, first: bool = False):
    """Two more classes that have this score."""

    def after(z: Tensor) -> Tensor:
        off = torch.full_like(z[:, :2], number)
        return torch.cat([off, z] if first else [z, off], 1)

    return after


def losers_at(number: float):
    return lambda z: torch.where(z == z.amax(1, keepdim=True), z, torch.full_like(z, number))


def images() -> tuple[Tensor, Tensor]:
    """Eighteen grainy images whose strongest channel leads by 8 to 25 levels, and that channel."""
    draw = torch.Generator().manual_seed(2)
    labels = torch.arange(18) % 3
    found = 100 + 20 * torch.rand(18, 1, 8, 8, generator=draw).expand(-1, 3, -1, -1).clone()
    for row in range(18):
        found[row, labels[row]] += 8 + row
        found[row, (labels[row] + 1) % 3] -= 6
    return found.round() / 255, labels


LEAST = torch.finfo(torch.float32).min
MASKS = [-torch.inf, -1e4, -65504.0, -1e9, LEAST]


@pytest.mark.parametrize("number", [-torch.inf, -1e4, LEAST])
@pytest.mark.parametrize(
    ("before", "found"),
    [
        (lambda x: x, set()),
        (Lying.apply, {"masked-gradient"}),
        (Constant.apply, {"constant-gradient"}),
        (lambda x: x.detach(), {"zero-gradient"}),
        (lambda x: (15 * x).round() / 15, {"quantized-input", "zero-gradient"}),
    ],
)
def test_the_doctor_finds_beside_a_mask_what_it_finds_without(number, before, found):
    plain, masked = (
        ostrich.doctor(ostrich.load(Around(after, before).eval(), size=8), images()).figures["findings"]
        for after in (lambda z: z, with_two(number))
    )
    assert {one["code"] for one in masked} == {one["code"] for one in plain}
    assert {one["code"] for one in plain} >= found
    assert found or not plain


@pytest.mark.parametrize("number", MASKS)
def test_a_score_that_stands_alone_leads_nowhere(number):
    result = ostrich.doctor(ostrich.load(Around(losers_at(number)).eval(), size=8), images())
    assert {one["code"] for one in result.figures["findings"]} >= {"other-classes-off"}
    x, labels = images()
    found = ostrich.attack(
        "pgd", ostrich.load(Around(losers_at(number)).eval(), size=8), x, labels, eps=1 / 255
    )
    assert (found.figures["bound"], found.figures["zero_gradient"]) == (None, 18)


@pytest.mark.parametrize("number", MASKS)
@pytest.mark.parametrize("first", [False, True])  # of the classes
def test_a_mask_in_numbers_hides_no_success(number, first):
    """Within 6 levels fall those that lead by less than 12."""
    x, labels = images()
    lead = 255 * (x.mean((2, 3)).topk(2, 1).values.diff(dim=1)[:, 0].abs())
    expected = (lead < 12).tolist()
    assert 0 < sum(expected) < 18
    network = ostrich.load(Around(with_two(number, first=first)).eval(), size=8)
    goal = Untargeted(labels + 2 * first)
    for method in (PGD(threat=Linf(6 / 255)), ostrich.attacks.Square(threat=Linf(6 / 255), queries=600)):
        assert attack(method, network, x, goal).success.tolist() == expected


def test_far_scores_of_a_saturated_network_are_no_mask():
    x, labels = images()
    network = ostrich.load(Around(lambda z: (1e4 * z).log_softmax(1)).eval(), size=8)
    assert (network.predict(x) < -9999).any()
    result = attack(PGD(threat=Linf(2 / 255)), network, x, Untargeted(labels))
    assert not result.success.any()
    assert not result.zero_gradient.any()


@pytest.mark.parametrize("attacker", ["square", "rays"])
def test_an_exact_tie_is_what_the_network_answers(attacker):
    """Clamped at zero, scores tie: the first of them is the answer, and the image is not right any more."""
    x, labels = images()
    hinge = ostrich.load(Around(lambda z: (z - z.mean(1, keepdim=True)).clamp(max=0)).eval(), size=8)
    right = hinge.predict(x).argmax(1) == labels
    assert right.any()
    found = ostrich.attack(attacker, hinge, x, labels, eps=16 / 255, queries=600)
    standing = right & ~found.success
    assert (hinge.predict(found.images)[standing].argmax(1) == labels[standing]).all()
    assert found.success.sum() > 6

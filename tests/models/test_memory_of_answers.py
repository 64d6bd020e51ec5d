"""Networks that write into what they are given, or give the same memory for every answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import ostrich
from ostrich.attacks import PGD, Untargeted


class Means(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 20 * x.mean((2, 3))


class InPlace(Means):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2).sub_(1))


class OneBuffer(Means):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = torch.zeros(64, 3)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        self.buffer[: len(x)] = super().forward(x)
        return self.buffer[: len(x)]


def images() -> Tensor:
    x = torch.full((6, 3, 8, 8), 0.4)
    x[torch.arange(6), torch.arange(6) % 3] = 0.44
    return (x * 255).round() / 255


def test_a_network_that_writes_into_its_input_leaves_the_images_and_is_as_robust_as_without():
    x, labels = images(), torch.arange(6) % 3
    classifier = ostrich.load(InPlace(), size=8)
    assert torch.equal(classifier.predict(x).argmax(1), labels)
    found = ostrich.attack(PGD(eps=8 / 255), classifier, x, Untargeted(labels), labels=labels)
    assert torch.equal(x, images())
    assert torch.equal(found.originals, images())
    assert found.success.all()


def test_an_answer_is_not_overwritten_by_the_next():
    x = images()
    classifier = ostrich.load(OneBuffer(), size=8)
    assert classifier.one_at_a_time is None
    first = classifier(x)
    classifier(x.flip(0))
    assert torch.equal(first, Means()(x))

"""Networks whose answers move nothing that an attack follows, or hide a margin behind an offset."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.attacks import PGD, Untargeted, attack
from ostrich.attacks.engine.figures import measured
from ostrich.attacks.threats import Linf
from ostrich.errors import InputError
from ostrich.models import Classifier


class Reversed(torch.autograd.Function):
    """One-hot, with a backward that leads the wrong way."""

    @staticmethod
    def forward(context, scores):
        return F.one_hot(scores.argmax(1), 3).float()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class Means(nn.Module):
    """Twenty times the mean of each channel, then `after`."""

    def __init__(self, after, before=lambda x: x) -> None:
        super().__init__()
        self.after, self.before = after, before

    def forward(self, x: Tensor) -> Tensor:
        return self.after(20 * self.before(x).mean((2, 3)))


def attacked(after, before=lambda x: x, eps=16 / 255):
    images = torch.full((4, 3, 8, 8), 0.5)
    images[:, 0] = 0.54
    images = (images * 255).round() / 255
    classifier = Classifier(Means(after, before).eval(), size=(8, 8), channels=3)
    goal = Untargeted(torch.zeros(4, dtype=torch.int64))
    return attack(PGD(threat=Linf(eps), steps=5), classifier, images, goal)


@pytest.mark.parametrize(
    "after",
    [lambda z: torch.where(z == z.amax(1, keepdim=True), z, -torch.inf), Reversed.apply],
    ids=["losers switched off", "one-hot with a wrong gradient"],
)
def test_what_stands_because_scores_show_no_way_is_not_known(after):
    result = attacked(after, eps=2 / 255)
    assert not result.success.any()
    assert measured("pgd", result)["bound"] is None


def test_an_offset_of_all_logits_hides_no_success():
    assert attacked(lambda z: z + 1e6).success.all()


def test_a_network_that_calls_numpy_is_attacked_in_its_own_type(monkeypatch):
    monkeypatch.setattr("ostrich.models.fastpath.gains_by_bf16", lambda _: True)
    result = attacked(
        lambda z: (z @ torch.eye(3)) + 0 * torch.from_numpy((z @ torch.eye(3)).detach().numpy())
    )
    assert result.success.all()


def test_a_network_that_takes_two_images_is_asked_about_two():
    def few(x):
        if len(x) > 2:
            raise RuntimeError("out of memory")
        return x

    assert attacked(lambda z: z, few).success.all()


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_a_reentrant_checkpoint_is_refused_with_the_way_out():
    from torch.utils.checkpoint import checkpoint

    with pytest.raises(InputError, match="use_reentrant=False"):
        attacked(lambda z: z, lambda x: checkpoint(lambda y: y * 1, x, use_reentrant=True))

"""Occlusion of a linear network in closed form, in float64."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from torch import nn

import ostrich
from ostrich.attribution import Occlusion, explain, occlusion
from ostrich.errors import InputError
from ostrich.models.fastpath import faster

SIZE = (5, 7)
X = nets.random_images(2, SIZE, dtype=torch.float64)
W = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LINEAR = nets.linear(W.flatten(1), SIZE, 3)
BOTH = ["class:0", "class:1"]


def occluded(x: np.ndarray, w: np.ndarray, window: int, stride: int, fill: float) -> np.ndarray:
    """For a linear unit: each window loses sum(w * (x - fill)) over itself; a pixel gets the mean."""
    height, width = x.shape[1:]
    lost, count = np.zeros((height, width)), np.zeros((height, width))
    top = 0
    while True:
        left = 0
        while True:
            box = np.s_[top : top + window, left : left + window]
            lost[box] += (w * (x - fill))[:, box[0], box[1]].sum()
            count[box] += 1
            if left + window >= width:
                break
            left += stride
        if top + window >= height:
            break
        top += stride
    return lost / count


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (2, 1), (3, 2), (3, 3), (5, 4), (2, 2)])
@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_occlusion_of_a_linear_network(window, stride, fill):
    found = explain(Occlusion(window=window, stride=stride, fill=fill), LINEAR, X, BOTH)
    for n in range(2):
        for u in range(2):
            expected = occluded(X[n].numpy(), W[u].numpy(), window, stride, fill)
            for channel in found[n, u]:
                assert np.allclose(channel, expected, atol=1e-12)


def test_a_window_without_an_answer_counts_for_nothing():
    class Choosy(nn.Module):
        """Linear, but for what is covered at the top left."""

        def __init__(self):
            super().__init__()
            self.linear = LINEAR.network

        def forward(self, x):
            return self.linear(x).masked_fill((x[:, :, :2, :2] == 0.5).all((1, 2, 3))[:, None], torch.nan)

    model = ostrich.Classifier(Choosy(), size=SIZE, channels=3)
    for window, stride, unknown in ((2, 2, (slice(2), slice(2))), (2, 1, (slice(1), slice(1)))):
        found = explain(Occlusion(window=window, stride=stride), model, X, BOTH)
        lost = torch.zeros(SIZE, dtype=torch.bool)
        lost[unknown] = True  # where no other window lies
        assert torch.equal(found.isnan(), lost.expand_as(found))
        whole = explain(Occlusion(window=window, stride=stride), LINEAR, X, BOTH)
        assert torch.allclose(found[..., window:, window:], whole[..., window:, window:], atol=1e-12)


def test_a_folded_copy_gives_the_same_maps(monkeypatch):
    model, images = nets.small(), nets.random_images(3)
    made = []
    monkeypatch.setattr(occlusion, "faster", lambda *about: made.append(faster(*about)) or made[-1])
    quick = explain(Occlusion(), model, images, BOTH)  # 3 * 225 windows
    assert len(made) == 1
    assert made[0][0] is not model.network
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made[0][0].modules())
    exact = explain(Occlusion(fold=False), nets.small(dtype=torch.float64), images.double(), BOTH)
    plain = explain(Occlusion(fold=False), model, images, BOTH)
    assert len(made) == 1
    rounding = (plain - exact).abs().max()
    assert (quick - exact).abs().max() < 10 * rounding
    explain(Occlusion(), model, images, ["layer2.0.conv1:3"])  # its layers are the network's own
    assert len(made) == 1
    wrong = (lambda images: model.network(images) * 1.0001), 1
    monkeypatch.setattr(occlusion, "faster", lambda *about: wrong)
    assert torch.equal(explain(Occlusion(), model, images, BOTH), plain)


def test_occlusion_has_sizes_for_every_image():
    assert Occlusion().sizes(224, 224) == (28, 14)
    assert Occlusion().sizes(64, 96) == (8, 4)
    assert Occlusion().sizes(5, 5) == (1, 1)
    for wrong in ({"window": 6}, {"window": 2, "stride": 3}, {"stride": 6}):
        for method in (Occlusion(**wrong), Occlusion(**wrong).brief()):
            with pytest.raises(InputError, match="at most"):
                explain(method, LINEAR, X, BOTH)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"stride": 0}, {"fill": -1.0}, {"fill": 1.1}])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(InputError):
        Occlusion(**wrong)

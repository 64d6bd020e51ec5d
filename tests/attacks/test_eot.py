"""Expectation over transformation: each view against something that knows it, and the mean gradient."""

from __future__ import annotations

import nets
import pytest
import torch

import ostrich
from ostrich.attacks import EOT, PGD, Linf, Untargeted
from ostrich.attacks.engine.settings import configure_eot
from ostrich.attacks.eot import blurred, jpeg
from ostrich.runtime.randomness import keyed
from ostrich.warping import warp

NOTHING = {"rotation": 0.0, "scale": 0.0, "translation": 0.0, "brightness": 0.0}


def image(height: int = 8, width: int = 8) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_no_transformation_is_the_image_itself():
    found = EOT(samples=3, **NOTHING).apply(image(), [keyed(1)])
    assert torch.equal(found, image().expand(3, -1, -1, -1))


@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
def test_the_identity_leaves_an_image_as_it_is(size):
    x = image(*size)
    assert torch.allclose(warp(x, torch.eye(3, dtype=x.dtype)[None]), x, atol=1e-12)


def test_a_quarter_turn_is_a_quarter_turn():
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
    assert torch.allclose(warp(image(), quarter), image().rot90(1, (2, 3)), atol=1e-12)


def test_a_shift_by_whole_pixels_moves_them():
    matrix = torch.eye(3, dtype=torch.float64)[None].clone()
    matrix[0, 0, 2] = 2 * 2 / 8  # two of eight pixels; a side is 2 long
    moved = warp(image(), matrix)
    assert torch.allclose(moved[..., :-2], image()[..., 2:], atol=1e-12)
    assert torch.allclose(moved[..., -1], image()[..., -1], atol=1e-12)  # the border is repeated


def test_a_blur_keeps_the_mean_of_a_flat_image_and_spreads_a_point():
    flat = torch.full((2, 3, 9, 9), 0.3, dtype=torch.float64)
    assert torch.allclose(blurred(flat, torch.tensor([0.5, 2.0]), 2.0), flat)
    point = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    point[0, 0, 10, 10] = 1
    spread = blurred(point, torch.tensor([1.5]), 1.5)[0, 0]
    places = (torch.arange(21) - 10).double()
    assert abs(float(spread.sum()) - 1) < 1e-9
    assert abs(float((spread.sum(0) * places**2).sum()) ** 0.5 - 1.5) < 0.05


def test_jpeg_is_pillows_and_passes_the_gradient_straight_through():
    x = image(16, 16).float().requires_grad_(True)
    views = EOT(samples=1, jpeg=50, **NOTHING).apply(x, [keyed(3)])
    (gradient,) = torch.autograd.grad((views * torch.arange(16.0)).sum(), x)
    assert torch.allclose(gradient, torch.arange(16.0).expand_as(gradient))
    assert (views - x).abs().max() > 1 / 255
    assert jpeg(image()[:, :1].float(), [60]).shape == (1, 1, 8, 8)


def test_a_view_passes_the_gradient_of_white_and_black_pixels():
    x = image().round().requires_grad_(True)
    views = EOT(samples=2, **NOTHING).apply(x, [keyed(3)])
    assert torch.autograd.grad(views.sum(), x)[0].eq(2).all()


def test_the_gradient_is_that_of_the_mean_over_the_views():
    model = nets.small(dtype=torch.float64)
    images = nets.random_images(2, dtype=torch.float64)
    goal = Untargeted(nets.predictions(model, images))
    eot = EOT(samples=4, noise=0.02)
    method = PGD(threat=Linf(8 / 255), steps=1, step_size=1 / 255, random_start=False, stop="budget")
    result = ostrich.attacks.attack(method, model, images, goal, eot=eot, seed=5)
    total = torch.zeros_like(images)
    for i, key in enumerate(ostrich.images.fingerprints(images)):
        x = images[i : i + 1].clone().requires_grad_(True)
        views = eot.apply(x, [keyed(5, key, 1, 1)])  # one forward was spent: the clean one
        loss = goal.rows(torch.full((4,), i)).loss(model(views)).mean()
        total[i] = torch.autograd.grad(loss, x)[0][0]
    expected = Linf(8 / 255).project(images - total.sign() / 255, images)
    assert torch.allclose(result.float_images, expected, atol=1e-12)
    assert result.backwards.tolist() == [4, 4]


def test_what_is_found_under_views_survives_them_better():
    images, labels = ostrich.data.toybox("test", limit=16)
    model = ostrich.load("zoo:toybox-plain14")
    eot = EOT(samples=6)
    method = PGD(threat=Linf(6 / 255), steps=10, stop="budget")
    survived = []
    for views in (None, eot):
        result = ostrich.attacks.attack(method, model, images, Untargeted(labels), labels=labels, eot=views)
        rows = result.success.nonzero()[:, 0]
        shown = EOT(samples=20).apply(result.images[rows], [keyed(9, int(i)) for i in rows])
        wrong = nets.predictions(model, shown) != labels[rows].repeat_interleave(20)
        survived.append(wrong.double().mean())
    assert survived[1] > survived[0]


def test_settings_of_eot_are_refused_or_honoured():
    eot, others = configure_eot({"eot": "7", "eot.rotation": "30", "steps": "3"})
    assert eot == EOT(samples=7, rotation=30)
    assert others == {"steps": "3"}
    assert configure_eot({"steps": "3"}) == (None, {"steps": "3"})
    for wrong in ({"eot.rotatoin": "3"}, {"eot": "0"}, {"eot.jpeg": "200"}, {"eot.noise": "-1"}):
        with pytest.raises(ostrich.InputError):
            configure_eot(wrong)
    model, images = nets.small(), nets.random_images(2)
    for name in ("deepfool", "square"):
        method = ostrich.attacks.ATTACKS[name]()
        with pytest.raises(ostrich.InputError, match="EOT"):
            ostrich.attacks.attack(method, model, images, Untargeted(torch.tensor([0, 1])), eot=EOT())

"""A generator as prior: its code is climbed with, and nothing else about the ascent changes."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from linear_generator import generator

import ostrich
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.generative.generator import Generator
from ostrich.verbs.visualize import as_ascent
from ostrich.visualization import Prior, ascend, describe, with_prior
from ostrich.visualization.optimisers import Normalised
from ostrich.visualization.parametrisations import Canvas
from ostrich.visualization.regularisers import Regularisers


def test_a_step_is_that_of_theirs_which_normalises_twice():
    """Theirs: x + r g/mean|g| at the image, then c + r h/mean|h| at the code, h by the way of that change."""
    drawn = generator()
    weights = torch.randn(3, 3 * 4 * 4, generator=torch.Generator().manual_seed(1)).double()
    model = nets.linear(weights, (4, 4), 3)
    codes = torch.rand(2, 5, generator=torch.Generator().manual_seed(2)).double() - 0.5
    rate, decay, total = 0.07, 0.01, 3
    settings = with_prior(Prior.of(drawn, Canvas.of(model)))
    matrix = drawn.network.matrix.numpy()

    c = codes.numpy().copy()
    for step in range(total):
        r = rate * (1 - step / total)
        g = np.broadcast_to(weights.numpy()[1], (2, 48)) / 2  # images are (x + 1) / 2
        change = r * g / np.abs(g).mean(1, keepdims=True)
        h = change @ matrix
        c = (1 - decay) * (c + r * h / np.abs(h).mean(1, keepdims=True))
        c = c.clip(-1, 1)

    optimiser, regularisers = Normalised(step_size=rate, falls=total), Regularisers(decay=decay)
    drawing, canvas, ours = settings.parametrisation, Canvas.of(model), codes
    for step in range(total):
        leaf = ours.clone().requires_grad_(True)
        value = model(drawing.images(canvas, leaf))[:, 1].sum()
        (slope,) = torch.autograd.grad(value, leaf)
        ours, _ = optimiser.step(ours, slope, (), step)
        ours = drawing.project(regularisers.apply(ours, slope, drawing.nothing(canvas), step))
    assert np.abs(ours.numpy() - c).max() < 1e-10


def test_an_image_under_a_prior_is_one_the_generator_draws():
    drawn, model = generator(kind="normal", dtype=torch.float32), nets.small(size=(16, 16))
    settings = with_prior(Prior.of(drawn, Canvas.of(model)))
    assert settings.parametrisation.project(torch.full((1, 5), 9.0)).max() == 3
    found = ascend(model, ["class:1", "class:3"], settings, seeds=2)
    assert found.images.shape == (4, 3, 16, 16)
    assert not found.dead.any()
    alone = ascend(model, ["class:3"], settings, seed=1)
    assert torch.allclose(found.images[3], alone.images[0], atol=1e-5)
    assert (found.trace[-1] > found.trace[0]).all()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"shape": (2, 4, 4)}, "takes 3 channels"),
        ({"shape": (3, 4, 8)}, "4x8 pixels"),
        ({"class_names": ("a", "b")}, "is no prior"),
        ({"shape": (3, 2, 8, 8)}, "makes clips"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused(given, told):
    with pytest.raises(InputError, match=told):
        Prior.of(generator(**given), Canvas.of(nets.small()))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--prior", "zoo:nosuch"], "zoo:nosuch"),
        (["--prior", "zoo:nosuch", "--preset", "lucid"], "name one of them"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_prior(words, told, tmp_path, capsys):
    out = tmp_path / "run"
    asked = ["visualize", "zoo:digits-cnn", "--unit", "class:1", *words, "--out", str(out)]
    assert run(asked) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_a_prior_is_a_setting_of_the_run():
    described = ostrich_settings(generator())
    assert described["parametrisation"] == "prior"
    assert described["prior"] == "linear"
    assert "generator" not in described


def test_its_step_size_falls_in_the_steps_that_are_given():
    def falls(**settings) -> tuple[int, int | None]:
        found = describe(as_ascent(nets.small(size=(4, 4)), None, generator(), settings))
        return found["steps"], found.get("falls")

    assert falls() == (200, 200)
    assert falls(steps="20") == (20, 20)
    assert falls(steps=20, falls=50) == (20, 50)
    assert falls(steps=20, optimiser="adam") == (20, None)


def ostrich_settings(drawn: Generator) -> dict:
    model = nets.small(dtype=torch.float64)
    assert isinstance(model, ostrich.Classifier)
    return describe(with_prior(Prior.of(drawn, Canvas.of(model))))

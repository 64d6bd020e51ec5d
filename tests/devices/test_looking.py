"""Explanations, visualisations and examinations before a pretend accelerator: the results of the CPU."""

from __future__ import annotations

from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from accelerator import ACCELERATOR, MODULE
from linear_generator import generator
from on_both import on_both
from torch import nn

import ostrich
from ostrich.attacks import AutoAttack
from ostrich.attribution import EXPLAINERS, explain
from ostrich.attribution.importance import importance
from ostrich.attribution.pictures import picture
from ostrich.attribution.sanity import fading, pointing_game, randomisation
from ostrich.crashtest.check import PROBES
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.probes import worst_case
from ostrich.data.dataset import Samples
from ostrich.diagnosis import ModelUnderTest, examine
from ostrich.visualization import (
    PRESETS,
    Ascent,
    Prior,
    ascend,
    first_layer_filters,
    unit_sheets,
    with_prior,
    worth,
)
from ostrich.visualization.objectives import as_objective
from ostrich.visualization.optimisers import OPTIMISERS
from ostrich.visualization.parametrisations import PARAMETRISATIONS, Canvas
from ostrich.visualization.regularisers import Regularisers
from ostrich.visualization.transformations import Transformations

UNITS = ["class:1", "layer2.0.conv2:0@1,0", "probability:3"]


def model_on(device: torch.device) -> ostrich.Classifier:
    model = nets.small()
    model.network.to(device)
    return model


# Explanations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, method in EXPLAINERS.items() if not method.attention])
def test_an_explanation_is_the_same_on_the_accelerator(accelerator, name):
    method = EXPLAINERS[name]().brief()

    def computed(device):
        images = nets.random_images(2).to(device)
        maps = explain(method, model_on(device), images, UNITS)
        return maps, picture(method, maps[0, 0], images[0])

    maps, shown = on_both(computed, accelerator)
    assert maps.device == shown.device == ACCELERATOR
    assert maps.abs().sum() > 0


def test_images_of_the_cpu_are_brought_to_the_network(accelerator):
    model, images = model_on(accelerator), nets.random_images(2)
    assert explain(EXPLAINERS["gradient"](), model, images, UNITS).device == ACCELERATOR
    assert images.device.type == "cpu"


@pytest.mark.parametrize("name", ["guided", "gradcam"])
def test_the_checks_of_an_explanation(accelerator, name):
    method = EXPLAINERS[name]()

    def computed(device):
        model, images = nets.stack(size=(12, 12)), nets.random_images(2, (12, 12)).to(device)
        model.network.to(device)
        maps = importance(method, explain(method, model, images, ["class:1"]))[:, 0]
        masks = torch.zeros_like(maps, dtype=torch.bool)
        masks[:, :6] = True
        return (
            randomisation(method, model, images, ["class:1"]),
            fading(method, model, images, ["class:1", "class:2"], steps=4),
            pointing_game(maps, masks),
        )

    on_both(computed, accelerator)


def test_a_units_sheet(accelerator):
    images, climb = nets.random_images(5, (24, 32)), replace(PRESETS["plain"], steps=2)

    def computed(device):
        model = nets.stack()
        model.network.to(device)
        found = unit_sheets(model, lambda a, b: images[a:b], 5, ["2:1", "class:0"], climb, top=2, batch=3)
        return [(s.response.values, s.preferred, s.images, s.places, s.boxes, s.maps) for s in found]

    on_both(computed, accelerator)


# Visualisations -----------------------------------------------------------------------------------

EVERYTHING = Transformations(jitter=0.1, rotate=10, scale=0.1, pad=0.1)
ASCENTS = {
    **{f"preset {name}": replace(ascent, steps=3) for name, ascent in PRESETS.items()},
    **{
        f"{p}, {o}": Ascent(steps=3, parametrisation=PARAMETRISATIONS[p](), optimiser=OPTIMISERS[o]())
        for p in PARAMETRISATIONS
        for o in OPTIMISERS
    },
    "views": Ascent(steps=3, transformations=EVERYTHING),
    "regularised": Ascent(
        steps=3,
        regularisers=Regularisers(
            decay=0.01, blur_sigma=0.5, blur_every=1, small_norm=5, small_contribution=5, tv=0.1
        ),
    ),
}


@pytest.mark.parametrize("name", list(ASCENTS))
def test_an_ascent_is_the_same_on_the_accelerator(accelerator, name):
    def computed(device):
        model = model_on(device)
        found = ascend(model, UNITS[:2], ASCENTS[name], seed=1)
        return found, worth(model, [as_objective(unit) for unit in UNITS[:2]], found.images)

    found, _ = on_both(computed, accelerator)
    assert found.images.device == ACCELERATOR


def test_an_ascent_with_a_generators_code(accelerator):
    def computed(device):
        drawn, model = generator((3, 8, 8), dtype=torch.float32), model_on(device)
        drawn.network.to(device)
        return ascend(model, UNITS[:2], with_prior(Prior.of(drawn, Canvas.of(model)), 3), seed=1)

    on_both(computed, accelerator)


def test_filters_of_the_first_layer(accelerator):
    on_both(lambda device: first_layer_filters(model_on(device)), accelerator)


# Examinations -------------------------------------------------------------------------------------


def test_the_doctor_finds_the_same_and_leaves_random_numbers_alone(accelerator):
    class Drawing(nn.Module):
        """A network that draws by itself, so that the doctor has something to find."""

        def __init__(self):
            super().__init__()
            self.inner = nets.small().network

        def forward(self, x):
            return self.inner(x) + 0.01 * torch.randn(len(x), 1, device=x.device)

    def computed(device):
        model = ostrich.Classifier(Drawing().to(device).eval(), size=(16, 16))
        images = nets.random_images(3).to(device)
        before = MODULE.generator.get_state()
        found = examine(ModelUnderTest(classifier=model, images=images))
        assert torch.equal(MODULE.generator.get_state(), before)
        return found.findings, found.done, found.skipped

    findings, done, _ = on_both(computed, accelerator)
    assert findings
    assert done


COUNT, DEAREST = 3, 100.0  # images; the gradients of the dearest probe that is run here


def cost(name: str) -> float:
    """The gradients of a probe, of which a forward is a third."""
    per_probe = PROBES[name].COST
    return COUNT * (per_probe.gradients + per_probe.forwards / 3) + per_probe.fixed_gradients


@pytest.mark.parametrize("name", [name for name in PROBES if cost(name) <= DEAREST])
def test_a_probe_of_the_crash_test_answers_the_same(accelerator, name, tmp_path, monkeypatch):
    short = {"iterations": 4, "queries": 20}  # of AutoAttack, whose members are tried on both elsewhere
    monkeypatch.setattr(worst_case, "AutoAttack", lambda threat, preset: AutoAttack(threat=threat, **short))
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16, 3), np.uint8)
    samples = Samples.of_pixels(pixels, name="random")  # without labels the network is right on all of them

    def computed(device):
        folder, model = tmp_path / device.type, model_on(device)
        words = {"model_words": ["model"], "data_words": ["data"], "precision": "exact"}
        context = Context(classifier=model, samples=samples, folder=folder, **words)
        try:
            figures = PROBES[name].probe(context).figures
            return {key: value for key, value in figures.items() if not key.startswith("seconds")}
        except CannotRun as reason:  # too few images, other classes
            return str(reason)

    on_both(computed, accelerator)

"""Training, games, generators and studies before a pretend accelerator: the results of the CPU."""

from __future__ import annotations

from dataclasses import fields, replace

import nets
import pytest
import torch
from accelerator import ACCELERATOR, CPU, MODULE
from games import EVERY, data
from on_both import alike, on_both
from torch import nn

from ostrich.data.dataset import Samples
from ostrich.generative.evaluation import evaluate
from ostrich.generative.features import features
from ostrich.generative.generator import Generator
from ostrich.generative.neighbours import memorisation, neighbours
from ostrich.generative.objectives import OBJECTIVES
from ostrich.generative.teacher import build_for
from ostrich.generative.training import train_gan
from ostrich.models import architectures
from ostrich.models.net2net import deepened
from ostrich.runtime.randomness import seeded
from ostrich.studies import STUDIES, find
from ostrich.training.loop import train
from ostrich.training.recipe import Recipe

# Training -----------------------------------------------------------------------------------------

RECIPE = Recipe(
    name="test",
    architecture="-",
    data="-",
    mean=(0.5,),
    std=(0.25,),
    epochs=1,
    batch_size=8,
    precision="exact",
)
TRAININGS = {
    "plain": {},
    "adversarial": {"adversarial_steps": 2, "adversarial_eps": 0.03},
    "clipped": {"clip_norm": 1.0, "label_smoothing": 0.1},
}


@pytest.mark.parametrize("what", list(TRAININGS))
def test_training_is_the_same_on_the_accelerator(accelerator, what, tmp_path):
    recipe, pixels = replace(RECIPE, **TRAININGS[what]), (nets.random_images(16, (8, 8)) * 255).byte()
    labels = torch.arange(16) % 3

    def fresh():
        with seeded(0):
            network = architectures.build("resnet8,classes=3,size=8,width=0.25")[0]
            network.linear = nn.Sequential(nn.Dropout(0.5), network.linear)
        return network

    def computed(device):
        rows, path, before = [], tmp_path / device.type, MODULE.generator.get_state()
        given = {"held_out": (pixels, labels), "checkpoint": path, "log": rows.append}
        train(fresh().to(device), recipe, pixels, labels, stop_after=1, **given)
        network = train(fresh().to(device), recipe, pixels, labels, **given)  # from its file
        assert torch.equal(MODULE.generator.get_state(), before)
        return network.state_dict(), rows

    state, _ = on_both(computed, accelerator)
    assert {value.device for value in state.values()} == {ACCELERATOR}


def test_training_in_bf16(accelerator, monkeypatch):
    monkeypatch.setattr("ostrich.models.fastpath.gains_by_bf16", lambda device: device.type == "pretend")
    network = architectures.build("resnet8,classes=3,size=8,width=0.25")[0].to(accelerator)
    pixels = (nets.random_images(8, (8, 8)) * 255).byte()
    train(network, replace(RECIPE, precision="fast", **TRAININGS["adversarial"]), pixels, torch.arange(8) % 3)
    assert all(value.isfinite().all() for value in network.state_dict().values())


# Games --------------------------------------------------------------------------------------------

BRIEF = {"steps": 2, "watch_every": 1, "discriminator_steps": 1}
GAMES = {
    **{name: replace(recipe, **BRIEF) for name, recipe in EVERY.items()},
    **{name: replace(EVERY["dcgan"], objective=name, **BRIEF) for name in OBJECTIVES},
    "video": replace(EVERY["dcgan"], architecture="video,size=16,width=0.05", batch_size=2, **BRIEF),
    "inversion": replace(
        EVERY["dcgan"],
        architecture="inversion,size=16,channels=4",
        encoder="arch:resnet8,classes=3,width=0.25,size=16",
        layer="layer2",
        cells=2,
        **BRIEF,
    ),
}


def played(device: torch.device, recipe, path, stops=(2,)):
    """The generator after so many steps, resumed from a file after each, and what was measured on the way."""
    for steps in stops:
        torch.manual_seed(0)
        game, _ = build_for(recipe, device)
        pixels = torch.randint(256, (21, *game.shape), dtype=torch.uint8, generator=torch.Generator())
        if game.teacher is not None:
            game.teacher.measure_codes(pixels)
        rows, before = [], MODULE.generator.get_state()
        labels = torch.arange(21) % 3 if game.classes else None

        def watch(step, network, row, rows=rows):
            rows.append(row)
            return {"distance": 1.0}

        kept = train_gan(game, recipe, pixels, labels, checkpoint=path, stop_after=steps, watch=watch)
        assert torch.equal(MODULE.generator.get_state(), before)
    return game, kept, rows


@pytest.mark.parametrize("name", list(GAMES))
def test_a_game_is_the_same_on_the_accelerator(accelerator, name, tmp_path):
    recipe = GAMES[name]

    def computed(device):
        game, kept, rows = played(device, recipe, tmp_path / f"{device.type}.pt")
        drawn = Generator.of(game, kept, names=("a", "b", "c") if game.classes else None)
        images, asked = drawn.sample(range(3), seed=1)
        return kept.state_dict(), rows, images, asked

    if not OBJECTIVES[recipe.objective].penalised:
        state, _, images, _ = on_both(computed, accelerator)
        assert images.device == CPU
    else:  # a backward of a backward adds up in another order off the main thread
        wanted, (state, *_) = computed(CPU), computed(accelerator)
        for name, value in wanted[0].items():
            torch.testing.assert_close(state[name].cpu(), value, rtol=1e-4, atol=1e-6)
    assert {value.device for value in state.values()} == {ACCELERATOR}


def test_samples_are_measured_and_compared(accelerator, tmp_path):
    held_out = Samples.of_pixels(data(EVERY["dcgan"])[0].movedim(1, -1).numpy(), name="random")

    def computed(device):
        game, kept, _ = played(device, GAMES["dcgan"], tmp_path / f"{device.type}.pt", (1, 2))
        drawn, judge = Generator.of(game, kept), nets.small(size=(8, 8))
        judge.network.to(device)
        made, real = drawn.sample(range(8), seed=1)[0], held_out.images()
        known = features(judge, real)[0]
        near = neighbours(features(judge, made)[0].to(device), known.to(device))
        return evaluate(drawn, held_out, judge, samples=8), near, memorisation(near, near)

    on_both(computed, accelerator)


# Studies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in STUDIES if not find(name).takes_model])
def test_the_first_trial_of_a_study_is_the_same_on_the_accelerator(accelerator, name, tmp_path):
    study = find(name)
    smoke = study.spec("smoke")
    known = {field.name: getattr(smoke, field.name) for field in fields(smoke)}
    brief = {k: v for k, v in {"steps": 2, "further": 1, "warmup": 1}.items() if known.get(k, 0) > v}

    def computed(device):
        spec = replace(smoke, device=device.type, **brief)
        (folder := tmp_path / device.type).mkdir()
        rows = study.run(spec, study.trials(spec)[0], folder)
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]

    assert on_both(computed, accelerator)


def test_a_deepened_network_is_the_same_wherever_it_is_made(accelerator):
    def computed(device):
        network, images = nets.small().network.to(device), nets.random_images(2).to(device)
        torch.manual_seed(0)
        return deepened(network, 14, images).state_dict()

    assert alike(computed(CPU), computed(accelerator))

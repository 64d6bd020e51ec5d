"""Generators that invert an encoder's layer, and the prior they make."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from ostrich.attacks.fooling.recognition import recognised
from ostrich.cli.main import run
from ostrich.crashtest.probes import preferred
from ostrich.data.training_data import open_split
from ostrich.errors import InputError
from ostrich.generative import training
from ostrich.generative.architectures import build_gan
from ostrich.generative.gan import GAN
from ostrich.generative.generator import CARD, load_generator
from ostrich.generative.inversion import InversionGenerator
from ostrich.generative.recipe import RECIPES, GeneratorRecipe
from ostrich.generative.teacher import Teacher, build_for, coded
from ostrich.generative.training import real_batch, train_gan
from ostrich.images import rounded
from ostrich.visualization import Prior, ascend, with_prior
from ostrich.visualization.parametrisations import Canvas

RECIPE = GeneratorRecipe(
    name="test",
    architecture="inversion,size=8,channels=6",
    data="none",
    encoder="small",
    layer="layer3",
    cells=2,
    objective="hinge",
    steps=8,
    batch_size=8,
    average=0.9,
    watch_every=4,
    precision="exact",
)
SIZE = (16, 16)  # of the encoder: twice the generator's


def teacher(game: GAN, cells: int = 2, compared: str = "layer2") -> Teacher:
    encoder = nets.small(size=SIZE)  # layer2: 16x8x8, layer3: 32x4x4
    assert game.codes.observed is not None
    return Teacher(
        encoder=encoder,
        layer="layer3",
        cells=cells,
        comparator=encoder,
        compared=compared,
        observed=game.codes.observed,
    )


def taught(cells: int = 2) -> GAN:
    torch.manual_seed(0)
    game = build_gan(f"inversion,size=8,channels=6,code=32,cells={cells}")
    game.teacher = teacher(game, cells)
    game.teacher.measure_codes(pictures())
    return game


def pictures(count: int = 40) -> Tensor:
    """Squares of a random colour at a random place on a random ground: something to invert."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 1, 1), generator=draw).expand(-1, -1, 8, 8).clone()
    for image in images:
        row, column = torch.randint(5, (2,), generator=draw).tolist()
        image[:, row : row + 4, column : column + 4] = torch.randint(256, (3, 1, 1), generator=draw)
    return images.byte()


def same(a: nn.Module, b: nn.Module) -> bool:
    states = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in states)


# The code --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [0, 2, 4])
def test_a_code_is_the_layer_in_its_own_deviations(cells):
    game, images = taught(cells), pictures()
    encoder, observed = game.teacher.encoder, game.codes.observed
    larger = F.interpolate(images.float() / 255, SIZE, mode="bilinear", align_corners=False)
    network = encoder.network
    with torch.no_grad():
        x = F.relu(network.bn1(network.conv1((larger - 0.5) / 0.25)))
        layer = network.layer3(network.layer2(network.layer1(x)))  # (N, 32, 4, 4)
    side = 4 // max(1, cells)
    raw = layer.unfold(2, side, side).unfold(3, side, side).mean((4, 5)).flatten(1)
    codes, _ = game.teacher.encode(images.float() / 127.5 - 1)
    assert torch.allclose(codes, raw / observed.unit, atol=1e-4)
    varies = raw.std(0, correction=0) > 1e-4
    assert varies.any()
    assert torch.allclose(codes.std(0, correction=0)[varies], torch.ones(()), atol=2e-3)
    assert torch.allclose(codes.mean(0), observed.mean, atol=1e-3)
    mean, deviation = codes.mean(0), codes.std(0, correction=0)
    assert torch.allclose(observed.low, codes.amin(0).maximum(mean - 3 * deviation), atol=1e-3)
    assert torch.allclose(observed.high, codes.amax(0).minimum(mean + 3 * deviation), atol=1e-3)
    drawn = game.codes.draw(200, torch.Generator().manual_seed(0))
    assert drawn.shape == (200, len(observed.mean))
    assert (drawn >= observed.low).all()
    assert (drawn <= observed.high).all()
    assert torch.equal(game.codes.clipped(torch.full_like(drawn, 1e9))[0], observed.high)


def test_a_code_unit_that_never_varies_does_no_harm():
    game = taught()
    game.teacher.measure_codes(pictures()[:1].expand(9, -1, -1, -1))
    observed = game.codes.observed
    assert torch.allclose(observed.low, observed.high, atol=1e-4)
    assert torch.isfinite(game.codes.draw(3, torch.Generator())).all()
    assert torch.isfinite(game.generator(game.codes.draw(3, torch.Generator()))).all()


def test_vectors_are_codes_as_they_are():
    assert torch.equal(coded(torch.ones(2, 5), 4), torch.ones(2, 5))
    game = build_gan("inversion,size=16,channels=4,code=5")
    assert game.codes.length == 5
    assert game.generator(torch.randn(2, 5)).shape == (2, 3, 16, 16)
    assert game.discriminator(torch.zeros(2, 3, 16, 16), torch.randn(2, 5)).shape == (2,)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("size=24", "8, 16, 32, 64"),
        ("size=16,cells=3", "No doubling makes 16"),
        ("size=16,cells=16", "No doubling makes 16"),
        ("channels=0", "at least 1"),
    ],
)
def test_what_cannot_be_built_is_said(spec, told):
    with pytest.raises(InputError, match=told):
        build_gan(f"inversion,{spec}")


# Training --------------------------------------------------------------------------------------


def test_n_plus_n_steps_are_2n_bit_for_bit(tmp_path):
    whole, path, images = taught(), tmp_path / "checkpoint.pt", pictures()
    kept = train_gan(whole, RECIPE, images)
    for stop in (3, None):
        torch.rand(3)  # whatever happens to the global generator between the runs
        part = taught()
        part.codes.observed.mean.zero_() if stop is None else None  # the checkpoint has the range
        again = train_gan(part, RECIPE, images, checkpoint=path, stop_after=stop)
    assert same(whole, part)
    assert same(kept, again)


def test_one_step_by_hand():
    """The generator pays for pixels, features and what the discriminator says; nothing else learns."""
    recipe = replace(
        RECIPE,
        steps=1,
        average=0.0,
        flip=False,
        optimiser="sgd",
        momentum=0.0,
        image_weight=3.0,
        feature_weight=0.7,
        adversarial_weight=0.2,
        generator_rate=0.1,
        discriminator_rate=0.1,
    )
    ours, by_hand = taught(), taught()
    before = nets.state(ours.teacher.encoder.network)[:4]
    train_gan(ours, recipe, pictures())
    assert nets.state(ours.teacher.encoder.network)[:4] == before
    real, _ = real_batch(pictures(), None, recipe, 0, torch.device("cpu"))
    encoder = by_hand.teacher.encoder

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        larger = F.interpolate((images + 1) / 2, SIZE, mode="bilinear", align_corners=False)
        network = encoder.network
        layer2 = network.layer2(network.layer1(F.relu(network.bn1(network.conv1((larger - 0.5) / 0.25)))))
        return layer2, F.avg_pool2d(network.layer3(layer2), 2).flatten(1)

    wanted, code = (one.detach() for one in features(real))
    code = code / by_hand.codes.observed.unit
    training.advance(by_hand.discriminator)
    by_hand.train()
    fake = by_hand.generator(code)
    loss = F.relu(1 - by_hand.discriminator(real, code)).mean()
    loss = loss + F.relu(1 + by_hand.discriminator(fake.detach(), code)).mean()
    for parameter, slope in _slopes(by_hand.discriminator, loss):
        parameter.data -= 0.1 * slope
    loss = 3.0 * (fake - real).square().mean() - 0.2 * by_hand.discriminator(fake, code).mean()
    variance = wanted.var(0, correction=0).mean()
    loss = loss + 0.7 * (features(fake)[0] - wanted).square().mean() / variance
    for parameter, slope in _slopes(by_hand.generator, loss):
        parameter.data -= 0.1 * slope
    for (name, a), b in zip(ours.named_parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


def _slopes(network: nn.Module, loss: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
    own = list(network.parameters())
    return list(zip(own, torch.autograd.grad(loss, own), strict=True))


def test_it_learns_to_invert():
    """Better than any one image could do, in pixels and in features, on images it never saw."""
    images, game = pictures(160), taught(cells=4)
    recipe = replace(RECIPE, steps=150, batch_size=16, generator_rate=2e-3, cells=4, flip=False)
    kept = train_gan(game, recipe, images[:128])
    real = images[128:].float() / 255
    with torch.no_grad():
        made = (kept(game.teacher.encode(2 * real - 1)[0]) + 1) / 2
    errors = game.teacher.errors(made, real)
    best = game.teacher.errors(real.mean(0, keepdim=True).expand_as(real), real)
    assert errors["pixel_error"] < 0.8 * best["pixel_error"]
    assert errors["feature_error"] < 0.8


# From the command line to a prior --------------------------------------------------------------


WORDS = ["generate", "train", "toybox-prior", "--data", "digits", "--precision", "exact", "--set", "steps=4"]
WORDS += ["--set", "encoder=zoo:digits-cnn", "--set", "layer=relu3", "--set", "judge=zoo:digits-cnn"]
SMALL = ["--set", "architecture=inversion,size=8,channels=4,image_channels=1", "--set", "watch_every=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inversion") / "run"
    assert run([*WORDS, *SMALL, "--out", str(folder)]) == 0
    return folder


def test_the_file_and_its_card_say_what_it_inverts(trained):
    card = json.loads((trained / CARD).read_text())
    assert card["architecture"] == "inversion,size=8,channels=4,image_channels=1,code=64,cells=0"
    assert (card["encoder"], card["layer"]) == ("zoo:digits-cnn", "relu3")
    assert 0 < card["measures"]["pixel_error"] < 1
    assert card["measures"]["feature_error"] > 0
    generator = load_generator(str(trained))
    assert isinstance(generator.network, InversionGenerator)
    observed = generator.codes.observed
    assert observed is generator.network.observed
    assert (observed.low == 0).all()  # after a ReLU
    assert (observed.high > 0).any()
    assert [path.name for path in sorted((trained / "sheets").iterdir())] == ["000002.png", "000004.png"]


def test_it_is_a_prior_whose_codes_stay_where_they_were_seen(trained, tmp_path):
    model, generator = ostrich.load("zoo:digits-cnn", device="cpu"), load_generator(str(trained))
    drawing = Prior.of(generator, Canvas.of(model))
    observed = generator.codes.observed
    assert torch.equal(drawing.project(torch.full((1, 64), 99.0))[0], observed.high)
    found = ascend(model, ["class:3", "conv2:5", "fc1:7"], with_prior(drawing), seeds=2)
    assert found.images.shape == (6, 1, 8, 8)
    assert (found.trace[-1] >= found.trace[0]).all()
    words = ["visualize", "zoo:digits-cnn", "--unit", "class:3", "--prior", str(trained), "--seeds", "2"]
    assert run([*words, "--set", "steps=3", "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "run.json").read_text())["results"]
    assert results["settings"]["prior"] == str(trained)
    assert len(results["units"]) == 2


def test_grey_images_are_shown_to_a_network_of_colours(trained):
    model = nets.small(size=(24, 24))
    found = ascend(
        model,
        ["class:1"],
        replace(with_prior(Prior.of(load_generator(str(trained)), Canvas.of(model))), steps=2),
    )
    assert found.images.shape == (1, 3, 24, 24)
    assert torch.equal(found.images[:, 0], found.images[:, 2])


def test_a_unit_that_no_code_wakes_is_said_to_be_dead(trained, tmp_path, capsys):
    file = tmp_path / "behind.py"
    file.write_text(
        "import torch\n\n\nclass Behind(torch.nn.Module):\n    def forward(self, x):\n"
        "        return torch.relu(x.mean((1, 2, 3))[:, None] - torch.tensor([2.0, 0.0]))\n\n\n"
        "def network():\n    return Behind()\n"
    )
    words = ["visualize", f"{file}:network", "--size", "8", "--mean", "0", "--std", "1"]
    words += ["--unit", "class:0", "--unit", "class:1", "--prior", str(trained), "--seeds", "2"]
    assert run([*words, "--set", "steps=3", "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert f"class:0 is dead under {trained}" in told.replace("\n", " ")
    assert "2 starts" in told
    assert "noise=" not in told
    assert "class:1 is dead" not in told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["layer=nowhere"], "nowhere"),
        (["layer=conv2", "cells=9"], "8x8, which is not averaged to 9x9"),
        (["layer=conv2", "cells=3"], "No doubling makes 8"),
        (["architecture=dcgan,size=8,channels=1"], "is of a generator that inverts"),
        (["architecture=inversion,size=8"], "1 channels; got 3"),
        (["feature_weight=-1"], "feature_weight is at least 0"),
        (["comparator_layer=fc9"], "fc9"),
    ],
)
def test_what_does_not_fit_is_one_sentence(settings, told, tmp_path, capsys):
    own = {setting.partition("=")[0] for setting in settings}
    given = [word for word in (*WORDS, *SMALL) if "=" in word and word.partition("=")[0] not in own]
    words = [*WORDS[: WORDS.index("--set")]]
    words += [word for setting in (*given, *settings) for word in ("--set", setting)]
    assert run([*words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert told in " ".join(said.split())
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "run.json").exists()


# The bundled one -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bundled_prior_makes_held_out_images_again_as_its_card_says():
    generator = load_generator("zoo:toybox-prior")
    recipe, measures = RECIPES["toybox-prior"], generator.card["measures"]
    game, _ = build_for(recipe, torch.device("cpu"))
    game.generator.load_state_dict(generator.network.state_dict())
    real = open_split("toybox", "test", generator.shape).images()
    made = generator(torch.cat([game.teacher.encode(2 * part - 1)[0] for part in real.split(128)]))
    errors = game.teacher.errors(made, real)
    assert errors["pixel_error"] == pytest.approx(measures["pixel_error"], rel=0.02)
    assert errors["feature_error"] == pytest.approx(measures["feature_error"], rel=0.02)
    mean = game.teacher.errors(real.mean(0, keepdim=True).expand_as(real), real)
    assert errors["feature_error"] < 0.5 * mean["feature_error"]


def test_what_it_draws_for_one_network_another_recognises():
    guide, judge = (ostrich.load(f"zoo:toybox-{name}", device="cpu") for name in ("resnet20", "plain14"))
    settings = with_prior(Prior.of(load_generator("zoo:toybox-prior"), Canvas.of(guide)), steps=40)
    found = ascend(guide, [f"class:{k}" for k in range(10)], settings)
    assert recognised(rounded(found.images), range(10), guide, judge).sum() >= 8


def test_the_report_shows_the_prior_beside_noise_the_lamp_first():
    model = ostrich.load("zoo:toybox-plain14", device="cpu")
    assert [model.class_name(k) for k in preferred.chosen(model)[:3]] == [
        "table lamp",
        "sports car",
        "school bus",
    ]
    assert sorted(preferred.chosen(model)) == list(range(10))
    assert list(preferred.ways(model)) == ["gradient alone", "with views", "with the prior"]
    grey = ostrich.load("zoo:digits-cnn", device="cpu")
    assert list(preferred.ways(grey)) == ["gradient alone", "with views"]
    assert preferred.chosen(grey) == list(range(10))


def test_the_probe_writes_a_picture_for_each_way(tmp_path, monkeypatch):
    for name in ("PLAIN_STEPS", "STEPS", "PRIOR_STEPS"):
        monkeypatch.setattr(preferred, name, 2)
    words = ["check", "zoo:toybox-plain14", "toybox", "--only", "preferred", "--limit", "16"]
    assert run([*words, "--out", str(tmp_path / "out")]) == 0
    answer = json.loads((tmp_path / "out" / "probes" / "preferred.json").read_text())
    (block,) = answer["blocks"]
    assert block["columns"] == 3
    assert len(block["items"]) == 30
    assert [item["title"] for item in block["items"][:4]] == [
        "table lamp, gradient alone",
        "table lamp, with views",
        "table lamp, with the prior",
        "sports car, gradient alone",
    ]
    assert all((tmp_path / "out" / item["file"]).exists() for item in block["items"])
    assert answer["figures"]["n"] == 10


def test_an_inversion_names_its_encoder():
    with pytest.raises(InputError, match="set encoder=MODEL"):
        replace(RECIPE, encoder=None)

"""Playing the game: exact resume, what each step computes and what it leaves alone, and words on collapse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from games import CONDITIONAL, DCGAN, EVERY, PROJECTED, data
from torch import Tensor, nn

from ostrich.cli.main import run as ostrich
from ostrich.errors import InputError
from ostrich.generative import training
from ostrich.generative.architectures import build_gan
from ostrich.generative.collapse import collapse, diversity, spread
from ostrich.generative.generator import load_generator
from ostrich.generative.layers import SpectralNorm
from ostrich.generative.objectives import OBJECTIVES
from ostrich.generative.projected import ProjectedDiscriminator, feature_shapes, match_guide, project
from ostrich.generative.recipe import RECIPES, GeneratorRecipe
from ostrich.generative.training import follow, real_batch, train_gan
from ostrich.models import load
from ostrich.runtime import files, resumable


def game(recipe: GeneratorRecipe) -> training.GAN:
    torch.manual_seed(0)
    built = build_gan(recipe.architecture)
    if recipe.projected:
        project(built, load(recipe.projected, device="cpu"), recipe.heads, guided=True)
    return built


def distance(step: int, generator: nn.Module, row: dict[str, float]) -> dict[str, float]:
    """A measure that is least in the middle of the run."""
    return {"distance": abs(step - 5.0)}


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


# A discriminator that looks through a classifier --------------------------------------------------


def test_the_features_looked_at_are_the_last_of_every_size():
    found = feature_shapes(load("arch:resnet8,classes=3,stem_stride=2,size=64", device="cpu"))
    assert found == {"layer1": (16, 32, 32), "layer2": (32, 16, 16), "layer3": (64, 8, 8)}
    assert list(feature_shapes(load("arch:alexnet", device="cpu")).values())[-1][1:] == (6, 6)
    with pytest.raises(InputError, match="no maps"):
        feature_shapes(load("arch:mlp,hidden=4,size=8,channels=3", device="cpu"))


def test_the_classifier_is_looked_through_and_left_alone():
    played = game(PROJECTED)
    discriminator = played.discriminator
    assert isinstance(discriminator, ProjectedDiscriminator)
    (classifier,) = discriminator.seen
    before = [value.clone() for value in classifier.network.state_dict().values()]
    fixed = [p.clone() for p in (*discriminator.channels.parameters(), *discriminator.scales.parameters())]
    images, labels = data(PROJECTED)
    train_gan(played, PROJECTED, images, labels)
    assert all(map(torch.equal, before, classifier.network.state_dict().values()))
    after = (*discriminator.channels.parameters(), *discriminator.scales.parameters())
    assert all(map(torch.equal, fixed, after))
    assert all(p.grad is None for p in (*after, *classifier.network.parameters()))
    assert sum(p.numel() for p in discriminator.parameters()) < sum(
        p.numel() for p in classifier.network.parameters()
    )
    shown = torch.rand(2, 3, 32, 32).mul(2).sub(1).requires_grad_(True)
    judged = discriminator(shown, torch.tensor([0, 2]))
    assert judged.shape == (2, 3 * 16)  # the image and two sizes of features, 4x4 places each
    through = torch.autograd.grad(judged[:, :16].sum(), shown)[0]  # of the head on the smallest features
    assert through.abs().sum() > 0
    assert not torch.equal(judged, discriminator(shown, torch.tensor([1, 2])))


def test_guidance_is_the_classifiers_cross_entropy():
    discriminator = game(PROJECTED).discriminator
    (classifier,) = discriminator.seen
    shown, classes = torch.rand(5, 3, 32, 32).mul(2).sub(1), torch.tensor([0, 1, 2, 2, 1])
    scores = classifier((shown + 1) / 2).log_softmax(1)
    expected = -scores[torch.arange(5), classes].mean()
    assert torch.allclose(discriminator.guidance(shown, classes), expected, rtol=1e-5)


def test_a_guide_knows_classes_by_their_names():
    played = game(PROJECTED)
    (classifier,) = played.discriminator.seen
    classifier.class_names = ("ostrich", "school bus", "umbrella")
    shown, classes = torch.rand(5, 3, 32, 32).mul(2).sub(1), torch.tensor([0, 1, 2, 2, 1])
    expected = played.discriminator.guidance(shown, torch.tensor([2, 0, 1, 1, 0]))
    assert match_guide(played, ("umbrella", "Ostrich", "school_bus")) == "by name"
    assert torch.equal(played.discriminator.guidance(shown, classes), expected)
    with pytest.raises(InputError, match="lamp"):
        match_guide(played, ("umbrella", "ostrich", "lamp"))


def test_a_guide_of_other_classes_is_refused():
    guide = load("arch:resnet8,classes=4,width=0.25", device="cpu")
    with pytest.raises(InputError, match="4 classes apart and cannot guide a generator of 3 classes"):
        project(build_gan(CONDITIONAL.architecture), guide, guided=True)
    with pytest.raises(InputError, match="of no classes"):
        project(build_gan("dcgan,size=8"), guide, guided=True)
    with pytest.raises(InputError, match="projected="):
        replace(CONDITIONAL, guidance=1.0)


# Resume ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY)
def test_n_plus_n_steps_are_2n_bit_for_bit(tmp_path, kind):
    recipe = EVERY[kind]
    images, labels = data(recipe)
    whole, path = game(recipe), tmp_path / "checkpoint.pt"
    best = train_gan(whole, recipe, images, labels, watch=distance)
    told: list[int] = []
    for stop in (recipe.steps // 2, recipe.steps - 1, None):
        torch.rand(3)  # whatever happens to the global generator between the runs
        part = game(recipe)
        kept = train_gan(
            part,
            recipe,
            images,
            labels,
            checkpoint=path,
            stop_after=stop,
            watch=distance,
            progress=told.append,
        )
    assert told == list(range(1, recipe.steps + 1))
    assert same(whole, part)
    assert same(best, kept)
    assert not best.training
    saved = torch.load(path, weights_only=True)
    assert saved["step"] == recipe.steps
    assert saved["best"]["step"] == 5
    assert same(best, kept)
    if recipe.average:
        assert not torch.equal(saved["average"].popitem()[1], whole.generator.state_dict().popitem()[1])


@pytest.mark.slow
def test_killed_and_resumed_is_never_killed(tmp_path):
    """kill -9 of the command itself; the same command then ends with the bytes of an undisturbed run."""
    words = ["generate", "train", "digits-perceptron", "--set", "steps=12", "--set", "watch_every=6"]
    words += ["--set", "architecture=perceptron,size=8,channels=1,width=0.1"]
    words += ["--set", "batch_size=20", "--precision", "exact", "--set", "judge_samples=40", "--out"]
    inside = (
        "import sys, ostrich.runtime.resumable as r\n"
        "from ostrich.cli.main import main\n"
        "w = r.write_tensors\n"
        "r.write_tensors = lambda *a: (w(*a), print('saved', flush=True))\n"
        "r.EVERY, r.SHARE = 0.0, 1e9\n"  # a checkpoint after every step
        "main(sys.argv[1:])\n"
    )
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-c", inside, *words, str(killed)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(7):
        assert process.stdout.readline() == "saved\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = torch.load(killed / "checkpoint.pt", weights_only=True)
    assert 7 <= left["step"] < 12
    assert not json.loads((killed / "run.json").read_text())["finished"]
    assert ostrich([*words, str(killed)]) == 0
    assert ostrich([*words, str(whole)]) == 0
    for name in ("generator.safetensors", "sheets/000006.png", "sheets/000012.png", "training.gif"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [6, 12]
    generator = load_generator(str(whole))
    assert generator.card["steps"] == 12
    assert generator.card["kept_step"] == min(rows, key=lambda row: row["distance"])["step"]
    assert generator.card["measures"]["distance_features"] == "zoo:digits-cnn"


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, monkeypatch, capsys):
    words = ["generate", "train", "digits-perceptron", "--set", "steps=4", "--set", "watch_every=2"]
    words += ["--set", "architecture=perceptron,size=8,channels=1,width=0.1", "--set", "judge_samples=40"]
    words += ["--out", str(tmp_path / "out")]

    def full(path: Path, content: object) -> None:
        path.with_name(f".{path.name}.{os.getpid()}.partial").symlink_to("/dev/full")
        files.write_tensors(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(resumable, "write_tensors", full)
        assert ostrich(words) == 2
    said = capsys.readouterr().err
    assert "the disk is full" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "generator.safetensors").exists()
    with (tmp_path / "out" / "metrics.jsonl").open("a") as torn:
        torn.write('{"step": 4, "ste')
    assert ostrich(words) == 0
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4]
    assert load_generator(str(tmp_path / "out")).card["steps"] == 4


# What a step computes --------------------------------------------------------------------------


def test_neither_step_builds_the_graph_of_the_other():
    """The discriminator's step asks for no gradient of the generator, the generator's for none of it."""
    recipe = replace(DCGAN, steps=1, discriminator_steps=2, average=0)
    one = game(recipe)
    seen = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        frozen = not any(p.requires_grad for p in one.discriminator.parameters())
        seen.append((module is one.generator, inputs[0].requires_grad, output.requires_grad, frozen))

    for player in (one.generator, one.discriminator):
        player.register_forward_hook(watch)
    images, _ = data(recipe)
    before = {name: p.clone() for name, p in one.named_parameters()}
    train_gan(one, recipe, images)
    generated, real, last = (
        (True, False, False, False),
        (False, False, True, False),
        (False, True, True, True),
    )
    shared = (True, False, True, False)
    assert seen == [generated, real, real, shared, real, real, last]
    assert all(p.requires_grad for p in one.parameters())
    assert all(not torch.equal(before[name], p) for name, p in one.named_parameters())


def test_one_step_by_hand():
    """Of the plain rules: losses, Adam, one forward after the other, in float64."""
    recipe = replace(DCGAN, steps=1, average=0.0, flip=False)
    images, _ = data(recipe)
    ours, by_hand = game(recipe), game(recipe)
    train_gan(ours, recipe, images)
    players = [(p, torch.optim.Adam(p.parameters(), 2e-4, betas=(0.5, 0.999))) for p in by_hand.children()]
    (generator, of_generator), (discriminator, of_discriminator) = players
    real, _ = real_batch(images, None, recipe, 0, torch.device("cpu"))
    codes = by_hand.codes.draw(recipe.batch_size, training.keyed(recipe.seed, training.CODE, 0))
    fake = generator(codes)
    loss = -torch.log(torch.sigmoid(discriminator(real))).mean()
    loss = loss - torch.log(1 - torch.sigmoid(discriminator(fake.detach()))).mean()
    loss.backward()
    of_discriminator.step()
    of_generator.zero_grad()
    (-torch.log(torch.sigmoid(discriminator(fake))).mean()).backward()
    of_generator.step()
    for (name, a), b in zip(ours.named_parameters(), by_hand.parameters(), strict=True):
        # Adam's first step is the rate times the gradient's sign: near zero it may go either way.
        agree = (a - b).abs() < 1e-6
        assert agree.float().mean() > 0.99, name


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains(name):
    recipe = replace(DCGAN, objective=name, steps=5)
    rows = []
    train_gan(game(recipe), recipe, data(recipe)[0], watch=lambda step, _, row: rows.append(row) or {})
    assert [row["step"] for row in rows] == [5]
    assert all(value == value for value in rows[0].values())
    assert 0 <= rows[0]["told_apart"] <= 1


def test_bf16_trains():
    recipe = replace(CONDITIONAL, steps=2, precision="fast")
    images, labels = data(recipe)
    assert all(p.isfinite().all() for p in train_gan(game(recipe), recipe, images, labels).parameters())


def test_batches_are_full_and_every_image_has_its_turn():
    recipe = replace(DCGAN, flip=False)
    images = torch.arange(21, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    seen = [real_batch(images, torch.arange(21), recipe, k, torch.device("cpu")) for k in range(21)]
    assert {len(batch) for batch, _ in seen} == {8}
    order = torch.cat([labels for _, labels in seen])
    for epoch in order.split(21):
        assert sorted(epoch.tolist()) == list(range(21))
    for batch, labels in seen:
        assert torch.allclose(batch[:, 0, 0, 0], labels / 127.5 - 1)
    mirrored = real_batch(torch.rand(21, 3, 8, 8).mul(255).byte(), None, DCGAN, 0, torch.device("cpu"))[0]
    assert mirrored.shape == (8, 3, 8, 8)


def test_the_average_has_its_closed_form():
    torch.manual_seed(0)
    network, average = (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(2))
    follow(average, network, 0.0)
    assert same(average, network)
    start = network[0].weight.detach().clone()
    steps = [torch.randn(3, 3) for _ in range(7)]
    for number, value in enumerate(steps):
        with torch.no_grad():
            network[0].weight.copy_(value)
            network[1].running_mean.fill_(float(number))
        network[1].num_batches_tracked.fill_(number)
        follow(average, network, 0.9)
    expected = 0.9**7 * start + sum(0.1 * 0.9 ** (6 - k) * value for k, value in enumerate(steps))
    assert torch.allclose(average[0].weight, expected, atol=1e-6)
    mean = sum(0.1 * 0.9 ** (6 - k) * k for k in range(7))
    assert torch.allclose(average[1].running_mean, torch.full((3,), mean))
    assert average[1].num_batches_tracked == 6


def test_the_average_keeps_unit_vectors_of_its_own_weights():
    recipe = replace(
        CONDITIONAL, steps=20, average=0.9, average_from=0, discriminator_steps=1, generator_rate=0.01
    )
    images, labels = data(recipe)
    one = game(recipe)
    kept = train_gan(one, recipe, images, labels)
    for module in kept.modules():
        if isinstance(module, SpectralNorm):
            assert module.u.norm().item() == pytest.approx(1, abs=1e-5)
    weight = kept.blocks[0].conv1.weight.flatten(1)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.05)


# Collapse --------------------------------------------------------------------------------------


def test_spread_and_diversity():
    images = torch.zeros(2, 1, 2, 2)
    images[1] = 0.5
    assert spread(images) == pytest.approx(0.5)
    real = torch.rand(40, 3, 4, 4)
    assert diversity(real, real) == 1
    assert diversity(0.5 * real, real) == pytest.approx(0.5)
    assert diversity(real[:1].expand(40, -1, -1, -1), real) == 0
    assert diversity(real, real[:1].expand(40, -1, -1, -1)) is None
    assert diversity(real[:1], real[:1]) is None


def test_collapse_is_said_and_health_is_not():
    assert collapse(0.7, 0.9, "hinge") == []
    assert "saturated" in collapse(0.995, 0.9, "hinge")[0]
    assert collapse(0.995, 0.9, "wgan-gp") == []
    assert "collapsed" in collapse(0.7, 0.1, "wgan-gp")[0]
    assert "collapsed" in collapse(0.7, float("nan"), "hinge")[0]
    assert collapse(0.7, None, "hinge") == []


def test_without_images_to_compare_with_diversity_is_not_known(tmp_path):
    folder(tmp_path / "in" / "train", {"a": 6})
    folder(tmp_path / "in" / "test", {"a": 1})
    words = ["generate", "train", "toybox-dcgan", "--data", f"folder:{tmp_path / 'in'}"]
    settings = {"architecture": "dcgan,size=8,width=0.1", "judge": "none", "batch_size": 4, "steps": 2}
    for name, value in {**settings, "watch_every": 1}.items():
        words += ["--set", f"{name}={value}"]
    assert ostrich([*words, "--out", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["diversity"] for line in lines] == [None, None]


# Bad inputs ------------------------------------------------------------------------------------


def folder(path: Path, classes: dict[str, int]) -> Path:
    from PIL import Image

    for name, count in classes.items():
        (path / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, 2 * i, 7)).save(path / name / f"{i}.png")
    return path


@pytest.mark.parametrize(
    ("classes", "settings", "message"),
    [
        ({"a": 1}, [], "There is 1 image to train on"),
        ({"a": 9, "b": 9}, [], "fewer than a batch of 64"),
        ({"a": 9, "b": 9}, ["batch_size=4", "architecture=dcgan,size=8", "judge_samples=0"], "judge_samples"),
        (
            {"a": 9, "b": 9},
            ["batch_size=4", "architecture=conditional,size=32,channels=2,classes=3"],
            "no image of class 2",
        ),
        (
            {"a": 9, "b": 9},
            ["batch_size=4", "architecture=conditional,size=32,channels=2,classes=1"],
            "classes=1",
        ),
        ({"a": 9}, ["stepz=3"], "steps"),
        ({"a": 9}, ["objective=hing"], "hinge"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_run(tmp_path, capsys, classes, settings, message):
    words = ["generate", "train", "toybox-dcgan", "--data", f"folder:{folder(tmp_path / 'in', classes)}"]
    for setting in settings:
        words += ["--set", setting]
    assert ostrich([*words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_conditional_game_needs_labels():
    images, labels = data(CONDITIONAL)
    with pytest.raises(InputError, match="needs labels"):
        train_gan(game(CONDITIONAL), CONDITIONAL, images)
    with pytest.raises(InputError, match="makes images"):
        train_gan(game(CONDITIONAL), CONDITIONAL, images[..., :16, :16], labels)


def test_recipes_build_their_games_and_refuse_nonsense():
    for recipe in RECIPES.values():
        build_gan(recipe.architecture.replace("channels=64", "channels=2"))
    for wrong in (
        {"steps": 0},
        {"average": 1.0},
        {"optimiser": "adan"},
        {"precision": "half"},
        {"penalty": -1},
    ):
        with pytest.raises(InputError):
            replace(DCGAN, **wrong)

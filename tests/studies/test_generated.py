"""Studies of generators: they go on from a checkpoint, and their controls are what they are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from ostrich.generative.training import Watch, train_gan
from ostrich.studies import find, generated, stability

STUDIES = ("dcgan-cifar10", "perceptron-gan-mnist")


@pytest.mark.parametrize("name", STUDIES)
def test_a_generator_goes_on_from_its_checkpoint(name, tmp_path, monkeypatch):
    study = find(name)
    spec, trial = study.spec("smoke"), {"seed": 2}
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = study.run(spec, trial, tmp_path / "whole")
    steps: list[int] = []

    def cut_off(gan, recipe, images, labels, *, checkpoint: Path, watch: Watch) -> torch.nn.Module:
        train_gan(gan, recipe, images, labels, checkpoint=checkpoint, watch=watch, stop_after=3)
        raise KeyboardInterrupt

    def going_on(gan, recipe, images, labels, *, checkpoint: Path, watch: Watch) -> torch.nn.Module:
        def noted(step, network, row):  # type: ignore[no-untyped-def]
            steps.append(step)
            return watch(step, network, row)

        return train_gan(gan, recipe, images, labels, checkpoint=checkpoint, watch=noted)

    monkeypatch.setattr(generated, "train_gan", cut_off)
    with pytest.raises(KeyboardInterrupt):
        study.run(spec, trial, tmp_path / "parts")
    monkeypatch.setattr(generated, "train_gan", going_on)
    assert study.run(spec, trial, tmp_path / "parts") == whole
    assert steps == [4]  # the second step was not trained again
    for picture in ("samples.png", "interpolation.png", "neighbours.png"):
        assert (tmp_path / "parts" / picture).stat().st_size > 100


@pytest.mark.parametrize(("name", "trains"), [("perceptron-gan-mnist", generated), ("stability", stability)])
def test_what_diverges_is_trained_no_longer_and_counts_as_diverged(name, trains, tmp_path, monkeypatch):
    study = find(name)
    spec = study.spec("smoke")
    steps: list[int] = []

    def broken(gan, recipe, images, labels, **more) -> torch.nn.Module:  # type: ignore[no-untyped-def]
        next(gan.discriminator.parameters()).data.fill_(torch.nan)
        return train_gan(gan, recipe, images, labels, **more, progress=steps.append)

    monkeypatch.setattr(trains, "train_gan", broken)
    last = study.run(spec, study.trials(spec)[0], tmp_path)[-1]
    assert last["diverged"]
    assert max(steps) < spec.watch_every


def test_the_recipes_are_those_of_the_papers():
    from ostrich.studies import dcgan_cifar10, perceptron_gan_mnist

    dcgan = dcgan_cifar10.recipe_of(find("dcgan-cifar10").spec("hours"), 3, 0)
    assert (dcgan.flip, dcgan.optimiser, dcgan.momentum, dcgan.generator_rate) == (False, "adam", 0.5, 2e-4)
    assert dcgan.steps <= 10_000
    assert dcgan.average == 0
    first = perceptron_gan_mnist.recipe_of(find("perceptron-gan-mnist").spec("hours"), 1, 0)
    assert (first.optimiser, first.momentum, first.generator_rate, first.batch_size) == ("sgd", 0.5, 0.1, 100)


def test_what_is_held_out_is_not_trained_on():
    given = generated.opened(find("dcgan-cifar10").spec("smoke"), 1)
    assert len(given.test) >= 80
    assert len(given.train) + len(given.test) == 160
    assert not set(given.train.keys) & set(given.test.keys)


def test_classes_are_mixed_where_folders_are_read_one_after_the_other(tmp_path):
    for part in ("train", "test"):
        for k in range(4):
            (tmp_path / part / f"class{k}").mkdir(parents=True)
            for i in range(20):
                Image.new("RGB", (8, 8), (60 * k, i, 0)).save(tmp_path / part / f"class{k}" / f"{i}.png")
    spec = replace(find("dcgan-cifar10").spec("smoke"), data=f"folder:{tmp_path}", train=80, held_out=40)
    given = generated.opened(spec, 0)
    for part in (given.train, given.test):
        assert part.labels is not None
        assert len(part.labels[:20].unique()) == 4
        assert part.labels.bincount().tolist() == [10] * 4


def test_the_gaussian_has_the_mean_and_the_covariance_of_the_images():
    draw = torch.Generator().manual_seed(0)
    base = torch.randn(400, 4, generator=draw) @ torch.tensor(
        [[0.05, 0.03, 0.0, 0.0], [0.0, 0.04, 0.0, 0.02], [0.0, 0.0, 0.05, 0.0], [0.0, 0.0, 0.0, 0.03]]
    )
    images = (0.5 + base).clamp(0, 1).unflatten(1, (1, 2, 2))
    made = generated.gaussian(images, 20_000, seed=1)
    assert made.shape == (20_000, 1, 2, 2)
    assert torch.allclose(made.mean(0), images.mean(0), atol=3e-3)
    assert torch.allclose(torch.cov(made.flatten(1).T), torch.cov(images.flatten(1).T), atol=2e-4)
    assert torch.equal(made[:5], generated.gaussian(images, 20_000, seed=1)[:5])


def test_the_largest_step_of_an_even_walk_and_of_a_jump():
    even = torch.linspace(0, 1, 11)[:, None, None, None, None].expand(11, 2, 3, 4, 4)
    assert generated.largest_step(even) == pytest.approx(0.1)
    jump = (even > 0.45).float()
    assert generated.largest_step(jump) == pytest.approx(1.0)


def test_at_too_high_a_rate_a_generator_has_diverged(tmp_path):
    study = find("perceptron-gan-mnist")
    spec = replace(study.spec("smoke"), rate=1e30, precision="exact")
    assert study.run(spec, {"seed": 0}, tmp_path) == [{"step": None, "diverged": True}]

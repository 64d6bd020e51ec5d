"""The variants of the study `systematic`: each changes one thing, and all start with variance 1."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import nn

from ostrich.models.initialization import weighted
from ostrich.runtime.randomness import seeded
from ostrich.statistics import sign_test
from ostrich.studies import find, systematic
from ostrich.studies.datasets import open_splits
from ostrich.studies.schema import Done
from ostrich.studies.systematic import COMPARISONS, SMALL, SURE, differences, recipe_of
from ostrich.studies.systematic_variants import VARIANTS, in_colours, network_of, unit_variance

NAMES = sorted(VARIANTS)


def built(name: str, size: int = 32) -> nn.Sequential:
    variant = VARIANTS[name]
    with seeded(0):
        channels = 1 if variant.colours == "grey" else 3
        return network_of(variant, maps=4, classes=10, channels=channels, size=size)


def test_each_comparison_changes_one_thing():
    for one in COMPARISONS:
        a, b = asdict(VARIANTS[one.variant]), asdict(VARIANTS[one.against])
        changed = {name for name in a if a[name] != b[name]}
        assert changed == {"batch", "rate"} if one.name == "4x batch and rate" else len(changed) == 1, (
            one.name
        )
    used = {one.variant for one in COMPARISONS} | {one.against for one in COMPARISONS}
    assert used == set(VARIANTS)  # no network is trained for nothing


def test_the_published_differences_are_those_of_the_tables():
    theirs = {one.name: one.theirs() for one in COMPARISONS}
    assert theirs["ELU for ReLU"] == 1.7  # .488 - .471
    assert theirs["4x batch"] == -5.2  # .419 - .471
    assert theirs["HSV for RGB"] == -1.8  # .451 - .469
    asked = [value for value in theirs.values() if abs(value) >= SMALL]
    assert (sum(v > 0 for v in asked), sum(v < 0 for v in asked)) == (9, 8)  # as the rule says


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [16, 32])
def test_every_layer_starts_with_variance_one(name, size):
    network = built(name, size)
    channels = next(iter(weighted(network).values())).weight.shape[1]
    inputs = 3 * torch.randn(64, channels, size, size, generator=torch.Generator().manual_seed(1)) + 1
    with seeded(0):
        unit_variance(network, inputs)
    x = inputs
    with torch.no_grad():
        for layer in network:
            x = layer(x)
            if isinstance(layer, nn.Conv2d | nn.Linear):
                assert x.std().item() == pytest.approx(1, abs=1e-3)
    assert x.shape == (64, 10)


def test_what_weights_are_scaled_on_has_every_class(tmp_path, monkeypatch):
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(systematic, "unit_variance", lambda network, inputs: seen.append(inputs))
    monkeypatch.setattr(systematic, "START_IMAGES", 8)
    for part in ("train", "test"):
        for k in range(4):
            (tmp_path / part / f"class{k}").mkdir(parents=True)
            for i in range(16):
                Image.new("RGB", (16, 16), (60 * k, i, 0)).save(tmp_path / part / f"class{k}" / f"{i}.png")
    spec = replace(find("systematic").spec("smoke"), data=f"folder:{tmp_path}", train=60)
    find("systematic").run(spec, {"variant": "baseline", "seed": 0}, tmp_path)
    assert len(seen[0]) == 8
    assert len(seen[0][:, 0, 0, 0].unique()) == 4  # red is the class


def test_the_baseline_is_the_network_of_the_table():
    network = network_of(VARIANTS["baseline"], maps=16, classes=10, channels=3, size=32)
    found = [tuple(layer.weight.shape) for layer in weighted(network).values()]
    assert found == [(16, 3, 3, 3), (32, 16, 3, 3), (32, 32, 3, 3), (128, 288), (10, 128)]
    assert next(iter(weighted(built("wider")).values())).weight.shape[0] == 6  # 4 times the root of 2


def test_a_larger_batch_sees_as_many_images_in_fewer_steps():
    study = find("systematic")
    spec = study.spec("hours")
    given = open_splits("toybox", size=8, train=256, test=10, seed=0)
    small, large = (recipe_of(spec, VARIANTS[n], given, 0) for n in ("baseline", "four times the batch"))
    assert (small.batch_size, large.batch_size) == (64, 256)
    assert small.epochs == large.epochs == spec.epochs
    assert small.learning_rate == large.learning_rate
    scaled = recipe_of(spec, VARIANTS["four times batch and rate"], given, 0)
    assert scaled.learning_rate == 4 * small.learning_rate


def test_colours_are_changed_and_labels_are_not():
    given = open_splits("toybox", size=8, train=20, test=10, seed=0)
    grey, hsv = in_colours(given, "grey"), in_colours(given, "HSV")
    assert (grey.channels, hsv.channels) == (1, 3)
    red, green, blue = given.train.tensor()[0].float()
    expected = 0.299 * red + 0.587 * green + 0.114 * blue
    assert (grey.train.tensor()[0, 0] - expected).abs().max() <= 1
    assert torch.equal(hsv.train.tensor()[:, 2], given.train.tensor().max(dim=1).values)  # value: the largest
    assert torch.equal(grey.test.labels, given.test.labels)
    assert in_colours(given, "learned") is given


def test_differences_are_of_the_last_row_and_of_seeds_that_have_both():
    study = find("systematic")
    spec = replace(study.spec("smoke"), seeds=3)

    def rows(variant: str) -> list[dict]:
        right = 50.0 + (variant == "elu")
        end = {"epoch": None, "held_out_accuracy": right, "test_accuracy": right}
        return [{"epoch": 1.0, "running_accuracy": 90.0}, end]

    done = [
        Done(trial={"variant": name, "seed": seed}, rows=rows(name), folder=Path())
        for name, seed in (("baseline", 0), ("elu", 0), ("baseline", 1), ("elu", 1), ("elu", 2), ("tanh", 2))
    ]
    found = differences([{**one.trial, **row} for one in done for row in one.rows])
    assert found == {"ELU for ReLU": [1.0, 1.0]}
    shown = study.judge(spec, done)  # an unfinished run shows what it has
    assert shown.figures["of"] == 1
    assert "inf" not in str(shown.tables)
    (first,) = study.judge(spec, done[:2]).compared
    assert first == ("ELU for ReLU, points of accuracy", "+1.7", "+1.0 (one seed)")


@pytest.mark.parametrize(("hits", "count"), [(13, 17), (0, 5), (5, 5), (9, 17)])
def test_the_sign_test_is_the_binomial_one(hits, count):
    expected = binomtest(hits, count, alternative="greater").pvalue
    assert sign_test(hits, count) == pytest.approx(expected, rel=1e-9)


def test_of_seventeen_thirteen_are_as_many_as_the_rule_says():
    assert sign_test(13, 17) <= SURE < sign_test(12, 17)

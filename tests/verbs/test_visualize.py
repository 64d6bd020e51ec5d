"""`ostrich.visualize`: what a PyTorch user has goes in; images and the command's files come out."""

from __future__ import annotations

import nets
import pytest
import torch
from goldens import same_runs
from torch import nn

import ostrich
from ostrich.cli.main import run
from ostrich.errors import InputError, UnknownName
from ostrich.generative import load_generator
from ostrich.images import read_image, read_png, rounded
from ostrich.visualization import Ascent, unit
from ostrich.visualization.parametrisations import Fourier

SHORT = {"preset": "plain", "steps": 3}


# What goes in -----------------------------------------------------------------------------------------


def test_a_class_rises_and_the_image_is_what_a_file_holds():
    model = nets.small()
    found = ostrich.visualize(model, unit="class:1", preset="plain", steps=16)
    assert found.images.shape == (1, 3, 16, 16)
    assert torch.equal(found.images, rounded(found.images))
    with torch.no_grad():
        assert torch.allclose(found.values, model(found.images)[:, 1], atol=1e-5)
    assert found.values[0] > found.trace[0, 0]
    assert found.figures["units"][0]["value"] == found.values[0].item()


def test_units_sums_and_seeds_are_rows():
    found = ostrich.visualize(
        nets.small(),
        unit=["class:1", unit("conv1:2")],
        objective=unit("class:0") - 0.5 * unit("class:1"),
        seeds=2,
        seed=4,
        **SHORT,
    )
    assert found.units == [
        *["class:1"] * 2,
        *["conv1:2"] * 2,
        *["class:0 - 0.5*class:1"] * 2,
    ]
    assert found.images.shape[0] == 6
    assert found.trace.shape == (3, 6)
    assert [row["seed"] for row in found.figures["units"]] == [4, 5] * 3
    assert ostrich.visualize(nets.small(), unit="class:*", **SHORT).units == [f"class:{k}" for k in range(5)]


def test_settings_are_values_text_or_an_ascent():
    model = nets.small()
    values = ostrich.visualize(model, unit="class:1", parametrisation="fourier", deviation=1, steps=3)
    text = ostrich.visualize(model, unit="class:1", parametrisation="fourier", deviation="1", steps="3")
    assert values.figures["settings"] == text.figures["settings"]
    assert values.figures["settings"]["deviation"] == 1.0
    assert torch.equal(values.images, text.images)
    ascent = Ascent(steps=3, parametrisation=Fourier())
    assert ostrich.visualize(model, unit="class:1", preset=ascent).figures["settings"]["steps"] == 3


def test_filters_alone():
    found = ostrich.visualize(nets.small(), filters=True)
    assert found.filters.shape[0] == 3
    assert len(found.images) == 0
    assert found.figures.keys() == {"filters", "seconds"}
    assert "data:image/png;base64," in found._repr_html_()


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({}, InputError, "Name what to show"),
        ({"unit": "class:99"}, UnknownName, "class"),
        ({"unit": 3}, InputError, "A unit is a name"),
        ({"unit": "class:1", "stepz": 3}, UnknownName, "steps"),
        ({"unit": "class:1", "steps": 2.5}, InputError, "a whole number is expected"),
        ({"unit": "class:1", "preset": "plane"}, UnknownName, "plain"),
        ({"unit": "class:1", "preset": "plain", "prior": "zoo:toybox-dcgan"}, InputError, "name one of them"),
        ({"unit": "class:1", "prior": "zoo:toybox-nosuch"}, UnknownName, "generator"),
        ({"unit": "class:1", "seeds": 0}, InputError, "seed"),
        ({"unit": "class:1", "seeds": 1.5}, InputError, "seeds is a whole number; got"),
        ({"unit": "class:1", "seed": "0"}, InputError, "seed is a whole number; got"),
        ({"unit": "conv1:1", "judges": nets.small(1)}, InputError, "class:NAME"),
        ({"objective": "-2*class:1", "judges": nets.small(1)}, InputError, "class:NAME"),
        ({"unit": "class:1", "judges": "zoo:digits-cnn"}, InputError, "channels"),
        ({"filters": True, "steps": 3}, InputError, "not for the filters"),
        ({"filters": True, "gif": True}, InputError, "not for the filters"),
        ({"unit": "class:1", "model": nn.Sequential(nn.Flatten(), nn.Linear(12, 2))}, InputError, "size=224"),
        ({"unit": "class:1", "model": lambda x: x.mean((2, 3))}, InputError, "not known|prediction function"),
    ],
)
def test_bad_input_is_answered(given, error, match, tmp_path):
    given = {"model": nets.small(), **given}
    with pytest.raises(error, match=match):
        ostrich.visualize(given.pop("model"), out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


# What comes out ---------------------------------------------------------------------------------------


def test_every_judge_has_its_own_verdict():
    class Silent(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 5), torch.nan)

    silent = ostrich.Classifier(Silent(), name="silent", size=(16, 16), channels=3)
    model = nets.small()
    judges = [model, nets.small(1), nets.small(2, size=(24, 20)), silent]
    found = ostrich.visualize(model, unit="class:0", objective="2*class:1", judges=judges, **SHORT)
    assert list(found.figures["judges"]) == ["small", "small-2", "small-3", "silent"]
    assert found.figures["judges"]["silent"]["recognised"] == 0
    assert sum("recognises" in said for said in found.sentences) == 4
    nearly = {"recognised": 249 / 250, "n": 250, "interval": [0.978, 0.9993]}
    found.figures["judges"] = {"judge": nearly}
    assert found.sentences[-1] == "judge recognises 99.6% of 250 (95 %: 98% to 99.9%)."


def test_the_verb_writes_what_the_command_writes(tmp_path):
    command = (
        "visualize zoo:toybox-plain14 --unit class:ostrich --unit class:umbrella --filters --gif --seeds 2"
    )
    words = [*command.split(), "--set", "steps=3", "--judges", "zoo:toybox-resnet20"]
    assert run([*words, "--out", str(tmp_path / "command")]) == 0
    given = {"unit": ["class:ostrich", "class:umbrella"], "filters": True, "gif": True, "seeds": 2}
    given |= {"steps": 3, "judges": "zoo:toybox-resnet20"}
    ostrich.visualize("zoo:toybox-plain14", out=tmp_path / "out", **given)
    same_runs(tmp_path / "command", tmp_path / "out")
    memory = ostrich.visualize("zoo:toybox-plain14", **given)
    assert memory.folder is None
    memory.save(tmp_path / "saved")
    same_runs(tmp_path / "command", tmp_path / "saved")
    files = [read_png(tmp_path / "command" / row["file"]) for row in memory.figures["units"]]
    assert torch.equal(memory.images, torch.stack(files))
    shown = memory._repr_html_()
    assert repr(memory).startswith("<visualize: ")
    assert "tensor(" not in repr(memory) + shown
    assert any("recognises" in sentence for sentence in memory.sentences)


@pytest.mark.parametrize("channels", [2, 4])
def test_files_hold_all_channels(channels, tmp_path):
    model = nets.small(channels=channels)
    found = ostrich.visualize(model, unit="class:1", seeds=2, gif=True, out=tmp_path / "run", **SHORT)
    files = [read_image(tmp_path / "run" / row["file"]) for row in found.figures["units"]]
    assert torch.equal(torch.stack(files), found.images)


def test_the_value_before_rounding_is_that_of_the_image_that_is_kept():
    given = {"unit": "class:1", "steps": 8, "jitter": 0.4}  # by its views the value goes up and down
    for keep, kept in (("last", lambda trace: trace[-1]), ("best", lambda trace: trace.amax(0))):
        found = ostrich.visualize(nets.small(), keep=keep, **given)
        assert found.figures["units"][0]["value_float"] == kept(found.trace)[0].item()
        assert found.trace[-1, 0] < found.trace.amax()


def test_a_prior_draws_by_verb_as_by_command(tmp_path):
    words = ["visualize", "zoo:toybox-plain14", "--unit", "class:ostrich", "--prior", "zoo:toybox-dcgan"]
    assert run([*words, "--set", "steps=2", "--out", str(tmp_path / "command")]) == 0
    generator = load_generator("zoo:toybox-dcgan")
    given = {"unit": "class:ostrich", "steps": 2}
    ostrich.visualize("zoo:toybox-plain14", prior=generator, **given).save(tmp_path / "generator")
    same_runs(tmp_path / "command", tmp_path / "generator")
    ostrich.visualize("zoo:toybox-plain14", prior="zoo:toybox-dcgan", **given).save(tmp_path / "name")
    same_runs(tmp_path / "command", tmp_path / "name")


def test_the_network_is_left_as_it_was(untouched_network):
    ostrich.visualize(untouched_network, unit="class:0", filters=True, judges=untouched_network, **SHORT)

"""What units respond to, their receptive fields, and the sheets that show both."""

from __future__ import annotations

import json

import nets
import pytest
import torch
from torch import nn

import ostrich
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.inspection.units import values
from ostrich.visualization import configure, receptive_field, respond, unit_sheets

SHORT = configure({"steps": "3"}, "plain")


def test_a_receptive_field_is_that_of_the_arithmetic():
    model = nets.stack()
    # One place of the first layer sees 3x3 pixels, of the second 7x7, every second pixel; pooled: 9x9.
    found = receptive_field(model, ["0:1@10,10", "2:0@5,6", "4:2@3,4", "2:0@0,0", "class:1"])
    assert found == [(9, 9, 12, 12), (7, 9, 14, 16), (9, 13, 18, 22), (0, 0, 4, 4), (0, 0, 24, 32)]


def test_a_channel_responds_where_its_map_is_highest():
    model, images = nets.stack(), nets.random_images(7, (24, 32))
    (channel, neuron, label) = respond(model, images.split(3), ["2:5", "2:5@3,4", "class:2"])
    output = model.network[:3](images)[:, 5]
    assert torch.allclose(channel.values, output.flatten(1).amax(1))
    own = torch.stack(
        [values(model, images[i : i + 1], [unit])[0, 0] for i, unit in enumerate(channel.neurons)]
    )
    assert torch.allclose(own, channel.values, atol=1e-6)
    assert torch.allclose(neuron.values, output[:, 3, 4], atol=1e-6)
    assert torch.allclose(label.values, model(images)[:, 2], atol=1e-6)
    assert channel.strongest(3) == channel.values.topk(3).indices.tolist()


def test_random_answers_respond_as_their_seed_says():
    model, images = nets.random_answers(), nets.random_images(6, (12, 12))
    one = respond(model, images.split(4), ["conv:3", "class:1"])
    two = respond(model, images.flip(0).split(1), ["conv:3", "class:1"])
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.values, b.values.flip(0))
        assert a.neurons == b.neurons[::-1]
    assert not torch.equal(one[1].values, respond(model, [images], ["class:1"], seed=1)[0].values)
    pages = [unit_sheets(model, lambda a, b: images[a:b], 6, ["class:1"], SHORT, top=3)[0] for _ in range(2)]
    assert pages[0].places == pages[1].places
    assert torch.equal(pages[0].preferred, pages[1].preferred)
    assert all(torch.equal(found, pages[1].maps[name]) for name, found in pages[0].maps.items())


def test_a_response_needs_an_image_and_a_unit_that_exists():
    model, images = nets.stack(), nets.random_images(1, (24, 32))
    with pytest.raises(InputError, match="channels 0 to 5"):
        respond(model, [images], ["2:6"])
    with pytest.raises(InputError, match="at least one unit and one image"):
        respond(model, [], ["2:0"])


@pytest.mark.parametrize(
    ("activation", "methods"), [(nn.ReLU, ["deconvnet", "guided"]), (nn.GELU, ["gradient"])]
)
def test_a_sheet_shows_the_strongest_images_and_maps_inside_their_boxes(activation, methods):
    model, images = nets.stack(activation), nets.random_images(12, (24, 32))
    (page,) = unit_sheets(model, lambda a, b: images[a:b], len(images), ["2:1"], SHORT, top=4, batch=5)
    best = model.network[:3](images)[:, 1].flatten(1).amax(1).topk(4).indices
    assert list(page.places) == best.tolist()
    assert torch.equal(page.images, images[best])
    assert list(page.maps) == methods
    for found in page.maps.values():
        for one, (top, left, bottom, right) in zip(found, page.boxes, strict=True):
            outside = one.clone()
            outside[:, top:bottom, left:right] = 0
            assert one.any()
            assert not outside.any()


def test_a_sheet_of_a_function_or_of_nothing_is_refused():
    images = nets.random_images(2, (24, 32))
    with pytest.raises(InputError, match="at least one image"):
        unit_sheets(nets.stack(), lambda a, b: images[a:b], 2, ["2:1"], SHORT, top=0)
    with pytest.raises(InputError, match="channels 0 to 5"):
        unit_sheets(nets.stack(), lambda a, b: images[a:b], 2, ["2:9"], SHORT)


def test_the_command_writes_a_page_a_unit_and_one_for_the_layer(tmp_path, capsys):
    words = [
        "explain",
        "sheet",
        "zoo:digits-cnn",
        "digits",
        "--limit",
        "12",
        "--set",
        "steps=2",
        "--set",
        "top=3",
    ]
    layer = next(row for row in _layers() if len(row["shape"]) == 3)
    out = tmp_path / "run"
    assert run([*words, "--unit", layer["name"], "--unit", "class:3", "--out", str(out)]) == 0
    results = json.loads((out / "run.json").read_text())["results"]
    assert len(results["sheets"]) == layer["shape"][0] + 1
    assert all((out / row["file"]).exists() and len(row["values"]) == 3 for row in results["sheets"])
    assert set(results["layers"]) == {layer["name"]}
    assert (out / results["layers"][layer["name"]]).exists()
    capsys.readouterr()


def _layers() -> list[dict]:
    from ostrich.inspection.units import layers

    return [{"name": row.name, "shape": row.shape} for row in layers(ostrich.load("zoo:digits-cnn"))]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "A sheet is about a unit"),
        (["--unit", "class:3", "--set", "top=10"], "1 to 9 images"),
        (["--unit", "class:3", "--sanity"], "sanity checks a method"),
        (["--unit", "nosuch:0"], "nosuch"),
        (["--unit", "class:3", "--set", "preset=nosuch"], "nosuch"),
    ],
)
def test_what_a_sheet_cannot_show_is_said(words, told, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["explain", "sheet", "zoo:digits-cnn", "digits", *words, "--out", str(out)]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_the_network_is_left_as_it_was(untouched_network):
    images = nets.random_images(3)
    layer = next(name for name, module in untouched_network.network.named_modules() if name.endswith("conv1"))
    unit_sheets(untouched_network, lambda a, b: images[a:b], 3, [f"{layer}:1", "class:0"], SHORT)
    with pytest.raises(InputError):
        unit_sheets(untouched_network, lambda a, b: images[a:b], 3, [f"{layer}:999"], SHORT)

"""Units of transformers and channels-last networks: features, never tokens or rows."""

from __future__ import annotations

import json

import nets
import pytest
import torch
from torch import Tensor, nn

import ostrich
from ostrich.attribution import GradCAM, Gradient, explain
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.inspection import units
from ostrich.inspection.layouts import layout_of
from ostrich.inspection.silencing import silenced
from ostrich.visualization import PRESETS, ascend
from ostrich.visualization.responses import respond

timm = pytest.importorskip("timm")
IMAGES = nets.random_images(2, (32, 32))


def built(name: str) -> ostrich.Classifier:
    """A small network of its kind with random weights, for images of 32x32."""
    torch.manual_seed(0)
    if name == "vit":
        network = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, num_classes=5)
    elif name == "vit without a class token":
        network = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=32,
            patch_size=8,
            depth=2,
            embed_dim=48,
            num_heads=2,
            class_token=False,
            global_pool="avg",
        )
    elif name == "swin":
        network = timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=24, depths=(1, 1, 1, 1)
        )
    elif name == "convnext":
        from torchvision.models.convnext import CNBlockConfig, ConvNeXt

        network = ConvNeXt([CNBlockConfig(16, 24, 1), CNBlockConfig(24, None, 1)], num_classes=5)
    else:
        from torchvision.models import VisionTransformer

        network = VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=48, mlp_dim=96, num_classes=5
        )
    return ostrich.Classifier(network.eval(), size=(32, 32), name=name, channels=3)


# network, layer, features, map, and the output with its features first
CASES = [
    ("vit", "blocks.0", 192, (4, 4), lambda x: x[:, 1:].mT.unflatten(2, (4, 4))),
    ("vit", "blocks.1.norm1", 192, (4, 4), lambda x: x[:, 1:].mT.unflatten(2, (4, 4))),
    ("vit", "blocks.0.mlp.act", 768, (4, 4), lambda x: x[:, 1:].mT.unflatten(2, (4, 4))),
    ("vit", "patch_embed", 192, (4, 4), lambda x: x.mT.unflatten(2, (4, 4))),
    ("vit", "patch_embed.proj", 192, (4, 4), lambda x: x),
    ("vit without a class token", "blocks.1", 48, (4, 4), lambda x: x.mT.unflatten(2, (4, 4))),
    ("swin", "patch_embed", 24, (8, 8), lambda x: x.movedim(-1, 1)),
    ("swin", "layers.1", 48, (4, 4), lambda x: x.movedim(-1, 1)),
    ("convnext", "features.1", 16, (8, 8), lambda x: x),
    ("convnext", "features.1.0.block.2", 16, (8, 8), lambda x: x.movedim(-1, 1)),  # LayerNorm
    ("convnext", "features.1.0.block.4", 64, (8, 8), lambda x: x.movedim(-1, 1)),  # GELU
    ("convnext", "features.0.1", 16, (8, 8), lambda x: x),  # a layer normalisation of a map
    ("torchvision", "encoder.layers.encoder_layer_0", 48, (4, 4), lambda x: x[:, 1:].mT.unflatten(2, (4, 4))),
]


@pytest.mark.parametrize(("name", "layer", "features", "size", "laid"), CASES)
def test_a_unit_is_a_feature_and_a_place_a_token(name, layer, features, size, laid):
    model, seen = built(name), []
    handle = model.network.get_submodule(layer).register_forward_hook(
        lambda _m, _x, output: seen.append(output.clone())
    )
    with torch.no_grad():
        model(IMAGES)
    handle.remove()
    expected = laid(seen[0])  # (N, C, h, w)
    assert tuple(expected.shape) == (2, features, *size)
    last, (row, column) = features - 1, (size[0] - 1, 1)
    asked = [f"{layer}:3", f"{layer}:{last}", f"{layer}:{last}@{row},{column}", f"{layer}:0@centre"]
    with torch.no_grad():
        found = units.values(model, IMAGES, [units.parse(text) for text in asked])
    middle = size[0] // 2, size[1] // 2
    wanted = [
        expected[:, 3].mean((1, 2)),
        expected[:, last].mean((1, 2)),
        expected[:, last, row, column],
        expected[:, 0, middle[0], middle[1]],
    ]
    assert torch.allclose(found, torch.stack(wanted), atol=1e-5)
    with pytest.raises(InputError, match=f"0 to {last}; got {features}"):
        units.resolve(model, f"{layer}:{features}")
    with pytest.raises(InputError, match=f"a map of {size[0]}x{size[1]}"):
        units.resolve(model, f"{layer}:0@{size[0]},0")
    assert len(units.every(model, layer)) == features
    maps = explain(Gradient(), model, IMAGES, asked)
    x = IMAGES.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(units.values(model, x, [units.parse(asked[2])]).sum(), x)
    assert torch.allclose(maps[:, 2], slope, atol=1e-6)
    assert slope.abs().sum() > 0


def test_what_asks_for_units_reads_features():
    """Ascents, strongest responses and Grad-CAM of a token network."""
    model = built("vit")
    asked = ["blocks.0:190", "blocks.0:190@2,1"]
    ascent = ascend(model, asked, PRESETS["plain"].__class__(steps=3, keep="last"))
    assert (ascent.trace[-1] > ascent.trace[0]).all()
    (response,) = respond(model, [IMAGES], ["blocks.0:190"])
    tokens = units.activations(model, IMAGES, "blocks.0")[:, 190].flatten(1)  # (N, 16)
    assert torch.allclose(response.values, tokens.max(1).values, atol=1e-5)
    row, column = divmod(int(tokens[0].argmax()), 4)
    assert str(response.neurons[0]) == f"blocks.0:190@{row},{column}"
    assert explain(GradCAM(), model, IMAGES, asked).shape == (2, 2, 3, 32, 32)


def test_windows_of_attention_are_refused():
    model = built("swin")
    with pytest.raises(InputError, match="4 rows for 1 images, as layers inside windows"):
        units.resolve(model, "layers.0.blocks.0.attn.qkv:0")
    rows = {row.name: row for row in units.layers(model)}
    assert rows["layers.0.blocks.0.attn.qkv"].features is None


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Conv2d(3, 8, 1), (8, 8, 8), 0),
        (nn.Linear(8, 8), (8, 8, 8), -1),
        (nn.LayerNorm(16), (16, 16), -1),
        (nn.Flatten(2), (16, 16), 0),
        (nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), (8, 8, 8), 0),
        (nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)), (8, 8, 8), -1),
        (nn.GELU(), (8, 8, 8), None),
        (nn.GELU(), (16, 16), -1),
        (nn.GELU(), (16, 64), -1),
        (nn.Identity(), (3, 17, 64), None),  # heads, tokens, features
        (nn.GELU(), (5, 7, 9, 2), None),
    ],
)
def test_what_the_shape_leaves_open_the_module_decides_or_it_is_refused(module, shape, axis):
    network = nn.Sequential(module, nn.LayerNorm(8))  # a network that works on tokens too
    if axis is None:
        with pytest.raises(InputError, match="nothing says which of these are its features"):
            layout_of(network, "0", (2, *shape), (2, 3, 32, 32))
    else:
        found = layout_of(network, "0", (2, *shape), (2, 3, 32, 32))
        assert (found.axis, found.features) == (axis, shape[axis])
        assert found.lay(torch.zeros(2, *shape)).shape[:2] == (2, shape[axis])


class Narrowed(nn.Module):
    """Strides and pooling that differ by axis, as for spectrograms: 32 channels at 32x4 and 32x2 places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Sequential(nn.Conv2d(3, 32, 3, (1, 8), 1), nn.BatchNorm2d(32), nn.ReLU())
        self.drop, self.pooled = nn.Dropout(), nn.Identity()
        self.line = nn.Sequential(nn.Conv1d(32, 32, 1), nn.ReLU())
        self.fc = nn.Linear(32, 3)

    def forward(self, x):
        h = self.drop(self.block(x))
        self.pooled(nn.functional.max_pool2d(h, (1, 2)))
        return self.fc(self.line(h.mean(3)).mean(2))


def test_strides_that_differ_by_axis_leave_channels_channels():
    model = ostrich.Classifier(Narrowed().eval(), size=(32, 32))
    for layer in ("block", "block.2", "drop", "line", "line.1"):
        with torch.no_grad():
            found = units.activations(model, IMAGES, layer)
        assert tuple(found.shape) == ((2, 32, 32, 4) if "line" not in layer else (2, 32, 32)), layer
        with pytest.raises(InputError, match="channels 0 to 31; got 32"):
            units.resolve(model, f"{layer}:32")
    rows = {row.name: (row.features, row.map) for row in units.layers(model)}
    assert rows["block.2"] == rows["drop"] == (32, (32, 4))
    with pytest.raises(InputError, match="nothing says which of these are its features"):
        units.resolve(model, "pooled:0")  # 32x32 places of two features, or 32 channels at 32x2
    with torch.no_grad():
        seen = model.network.block(IMAGES).requires_grad_(True)
    with torch.enable_grad():
        score = model.network.fc(model.network.line(seen.mean(3)).mean(2))[:, 1]
    (slope,) = torch.autograd.grad(score.sum(), seen)
    small = (slope.mean((2, 3), keepdim=True) * seen).sum(1, keepdim=True).relu().detach()
    expected = nn.functional.interpolate(small, (32, 32), mode="bilinear")
    for method in (GradCAM(), GradCAM(layer="block"), GradCAM(layer="drop")):
        assert torch.allclose(explain(method, model, IMAGES, ["class:1"])[:, 0, :1], expected, atol=1e-6)
    assert expected.any()
    unit = units.parse("block:17")
    with torch.no_grad():
        silent = model.network.block(IMAGES)
        silent[:, 17] = 0
        after = model.network.fc(model.network.line(silent.mean(3)).mean(2))
    assert torch.allclose(silenced(model, IMAGES, unit), after, atol=1e-6)


def test_a_flattened_map_keeps_its_places():
    network = nn.Sequential(nn.Conv2d(3, 5, 2, 2), nn.Flatten(2))
    model = ostrich.Classifier(network.eval(), size=(8, 12), channels=3)
    images = nets.random_images(2, (8, 12))
    flat: Tensor = network(images).detach()  # (N, 5, 24)
    found = units.values(model, images, [units.parse("1:4@1,2"), units.parse("1:4")]).detach()
    assert torch.allclose(found, torch.stack([flat[:, 4, 1 * 6 + 2], flat[:, 4].mean(1)]))


def test_the_table_counts_features(tmp_path, capsys):
    path = tmp_path / "net.py"
    path.write_text(
        "import timm\n"
        "def vit():\n"
        "    return timm.create_model('vit_tiny_patch16_224', img_size=32, patch_size=8, depth=1)\n"
    )
    assert run(["list", "units", f"{path}:vit", "--size", "32", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["blocks.0.norm1"]["features"], rows["blocks.0.norm1"]["map"]) == (192, [4, 4])
    assert rows["blocks.0.norm1"]["shape"] == [17, 192]
    assert (rows["head"]["features"], rows["head"]["map"]) == (1000, None)

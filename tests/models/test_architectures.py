"""Architectures against the published tables, the arch: spec, other libraries' networks, the digits."""

from __future__ import annotations

import sys
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ostrich.data import load as load_data
from ostrich.data import open_data
from ostrich.errors import InputError, MissingExtra, UnknownName
from ostrich.images import fit
from ostrich.inspection import units
from ostrich.models import Classifier, bundled, libraries, loading
from ostrich.models.alexnet import ResponseNorm
from ostrich.models.architectures import ARCHITECTURES, build
from ostrich.published import published
from ostrich.training.recipe import RECIPES


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def structure(spec: str) -> nn.Module:
    """The network with whatever lies in memory for weights, which is quicker than to draw them."""
    drawn = ("normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_")
    with mock.patch.multiple(nn.init, **dict.fromkeys(drawn, lambda tensor, *args, **kwargs: tensor)):
        return build(spec)[0]


# Published tables --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("lenet", 61_706),
        ("resnet110", 1_727_962),
        ("plain20", 269_722),
        ("plain110", 1_727_962),
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet18,shortcut=A", 11_515_688),
        ("resnet34,shortcut=A", 21_623_848),
        ("plain18", 11_515_688),
        ("plain34", 21_623_848),
        ("alexnet", 60_965_224),
        ("alexnet,without=7", 60_965_224 - 16_781_312),
        ("alexnet,without=67", 60_965_224 - 49_414_144),
        ("alexnet,without=34", 60_965_224 - 1_696_512),
        ("alexnet,without=3467", 60_965_224 - 51_110_656),
        ("alexnet-small", 361_834),
        ("digits-cnn", 38_282),
    ],
)
def test_parameters(spec: str, count: int) -> None:
    assert parameters(structure(spec)) == count


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_parameters_round_to_the_papers(depth: int) -> None:
    printed = published(f"cifar10-resnet{depth}/parameters").value  # 0.27, 1.7: as many digits as printed
    digits = len(str(printed).partition(".")[2])
    assert round(parameters(structure(f"resnet{depth}")) / 1e6, digits) == printed


@pytest.fixture(scope="module")
def alexnet() -> Classifier:
    network, _, size = build("alexnet")
    return Classifier(network.eval(), name="alexnet", size=size)


def test_alexnet_layer_table(alexnet: Classifier) -> None:
    rows = {row.name: (row.shape, row.parameters) for row in units.layers(alexnet)}
    table = {
        "conv1": ((96, 55, 55), 34_944),
        "pool1": ((96, 27, 27), 0),
        "conv2": ((256, 27, 27), 307_456),
        "pool2": ((256, 13, 13), 0),
        "conv3": ((384, 13, 13), 885_120),
        "conv4": ((384, 13, 13), 663_936),
        "conv5": ((256, 13, 13), 442_624),
        "pool5": ((256, 6, 6), 0),
        "fc6": ((4096,), 37_752_832),
        "fc7": ((4096,), 16_781_312),
        "fc8": ((1000,), 4_097_000),
    }
    assert {name: rows[name] for name in table} == table
    order = [name for name in rows if name.endswith(("1", "2"))]
    assert order == ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"]
    layers = [shape for name, (shape, _) in rows.items() if name.startswith(("conv", "fc"))]
    assert sum(int(np.prod(shape)) for shape in layers) == 659_272
    printed = published("alexnet/units-layer1").value
    assert 659_272 - int(np.prod(rows["conv1"][0])) + printed == 622_312  # the paper's slip


def test_alexnet_is_initialised_as_published(alexnet: Classifier) -> None:
    network = alexnet.network
    assert isinstance(network, nn.Module)
    for name, module in network.named_children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            ones = name in ("conv2", "conv4", "conv5", "fc6", "fc7")
            assert (module.bias == float(ones)).all(), name
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.05), name


def test_the_towers_of_conv2_do_not_see_each_other(alexnet: Classifier) -> None:
    conv2 = alexnet.network.get_submodule("conv2")  # type: ignore[union-attr]
    x = torch.rand(1, 96, 6, 6, requires_grad=True)
    conv2(x)[:, :128].sum().backward()
    assert x.grad is not None
    assert x.grad[:, :48].abs().min() > 0
    assert x.grad[:, 48:].abs().max() == 0


def test_response_norm_is_torchs_with_alpha_times_n() -> None:
    x = (30 * torch.randn(2, 7, 3, 4)).double().requires_grad_()
    ours, torchs = ResponseNorm(7).double(), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(ours(x), torchs(x))
    one, other = (torch.autograd.grad(norm(x).sin().sum(), x)[0] for norm in (ours, torchs))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("side", "stride"), [(64, 2), (32, 1)])
def test_small_alexnet_has_the_same_maps_at_both_sizes(side: int, stride: int) -> None:
    network, _, size = build(f"alexnet-small,size={side},stem_stride={stride}")
    rows = {row.name: row.shape for row in units.layers(Classifier(network.eval(), size=size))}
    found = [rows[name][1] for name in ("conv1", "pool1", "pool2", "conv5", "pool5")]
    assert found == [32, 15, 7, 7, 3]


def test_resnet_stages_halve_the_map() -> None:
    network, _, size = build("resnet18,width=0.125")
    rows = {row.name: row.shape for row in units.layers(Classifier(network.eval(), size=size))}
    names = ("conv1", "maxpool", "layer1.1.conv2", "layer2.1.conv2", "layer3.1.conv2", "layer4.1.conv2")
    assert [rows[n] for n in names] == [
        (8, 112, 112),
        (8, 56, 56),
        (8, 56, 56),
        (16, 28, 28),
        (32, 14, 14),
        (64, 7, 7),
    ]


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_torchvisions_weights_fit_and_agree(name: str) -> None:
    from torchvision import models

    theirs = getattr(models, name)(num_classes=1000).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    ours = build(name)[0].eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 65, 70)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


# Every architecture, and the spec ----------------------------------------------------------------


def small_spec(name: str) -> str:
    options = ARCHITECTURES[name].options()
    settings = ["classes=5", "channels=1"]
    if name in ("alexnet", "resnet18", "resnet34", "plain18", "plain34"):
        settings += ["width=0.05", "size=64x96"]
    assert {"classes", "channels", "width", "size"} <= set(options)
    return ",".join([name, *settings])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_computes_and_learns(name: str) -> None:
    torch.manual_seed(0)
    network, _, size = build(small_spec(name))
    logits = network.train()(torch.randn(2, 1, *size))
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 4])).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_width_scales_every_architecture(name: str) -> None:
    half = parameters(structure(f"{name},width=0.5"))
    assert 0.2 < half / parameters(structure(name)) < 0.51


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet19", "Did you mean"),
        ("resnet18,shortcut=C", "Known: A, B"),
        ("plain18,shortcut=A", "option of arch:plain18"),
        ("alexnet,without=5", "Known: none, 7, 67, 34, 3467"),
        ("alexnet,size=20", "too small"),
        ("alexnet,width=wide", "a number is expected"),
        ("alexnet-small,stem_stride=3", "stem_stride 1, 2 or 4"),
        ("resnet20,depth=8", "option of arch:resnet20"),
        ("digits-cnn,width=0", "width above 0"),
    ],
)
def test_a_wrong_spec_is_answered(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(spec)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipes_network_is_small_and_fits_its_data(name: str) -> None:
    recipe = RECIPES[name]
    network, _, _ = build(recipe.architecture)
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    assert len(recipe.mean) == first.in_channels
    assert parameters(network) <= 750_000  # 1.5 MB in half precision


# Networks of torchvision and timm ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side", "resize", "interpolation"),
    [
        ("resnet18.a1_in1k", 224, 235, "bicubic"),  # 224 / 0.95 = 235.8
        ("tf_efficientnet_b0.ns_jft_in1k", 224, 256, "bicubic"),
        ("convnext_tiny.fb_in22k_ft_in1k_384", 384, (384, 384), "bicubic"),  # squashed
    ],
)
def test_timm_preprocessing_is_timms(name: str, side: int, resize: object, interpolation: str) -> None:
    timm = pytest.importorskip("timm")
    config = timm.models.get_pretrained_cfg(name).to_dict()
    facts = libraries.timm_preprocessing(name, config)
    assert facts["size"] == (side, side)
    assert (facts["resize"], facts["interpolation"]) == (resize, interpolation)
    assert (facts["class_names"][9], facts["class_names"][779]) == ("ostrich", "school bus")

    resolved = timm.data.resolve_data_config(pretrained_cfg=config)
    transform = timm.data.create_transform(**resolved)
    picture = photograph(311, 207)
    expected = transform(picture)
    ours = Classifier(nn.Identity(), channels=3, **facts)
    fitted = fit(picture, facts["size"], facts["resize"], facts["interpolation"])
    pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(ours.normalised(pixels)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_timm_preprocessing_of_what_is_not_square(crop_mode: str) -> None:
    timm = pytest.importorskip("timm")
    config = timm.models.get_pretrained_cfg("resnet18.a1_in1k").to_dict()
    config |= {"input_size": (3, 64, 96), "crop_pct": 1.0, "crop_mode": crop_mode}
    facts = libraries.timm_preprocessing("mine", config)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config))
    for picture in (photograph(311, 207), photograph(150, 207)):
        fitted = fit(picture, facts["size"], facts["resize"], facts["interpolation"])
        ours = Classifier(nn.Identity(), channels=3, **facts)
        pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None] / 255
        torch.testing.assert_close(ours.normalised(pixels)[0], transform(picture), rtol=1e-5, atol=1e-5)
    if crop_mode == "center":
        with pytest.raises(InputError, match=r"0\.95 of 64x96 pixels.*not done here"):
            libraries.timm_preprocessing("mine", config | {"crop_pct": 0.95})


def photograph(width: int, height: int) -> Image.Image:
    from skimage.data import chelsea

    return Image.fromarray(np.asarray(chelsea())[:height, :width])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_fit_is_torchvisions_preset(interpolation: str) -> None:
    from torchvision.transforms import InterpolationMode, functional

    picture = photograph(311, 207)
    theirs = functional.center_crop(functional.resize(picture, [80], InterpolationMode(interpolation)), [64])
    assert np.array_equal(np.asarray(fit(picture, (64, 64), 80, interpolation)), np.asarray(theirs))


def test_timm_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    known = timm.list_models(pretrained=True)
    features = next(n for n in known if timm.models.get_pretrained_cfg(n).num_classes == 0)
    bare = next(n for n in timm.list_models() if not timm.models.is_model_pretrained(n))
    for name, message in ((features, "features"), (bare, "publishes no weights")):
        with pytest.raises(InputError, match=message):
            loading.load(f"timm:{name}")
    with pytest.raises(UnknownName, match="resnet18"):
        loading.load("timm:resnet118")

    def offline(name: str, pretrained: bool) -> nn.Module:
        raise ConnectionError("no route")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match=r"no route.*--weights FILE"):
        loading.load("timm:resnet18")


def test_timm_with_own_weights(tmp_path: object) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_resnet", pretrained=False).eval()
    torch.save(network.state_dict(), f"{tmp_path}/weights.pt")
    classifier = loading.load("timm:test_resnet", weights=f"{tmp_path}/weights.pt", device="cpu")
    assert (classifier.size, classifier.num_classes) == ((160, 160), 1000)
    x = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        torch.testing.assert_close(classifier(x), network((x - 0.5) / 0.5))


def test_without_timm_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"pip install \"ostrich-vision\[zoo\]\""):
        loading.load("timm:resnet18")


# The digits --------------------------------------------------------------------------------------


def test_digits_splits() -> None:
    train, test = open_data("digits:train"), open_data("digits")
    assert (len(train), len(test), test.name) == (1437, 360, "digits:test")
    assert test.labels is not None
    assert np.bincount(test.labels).tolist() == [36] * 10
    assert train.class_names == tuple("0123456789")
    assert not set(train.files) & set(test.files)
    samples = load_data(train, size=(8, 8), channels=1)
    assert samples.pixels.shape == (1437, 8, 8, 1)
    assert (
        samples.sha256 == bundled.zoo_cards()["digits-cnn"]["data_sha256"]
    )  # what the network was trained on
    assert samples.sha256 == load_data(open_data("digits:train"), size=(8, 8), channels=1).sha256
    mean, std = RECIPES["digits-cnn"].mean[0], RECIPES["digits-cnn"].std[0]
    assert samples.images().mean().item() == pytest.approx(mean, abs=1e-3)
    assert samples.images().std().item() == pytest.approx(std, abs=1e-3)


def test_digits_are_scikit_learns_in_eight_bits() -> None:
    from sklearn.datasets import load_digits

    stored = load_digits()
    parts = [open_data("digits:train"), open_data("digits:test")]
    for part in parts:
        grey = load_data(part, size=(8, 8), channels=1, limit=20).pixels[..., 0]
        colour = load_data(part, size=(8, 8), channels=3, limit=20).pixels
        assert (colour == grey[..., None]).all()
    rows = {name.partition("/")[2]: (part, i) for part in parts for i, name in enumerate(part.files)}
    assert len(rows) == 1797
    for k in (0, 7, 1796):
        part, i = rows[f"{k:04d}"]
        assert part.labels is not None
        assert part.labels[i] == stored.target[k]
        values = np.asarray(part.read(i).convert("L"), dtype=float) * 16 / 255
        assert np.abs(values - stored.images[k]).max() < 0.04


def test_the_digits_network_reads_digits() -> None:
    classifier = loading.load("zoo:digits-cnn", device="cpu")
    assert (classifier.channels, classifier.size) == (1, (8, 8))
    samples = load_data(open_data("digits"), size=(8, 8), channels=1, class_names=classifier.class_names)
    with torch.no_grad():
        right = (classifier(samples.images()).argmax(1) == samples.labels).float().mean().item()
    card = bundled.zoo_cards()["digits-cnn"]
    assert right == pytest.approx(card["test_accuracy"], abs=1.5 / 360)
    assert right >= 0.97


def test_a_network_without_convolutions_is_listed_with_the_channels_that_fill_it() -> None:
    [listed] = [one for one in bundled.known_models() if one["name"] == "arch:mlp"]
    assert listed["input"] == [1, 28, 28]
    assert build("mlp")[0](torch.rand(2, *listed["input"])).shape == (2, 10)

"""Classifiers from specs, weights as strangers write them, and what cannot be loaded."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import ostrich
from ostrich.errors import CheckpointMismatch, InputError, UnknownName
from ostrich.models import published_weights
from ostrich.models.bundled import zoo_cards
from ostrich.models.checkpoints import Checkpoint


@pytest.fixture
def state():
    return {k: v.clone() for k, v in ostrich.load("arch:resnet8").network.state_dict().items()}


def save(tmp_path, content, name="w.pt") -> str:
    torch.save(content, tmp_path / name)
    return str(tmp_path / name)


def weights_of(path, **options):
    return ostrich.load("arch:resnet8", weights=path, **options).network.state_dict()


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("nest", [(), ("state_dict",), ("model",), ("checkpoint", "model")])
def test_nests_and_prefixes_are_taken_off(tmp_path, state, prefix, nest):
    content = {prefix + k: v for k, v in state.items()}
    for key in reversed(nest[-1:]):
        content = {key: content, "epoch": 3, "best": 0.9}
    loaded = weights_of(save(tmp_path, content))
    assert all(torch.equal(loaded[k], v) for k, v in state.items())


def test_safetensors_and_half_precision(tmp_path, state):
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "w.safetensors"
    )
    loaded = weights_of(tmp_path / "w.safetensors")
    assert loaded["conv1.weight"].dtype == torch.float32
    assert torch.equal(loaded["conv1.weight"], state["conv1.weight"].half().float())


def test_rename(tmp_path, state):
    path = save(tmp_path, {k.replace("linear", "fc"): v for k, v in state.items()})
    with pytest.raises(CheckpointMismatch, match=r"missing: linear.*unexpected: fc.*--rename"):
        weights_of(path)
    assert torch.equal(weights_of(path, rename=[("fc", "linear")])["linear.bias"], state["linear.bias"])
    with pytest.raises(InputError, match="no name in"):
        weights_of(path, rename=[("nothing", "linear")])


def test_a_mismatch_lists_what_does_not_fit(tmp_path, state):
    state["linear.weight"] = torch.zeros(7, 64)
    del state["bn1.weight"]
    with pytest.raises(CheckpointMismatch, match=r"missing: bn1.weight.*\(7, 64\) for \(10, 64\)"):
        weights_of(save(tmp_path, state))


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('code ran')",)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "text.pt").write_text("these are no weights")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"state_dict": Evil()}))
    save(tmp_path, {"state_dict": Evil()}, "evil-zip.pt")
    save(tmp_path, [1, 2, 3], "list.pt")
    save(tmp_path, nn.Linear(2, 2), "module.pt")
    for name, message in [
        ("text.pt", "not a weights file"),
        ("evil.pt", "no named tensors"),
        ("evil-zip.pt", "no named tensors"),
        ("list.pt", "no named tensors"),
        ("module.pt", "whole network(.|\n)*weights_only=False(.|\n)*state_dict"),
        ("none.pt", "no weights file"),
    ]:
        with pytest.raises(InputError, match=message):
            Checkpoint(tmp_path / name)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_file_fills_the_network_that_the_published_weights_fill(tmp_path, name):
    published = torchvision.models.get_model(name, weights=None, init_weights=False, num_classes=5)
    path, spec = save(tmp_path, published.state_dict()), f"torchvision:{name},init_weights=false"
    published.transform_input = True  # as torchvision's builder does where weights are given
    model = ostrich.load(spec, weights=path, size=96)
    images = torch.rand(1, 3, *model.size)
    with torch.no_grad():
        expected = published.eval()(model.normalised(images))
    torch.testing.assert_close(model.predict(images), expected)
    assert model.network.transform_input
    assert "transform_input=false" in model.remarks()["input"]
    other = ostrich.load(f"{spec},transform_input=false", weights=path, size=96)
    assert not other.network.transform_input
    assert "input" not in other.remarks()


@pytest.mark.parametrize(
    ("name", "digits", "entry", "resize", "why"),
    [
        ("mine.pth", "b0353104" + 56 * "0", "IMAGENET1K_V1", 256, "whose file this is"),
        ("mobilenet_v2-b0353104.pth", None, "IMAGENET1K_V1", 256, "as the file's name says"),
        ("mine.pth", None, "IMAGENET1K_V2", 232, "by default; that of IMAGENET1K_V1 is another one"),
    ],
)
def test_a_file_is_fed_as_what_it_was_published_as(tmp_path, monkeypatch, name, digits, entry, resize, why):
    weights = save(tmp_path, torchvision.models.mobilenet_v2().state_dict(), name)
    if digits is not None:
        monkeypatch.setattr(published_weights, "checksum", lambda path: digits)
    model = ostrich.load("torchvision:mobilenet_v2", weights=weights, device="cpu")
    assert (model.size, model.resize) == ((224, 224), resize)
    assert model.remarks()["preprocessing"] == f"as published for {entry}, {why}; options change it"


@pytest.mark.parametrize(
    ("side", "spec", "resize", "interpolation", "why"),
    [
        (384, "torchvision:vit_b_16", 384, "bicubic", "IMAGENET1K_SWAG_E2E_V1, which is for 384 pixels"),
        (384, "torchvision:vit_b_16,image_size=384", 384, "bicubic", "which is for 384 pixels"),
        (224, "torchvision:vit_b_16", 256, "bilinear", "IMAGENET1K_V1, by default; that of IMAGENET1K_SWAG_"),
        (64, "torchvision:vit_b_16", 73, "bilinear", "IMAGENET1K_V1, at 64 pixels"),  # 64 * 256 / 224 = 73.1
        (64, "torchvision:vit_b_16,classes=3", 73, "bilinear", "IMAGENET1K_V1, at 64 pixels"),
        (None, "torchvision:vit_b_16,image_size=64,classes=3", 73, "bilinear", "at 64 pixels"),
        (None, "torchvision:vit_h_14,classes=3", 518, "bicubic", None),
    ],
)
def test_a_vision_transformer_is_built_for_the_images_of_its_file(
    tmp_path, monkeypatch, side, spec, resize, interpolation, why
):
    built = []

    def small(name, weights, image_size, num_classes=1000):
        built.append(image_size)
        shape = {"patch_size": int(name[-2:]), "num_layers": 1, "num_heads": 1}
        return torchvision.models.VisionTransformer(
            image_size, **shape, hidden_dim=8, mlp_dim=8, num_classes=num_classes
        )

    monkeypatch.setattr(torchvision.models, "get_model", small)
    classes = 3 if "classes" in spec else 1000
    weights = side and save(tmp_path, small("vit_b_16", None, side, classes).state_dict())
    model = ostrich.load(spec, weights=weights, device="cpu")
    assert model.size == (built[-1],) * 2
    assert built[-1] == side or side is None
    assert (model.resize, model.interpolation) == (resize, interpolation)
    said = model.remarks().get("preprocessing")
    assert said is None if why is None else why in said


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_file_without_the_heads_for_training_fills_a_network_without_them(tmp_path, name):
    published = torchvision.models.get_model(name, weights=None, init_weights=False, aux_logits=False)
    weights = save(tmp_path, published.state_dict())
    model = ostrich.load(f"torchvision:{name},init_weights=false", weights=weights, size=96)
    assert model.network.state_dict().keys() == published.state_dict().keys()


def python_file(tmp_path, body: str) -> str:
    path = tmp_path / "net.py"
    path.write_text("import torch\nfrom torch import nn\n" + body)
    return f"{path}:build"


def test_a_network_from_a_python_file(tmp_path):
    layers = "nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)"
    body = f"def build():\n    return nn.Sequential({layers})\n"
    model = ostrich.load(python_file(tmp_path, body), size="20x30", mean=0.5, std=0.5)
    assert (model.channels, model.size, model.num_classes, model.access) == (1, (20, 30), 3, "gradient")
    assert not model.network.training


@pytest.mark.parametrize(
    ("size", "inputs", "channels"), [("28", 784, 1), ("8x16", 128, 1), ("4", 80, 5), ("28", 3 * 784, 3)]
)
def test_the_channels_of_a_network_without_a_convolution(tmp_path, size, inputs, channels):
    body = f"def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear({inputs}, 10))\n"
    model = ostrich.load(python_file(tmp_path, body), size=size, mean=0.5, std=0.25)
    assert (model.channels, model.num_classes) == (channels, 10)
    assert (model.mean, model.std) == ((0.5,) * channels, (0.25,) * channels)
    assert ("channels" in model.remarks()) == (channels != 3)
    images = torch.rand(2, channels, *model.size)
    expected = model.network((images - 0.5) / 0.25)
    assert torch.equal(model.predict(images), expected)


def test_a_network_without_a_convolution_that_no_channels_fit(tmp_path):
    path = python_file(tmp_path, "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n")
    with pytest.raises(InputError, match=r"fails on an image of 3x32x32: .*Give its input size.* 1x28x28\."):
        ostrich.load(path, size=32, mean=0.5)
    with pytest.raises(InputError, match=r"fails on an image of 3x28x28.*No usual size"):  # of three means
        ostrich.load(path, size=28, mean=(0.4, 0.5, 0.6))


class OtherOrder(nn.Module):
    """Its first convolution is called last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block, self.stem, self.head = nn.Conv2d(8, 8, 3), nn.Conv2d(channels, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("several", [True, False])
def test_the_channels_of_a_network_that_calls_its_first_convolution_last(channels, several):
    mean = (0.5,) * channels if several else 0.5
    model = ostrich.load(OtherOrder(channels), size=16, mean=mean)
    assert (model.channels, model.mean) == (channels, (0.5,) * channels)
    with pytest.raises(InputError, match=r"fails on an image of 8x2x2: .*Give its input size"):
        ostrich.load(OtherOrder(channels), size=2)  # nothing fits: it is the size


class ChannelsLast(OtherOrder):
    def forward(self, x):
        return super().forward(x.permute(0, 3, 1, 2))


class Margin(OtherOrder):
    def forward(self, x, labels):
        return super().forward(x) + labels


class Bytes(nn.Module):
    def forward(self, x):
        assert x.dtype == torch.uint8, "bytes are expected"
        return x.mean((2, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_size_is_asked_for_only_where_another_one_may_help():
    for network, complaint in (
        (ChannelsLast(3), "have 3 channels"),
        (Margin(3), "'labels'"),
        (torch.jit.script(Bytes()), "bytes are expected"),
    ):
        with pytest.raises(InputError, match=rf"{complaint}.*PATH\.py:FUNCTION") as refused:
            ostrich.load(network, size=16)
        assert "--size" not in str(refused.value)
    with pytest.raises(InputError, match="--size N or HxW"):
        ostrich.load(Margin(3)).probe()


def test_means_of_bytes_are_refused_with_those_of_images(tmp_path):
    with pytest.raises(InputError, match=r"--mean 0\.485,0\.456,0\.406 --std 0\.229,0\.224,0\.225"):
        ostrich.load(OtherOrder(3), mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    with pytest.raises(InputError, match=r"--mean 0\.5\."):
        ostrich.load(OtherOrder(3), mean=127.5)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_channels_of_torchscript(tmp_path, frozen):
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: it moves on to export
        script = torch.jit.script(nn.Sequential(*layers).eval())
        (torch.jit.freeze(script) if frozen else script).save(str(tmp_path / "grey.pt"))
    model = ostrich.load(str(tmp_path / "grey.pt"), size=16)
    assert model.channels == 1
    assert ("channels" in model.remarks()) == frozen


def test_a_network_of_timms_that_was_built_for_other_channels():
    timm = pytest.importorskip("timm")
    for channels in (1, 3, 5):
        network = timm.create_model("test_resnet", in_chans=channels, num_classes=4)
        model = ostrich.load(network)
        assert (model.channels, len(model.mean), len(model.std)) == (channels,) * 3


def test_a_function_of_grey_images():
    def answer(images):
        assert images.shape[1] == 1
        return images.flatten(1)[:, :10]

    assert ostrich.load(answer, size=28).channels == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"draws": draws}, "a whole number, at least 1") for draws in (-3, 0, 2.0, True)),
        *(({"mean": (0.5, value, 0.5)}, "are finite") for value in (float("nan"), float("inf"))),
        *(({"std": value}, "are finite") for value in (float("nan"), float("inf"))),
        *(({"std": value}, "is above 0") for value in (0.0, -1.0)),
    ],
)
def test_numbers_that_mean_nothing(options, message):
    with pytest.raises(InputError, match=message):
        ostrich.load(nn.Conv2d(3, 2, 1), **options)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def other():\n    pass\n", "Unknown function"),
        ("def build(:\n", "cannot be imported"),
        ("def build():\n    return 3\n", "returns a int"),
        ("def build(x):\n    return x\n", "called without arguments"),
        (
            "class Net(nn.Module):\n    def forward(self, x):\n        return {'image': x}\n"
            "def build():\n    return Net()\n",
            "returns image float32 .1, 3, 16, 16., not.*Wrap it",
        ),
        ("def build():\n    return nn.Conv2d(3, 4, 3)\n", "not scores"),
        (
            "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(5, 2))\n",
            "fails on an image of 3x16x16",
        ),
    ],
)
def test_what_a_python_file_may_get_wrong(tmp_path, body, message):
    with pytest.raises(InputError, match=message):
        ostrich.load(python_file(tmp_path, body), size=16)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("zoo:toybox-resnet2", "Did you mean zoo:toybox-resnet20"),
        ("arch:resnet21", "Did you mean"),
        ("arch:resnet20,klasses=3", "Did you mean classes"),
        ("arch:resnet20,width=wide", "a number is expected"),
        ("arch:resnet20,width=-1", "width above 0"),
        ("torchvision:squeezenet1", "Did you mean torchvision:squeezenet1"),
        ("resnet20", "A model is one of"),
        ("nowhere.py:build", "no file"),
    ],
)
def test_unknown_models_name_the_way_out(spec, message):
    with pytest.raises(InputError, match=message):
        ostrich.load(spec)


def test_preprocessing_that_does_not_fit():
    with pytest.raises(InputError, match="2 values for 3 channels"):
        ostrich.load("arch:resnet8", mean=(0.5, 0.5))
    with pytest.raises(InputError, match="above 0"):
        ostrich.load("arch:resnet8", std=(0, 1, 1))
    with pytest.raises(InputError, match="A size is"):
        ostrich.load("arch:resnet8", size="big")
    with pytest.raises(InputError, match="10 scores, but 2 class names"):
        ostrich.load("arch:resnet8", classes=("a", "b"))


def test_classes_by_name_and_number():
    model = ostrich.load("arch:resnet8,classes=3", classes=("school bus", "ostrich", "crane"))
    assert model.class_index("School_Bus") == 0
    assert model.class_index("2") == 2
    with pytest.raises(UnknownName, match="Did you mean ostrich"):
        model.class_index("ostrch")


def test_cards_of_the_zoo_say_what_they_are():
    for name, card in zoo_cards().items():
        for field in (
            "architecture",
            "mean",
            "std",
            "class_names",
            "recipe",
            "data_sha256",
            "test_accuracy",
            "date",
        ):
            assert card[field] or card[field] == 0, (name, field)
        model = ostrich.load(f"zoo:{name}")
        assert model.num_classes == len(card["class_names"])


def test_both_shared_checkpoints_load(shared):
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    cifar = ostrich.load("arch:resnet20", weights=shared / "weights/resnet20-cifar10.th", **imagenet)
    assert cifar.num_classes == 10
    squeeze = ostrich.load(
        "torchvision:squeezenet1_0", weights=shared / "weights/squeezenet1_0-imagenet.safetensors"
    )
    assert (squeeze.size, squeeze.resize, squeeze.class_index("ostrich")) == ((224, 224), 256, 9)


def test_means_of_any_type():
    for mean in (np.float32(0.5), torch.tensor(0.5), [0.5], np.array([0.5] * 3), torch.full((3,), 0.5)):
        assert ostrich.load("arch:resnet8", mean=mean, std=np.float32(0.25)).mean == (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match="--mean is a number for each channel"):
        ostrich.load("arch:resnet8", mean="imagenet")

"""Any network: twenty of torchvision and timm with random weights, through everything, and back untouched.

Functional and in-place ReLUs, clipped ones, SiLU, GELU and hardswish, attention, squeeze and excitation,
weight standardisation, odd and oblong sizes, one channel; and what returns anything but scores.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import nets
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import ostrich
from ostrich.attacks import ATTACKS, FGSM, Linf, Untargeted
from ostrich.attacks.engine.settings import configure
from ostrich.attribution import Gradient, Guided, paired
from ostrich.cli.main import run
from ostrich.errors import InputError

BUILDERS = '''
import timm, torch
from torch import nn
from torchvision import models

def lively(network, channels, height, width):
    """Batch norm measured on noise, so that random weights neither vanish nor explode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        network.train()(torch.rand(4, channels, height, width, generator=draw) * 2 - 1)
    return network

class Boxed(nn.Module):
    def __init__(self, box):
        super().__init__()
        self.box, self.inner = box, nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    def forward(self, x):
        return self.box(self.inner(x))

def as_grid():
    return Boxed(lambda z: z[:, :, None, None].expand(-1, -1, 2, 2))
def as_map():
    return nn.Conv2d(3, 10, 3)
def as_segmentation():
    return models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
def as_features():
    return timm.create_model("test_resnet", features_only=True)
'''


@dataclass(frozen=True)
class Case:
    """A network, its images, and the activation for which guided backpropagation has no rule."""

    library: str
    name: str
    size: tuple[int, int] = (32, 32)
    channels: int = 3
    refused: str = ""
    mixed: bool = False  # its few ReLUs stand beside other activations, which the figures say
    options: str = ""

    def builder(self) -> str:
        make = (
            f"models.get_model({self.name!r}, weights=None, num_classes=10{self.options})"
            if self.library == "torchvision"
            else f"timm.create_model({self.name!r}, num_classes=10, in_chans={self.channels}{self.options})"
        )
        seeded = "torch.manual_seed(0)"
        return f"def {self.name}():\n    {seeded}\n    return lively({make}, {self.channels}, *{self.size})\n"


CASES = [
    Case("torchvision", "squeezenet1_1", (64, 64)),
    Case("torchvision", "mobilenet_v2", (33, 33)),
    Case("torchvision", "mobilenet_v3_small", (40, 40)),
    Case("torchvision", "shufflenet_v2_x0_5", (50, 34)),
    Case("torchvision", "mnasnet0_5"),
    Case("torchvision", "efficientnet_b0", refused="silu"),
    Case("torchvision", "regnet_y_400mf"),
    Case("torchvision", "resnet18", (47, 47)),
    Case("torchvision", "densenet121"),
    Case("torchvision", "googlenet", (64, 64), options=", init_weights=False, aux_logits=False"),
    Case("timm", "test_resnet", channels=1),
    Case("timm", "test_vit", (160, 160), refused="gelu"),
    Case("timm", "test_efficientnet", (33, 33), refused="silu"),
    Case("timm", "test_convnext", refused="gelu"),
    Case("timm", "test_byobnet", channels=1),
    Case("timm", "test_nfnet", mixed=True),
    Case("timm", "mobilevit_xxs", (64, 64), refused="silu"),
    Case("timm", "deit_tiny_patch16_224", refused="gelu", options=", img_size=32"),
    Case("timm", "ghostnet_050", (45, 45)),
    Case("timm", "edgenext_xx_small", (64, 64), refused="gelu"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("networks") / "networks.py"
    path.write_text(BUILDERS + "".join(case.builder() for case in CASES))
    return path


def state(network: nn.Module):
    return (
        [module.training for module in network.modules()],
        [(p.requires_grad, p.grad is None, p.dtype, p.stride()) for p in network.parameters()],
        [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in network.modules()
        ],
        [(name, id(module), type(module)) for name, module in network.named_modules()],
    )


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_network_goes_through_everything_and_comes_back_as_it_was(case, file):
    model = ostrich.load(f"{file}:{case.name}", size=case.size, mean=0.5, std=0.5, device="cpu")
    assert (model.channels, model.num_classes, model.access) == (case.channels, 10, "gradient")
    images = nets.random_images(2, case.size, case.channels)
    logits = model(images).detach()
    labels = logits.argmax(1)

    network = model.network
    network.train()
    next(iter(network.children())).eval()
    next(network.parameters()).requires_grad_(False)
    before, tensors = state(network), copy.deepcopy(network.state_dict())

    attacks = [FGSM(threat=Linf(16 / 255))]
    if "square" in ATTACKS:
        attacks.append(configure(ATTACKS["square"], {"eps": "16/255", "queries": "6"}))
    for method in attacks:
        result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
        assert result.attacked.all(), method.name
        assert (result.images - images).abs().max() <= 16 / 255 + 1e-6
        assert torch.equal((result.images * 255).round() / 255, result.images)
        assert (result.forwards >= 1).all()
        network.eval()
        with torch.no_grad():
            assert torch.equal(model(result.images).argmax(1) != labels, result.success), method.name
        for module, training in zip(network.modules(), before[0]):
            module.training = training

    units = ["class:0", f"class:{int(labels[1])}"]
    plain = paired(Gradient(), model, images, units)
    assert plain.shape == images.shape
    assert plain.isfinite().all()
    assert plain.flatten(1).any(1).all()
    if case.refused:
        with pytest.raises(InputError, match=rf"(?s)this network uses .*{case.refused}.*`gradient`"):
            paired(Guided(), model, images, units)
    else:
        found = paired(Guided(), model, images, units)
        assert found.isfinite().all()
        assert found.any()
        assert case.mixed or not torch.allclose(found, plain, atol=1e-3 * float(plain.abs().max()))

    assert state(network) == before
    assert all(torch.equal(tensors[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("library", "name", "size"), [("torchvision", "shufflenet_v2_x0_5", 40), ("timm", "test_vit", 160)]
)
def test_by_name_with_a_file_of_weights(library, name, size, tmp_path):
    """As published, a thousand classes and preprocessing included, where no weights can be downloaded."""
    if library == "torchvision":
        from torchvision import models

        network = models.get_model(name, weights=None)
    else:
        import timm

        network = timm.create_model(name)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    model = ostrich.load(f"{library}:{name}", weights=tmp_path / "weights.safetensors", size=size)
    assert (model.num_classes, model.channels, model.size) == (1000, 3, (size, size))
    assert model.mean is not None
    images = nets.random_images(1, (size, size))
    network.eval()
    with torch.no_grad():
        assert torch.allclose(model(images), network(model.normalised(images)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "returned"),
    [
        ("as_segmentation", r"out float32 \(1, 21, 64, 64\)"),
        ("as_features", r"float32 \(1, \d+, 16, 16\)"),
        ("as_map", r"\(1, 10, 62, 62\)"),
    ],
)
def test_what_returns_no_scores_is_answered_with_the_way_to_wrap_it(name, returned, file, tmp_path, capsys):
    with pytest.raises(InputError, match=rf"returns .*{returned}.*Wrap it: .*PATH\.py:FUNCTION"):
        ostrich.load(f"{file}:{name}", size=64)
    words = ["doctor", f"{file}:{name}", "toybox", "--size", "64", "--out", str(tmp_path / "out")]
    assert run(words) == 2
    assert "Wrap it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrapped_as_told_it_goes_through(file, tmp_path):
    (tmp_path / "wrapped.py").write_text(
        file.read_text() + "\nclass Wrapped(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.inner = as_grid()\n"
        "    def forward(self, x):\n        return self.inner(x).mean((2, 3))\n"
        "def build():\n    return Wrapped()\n"
    )
    model = ostrich.load(f"{tmp_path / 'wrapped.py'}:build", size=64)
    assert model.num_classes == 10

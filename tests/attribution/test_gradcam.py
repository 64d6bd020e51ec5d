"""Grad-CAM in closed form on small networks, the layers it finds, and the grids of transformers."""

from __future__ import annotations

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from ostrich.attribution import Deconvnet, GradCAM, Guided, GuidedGradCAM, explain
from ostrich.errors import InputError
from ostrich.inspection.layouts import Grid, layout_of

SIZE = (5, 7)
X = nets.random_images(2, SIZE, dtype=torch.float64)
BOTH = ["class:0", "class:1"]


class Mapped(nn.Module):
    """A map A, changed in place right after, and what `head` makes of it."""

    def __init__(self, head, rectify=True):
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, stride=2)
        self.top, self.after, self.head = nn.Linear(4, 2, bias=False), rectify, head

    def forward(self, x):
        a = self.second(F.relu(self.first(x)))
        return self.head(self.top, a.relu_() if self.after else a)


def average(top: nn.Linear, a: Tensor) -> Tensor:
    return top(a.mean((2, 3)))


def squares(top: nn.Linear, a: Tensor) -> Tensor:
    return top((a**2).sum((2, 3)))


def mapped(head, rectify) -> tuple[ostrich.Classifier, Tensor, Tensor]:
    """The classifier, its map A (N, C, h, w) before the ReLU, and the weights on top (K, C)."""
    network = Mapped(head, rectify).double().eval()
    with torch.no_grad():
        a = network.second(F.relu(network.first(X)))
    return ostrich.Classifier(network, size=SIZE), a, network.top.weight.detach()


def enlarged(small: Tensor) -> Tensor:
    return F.interpolate(small, SIZE, mode="bilinear")[:, :, None].expand(-1, -1, 3, -1, -1)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("head", [average, squares])
@pytest.mark.parametrize("weights", ["mean", "each"])
def test_gradcam_in_closed_form(head, rectify, weights):
    network, a, w = mapped(head, rectify)
    gate = (a > 0).double() if rectify else torch.ones_like(a)
    slope = gate / a[0, 0].numel() if head is average else 2 * a * gate  # d pooled / d a
    slopes = w[None, :, :, None, None] * slope[:, None]  # (N, K, C, h, w)
    if weights == "mean":
        slopes = slopes.mean((3, 4), keepdim=True)
    expected = enlarged((slopes * a[:, None]).sum(2).relu())
    found = explain(GradCAM(layer="second", weights=weights), network, X, BOTH)
    assert torch.allclose(found, expected, atol=1e-12)
    assert expected.abs().max() > 0
    if not rectify and head is average:  # Zhou 2016, class activation mapping
        cam = torch.einsum("kc,nchw->nkhw", w, a).relu() / a[0, 0].numel()
        assert torch.allclose(found, enlarged(cam), atol=1e-12)


def test_gradcam_finds_the_last_map_that_everything_passes():
    """As the network rectifies it: after the second convolution; after the first for a unit of the second."""
    network, a, w = mapped(average, True)
    chosen = explain(GradCAM(), network, X, BOTH)
    cam = torch.einsum("kc,nchw->nkhw", w, a.relu()).relu() / a[0, 0].numel()
    assert torch.allclose(chosen, enlarged(cam), atol=1e-12)
    assert cam.any()
    earlier = explain(GradCAM(), network, X, ["second:1", "class:0"])
    with torch.no_grad():
        rectified = F.relu(network.network.first(X)).requires_grad_(True)
    (slope,) = torch.autograd.grad(network.network.second(rectified)[:, 1].mean((1, 2)).sum(), rectified)
    small = (slope.mean((2, 3), keepdim=True) * rectified.detach()).sum(1, keepdim=True).relu()
    assert torch.allclose(earlier[:, :1], enlarged(small), atol=1e-12)
    assert torch.equal(earlier[:, 1], chosen[:, 0])
    mixed = explain(GradCAM(), network, X, [["second:1"], ["class:0"]])[:, 0]  # two places in one column
    assert torch.equal(mixed, torch.stack([earlier[0, 0], chosen[1, 0]]))


class Written(nn.Module):
    """Two convolutions with rectifiers written in any way, one of them perhaps not known."""

    def __init__(self, first, second=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)
        self.one, self.two = first, second or first

    def forward(self, x):
        return self.fc(self.two(self.conv2(self.one(self.conv1(x)))).mean((2, 3)))


RELUS = {
    "function": F.relu,
    "in place": F.relu_,
    "method": Tensor.relu,
    "in-place module": nn.ReLU(inplace=True),
    "clamp": lambda x: x.clamp(min=0),
    "product": lambda x: x * (x > 0),
    "product in place": lambda x: x.mul_(x > 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "where": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "absolute": lambda x: (x + x.abs()) / 2,
}


@pytest.mark.parametrize("form", list(RELUS))
@pytest.mark.parametrize(
    "method", [GradCAM(), GradCAM(weights="each"), Guided(), Deconvnet(), GuidedGradCAM()]
)
def test_an_explanation_does_not_depend_on_how_a_relu_is_written(method, form):
    images = nets.random_images(2, (9, 9), dtype=torch.float64)
    units = ["class:0", "probability:2", "conv2:3"]

    def found(*relus):
        model = ostrich.Classifier(Written(*relus).double().eval(), size=(9, 9), channels=3)
        return explain(method, model, images, units)

    expected = found(nn.ReLU(), nn.ReLU())
    assert torch.allclose(found(RELUS[form]), expected, atol=1e-14)
    assert expected.flatten(2).any(2).all()


def test_gradcam_reads_other_activations_in_either_form_too():
    images = nets.random_images(2, (9, 9), dtype=torch.float64)
    for module, function in ((nn.SiLU(), F.silu), (nn.GELU(), F.gelu)):
        maps = [
            explain(
                GradCAM(),
                ostrich.Classifier(Written(form).double().eval(), size=(9, 9), channels=3),
                images,
                BOTH,
            )
            for form in (module, function)
        ]
        assert torch.equal(*maps)
        assert maps[0].any()


def test_gradcam_of_a_head_that_is_zero():
    network, *_ = mapped(average, True)
    nn.init.zeros_(network.network.top.weight)
    assert not explain(GradCAM(), network, X, BOTH).any()


def test_gradcam_answers_what_it_cannot_read():
    network, *_ = mapped(average, True)
    for method, unit, message in [
        (GradCAM(), "first:0", "No layer with a map lies between"),
        (GradCAM(layer="top"), "class:0", "has no map over the image"),
        (GradCAM(layer="third"), "class:0", "Unknown layer"),
        (GradCAM(layer="second"), "first:0", "Nothing differentiable leads from layer 'second'"),
        (GradCAM(layer="second", grid="3x3"), "class:0", "no map of 3x3"),
    ]:
        with pytest.raises(InputError, match=message):
            explain(method, network, X, [unit])
    for wrong in ({"weights": "all"}, {"grid": "14"}, {"grid": "0x4"}):
        with pytest.raises(InputError):
            GradCAM(**wrong)


def test_a_layer_that_returns_its_own_parameter_keeps_it():
    """The graph cannot begin at a tensor that is the network's own."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Parameter(torch.rand(1, 4, 5, 7, dtype=torch.float64))

        def forward(self, x):
            return self.map

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = Own()

        def forward(self, x):
            return (self.own(x) * x.mean(1, keepdim=True)).mean((2, 3))

    network = Network()
    with pytest.raises(InputError, match="Nothing differentiable leads from layer 'own'"):
        explain(GradCAM(layer="own"), ostrich.Classifier(network, size=SIZE, channels=3), X, BOTH)
    assert network.own.map.is_leaf
    assert network.own.map._version == 0


def test_a_layer_whose_output_is_one_value_many_times():
    """What is expanded cannot be changed in place, and need not be: the graph begins at the image."""

    class Spread(nn.Module):
        def forward(self, x):
            return x.mean((2, 3), keepdim=True).expand(-1, -1, 5, 7)

    torch.manual_seed(1)
    network = nn.Sequential(Spread(), nn.Conv2d(3, 2, (5, 7)), nn.Flatten()).double()
    found = explain(GradCAM(layer="0"), ostrich.Classifier(network, size=SIZE), X, BOTH)
    with torch.no_grad():
        spread, weight = network[0](X), network[1].weight.mean((2, 3))
    expected = torch.einsum("kc,nchw->nkhw", weight, spread).relu()
    assert torch.allclose(found, enlarged(expected), atol=1e-12)
    assert expected.any()


def test_guided_gradcam_is_the_product():
    network, *_ = mapped(average, True)
    found = explain(GuidedGradCAM(layer="first"), network, X, BOTH)
    parts = [explain(m, network, X, BOTH) for m in (GradCAM(layer="first"), Guided())]
    assert torch.allclose(found, parts[0] * parts[1], atol=1e-15)
    assert found.abs().max() > 0


# Grids of tokens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "image", "given", "expected"),
    [
        ((8, 7, 7), (224, 224), None, Grid("channels first", (7, 7))),
        ((8, 3, 4), (75, 100), None, Grid("channels first", (3, 4))),
        ((7, 7, 768), (224, 224), None, Grid("channels last", (7, 7))),
        ((7, 7, 7), (224, 224), None, Grid("channels first", (7, 7))),
        ((5, 6, 6), (64, 64), (5, 6), Grid("channels last", (5, 6))),
        ((197, 768), (224, 224), None, Grid("tokens", (14, 14))),
        ((196, 768), (224, 224), None, Grid("tokens", (14, 14))),
        ((201, 768), (224, 224), None, Grid("tokens", (14, 14))),  # class token and four registers
        ((13, 8), (24, 32), None, Grid("tokens", (3, 4))),
        ((12, 8), (24, 32), (2, 6), Grid("tokens", (2, 6))),
        ((152, 8), (224, 224), None, Grid("tokens", (12, 12))),  # eight over
        ((512,), (224, 224), None, None),
        ((153, 8), (224, 224), None, None),
    ],
)
def test_grids(shape, image, given, expected):
    network = nn.Sequential(nn.Identity())  # it says nothing of its output: the shape alone decides
    try:
        found = layout_of(network, "0", (2, *shape), (2, 3, *image), given).grid
    except InputError:
        found = None
    assert found == expected


class Transformer(nn.Module):
    """Patches of 4x4, a class token, two blocks, of whose tokens only the first is read."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, 0, "gelu", batch_first=True) for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 0])


def test_gradcam_of_a_transformer():
    """Its last block moves nothing but the class token, so the block before is read, laid on the grid."""
    network = Transformer().double().eval()
    images = nets.random_images(2, (8, 12), dtype=torch.float64)
    vision = ostrich.Classifier(network, size=(8, 12), name="transformer")
    tokens = network.patch(images).flatten(2).transpose(1, 2)
    tokens = (
        network.blocks[0](torch.cat([network.token.expand(2, -1, -1), tokens], 1))
        .detach()
        .requires_grad_(True)
    )
    score = network.head(network.norm(network.blocks[1](tokens))[:, 0])[:, 1].sum()
    (slope,) = torch.autograd.grad(score, tokens)
    places, slopes = (part[:, 1:].reshape(2, 2, 3, 8) for part in (tokens.detach(), slope))
    small = (slopes.mean((1, 2), keepdim=True) * places).sum(-1).relu()
    expected = F.interpolate(small[:, None], (8, 12), mode="bilinear")
    for method in (GradCAM(), GradCAM(layer="blocks.0"), GradCAM(layer="blocks.0", grid="2x3")):
        found = explain(method, vision, images, ["class:1"])
        assert torch.allclose(found[:, 0, :1], expected, atol=1e-12)
    assert expected.abs().max() > 0
    other = explain(GradCAM(layer="blocks.0", grid="3x2"), vision, images, ["class:1"])
    assert not torch.allclose(other[:, 0, :1], expected)
    with pytest.raises(InputError, match="no map of 5x5"):
        explain(GradCAM(layer="blocks.0", grid="5x5"), vision, images, ["class:1"])


class Pooled(nn.Module):
    """Patches of 4x4, pooled by attention, whose keys and values `unbind` makes at once."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.patch, self.both, self.key = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 16), nn.Identity()
        self.question, self.head = nn.Parameter(torch.randn(8)), nn.Linear(8, 2)

    def forward(self, x):
        both = self.both(self.patch(x).flatten(2).transpose(1, 2))  # (N, L, 2 * 8)
        keys, values = both.unflatten(2, (2, 8)).unbind(2)
        return self.answer(self.key(keys), values)

    def answer(self, keys, values):
        weights = (keys @ self.question).softmax(1)  # (N, L)
        return self.head(torch.einsum("nl,nlc->nc", weights, values))


def test_gradcam_of_attention_that_pools():
    """Values pass by the keys, so what both are made of is read; the keys can be asked for."""
    network = Pooled().double().eval()
    images = nets.random_images(2, (8, 12), dtype=torch.float64)
    vision = ostrich.Classifier(network, size=(8, 12), name="pooled")
    tokens = network.patch(images).flatten(2).transpose(1, 2)
    both = network.both(tokens).detach().requires_grad_(True)
    keys, values = both.unflatten(2, (2, 8)).unbind(2)
    slopes = torch.autograd.grad(network.answer(keys, values)[:, 1].sum(), (both, keys))
    for layer, output, slope in (("both", both, slopes[0]), ("key", keys, slopes[1])):
        cam = (slope.mean(1, keepdim=True) * output.detach()).sum(2).unflatten(1, (2, 3))
        expected = F.interpolate(cam[:, None], (8, 12), mode="bilinear")
        found = explain(GradCAM(layer=layer, signed=True), vision, images, ["class:1"])
        assert torch.allclose(found[:, 0, :1], expected, atol=1e-12)
    assert torch.equal(
        explain(GradCAM(), vision, images, ["class:1"]),
        explain(GradCAM(layer="both"), vision, images, ["class:1"]),
    )

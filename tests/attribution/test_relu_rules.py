"""The ReLU rules against an independent implementation, on networks that write ReLUs in every way."""

from __future__ import annotations

from functools import partial

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from ostrich.attribution import EXPLAINERS, Deconvnet, Gradient, Guided, explain, paired, relu_rules
from ostrich.errors import InputError

SIX = 6.0


class Written(nn.Module):
    """A network with a shortcut around its second rectifier; `rectify` gets a number and a tensor."""

    def __init__(self, rectify) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.rectify = rectify
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.third, self.head = nn.Conv2d(6, 8, 3, stride=2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.rectify(0, self.first(x))
        h = self.second(h)
        h = h + self.third.weight.mean() * self.rectify(1, h.clone())  # its input feeds a shortcut too
        h = self.rectify(2, F.max_pool2d(h, 2))
        h = self.third(h)
        return self.head(self.rectify(3, h - 0.1).mean((2, 3)))


class Separate(nn.Module):
    """One module a place, out of place: what hook-based libraries handle."""

    def __init__(self, make=nn.ReLU) -> None:
        super().__init__()
        self.each = nn.ModuleList([make() for _ in range(4)])

    def forward(self, place: int, x: Tensor) -> Tensor:
        return self.each[place](x)


class Shared(nn.Module):
    """One module for all places."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, place: int, x: Tensor) -> Tensor:
        return self.module(x)


FORMS = {
    "shared module": Shared(nn.ReLU()),
    "shared in-place module": Shared(nn.ReLU(inplace=True)),
    "F.relu": lambda place, x: F.relu(x),
    "F.relu in place": lambda place, x: F.relu(x, inplace=True),
    "torch.relu": lambda place, x: torch.relu(x),
    "torch.relu_": lambda place, x: torch.relu_(x),
    "torch.relu by keyword": lambda place, x: torch.relu(input=x),
    "method": lambda place, x: x.relu(),
    "in-place method": lambda place, x: x.relu_(),
    "in place on a view": lambda place, x: (x[:, :2].relu_(), x[:, 2:].relu_(), x)[2],
    "aten": lambda place, x: torch.ops.aten.relu.default(x),
    "threshold": lambda place, x: F.threshold(x, 0, 0),
    "clamp_min": lambda place, x: x.clamp_min(0),
    "clamp": lambda place, x: torch.clamp(x, min=0),
    "clamp_": lambda place, x: x.clamp_(0),
    "product": lambda place, x: x * (x > 0),
    "product with a number": lambda place, x: (x >= 0).float() * x,
    "product in place": lambda place, x: x.mul_(x > 0),
    "product with no negative": lambda place, x: x * ~(x < 0),
    "product with a sign": lambda place, x: x * (torch.sign(x) + 1) / 2,
    "product with a clamped sign": lambda place, x: x * x.sign().clamp(0),
    "maximum": lambda place, x: torch.maximum(x, torch.zeros_like(x)),
    "max": lambda place, x: torch.max(torch.zeros(()).to(x), x),
    "minimum": lambda place, x: -torch.minimum(-x, torch.zeros_like(x)),
    "where": lambda place, x: torch.where(x > 0, x, torch.zeros_like(x)),
    "where with a number": lambda place, x: torch.where(x <= 0, 0.0, x),
    "masked_fill": lambda place, x: x.masked_fill(x < 0, 0),
    "heaviside": lambda place, x: x * torch.heaviside(x.detach(), x.new_zeros(1)),
    "absolute": lambda place, x: (x + x.abs()) / 2,
    "absolute, halved": lambda place, x: 0.5 * x + torch.abs(x) * 0.5,
    "root of the square": lambda place, x: 0.5 * (x + (x**2).sqrt()),
    "less its negative part": lambda place, x: x - x.clamp(max=0),
    "clamp with a tensor": lambda place, x: torch.clamp(x, min=torch.tensor(0.0)),
    "leaky without a leak": lambda place, x: F.leaky_relu(x, 0.0),
    "prelu without a slope": lambda place, x: F.prelu(x, torch.zeros(1).to(x)),
    "mixed with products": lambda place, x: (x * (x > 0), x.relu(), x.clamp(min=0), (x + x.abs()) / 2)[place],
    "mixed": lambda place, x: (F.relu(x), x.relu(), F.relu_(x), x.clamp(min=0.0))[place],
}
CLIPPED = {
    "nn.ReLU6": Shared(nn.ReLU6()),
    "in-place nn.ReLU6": Shared(nn.ReLU6(inplace=True)),
    "F.relu6": lambda place, x: F.relu6(x),
    "nn.Hardtanh": Shared(nn.Hardtanh(0, SIX)),
    "clamp": lambda place, x: x.clamp(0, 6),
}


def classifier(rectify, scale: float = 1.0) -> ostrich.Classifier:
    network = Written(rectify).double().eval()
    network.first.weight.data *= scale
    return ostrich.Classifier(network, name="written", size=(12, 12), mean=(0.4,), std=(0.2,))


def by_hooks(model: ostrich.Classifier, images: Tensor, classes: list[int], rule: str, top: float) -> Tensor:
    """The rules by explicit backward hooks on separate modules: independent of the function mode."""
    handles, opened = [], {}
    for module in model.network.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):

            def remember(module, inputs, output):
                opened[module] = (inputs[0] > 0) & (inputs[0] < top)

            def change(module, below, above):
                (g,) = above
                mask = opened[module] if rule == "guided" else torch.ones_like(g, dtype=torch.bool)
                return (g * (g > 0) * mask,)

            handles += [module.register_forward_hook(remember), module.register_full_backward_hook(change)]
    x = images.clone().requires_grad_(True)
    score = model(x).gather(1, torch.tensor(classes)[:, None]).sum()
    (found,) = torch.autograd.grad(score, x)
    for handle in handles:
        handle.remove()
    return found


gradient, guided, deconvnet = (partial(paired, method) for method in (Gradient(), Guided(), Deconvnet()))
RULES = pytest.mark.parametrize(("rule", "explain"), [("guided", guided), ("deconvnet", deconvnet)])
IMAGES = nets.random_images(3, (12, 12), dtype=torch.float64)
CLASSES, UNITS = [0, 3, 4], ["class:0", "class:3", "class:4"]


@RULES
@pytest.mark.parametrize("form", list(FORMS))
def test_every_way_to_write_a_relu_follows_the_rule(form, rule, explain):
    expected = by_hooks(classifier(Separate()), IMAGES, CLASSES, rule, torch.inf)
    found = explain(classifier(FORMS[form]), IMAGES, UNITS)
    assert torch.allclose(found, expected, atol=1e-12, rtol=1e-6)
    assert not torch.allclose(found, gradient(classifier(Separate()), IMAGES, UNITS), atol=1e-6)


@RULES
@pytest.mark.parametrize("form", list(CLIPPED))
def test_clipped_relus_follow_the_rule(form, rule, explain):
    reference = classifier(Separate(nn.ReLU6), scale=30)
    expected = by_hooks(reference, IMAGES, CLASSES, rule, SIX)
    found = explain(classifier(CLIPPED[form], scale=30), IMAGES, UNITS)
    assert torch.allclose(found, expected, atol=1e-12, rtol=1e-6)
    if rule == "guided":  # the upper end matters here
        assert not torch.allclose(found, by_hooks(reference, IMAGES, CLASSES, rule, torch.inf), atol=1e-6)


def test_the_rules_by_hand():
    """One ReLU with weights of known sign: y = a.relu(x) - b.relu(x) at open and closed places."""

    class Two(nn.Module):
        def forward(self, x):
            h = torch.relu(x - 0.5)  # open where x > 0.5
            return torch.stack(
                [h[:, 0, 0, 0] * 2 - h[:, 0, 0, 1] * 3 + h[:, 0, 0, 2] * 5, h.sum((1, 2, 3))], 1
            )

    model = ostrich.Classifier(Two(), size=(1, 3), channels=1, name="two")
    images = torch.tensor([[[[0.75, 1.0, 0.25]]]])
    expected = {"gradient": [2, -3, 0], "guided": [2, 0, 0], "deconvnet": [2, 0, 5]}
    for name, row in expected.items():
        found = explain(EXPLAINERS[name](), model, images, ["class:0"])
        assert found.flatten().tolist() == row, name


@pytest.mark.parametrize(
    ("activation", "named"),
    [
        (nn.GELU(), "gelu"),
        (nn.SiLU(), "silu"),
        (nn.LeakyReLU(), "leaky_relu"),
        (nn.Hardswish(), "hardswish"),
        (nn.Tanh(), "tanh"),
        (nn.Hardtanh(), "hardtanh"),
        (nn.PReLU(), "prelu"),
        (nn.Sigmoid(), "sigmoid"),  # as the only nonlinearity
    ],
)
def test_activations_without_a_published_rule_are_refused(activation, named):
    model = classifier(Shared(activation))
    for ruled in (guided, deconvnet):
        with pytest.raises(InputError, match=rf"(?s){named}.*`gradient`.*to every network"):
            ruled(model, IMAGES, UNITS)
    assert gradient(model, IMAGES, UNITS).abs().sum() > 0


def test_a_sigmoid_gate_beside_relus_passes():
    gated = classifier(lambda place, x: F.relu(x) * torch.sigmoid(x.mean((2, 3), keepdim=True)))
    assert guided(gated, IMAGES, UNITS).abs().sum() > 0


UNKNOWN = {
    "straight through": lambda place, x: (F.relu(x) - x).detach() + x,
    "arithmetic of softplus": lambda place, x: torch.log1p(torch.exp(50 * x)) / 50,
    "leaky by where": lambda place, x: torch.where(x > 0, x, 0.1 * x),
    "no nonlinearity": lambda place, x: x * 2,
    "a mask of another tensor": lambda place, x: x * (x.roll(1, 3) > 0),
}


@pytest.mark.parametrize("form", list(UNKNOWN))
def test_what_is_no_rectifier_is_never_taken_for_one(form):
    """The rule is refused, not the plain gradient handed out under its name."""
    for name in ("guided", "deconvnet", "guided-gradcam"):
        with pytest.raises(InputError, match=r"(?s)(No rectifier was recognised|rule for ReLUs).*`gradient`"):
            explain(EXPLAINERS[name](), classifier(UNKNOWN[form]), IMAGES, UNITS[:1])


def test_a_unit_below_every_relu_is_refused_beside_one_above():
    model = classifier(FORMS["F.relu"])
    with pytest.raises(InputError, match="between the image and first:0"):
        explain(EXPLAINERS["guided"](), model, IMAGES, ["class:0", "first:0"])
    assert explain(EXPLAINERS["guided"](), model, IMAGES, ["class:0", "second:0"]).any()


def test_a_relu_out_of_reach_is_refused():
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.relu(x)

        @staticmethod
        def backward(ctx, above):
            return above * (ctx.saved_tensors[0] > 0)

    with pytest.raises(InputError, match="cannot reach"):
        guided(classifier(lambda place, x: Own.apply(x)), IMAGES, UNITS)


def test_a_forward_that_changes_under_the_rule_is_a_fault_of_ours(monkeypatch):
    plain = relu_rules._Rectifier.forward

    def shifted(ctx, x, operation, top, acting):
        return plain(ctx, x, lambda value: operation(value) + 1e-9, top, acting)

    monkeypatch.setattr(relu_rules._Rectifier, "forward", staticmethod(shifted))
    with pytest.raises(AssertionError, match="forward"):
        guided(classifier(FORMS["F.relu"]), IMAGES, UNITS)


def test_a_network_that_answers_at_random_is_the_users():
    noisy = classifier(lambda place, x: F.relu(x + torch.rand_like(x)))
    with pytest.raises(InputError, match="same way twice"):
        guided(noisy, IMAGES, UNITS)


def test_random_numbers_of_the_user_are_not_touched():
    model = classifier(FORMS["F.relu"])
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    guided(model, IMAGES, UNITS)
    assert torch.equal(torch.rand(3), expected)


def test_of_many_images_a_few_are_compared_with_the_plain_forward():
    classifier, images = counting(), nets.random_images(20)
    assert classifier.access == "gradient"  # asked about a grey image first
    nets.CALLS.clear()
    whole = paired(Guided(), classifier, images, ["class:0"] * 20)
    assert nets.CALLS == [20, 4]
    few = paired(Guided(), classifier, images[:3], ["class:0"] * 3)
    assert nets.CALLS[2:] == [3, 3]
    torch.testing.assert_close(few, whole[:3])


def test_many_images_where_the_forward_is_another_are_refused(monkeypatch):
    plain = relu_rules._Rectifier.forward

    def shifted(ctx, x, operation, top, acting):
        return plain(ctx, x, lambda value: operation(value) + 0.01, top, acting)

    monkeypatch.setattr(relu_rules._Rectifier, "forward", staticmethod(shifted))
    with pytest.raises(AssertionError, match="forward"):
        explain(Guided(), counting(), nets.random_images(20), ["class:0"])


def counting() -> ostrich.Classifier:
    torch.manual_seed(0)
    return ostrich.Classifier(nets.Counting().eval(), size=(16, 16))

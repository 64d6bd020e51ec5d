"""What every registered explainer keeps to, on networks of many kinds; a new one is covered at once."""

from __future__ import annotations

import warnings

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ostrich
from ostrich.attribution import EXPLAINERS, Gradient, Guided, explain
from ostrich.errors import InputError, UnknownName

# those of attention: test_rollout.py
APPLY = {name: method for name, method in EXPLAINERS.items() if not method.attention}
every_explainer = pytest.mark.parametrize("name", list(APPLY))
by_gradient = pytest.mark.parametrize("name", [n for n, m in APPLY.items() if m.needs == "gradient"])
UNITS = ["class:2", "layer3.0.conv1:1", "layer2.0.conv2:0@1,0", "probability:4"]


# The network is handed back as it was ---------------------------------------------------------------


@every_explainer
def test_the_network_is_left_as_it_was(name, untouched_network):
    images = nets.random_images(2)
    found = explain(EXPLAINERS[name](), untouched_network, images, UNITS)
    assert found.shape == (2, len(UNITS), *images.shape[1:])
    assert found.dtype == images.dtype
    assert found.isfinite().all()
    assert not found.requires_grad
    assert all(found[:, u].abs().sum() > 0 for u in range(len(UNITS)))


@every_explainer
@pytest.mark.parametrize("way", ["forward_pre", "forward", "full_backward"])
def test_an_exception_at_any_layer_leaves_no_trace(name, way, untouched_network):
    class HalfWay(RuntimeError):
        pass

    network, before, reached = untouched_network.network, nets.state(untouched_network.network), []
    assert untouched_network.access == "gradient"  # asked before anything fails
    for layer in (module for module in network.modules() if not any(module.children())):

        def fail(module, *_args):
            reached.append(module)
            raise HalfWay

        handle = getattr(layer, f"register_{way}_hook")(fail)
        try:
            explain(EXPLAINERS[name]().brief(), untouched_network, nets.random_images(1), ["class:0"])
        except HalfWay:
            assert layer in reached
        else:  # the way back of some methods ends before the first layer
            assert layer not in reached
        finally:
            handle.remove()
        assert nets.state(network) == before, layer
    if way != "full_backward":
        assert len(set(reached)) == sum(not any(module.children()) for module in network.modules())
    elif EXPLAINERS[name].needs == "gradient":
        assert network.linear in reached


@every_explainer
@pytest.mark.parametrize(
    "unit",
    ["class:99", "probability:zebra", "nowhere:0", "conv1:9999", "layer2.0.conv1:0@8,0", "linear:0@0,0"],
)
def test_unknown_units_are_refused_and_leave_no_trace(name, unit, untouched_network):
    with pytest.raises(InputError):
        explain(EXPLAINERS[name](), untouched_network, nets.random_images(1), [unit])


# Neither the batch nor the other units matter -----------------------------------------------------------


@every_explainer
def test_images_and_units_together_agree_with_one_at_a_time(name):
    model, images = nets.small(dtype=torch.float64), nets.random_images(3, dtype=torch.float64)
    together = explain(EXPLAINERS[name](), model, images, UNITS, seed=3)
    own = explain(EXPLAINERS[name](), model, images, [[UNITS[i]] for i in (2, 0, 1)], seed=3)
    for i in range(3):
        for u, unit in enumerate(UNITS):
            alone = explain(EXPLAINERS[name](), model, images[i : i + 1], [unit], seed=3)
            assert torch.allclose(together[i, u], alone[0, 0], atol=1e-10), unit
        assert torch.allclose(own[i, 0], together[i, (2, 0, 1)[i]], atol=1e-10)
    assert not torch.allclose(together[:, 0], together[:, 1])
    assert not torch.allclose(together[0], together[1])


@every_explainer
def test_what_is_computed_in_parts_is_the_same(name, monkeypatch):
    from ostrich.attribution import question

    model, images = nets.small(dtype=torch.float64), nets.random_images(3, dtype=torch.float64)
    whole = explain(EXPLAINERS[name](), model, images, UNITS)
    largest, forward = [], model.network.conv1.forward
    monkeypatch.setattr(model.network.conv1, "forward", lambda x: (largest.append(len(x)), forward(x))[1])
    monkeypatch.setattr(question, "VALUES_PER_BATCH", 2 * images[0].numel())
    parts = explain(EXPLAINERS[name](), model, images, UNITS)
    assert torch.allclose(whole, parts, atol=1e-10)
    assert max(largest) <= 2  # images, or what is made of them, that pass the network together


class Ranked(nn.Module):
    """It takes so many images at once, no more and, where it is `exact`, no fewer."""

    def __init__(self, count: int, *, exact: bool):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6 * 8 * 8, 5)
        self.relu, self.count, self.exact = nn.ReLU(), count, exact

    def forward(self, x):
        if len(x) > self.count or (self.exact and len(x) < self.count):
            raise RuntimeError(f"{self.count} images are expected")
        return self.head(self.relu(self.last(self.relu(self.conv(x)))).flatten(1))


@every_explainer
@pytest.mark.parametrize("exact", [True, False], ids=["exactly", "at most"])
def test_of_a_network_that_takes_four_images_at_once_as_of_one_that_takes_any(name, exact):
    images, asked = nets.random_images(6), ["class:2", "last:1", "last:0@1,0"]
    free = ostrich.Classifier(Ranked(99, exact=False).eval(), size=(16, 16), channels=3)
    expected = explain(EXPLAINERS[name](), free, images, asked)
    network = ostrich.Classifier(Ranked(4, exact=exact).eval(), size=(16, 16), channels=3)
    network.probe()
    assert network.batch == 4 if exact else network.batch < 4  # found by halves
    found = explain(EXPLAINERS[name](), network, images, asked)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    alone = explain(EXPLAINERS[name](), network, images[:1], asked)
    torch.testing.assert_close(alone, expected[:1], rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@every_explainer
def test_no_images_give_no_maps(name):
    found = explain(EXPLAINERS[name](), nets.small(), torch.zeros(0, 3, 16, 16), ["class:0", "class:1"])
    assert found.shape == (0, 2, 3, 16, 16)


@every_explainer
def test_the_centre_of_a_map_that_is_not_square(name):
    """Rows are rows: the neuron at 1,3 of a 3x7 map sees the rows 4 to 7 and the columns 12 to 15."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 4, 4), nn.Flatten(), nn.Linear(42, 2)
    )
    model, images = ostrich.Classifier(network, size=(12, 28)), nets.random_images(1, (12, 28))
    found = explain(EXPLAINERS[name](), model, images, ["2:0@1,3"])[0, 0].any(0)
    assert found.any()
    if name not in ("gradcam", "occlusion"):  # a map of the layer before; windows that overlap
        rows, columns = (set(found.any(axis).nonzero()[:, 0].tolist()) for axis in (1, 0))
        assert rows <= {4, 5, 6, 7}
        assert columns <= {12, 13, 14, 15}
    for place in ("3,1", "0,7"):
        with pytest.raises(InputError, match="map of 3x7, rows from 0 to 2 and columns from 0 to 6"):
            explain(EXPLAINERS[name](), model, images, [f"2:0@{place}"])


# What cannot be explained -----------------------------------------------------------------------------


@every_explainer
def test_what_cannot_be_explained_is_refused(name):
    model, method, two = nets.small(), EXPLAINERS[name](), nets.random_images(2)
    for units, message in [
        ([], "are a list"),
        ("class:0", "are a list"),
        ([["class:0"]], "as many lists"),
        ([["class:0"], ["class:0", "class:1"]], "same number"),
        ([["class:0"], "class:1"], "got both"),
        ([[], []], "one at least"),
        (["ostrich"], "is no unit"),
    ]:
        with pytest.raises(InputError, match=message):
            explain(method, model, two, units)
    with pytest.raises(InputError, match="lie in"):
        explain(method, model, two * 255, ["class:0"])
    with pytest.raises(UnknownName):
        explain(method, model, two, ["class:zebra"])
    with pytest.raises(InputError, match="is no method"):
        explain(EXPLAINERS[name], model, two, ["class:0"])


@every_explainer
def test_a_prediction_function_is_explained_from_its_scores_alone(name):
    function = ostrich.Classifier(lambda images: images.mean((2, 3)), size=(16, 16), channels=3)
    if EXPLAINERS[name].needs == "scores":
        assert (
            explain(EXPLAINERS[name](), function, nets.random_images(1), ["class:0"])[0, 0, 0].abs().sum() > 0
        )
        with pytest.raises(InputError, match="only a prediction function"):
            explain(EXPLAINERS[name](), function, nets.random_images(1), ["conv1:0"])
    else:
        with pytest.raises(InputError, match="only a prediction function"):
            explain(EXPLAINERS[name](), function, nets.random_images(1), ["class:0"])


@pytest.mark.parametrize(("word", "ending"), [("logit", lambda z: z), ("sigmoid", torch.sigmoid)])
@pytest.mark.parametrize("name", ["gradient", "occlusion"])
def test_class_0_of_one_output_is_what_the_other_is_not(name, word, ending):
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 3)

        def forward(self, x):
            return ending(50 * self.layer(x).mean((2, 3)))

    torch.manual_seed(0)
    model = ostrich.Classifier(One(), size=(16, 16), channels=3, output=word)
    zero, one = explain(EXPLAINERS[name](), model, nets.random_images(1), ["class:0", "class:1"])[0]
    assert zero.abs().sum() > 0
    torch.testing.assert_close(zero, -one)


@by_gradient
def test_a_gradient_that_is_cut_is_said(name):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return F.relu(self.layer(x).detach()).mean((2, 3))

    model = ostrich.Classifier(Cut(), size=(16, 16), channels=3)
    with pytest.raises(InputError, match="cuts the gradient"):
        explain(EXPLAINERS[name](), model, nets.random_images(1), ["class:0"])


@every_explainer
def test_a_network_that_changes_its_input_in_place(name):
    class Rude(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return F.relu(self.first(x.sub_(0.5))).flatten(1)[:, :4] * 2

    torch.manual_seed(0)
    images = nets.random_images(2)
    kept = images.clone()
    explain(EXPLAINERS[name](), ostrich.Classifier(Rude(), size=(16, 16)), images, ["class:0", "class:1"])
    assert torch.equal(images, kept)


@every_explainer
def test_a_scripted_network_is_explained_or_told_why_not(name):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that scripting is going out of use
        scripted = ostrich.Classifier(torch.jit.script(network), size=(16, 16), channels=3, name="scripted")
    plain = ostrich.Classifier(network, size=(16, 16), name="plain")
    images, method = nets.random_images(2), EXPLAINERS[name]()
    with pytest.raises(InputError, match="compiled"):
        explain(method, scripted, images, ["0:1"])
    if name in ("deconvnet", "guided", "gradcam", "guided-gradcam"):  # they look inside
        with pytest.raises(InputError, match="compiled"):
            explain(method, scripted, images, ["class:1"])
    else:
        found = explain(method, scripted, images, ["class:1"])
        assert torch.allclose(found, explain(method, plain, images, ["class:1"]), atol=1e-6)


# The forward is the network's own ----------------------------------------------------------------------


class Discriminator(nn.Module):
    """Blocks whose in-place ReLU changes what the shortcut carries, as in several libraries of GANs."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second, self.third = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(8, 2)

    def forward(self, x):
        h = self.first(x)
        h = h + self.second(self.relu(h))
        h = h + self.third(F.relu_(h))
        return self.head(self.relu(h).sum((2, 3)))


def network(name: str) -> tuple[nn.Module, int]:
    """A network with random weights in evaluation mode, and a small image size that it takes."""
    torch.manual_seed(0)
    if name == "discriminator":
        return Discriminator().eval(), 16
    from torchvision import models

    size = {"inception_v3": 75}.get(name, 32)
    options = {"inception_v3": {"init_weights": False}, "vit_b_16": {"image_size": size}}.get(name, {})
    built = models.get_model(name, weights=None, **options).eval()
    if name == "vit_b_16":
        nn.init.normal_(built.heads.head.weight, std=0.02)  # zero as published: every logit would be 0
    return built, size


@pytest.mark.parametrize(
    "which", ["discriminator", "resnet18", "densenet121", "mobilenet_v2", "inception_v3", "vit_b_16"]
)
def test_the_watched_forward_is_the_plain_one(which):
    """Bit for bit, of all explainers, on whatever each shows the network."""
    net, size = network(which)
    model = ostrich.Classifier(net, size=(size, size), mean=(0.5,), std=(0.5,), name=which)
    images, showed, answered = nets.random_images(1, (size, size)), [], []
    assert model.access == "gradient"  # asked about a grey image first
    before = net.register_forward_pre_hook(
        lambda _m, x: showed.append((x[0].detach().clone(), x[0].requires_grad))
    )
    after = net.register_forward_hook(
        lambda _m, _x, y: answered.append((y.detach().clone(), y.requires_grad))
    )
    for method in EXPLAINERS.values() if which == "vit_b_16" else APPLY.values():
        if which == "vit_b_16" and method.relus:
            with pytest.raises(InputError, match="gelu"):
                explain(method().brief(), model, images, ["class:1"])
            del showed[len(answered) :]
        else:
            explain(method().brief(), model, images, ["class:1", "probability:0"])
    before.remove()
    after.remove()
    assert len(showed) == len(answered) > len(APPLY) - (3 if which == "vit_b_16" else 0)
    net.requires_grad_(False)
    assert answered[0][0].std() > 0
    if which in ("inception_v3", "mobilenet_v2"):  # no nn.ReLU at all: hooks would give the plain gradient
        assert not any(type(module) is nn.ReLU for module in net.modules())
        plain, ruled = (explain(m(), model, images, ["class:7"]).flatten() for m in (Gradient, Guided))
        assert 0 < F.cosine_similarity(plain * 1e6, ruled * 1e6, dim=0) < 0.9
    for (inputs, slope), (logits, graph) in zip(showed, answered):
        with torch.set_grad_enabled(graph):
            assert torch.equal(net(inputs.requires_grad_(slope)).detach(), logits)

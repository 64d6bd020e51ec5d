"""Lower bounds: sound against samples and attacks, exact where the truth is known."""

from __future__ import annotations

import itertools

import nets
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

import ostrich
from ostrich.certification import intervals, linear
from ostrich.certification.balls import Ball
from ostrich.certification.graph import graph_of

SHAPE = (3, 6, 6)


class Branches(nn.Module):
    """Two ways that meet, batch norm, functional rectifiers, average pooling, and a view by its own size."""

    def __init__(self, stride: int, bias: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(4)
        self.left = nn.Conv2d(4, 4, 3, stride=stride, padding=1)
        self.right = nn.Conv2d(4, 4, 1, stride=stride)
        self.stride, self.head = stride, nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x * 2 - 1)), inplace=True)
        x = torch.relu(self.left(x) + self.right(x)) / 2
        x = F.avg_pool2d(x, 2) if self.stride == 1 else F.pad(x, (0, 1, 0, 0))
        return self.head(x.view(x.size(0), -1))


def network(seed: int, kind: str) -> nn.Module:
    torch.manual_seed(seed)
    if kind == "plain":
        built: nn.Module = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4, 6),
            nn.ReLU(),
            nn.Linear(6, 3),
        )
    else:
        built = Branches(stride=1 + (kind == "strided"), bias=kind == "strided")
        built.eval()(torch.zeros(1, *SHAPE))
        built.norm.running_mean.normal_()
        built.norm.running_var.uniform_(0.5, 2)
    return built.eval().requires_grad_(False)


def classifier(module: nn.Module) -> ostrich.Classifier:
    return ostrich.load(module, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25), size=SHAPE[1:])


@settings(max_examples=24)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["plain", "branches", "strided"]),
    norm=st.sampled_from(["linf", "l2"]),
    eps=st.sampled_from([0.0, 0.02, 0.3]),
    steps=st.sampled_from([0, 3]),
)
def test_no_image_within_the_budget_lies_below_a_bound(
    seed: int, kind: str, norm: str, eps: float, steps: int
) -> None:
    model = classifier(network(seed, kind))
    draw = torch.Generator().manual_seed(seed)
    image = torch.rand(SHAPE, generator=draw)
    label = seed % 3
    graph, ball = graph_of(model, SHAPE), Ball(image=image, eps=eps, norm=norm)
    wide = intervals.margins(graph, ball, label)
    near = linear.margins(graph, ball, label, steps=steps, inner_steps=steps)
    change = torch.randn(400, *SHAPE, generator=draw)
    change = change.sign() if norm == "linf" else change / change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    images = [(image + eps * change).clamp(0, 1)]
    if eps:
        found = ostrich.attack(
            "pgd", model, image[None], [label], norm=norm, eps=eps, steps=10, stop="budget"
        )
        images.append(found.images)
    logits = model.predict(torch.cat(images))
    others = [k for k in range(3) if k != label]
    least = (logits[:, label, None] - logits[:, others]).amin(0)
    slack = 1e-4 * logits.abs().max()
    assert (near <= least + slack).all()
    assert (wide <= least + slack).all()
    assert (wide <= near + slack).all()
    if eps == 0:
        torch.testing.assert_close(near, least, atol=float(slack), rtol=1e-4)


def test_more_steps_are_never_worse() -> None:
    model = classifier(network(3, "branches"))
    ball = Ball(image=torch.full(SHAPE, 0.5), eps=0.1, norm="linf")
    graph = graph_of(model, SHAPE)
    found = [linear.margins(graph, ball, 0, steps=steps).sum() for steps in (0, 5, 30)]
    assert found[0] <= found[1] <= found[2]
    assert found[2] > found[0] + 1e-3
    inner = linear.margins(graph, ball, 0, steps=30, inner_steps=10).sum()
    assert inner > found[2]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_network_has_its_closed_form(norm: str) -> None:
    weights = torch.randn(4, 3 * 6 * 6, generator=torch.Generator().manual_seed(0))
    model = nets.linear(weights, (6, 6), 3)
    model.network.requires_grad_(False)
    image = torch.full(SHAPE, 0.5)
    label = int(model.predict(image[None]).argmax())
    logits = weights @ image.flatten()
    rivals = [k for k in range(4) if k != label]
    rows = weights[label] - weights[rivals]
    dual = rows.abs().sum(1) if norm == "linf" else rows.norm(dim=1)
    radius = float(((logits[label] - logits[rivals]) / dual).min())
    graph = graph_of(model, SHAPE)

    def least(eps: float) -> float:
        return float(linear.margins(graph, Ball(image=image, eps=eps, norm=norm, box=False), label).min())

    assert least(radius * (1 - 1e-5)) > 0 > least(radius * (1 + 1e-5))


def test_the_truth_by_enumeration_lies_above_and_near() -> None:
    """One hidden layer of four: whichever rectifiers are on, the network is linear, and its least known."""
    torch.manual_seed(1)
    first, last = nn.Linear(2, 4), nn.Linear(4, 2)
    network = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).requires_grad_(False)
    model = ostrich.Classifier(network, name="tiny", size=(1, 2), channels=1)
    image, eps = torch.full((1, 1, 2), 0.5), 0.3
    label = int(model.predict(image[None]).argmax())
    grid = torch.linspace(0.5 - eps, 0.5 + eps, 201)
    points = torch.tensor(list(itertools.product(grid.tolist(), repeat=2))).view(-1, 1, 1, 2)
    logits = model.predict(points)
    truth = float((logits[:, label] - logits[:, 1 - label]).min())
    graph, ball = graph_of(model, (1, 1, 2)), Ball(image=image, eps=eps, norm="linf")
    found = float(linear.margins(graph, ball, label, steps=50).min())
    wide = float(intervals.margins(graph, ball, label).min())
    clean = float(logits[:, label].max() - logits[:, 1 - label].min())
    assert wide <= found <= truth + 1e-5
    assert truth - found < 0.25 * clean


def test_logits_that_a_rectifier_gives_are_bounded_too() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 3), nn.ReLU(), nn.ReLU()).requires_grad_(False)
    image = torch.full(SHAPE, 0.5)
    model = classifier(network)
    found = linear.margins(graph_of(model, SHAPE), Ball(image=image, eps=0.01, norm="linf"), 0, steps=3)
    change = torch.randn(500, *SHAPE, generator=torch.Generator().manual_seed(1)).sign()
    logits = model.predict((image + 0.01 * change).clamp(0, 1))
    assert (found <= (logits[:, :1] - logits[:, 1:]).amin(0) + 1e-5).all()


class Padded(nn.Module):
    """A border of -2, and sums and rectifiers by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.pad(x, (1, 1, 1, 1), value=-2.0))
        return self.head(torch.flatten(F.relu(input=x), 1))


def test_a_border_is_a_constant_and_no_part_of_the_radius() -> None:
    torch.manual_seed(0)
    model = classifier(Padded().eval().requires_grad_(False))
    image = torch.full(SHAPE, 0.5)
    graph = graph_of(model, SHAPE)
    for eps in (0.0, 0.05):
        ball = Ball(image=image, eps=eps, norm="linf")
        change = eps * torch.randn(500, *SHAPE, generator=torch.Generator().manual_seed(1)).sign()
        outputs = graph.forward((image + change).clamp(0, 1))
        for (low, high), output in zip(intervals.intervals(graph, ball), outputs, strict=True):
            assert (low <= high + 1e-6).all()
            assert (output >= low - 1e-5).all()
            assert (output <= high + 1e-5).all()
            if not eps:
                torch.testing.assert_close(low, high, atol=1e-5, rtol=1e-5)


class OverTheBatch(nn.Module):
    """What one image is said to be depends on the others: for a batch of one it looks like any network."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((0, 2, 3), keepdim=True).flatten(1))


def test_a_network_that_mixes_images_is_refused() -> None:
    with pytest.raises(ostrich.InputError, match="not as linear as it looks"):
        graph_of(ostrich.Classifier(OverTheBatch().eval(), name="mixes", size=SHAPE[1:]), SHAPE)


class Strange(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.head = how, nn.Linear(3 * 6 * 6, 3)
        self.pool, self.bent = nn.MaxPool2d(2, 1, padding=1), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "pool":
            x = self.pool(x)[:, :, :6, :6]
        if self.how == "gelu":
            x = self.bent(x)
        if self.how == "branch" and x.sum() > 0:
            x = -x
        if self.how == "product":
            x = x * x
        if self.how == "keyword":
            x = F.hardtanh(input=x)
        return self.head(x.flatten(1))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("pool", "MaxPool2d"),
        ("gelu", "GELU"),
        ("branch", "cannot be followed"),
        ("product", "mul"),
        ("keyword", "hardtanh"),
    ],
)
def test_what_cannot_be_bounded_is_refused_in_words(how: str, told: str) -> None:
    with pytest.raises(ostrich.InputError, match=told):
        graph_of(classifier(Strange(how).eval()), SHAPE)
    with pytest.raises(ostrich.InputError, match="prediction function"):
        graph_of(ostrich.load(lambda images: images.flatten(1)[:, :3], size=(6, 6)), SHAPE)


FAR = 1e6  # nothing that is tried goes so far


class Cut(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(max=FAR)


@pytest.mark.parametrize("how", ["after", "before", "whole", "everywhere", "own", "class"])
def test_a_layer_that_may_compute_anything_is_refused_whatever_it_answers(how: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    handle = None
    if how == "after":
        network[1].register_forward_hook(lambda _, __, output: output.clamp(max=FAR))
    if how == "before":
        network[0].register_forward_pre_hook(lambda _, given: given[0].clamp(max=FAR))
    if how == "whole":
        network.register_forward_hook(lambda _, __, output: output.clamp(max=FAR))
    if how == "everywhere":
        handle = nn.modules.module.register_module_forward_hook(lambda _, __, output: output.clamp(max=FAR))
    if how == "own":
        network[0].forward = lambda x: nn.Conv2d.forward(network[0], x).clamp(max=FAR)
    if how == "class":  # torch's own name for it hides that it is somebody's
        network[0] = Cut(3, 4, 3)
        parametrize.register_parametrization(network[0], "weight", nn.Identity())
    try:
        with pytest.raises(ostrich.InputError, match=r"has a hook|computes otherwise than"):
            graph_of(classifier(network), SHAPE)
    finally:
        if handle is not None:
            handle.remove()


@fx.wrap
def relu(x: Tensor) -> Tensor:
    return x.clamp(0, FAR)


class Hidden(nn.Module):
    """For any image that is tried it is a linear layer and no more."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.head = how, nn.Linear(108, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "factor":
            x = torch.add(x, F.relu(x - FAR), alpha=-9.0)
        if self.how == "number":
            x = x * (1 + F.relu(x.mean((1, 2, 3)) - FAR).item())
        if self.how == "drops":
            x = F.dropout(x, 1e-9, training=True)
        if self.how == "name":
            x = relu(x + 9)
        if self.how == "written":
            x = x + 9
            F.relu_(x.flatten(1))
        if self.how == "constant":
            x = torch.zeros(1, *SHAPE).add_(x)
        return self.head(x.flatten(1))


@pytest.mark.parametrize("how", ["factor", "number", "drops", "name", "written", "constant"])
def test_a_step_that_only_looks_linear_is_refused(how: str) -> None:
    with pytest.raises(ostrich.InputError, match="cannot be bounded: its part"):
        graph_of(classifier(Hidden(how).eval()), SHAPE)


class Forms(nn.Module):
    """What people write: a learned bias and scale in their own shapes, gates, keywords, a map (K, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)
        self.bias, self.scale = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv(x) * self.scale.view(1, -1, 1, 1) + self.bias.reshape(1, 4, 1, 1)
        x = F.relu_(x)
        x = torch.relu(x + self.gate(torch.mean(input=x, dim=(2, 3), keepdim=True)))
        x = x.permute(dims=(0, 1, 3, 2))
        return {"features": x, "logits": F.adaptive_avg_pool2d(self.head(x), 1), "other": x.amin((2, 3))}


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_forms_that_people_write_are_bounded(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    model = classifier(Forms().eval().requires_grad_(False).to(kind))
    image = torch.rand(SHAPE, dtype=kind, generator=torch.Generator().manual_seed(0))
    graph = graph_of(model, SHAPE)
    for norm, eps in (("linf", 0.0), ("linf", 0.02), ("l2", 0.1)):
        ball = Ball(image=image, eps=eps, norm=norm)
        change = torch.randn(400, *SHAPE, generator=torch.Generator().manual_seed(1)).to(kind)
        change = change.sign() if norm == "linf" else change / change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        logits = model.predict((image + eps * change).clamp(0, 1))
        least = (logits[:, :1] - logits[:, 1:]).amin(0)
        for found in (intervals.margins(graph, ball, 0), linear.margins(graph, ball, 0, steps=3)):
            assert (found <= least + 1e-4).all()
            if eps == 0:
                torch.testing.assert_close(found, least, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_in_words(kind: torch.dtype) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 3)).eval().to(kind)
    with pytest.raises(ostrich.InputError, match=str(kind).removeprefix("torch.")):
        graph_of(ostrich.Classifier(network, size=SHAPE[1:]), SHAPE)

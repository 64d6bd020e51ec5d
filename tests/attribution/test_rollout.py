"""Attention rollout against a plain computation, on attention written in every way; and what it refuses."""

from __future__ import annotations

import json
import warnings

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ostrich
from ostrich.attribution import Rollout, explain
from ostrich.cli.main import run
from ostrich.errors import InputError

SIZE, PATCH, WIDTH, HEADS = (8, 12), 4, 8, 2
X = nets.random_images(3, SIZE, dtype=torch.float64)


class Layer(nn.Module):
    """A block of a transformer; `attend` makes the result (N, h, T, d) of q, k, v (N, h, T, d)."""

    def __init__(self, attend):
        super().__init__()
        self.norm, self.qkv, self.proj = (
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, 3 * WIDTH),
            nn.Linear(WIDTH, WIDTH),
        )
        self.mlp = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))
        self.attend = attend

    def parts(self, x):
        return self.qkv(self.norm(x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x):
        x = x + self.proj(self.attend(*self.parts(x)).transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class Transformer(nn.Module):
    """Patches, a class token or none, three layers; the scores read the class token, or all patches."""

    def __init__(self, attend, token=True):
        super().__init__()
        torch.manual_seed(4)
        self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH)) if token else None
        self.layers = nn.ModuleList(Layer(attend) for _ in range(3))
        for layer in self.layers:
            nn.init.normal_(layer.qkv.weight, std=0.8)  # attention that is far from even
        self.head = nn.Linear(WIDTH, 4)

    def tokens(self, x):
        x = self.patch(x).flatten(2).mT
        return x if self.token is None else torch.cat([self.token.expand(len(x), -1, -1), x], 1)

    def forward(self, x):
        x = self.tokens(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, 0] if self.token is not None else x.mean(1))


def by_softmax(q, k, v):
    return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v


def by_dropout(q, k, v):
    weights = F.softmax(torch.einsum("nhid,nhjd->nhij", q, k) * q.shape[-1] ** -0.5, dim=-1)
    return torch.matmul(F.dropout(weights, 0.5, False), v)


def by_einsum(q, k, v):
    weights = torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1)
    return torch.einsum("nhij,nhjd->nhid", weights, v)


FORMS = {
    "fused": F.scaled_dot_product_attention,
    "fused, scaled by hand": lambda q, k, v: F.scaled_dot_product_attention(
        q * q.shape[-1] ** -0.5, k, v, scale=1.0
    ),
    "softmax": by_softmax,
    "softmax and dropout": by_dropout,
    "einsum": by_einsum,
}


def model(network: nn.Module, name: str = "transformer") -> ostrich.Classifier:
    return ostrich.Classifier(network.double().eval(), size=SIZE, channels=3, name=name)


def plain(network: Transformer, images) -> torch.Tensor:
    """The rollout, image by image and head by head, from the projections alone."""
    found = []
    with torch.no_grad():
        for image in images:
            x, flow = network.tokens(image[None]), None
            for layer in network.layers:
                q, k, _ = (part[0] for part in layer.parts(x))
                heads = []
                for h in range(HEADS):
                    scores = (q[h] @ k[h].T / (WIDTH // HEADS) ** 0.5).exp()
                    heads.append(scores / scores.sum(1, keepdim=True))
                mixed = 0.5 * sum(heads) / HEADS + 0.5 * torch.eye(len(q[0]), dtype=x.dtype)
                mixed = mixed / mixed.sum(1, keepdim=True)
                flow = mixed if flow is None else mixed @ flow
                x = layer(x)
            row = flow[0, 1:] if network.token is not None else flow.mean(0)
            found.append(row.view(1, 1, SIZE[0] // PATCH, SIZE[1] // PATCH))
    return F.interpolate(torch.cat(found), SIZE, mode="bilinear")


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("form", list(FORMS))
def test_rollout_is_the_papers(form, token):
    network = Transformer(FORMS[form], token)
    found = explain(Rollout(), model(network), X, ["class:1", "layers.0:3"])
    expected = plain(network, X)
    assert found.shape == (3, 2, 3, *SIZE)
    assert torch.allclose(found[:, 0], expected.expand(-1, 3, -1, -1), atol=1e-12)
    assert torch.equal(found[:, 0], found[:, 1])
    assert expected.std() > 1e-3


def test_biases_and_masks_of_fused_attention_count():
    bias = torch.randn(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    allowed = bias > -1
    allowed.fill_diagonal_(True)
    pairs = [
        (
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=bias),
            lambda q, k, v: (q @ k.mT / q.shape[-1] ** 0.5 + bias).softmax(-1) @ v,
        ),
        (
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, allowed),
            lambda q, k, v: (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~allowed, -torch.inf).softmax(-1) @ v,
        ),
        (
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            lambda q, k, v: (q @ k.mT / 2 + torch.full((7, 7), -torch.inf).triu(1).to(q)).softmax(-1) @ v,
        ),
    ]
    seen = [explain(Rollout(), model(Transformer(FORMS["fused"])), X, ["class:0"])]
    for fused, written in pairs:
        maps = [explain(Rollout(), model(Transformer(form)), X, ["class:0"]) for form in (fused, written)]
        assert torch.allclose(*maps, atol=1e-12)
        assert not any(torch.allclose(maps[0], other, atol=1e-6) for other in seen)
        seen.append(maps[0])


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_attention_of_torch_itself(batch_first):
    """nn.MultiheadAttention, whose weights it gives itself where it is asked."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(4)
            self.patch, self.head = nn.Conv2d(3, WIDTH, PATCH, PATCH), nn.Linear(WIDTH, 4)
            self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
            self.attends = nn.ModuleList(
                nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first) for _ in range(2)
            )
            for attention in self.attends:
                nn.init.normal_(attention.in_proj_weight, std=0.8)
            self.weights = []

        def forward(self, x, ask=False):
            x = self.patch(x).flatten(2).mT
            for norm, attention in zip(self.norms, self.attends):
                y = norm(x) if batch_first else norm(x).transpose(0, 1)
                y, weights = attention(y, y, y, need_weights=ask)
                self.weights.append(weights)
                x = x + (y if batch_first else y.transpose(0, 1))
            return self.head(x[:, 2])  # a patch of its own

    network = Own()
    vision = model(network)
    with torch.no_grad():
        network(X, ask=True)
    one = torch.eye(6, dtype=X.dtype)
    first, second = (0.5 * weights + 0.5 * one for weights in network.weights)
    expected = F.interpolate((second @ first)[:, 2].view(3, 1, 2, 3), SIZE, mode="bilinear")
    found = explain(Rollout(), vision, X, ["class:0"])
    assert torch.allclose(found[:, 0], expected.expand(-1, 3, -1, -1), atol=1e-12)


def library(name: str) -> ostrich.Classifier:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    if name == "timm":
        network = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2)
    elif name == "timm, registers":
        network = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, reg_tokens=3)
    elif name == "swin":
        network = timm.create_model("swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=24)
    else:
        from torchvision.models import VisionTransformer

        network = VisionTransformer(32, 8, 2, 2, 48, 96, num_classes=5)
        nn.init.normal_(network.heads.head.weight)
    return ostrich.Classifier(network.eval(), size=(32, 32), channels=3, name=name)


@pytest.mark.parametrize("name", ["timm", "timm, registers", "torchvision"])
def test_networks_that_people_have(name):
    vision, images = library(name), nets.random_images(2, (32, 32))
    found = explain(Rollout(), vision, images, ["class:1"])
    assert found.shape == (2, 1, 3, 32, 32)
    assert found.min() > 0
    assert 0.05 < found[0, 0, 0].mean() * 16 < 1  # of what reaches the class token, the patches' share
    if name != "torchvision":
        for block in vision.network.blocks:
            block.attn.fused_attn = not block.attn.fused_attn
        assert torch.allclose(found, explain(Rollout(), vision, images, ["class:1"]), atol=1e-6)


class Largest(Transformer):
    """The scores read the largest value of each feature, of whichever patch."""

    def forward(self, x):
        x = self.tokens(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.amax(1))


def test_which_tokens_are_read_is_each_images_own():
    vision = model(Largest(by_softmax, token=False))
    together = explain(Rollout(), vision, X, ["class:0"])
    alone = [explain(Rollout(), vision, image[None], ["class:0"]) for image in X]
    assert torch.allclose(together, torch.cat(alone), atol=1e-12)
    even = explain(Rollout(), model(Transformer(by_softmax, token=False)), X, ["class:0"])
    assert not torch.allclose(together, even, atol=1e-3)  # some patches are read, not all


@pytest.mark.parametrize("heads_first", [False, True])
def test_heads_may_lie_on_the_axis_of_the_images(heads_first):
    def by_bmm(q, k, v):
        order = (1, 0, 2, 3) if heads_first else (0, 1, 2, 3)
        rows = [part.permute(order).flatten(0, 1) for part in (q, k, v)]
        found = torch.bmm(torch.bmm(rows[0], rows[1].mT).div(q.shape[-1] ** 0.5).softmax(-1), rows[2])
        sizes = (HEADS, len(q)) if heads_first else (len(q), HEADS)
        return found.unflatten(0, sizes).permute(order)

    network = Transformer(by_bmm)
    found = explain(Rollout(), model(network), X, ["class:1"])
    assert torch.allclose(found[:, 0], plain(network, X).expand(-1, 3, -1, -1), atol=1e-12)


# What it refuses, and what it leaves ------------------------------------------------------------------------


class Channels(nn.Module):
    """Attention between features, not tokens, as in cross-covariance attention."""

    def __init__(self):
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 9, 2, 2), nn.Linear(9, 4)
        self.norm = nn.LayerNorm(9)

    def forward(self, x):
        x = self.norm(self.patch(x).flatten(2).mT)
        return self.head((((x.mT @ x).softmax(-1)) @ x.mT).mean(2))


class Halves(Transformer):
    """Attention within each half of the image, a window, with one head."""

    def __init__(self):
        super().__init__(by_softmax, token=False)

    def forward(self, x):
        x = self.tokens(x).unflatten(1, (2, 3)).flatten(0, 1)
        x = x + (x @ x.mT).softmax(-1) @ x
        return self.head(x.unflatten(0, (-1, 2)).flatten(1, 2).mean(1))


def test_a_network_of_a_fixed_batch():
    """One image at a time is asked so; another number is named."""
    network = Transformer(by_softmax)
    expected = explain(Rollout(), model(network), X, ["class:1"])
    vision = model(network)
    vision.batch = 1
    assert torch.allclose(explain(Rollout(), vision, X, ["class:1"]), expected, atol=1e-12)
    vision.batch = 4
    with pytest.raises(InputError, match="it takes 4 images at once, no more and no fewer"):
        explain(Rollout(), vision, X, ["class:1"])


def test_what_has_no_attention_between_patches_is_refused():
    for vision, images, reason in [
        (
            model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())),
            X,
            "no attention",
        ),
        (library("swin"), nets.random_images(1, (32, 32)), "inside windows"),
        (model(Channels()), X, "no patches"),
        (model(Halves()), X, "2 times for an image, as inside windows"),
    ]:
        with pytest.raises(InputError, match=rf"does not apply to .*{reason}.*`gradient`.*every network"):
            explain(Rollout(), vision, images, ["class:0"])
    function = ostrich.Classifier(lambda images: images.mean((2, 3)), size=SIZE, channels=3)
    with pytest.raises(InputError, match="only a prediction function"):
        explain(Rollout(), function, X, ["class:0"])
    for unit in ("class:99", "nowhere:0", "layers.0:8", "layers.0:0@2,0"):
        with pytest.raises(InputError):
            explain(Rollout(), model(Transformer(by_softmax)), X, [unit])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tracing is going out of use
        traced = torch.jit.trace(Transformer(by_softmax).double().eval(), X[:1])
    with pytest.raises(InputError, match="compiled"):
        explain(Rollout(), model(traced), X[:1], ["class:0"])


@pytest.mark.parametrize("way", ["forward_pre", "forward"])
def test_the_network_is_left_as_it_was_and_batches_do_not_matter(way, monkeypatch):
    from ostrich.attribution import question

    network = Transformer(by_softmax)
    vision = model(network)
    network.train()
    network.head.weight.requires_grad_(False)
    before = nets.state(network)
    together = explain(Rollout(), vision, X, ["class:0", "class:1"])
    assert nets.state(network) == before
    monkeypatch.setattr(question, "VALUES_PER_BATCH", X[0].numel())
    assert torch.allclose(explain(Rollout(), vision, X, ["class:0", "class:1"]), together, atol=1e-12)
    assert explain(Rollout(), vision, X[:0], ["class:0"]).shape == (0, 1, 3, *SIZE)
    for layer in network.layers:

        def fail(*_args):
            raise RuntimeError("half way")

        handle = getattr(layer, f"register_{way}_hook")(fail)
        with pytest.raises(RuntimeError, match="half way"):
            explain(Rollout(), vision, X, ["class:0"])
        handle.remove()
        assert nets.state(network) == before


def test_the_command_says_that_a_rollout_has_no_unit(tmp_path, capsys):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "photos/a.png")
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "from torchvision.models import VisionTransformer\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return VisionTransformer(32, 8, 2, 2, 48, 96, num_classes=5)\n"
    )
    words = [
        "explain",
        "rollout",
        f"{tmp_path / 'net.py'}:build",
        f"images:{tmp_path / 'photos'}",
        "--size",
        "32",
    ]
    assert run([*words, "--unit", "class:1", "--out", str(tmp_path / "a")]) == 0
    assert "has no unit" in capsys.readouterr().out
    results = json.loads((tmp_path / "a/run.json").read_text())["results"]
    assert results["explanations"][0]["largest"] > 0
    assert run([*words, "--out", str(tmp_path / "b")]) == 0
    assert "has no unit" not in capsys.readouterr().out

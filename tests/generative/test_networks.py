"""Objectives, codes, layers and networks of the generators, against expressions of their own."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ostrich.errors import InputError, UnknownName
from ostrich.generative.architectures import build_gan
from ostrich.generative.codes import Codes, great_circle, straight
from ostrich.generative.layers import (
    ConditionalBatchNorm,
    SelfAttention,
    SpectralNorm,
    add_orthogonal_gradient,
    advance,
    orthogonal_penalty,
    spectral,
)
from ostrich.generative.objectives import OBJECTIVES, gradient_penalty, objective
from ostrich.runtime.randomness import keyed

TINY = {
    "perceptron,size=6,channels=1,width=0.01,code=7": None,
    "dcgan,size=16,width=0.05,code=9": None,
    "dcgan,size=16,width=0.05,kernel=4,norm=false": None,
    "conditional,size=32,classes=3,channels=2,code=18,embedding=4": 3,
}


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Objectives ------------------------------------------------------------------------------------


def test_objectives_are_the_equations_of_the_papers():
    real, generated = logits(0), logits(1)
    p, q = torch.sigmoid(real), torch.sigmoid(generated)  # D(x), D(G(z))
    game = -(p.log() + (1 - q).log()).mean()
    expected = {
        "minimax": (game, (1 - q).log().mean()),
        "non-saturating": (game, -q.log().mean()),
        "least-squares": (
            0.5 * ((real - 1) ** 2).mean() + 0.5 * (generated**2).mean(),
            0.5 * ((generated - 1) ** 2).mean(),
        ),
        "hinge": (
            -torch.minimum(torch.zeros(50), real - 1).mean()
            - torch.minimum(torch.zeros(50), -generated - 1).mean(),
            -generated.mean(),
        ),
        "wgan-gp": (generated.mean() - real.mean(), -generated.mean()),
    }
    assert expected.keys() == OBJECTIVES.keys()
    for name, (discriminator, generator) in expected.items():
        assert torch.allclose(OBJECTIVES[name].discriminator(real, generated), discriminator, rtol=1e-12)
        assert torch.allclose(OBJECTIVES[name].generator(generated), generator, rtol=1e-12)
    assert [name for name, one in OBJECTIVES.items() if one.penalised] == ["wgan-gp"]
    with pytest.raises(UnknownName, match="hinge"):
        objective("hing")


def test_where_the_discriminator_is_sure_only_the_true_game_has_no_gradient():
    slopes = {}
    for name in ("minimax", "non-saturating"):
        sure = torch.full((4,), -40.0, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(objective(name).generator(sure), sure)
        slopes[name] = slope.abs().sum().item()
    assert slopes["minimax"] < 1e-15
    assert slopes["non-saturating"] == pytest.approx(1)


def test_gradient_penalty_of_a_linear_critic_is_known():
    weight = torch.randn(3 * 4 * 4, dtype=torch.float64, generator=keyed(0)).requires_grad_(True)
    real, generated = (torch.rand(5, 3, 4, 4, dtype=torch.float64, generator=keyed(k)) for k in (1, 2))
    penalty = gradient_penalty(
        lambda x: x.flatten(1) @ weight, real, generated, torch.rand(5, generator=keyed(3))
    )
    norm = weight.norm()
    assert torch.allclose(penalty, (norm - 1) ** 2)
    (slope,) = torch.autograd.grad(penalty, weight)
    assert torch.allclose(slope, 2 * (norm - 1) * weight / norm)


# Codes -----------------------------------------------------------------------------------------


def test_a_code_does_not_depend_on_the_others_drawn():
    for codes in (Codes("uniform", 6), Codes("normal", 6)):
        drawn = codes.numbered(range(10), seed=3)
        assert torch.equal(drawn[4:7], codes.numbered(range(4, 7), seed=3))
        assert not torch.equal(drawn, codes.numbered(range(10), seed=4))
        assert len(drawn.unique()) == 60


def test_truncation_redraws_and_does_not_scale():
    codes = Codes("normal", 20_000)
    plain, cut = codes.draw(1, keyed(0)), codes.draw(1, keyed(0), truncation=0.5)
    inside = plain.abs() <= 0.5
    assert torch.equal(plain[inside], cut[inside])  # what lies within stays
    assert cut.abs().max() <= 0.5
    # A normal truncated to [-t, t] has variance 1 - 2 t phi(t) / (2 Phi(t) - 1).
    density, mass = math.exp(-0.125) / math.sqrt(2 * math.pi), math.erf(0.5 / math.sqrt(2))
    assert cut.var().item() == pytest.approx(1 - density / mass, rel=0.03)


def test_ways_between_codes():
    a, b = torch.randn(2, 30, 8, dtype=torch.float64, generator=keyed(0))
    unit_a, unit_b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    for share in (0.25, 0.5, 0.9):
        z = great_circle(unit_a, unit_b, share)
        assert torch.allclose(z.norm(dim=1), torch.ones(30, dtype=torch.float64))
        angle = torch.acos((unit_a * unit_b).sum(1))
        assert torch.allclose(torch.acos((unit_a * z).sum(1)), share * angle)
    for other in (2 * a, -a, a):  # no circle is singled out
        assert torch.allclose(great_circle(a, other, 0.3), straight(a, other, 0.3), atol=1e-6)
    cube = Codes("uniform", 8)
    c, d = (cube.numbered(range(5), seed) for seed in (0, 1))
    way = cube.between(c, d, 7)
    assert torch.equal(way[0], c)
    assert torch.equal(way[-1], d)
    assert torch.allclose(way[3], (c + d) / 2)
    assert way.abs().max() <= 1
    sphere = Codes("normal", 8).between(a.float(), b.float(), 5)
    assert torch.allclose(sphere[2], great_circle(a, b, 0.5).float(), atol=1e-6)


@pytest.mark.parametrize(
    ("codes", "given", "message"),
    [
        (Codes("normal", 5), torch.zeros(2, 4), r"A code has 5 numbers"),
        (Codes("normal", 5), torch.zeros(5), r"A code has 5 numbers"),
        (Codes("normal", 5), torch.full((1, 5), float("nan")), "finite"),
        (Codes("uniform", 5), torch.full((1, 5), 1.5), r"\[-1, 1\]"),
    ],
)
def test_codes_that_are_none_are_refused(codes, given, message):
    with pytest.raises(InputError, match=message):
        codes.check(given)


def test_nonsense_of_truncation_and_interpolation_is_refused():
    with pytest.raises(InputError, match="no tails"):
        Codes("uniform", 3).draw(1, keyed(0), truncation=0.5)
    for threshold in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="threshold"):
            Codes("normal", 3).draw(1, keyed(0), truncation=threshold)
    with pytest.raises(InputError, match="at least 2 steps"):
        Codes("normal", 3).between(torch.zeros(1, 3), torch.ones(1, 3), 1)


# Layers ----------------------------------------------------------------------------------------


def test_spectral_norm_is_the_largest_singular_value():
    torch.manual_seed(0)
    for layer in (nn.Conv2d(3, 8, 3), nn.Linear(10, 4), nn.Embedding(5, 7)):
        weight = layer.weight.detach().clone()
        spectral(layer)
        for _ in range(300):
            advance(layer)
        assert torch.allclose(
            layer.weight, weight / torch.linalg.matrix_norm(weight.flatten(1), 2), rtol=1e-4
        )


def test_one_step_of_spectral_norm_is_that_of_torch():
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 8, 3).double()
    theirs = nn.utils.parametrizations.spectral_norm(copy.deepcopy(plain)).train()
    ours = SpectralNorm(plain.weight)
    ours.u.copy_(theirs.parametrizations.weight[0]._u)
    ours.v.copy_(theirs.parametrizations.weight[0]._v)
    with torch.no_grad():
        expected = theirs.weight  # one power iteration, then the division
    ours.advance(plain.weight)
    assert torch.allclose(ours(plain.weight), expected, atol=1e-6)
    # sigma is differentiated with u and v held: the same gradient.
    theirs.eval()
    g = torch.randn_like(plain.weight)
    (a,) = torch.autograd.grad((ours(plain.weight) * g).sum(), plain.weight)
    (b,) = torch.autograd.grad((theirs.weight * g).sum(), theirs.parametrizations.weight.original)
    assert torch.allclose(a, b, atol=1e-6)


def test_spectral_norm_stands_still_between_steps():
    torch.manual_seed(0)
    layer = spectral(nn.Linear(6, 6)).train()
    with torch.no_grad():
        layer.parametrizations.weight.original.add_(torch.randn(6, 6))
    x = torch.randn(3, 6)
    assert torch.equal(layer(x), layer(x))
    before = layer(x)
    advance(layer)
    assert not torch.equal(layer(x), before)


def test_self_attention_place_by_place():
    torch.manual_seed(0)
    layer = SelfAttention(16).double()
    x = torch.randn(2, 16, 4, 6, dtype=torch.float64)
    assert torch.equal(layer(x), x)  # gamma starts at zero
    nn.init.constant_(layer.gamma, 0.7)
    got = layer(x)

    def mix(weight: Tensor, pixel: Tensor) -> Tensor:
        return weight[:, :, 0, 0] @ pixel

    def pooled(weight: Tensor, image: Tensor) -> Tensor:  # (C', 6): the largest of each 2x2 square
        every = torch.stack([torch.stack([mix(weight, image[:, r, c]) for c in range(6)]) for r in range(4)])
        squares = [every[r : r + 2, c : c + 2].amax((0, 1)) for r in (0, 2) for c in (0, 2, 4)]
        return torch.stack(squares, 1)

    for image, out in zip(x, got):
        keys, values = pooled(layer.key.weight, image), pooled(layer.value.weight, image)
        for r, c in ((0, 0), (3, 5), (1, 2)):
            scores = torch.stack([mix(layer.query.weight, image[:, r, c]) @ key for key in keys.T])
            seen = values @ (scores.exp() / scores.exp().sum())
            assert torch.allclose(out[:, r, c], image[:, r, c] + 0.7 * mix(layer.out.weight, seen), atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_conditional_batch_norm_has_gain_one_plus(training):
    torch.manual_seed(0)
    layer = ConditionalBatchNorm(5, 3).double().train(training)
    x, y = torch.randn(4, 5, 3, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    layer.norm.running_mean.fill_(0.3)
    layer.norm.running_var.fill_(2.0)
    mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)) if training else (0.3, 2.0)
    mean, var = (torch.as_tensor(v, dtype=torch.float64).expand(5)[:, None, None] for v in (mean, var))
    gain = 1 + (y @ layer.gain.weight.T)[:, :, None, None]
    shift = (y @ layer.bias.weight.T)[:, :, None, None]
    assert torch.allclose(layer(x, y), (x - mean) / (var + 1e-5).sqrt() * gain + shift, atol=1e-10)


def test_the_closed_orthogonal_gradient_is_that_of_the_penalty():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Linear(4, 7), nn.Embedding(5, 3)).double()
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    add_orthogonal_gradient(network, 0.25, except_for=("2.",))
    for module in network[:2]:
        penalty = orthogonal_penalty(module.weight)
        matrix = module.weight.flatten(1)
        off = (matrix @ matrix.T) * (1 - torch.eye(len(matrix), dtype=torch.float64))
        assert torch.allclose(penalty, off.norm() ** 2, rtol=1e-12)
        (expected,) = torch.autograd.grad(0.25 * penalty, module.weight)
        assert torch.allclose(module.weight.grad, expected, atol=1e-10)
        assert module.bias.grad.abs().sum() == 0
    assert network[2].weight.grad.abs().sum() == 0


# Networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", TINY)
def test_every_game_plays(spec):
    torch.manual_seed(0)
    game = build_gan(spec)
    assert game.classes == TINY[spec]
    codes = game.codes.numbered(range(4), 0)
    classes = None if game.classes is None else torch.tensor([0, 1, 2, 0])
    images = game.generator(codes, classes)
    assert images.shape == (4, *game.shape)
    assert images.abs().max() <= 1
    verdict = game.discriminator(images, classes)
    assert verdict.shape == (4,)
    verdict.sum().backward()
    assert all(p.grad is not None for p in game.parameters())


def test_dcgan_as_published():
    game = build_gan("dcgan")
    kinds = (nn.ConvTranspose2d, nn.Conv2d, nn.Linear)
    shapes = {
        player: [tuple(m.weight.shape) for m in getattr(game, player).modules() if isinstance(m, kinds)]
        for player in ("generator", "discriminator")
    }
    assert shapes["generator"] == [
        (4 * 4 * 1024, 100),
        (1024, 512, 5, 5),
        (512, 256, 5, 5),
        (256, 128, 5, 5),
        (128, 3, 5, 5),
    ]
    assert shapes["discriminator"] == [
        (128, 3, 5, 5),
        (256, 128, 5, 5),
        (512, 256, 5, 5),
        (1024, 512, 5, 5),
        (1, 4 * 4 * 1024),
    ]
    norms = {
        player: [m.num_features for m in getattr(game, player).modules() if isinstance(m, nn.BatchNorm2d)]
        for player in ("generator", "discriminator")
    }
    assert norms == {"generator": [1024, 512, 256, 128], "discriminator": [256, 512, 1024]}
    weights = game.discriminator.layers[5].weight
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    gains = next(m for m in game.generator.modules() if isinstance(m, nn.BatchNorm2d)).weight
    assert gains.mean().item() == pytest.approx(1, abs=0.003)
    assert gains.std().item() == pytest.approx(0.02, rel=0.1)
    assert {m.negative_slope for m in game.discriminator.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert game.codes == Codes("uniform", 100)


def test_the_perceptrons_of_2014():
    game = build_gan("perceptron")
    sizes = [(m.in_features, m.out_features) for m in game.generator.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(100, 1200), (1200, 1200), (1200, 784)]
    maxouts = [m.out_features for m in game.discriminator.modules() if isinstance(m, nn.Linear)]
    assert maxouts == [240 * 5, 240 * 5, 1]


def test_a_shortcut_carries_the_input_itself():
    torch.manual_seed(0)
    game = build_gan("conditional,size=32,classes=3,channels=2,code=18,embedding=4").double()
    for player in ("generator", "discriminator"):
        for block in getattr(game, player).blocks:
            wide = block.conv1.in_channels
            x = torch.randn(2, wide, 8, 8, dtype=torch.float64)
            before = x.clone()
            condition = [torch.randn(2, 4 + 4, dtype=torch.float64)] if player == "generator" else []
            whole = block.eval()(x, *condition)
            assert torch.equal(x, before)
            # Without its branch, a block is its shortcut of x, not of relu(x).
            with torch.no_grad(), parametrize.cached():
                nn.init.zeros_(block.conv2.parametrizations.weight.original)
                block.conv2.parametrizations.weight[0].forward = lambda weight: weight
                nn.init.zeros_(block.conv2.bias)
                alone = block(x, *condition)
                path = x if block.shortcut is None else block.shortcut(x)
            if player == "generator":
                path = path.repeat_interleave(2, 2).repeat_interleave(2, 3)
            elif block.halve:
                path = path.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
            assert torch.allclose(alone, path)
            assert not torch.allclose(whole, alone)


def test_the_discriminator_projects_on_the_class():
    torch.manual_seed(0)
    game = build_gan("conditional,size=32,classes=3,channels=2,code=18,embedding=4").double().eval()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    per_class = torch.stack([game.discriminator(images, torch.full((2,), k)) for k in range(3)])
    seen = []
    game.discriminator.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    game.discriminator(images, torch.zeros(2, dtype=torch.int64))
    expected = seen[0] @ game.discriminator.embedding.weight.T  # (2, 3)
    differences = (per_class - per_class[0]).T
    assert torch.allclose(differences, expected - expected[:, :1])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dcga", "dcgan"),
        ("dcgan,widht=2", "width"),
        ("dcgan,size=48", "8, 16, 32"),
        ("dcgan,size=32x64", "squares"),
        ("dcgan,kernel=3", "4 or 5"),
        ("conditional,size=16", "32x32, 64x64"),
        ("conditional,code=3", "code at least"),
        ("perceptron,width=0", "above 0"),
    ],
)
def test_games_that_do_not_exist(spec, message):
    with pytest.raises(InputError, match=message):
        build_gan(spec)

"""Types, 8 bits and batches: half precision, quantised networks, fixed batches, answers that need others.

`Brightest` is known in closed form: logits 16 times the mean of each channel, so that an image whose
strongest channel leads by m falls within Linf eps exactly where eps > m / 2.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import ostrich
from ostrich.attacks.gradient.pgd import PGD
from ostrich.attacks.minimum_norm.deepfool import DeepFool
from ostrich.attacks.score_based.square import Square
from ostrich.attacks.transfer import borrow_gradients
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.images import write_png
from ostrich.models.options import ModelOptions
from ostrich.runtime.events import Listener, listening


class Heard(Listener):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


EPS = 5.2 / 255
LEADS = (4, 8, 16, 24)
FALLS = [True, True, False, False]  # within 5 levels


def images() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    found = 100 + 20 * torch.rand(4, 1, 8, 8, generator=draw).expand(-1, 3, -1, -1).clone()
    for row, lead in enumerate(LEADS):
        found[row, row % 3] += lead
    return found.round() / 255, torch.arange(4) % 3


IMAGES, TOP = images()


class Brightest(nn.Module):
    def __init__(self, before=lambda x: x) -> None:
        super().__init__()
        self.before, self.pool, self.head = before, nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3)
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(16 * torch.eye(3))
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.mix(self.before(x))).flatten(1))


def dynamic() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remark that quantisation moves to another package
        return torch.ao.quantization.quantize_dynamic(Brightest().eval(), {nn.Linear}, dtype=torch.qint8)


def static() -> nn.Module:
    network = nn.Sequential(
        torch.ao.quantization.QuantStub(),
        nn.Conv2d(3, 3, 1, bias=False),
        torch.ao.quantization.DeQuantStub(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).eval()
    with torch.no_grad():
        network[1].weight.copy_(16 * torch.eye(3)[:, :, None, None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
        torch.ao.quantization.prepare(network, inplace=True)
        network(torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
        return torch.ao.quantization.convert(network)


def classifier(network: nn.Module, **options) -> ostrich.Classifier:
    found = ostrich.Classifier(network.eval(), size=(8, 8), **options)
    found.probe()
    return found


def falls(model: ostrich.Classifier, method=PGD, **settings) -> list[bool]:
    goal = ostrich.Untargeted(TOP)
    attack = method(threat=ostrich.Linf(EPS), **settings)
    return ostrich.attacks.attack(attack, model, IMAGES, goal, labels=TOP).success.tolist()


@pytest.mark.parametrize("kind", [torch.float16, torch.float64, torch.float32])
def test_any_type_falls_where_the_closed_form_says(kind):
    model = classifier(Brightest().to(kind))
    assert model.predict(IMAGES).dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    assert falls(model, steps=20) == FALLS
    leaf = IMAGES.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(slope[:, 0], torch.full((4, 8, 8), 16 / 64), rtol=1e-3, atol=0)


def test_bfloat16_falls_within_its_rounding():
    model = classifier(Brightest().bfloat16())
    found = falls(model, steps=20)
    assert model.predict(IMAGES).dtype == torch.float32
    assert not any(found[2:])


@pytest.mark.parametrize("build", [static, dynamic])
def test_eight_bits_have_scores_and_no_slope(build):
    model = classifier(build(), name="int8")
    assert model.access == ("scores" if build is dynamic else "gradient")  # which is zero, and said
    assert model.digest() == classifier(build(), name="int8").digest()
    assert torch.equal(model.predict(IMAGES).argmax(1), TOP)
    found = falls(model, Square, queries=400)
    assert not any(found[2:])
    assert found[0]
    if build is dynamic:
        with pytest.raises(InputError, match="--surrogate MODEL"):
            borrow_gradients(PGD(), model, None)


def test_other_weights_in_eight_bits_have_another_digest():
    other = Brightest()
    with torch.no_grad():
        other.head.weight[0, 1] = 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = torch.ao.quantization.quantize_dynamic(other.eval(), {nn.Linear}, dtype=torch.qint8)
    assert classifier(changed).digest() != classifier(dynamic()).digest()


def test_scales_of_the_batch_are_avoided_by_one_image_at_a_time():
    network = dynamic().eval()
    model = classifier(network)
    assert (model.batch, model.neighbours) == (1, None)
    assert "one image at a time" in model.remarks()["batch"]
    dim = torch.cat([IMAGES[:1] * 0.1, torch.ones(1, 3, 8, 8)])
    assert not torch.allclose(network(dim)[:1], network(dim[:1]), rtol=1e-3)
    assert torch.equal(model.predict(dim)[:1], network(dim[:1]))


@pytest.mark.parametrize(("method", "settings"), [(PGD, {"steps": 20}), (DeepFool, {})])
def test_a_surrogate_lends_its_gradients_and_the_network_judges(method, settings, tmp_path):
    twin = tmp_path / "twin.py"
    twin.write_text(
        "import torch\nfrom torch import nn\ndef build():\n    net = nn.Sequential(nn.AdaptiveAvgPool2d(1),"
        " nn.Flatten(), nn.Linear(3, 3))\n    with torch.no_grad():\n"
        "        net[2].weight.copy_(16 * torch.eye(3))\n        net[2].bias.zero_()\n    return net\n"
        "def other():\n    net = build()\n    net[2].weight.data.mul_(-1)\n    return net\n"
    )
    own = classifier(dynamic())
    model = borrow_gradients(method(), own, f"{twin}:build")
    assert (model.access, model.digest() == own.digest()) == ("gradient", False)
    assert (own.access, own.surrogate) == ("scores", None)  # the network is handed back as it was
    found = falls(model, method, **settings)
    assert found[0]
    assert not any(found[2:])
    # uphill for this surrogate is downhill for the network
    blind = borrow_gradients(PGD(), classifier(dynamic()), f"{twin}:other")
    assert not any(falls(blind, steps=20))
    with pytest.raises(InputError, match="lends gradients; square takes none"):
        borrow_gradients(Square(), classifier(dynamic()), f"{twin}:build")


def of_four(x: Tensor) -> Tensor:
    if len(x) != 4:
        raise RuntimeError(f"the batch has to be 4, not {len(x)}")
    return x


def test_a_fixed_batch_is_filled_up_for_scores_and_for_gradients():
    model = classifier(Brightest(of_four))
    assert (model.batch, model.neighbours) == (4, None)
    assert "takes 4 images" in model.remarks()["batch"]
    torch.testing.assert_close(model(IMAGES[:3]), Brightest()(IMAGES[:3]))
    assert falls(model, steps=20) == FALLS


def at_most(count: int):
    def checked(x: Tensor) -> Tensor:
        if len(x) > count:
            raise RuntimeError("out of memory\nat some line")
        return x

    return checked


def test_a_smaller_batch_is_said_where_it_is_found_and_once():
    heard = Heard()
    with listening(heard):
        model = classifier(Brightest(at_most(8)))
    with listening(heard):
        for _ in range(3):
            torch.testing.assert_close(model.predict(IMAGES.repeat(4, 1, 1, 1))[:4], Brightest()(IMAGES))
    said = "the network failed on 16 images at once (out of memory); 8 it takes"
    assert heard.sentences == [f"batch: {said}"]
    assert (model.batch, model.remarks()["batch"]) == (8, said)


def test_what_takes_fewer_later_is_asked_in_still_fewer():
    network = Brightest(at_most(8))
    model = classifier(network)
    model.predict(IMAGES.repeat(4, 1, 1, 1))
    assert model.batch == 8
    network.before = at_most(1)
    torch.testing.assert_close(model.predict(IMAGES), Brightest()(IMAGES))
    assert model.batch == 1


def not_too_red(x: Tensor) -> Tensor:
    if (x[:, 0].mean((1, 2)) > 0.9).any():
        raise ValueError("too red")
    return x


def asserted(x: Tensor) -> Tensor:
    assert not (x[:, 0].mean((1, 2)) > 0.9).any(), "too red"
    assert len(x) <= 2, "too many"
    return x


@pytest.mark.parametrize("before", [not_too_red, asserted, lambda x: not_too_red(at_most(2)(x))])
def test_an_image_on_which_the_network_fails_makes_no_batch_smaller(before):
    model = classifier(Brightest(before))
    model.predict(IMAGES)
    found = model.batch
    red = IMAGES.clone()
    red[2, 0] = 1.0
    with pytest.raises(InputError, match=r"fails on an image of 3x8x8, also when .* alone: too red"):
        model.predict(red)
    assert model.batch == found != 1
    torch.testing.assert_close(model.predict(IMAGES), Brightest()(IMAGES))


def test_a_smaller_batch_and_a_bad_image_are_said_by_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
        "from test_network_kinds import Brightest, at_most, not_too_red\n"
        "def few():\n    return Brightest(at_most(4))\n"
        "def proud():\n    return Brightest(lambda x: not_too_red(x + 0.39))\n"
    )
    Path("names.txt").write_text("red\ngreen\nblue\n")
    for row, image in enumerate(IMAGES.repeat(2, 1, 1, 1)):
        folder = Path("data", ("red", "green", "blue")[row % 4 % 3])
        folder.mkdir(parents=True, exist_ok=True)
        write_png(folder / f"{row}.png", image)
    words = ["folder:data", "--size", "8", "--classes", "names.txt", "--set", "eps=40/255", "--out"]
    assert run(["attack", "pgd", "net.py:few", *words, "few"]) == 0
    said = "the network failed on 6 images at once (out of memory); 3 it takes"
    assert capsys.readouterr().err.count(f"batch: {said}") == 1
    assert json.loads(Path("few", "run.json").read_text())["network"]["batch"] == said
    assert run(["attack", "pgd", "net.py:proud", *words, "proud"]) == 2
    assert "alone: too red" in capsys.readouterr().err


class AmongOthers(nn.Module):
    """Less the mean of the batch: of one image nothing is left."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean((0, 2, 3), keepdim=True)


@pytest.mark.parametrize(
    "before",
    [AmongOthers(), nn.BatchNorm2d(3, track_running_stats=False), lambda x: AmongOthers()(of_four(x))],
)
def test_answers_that_depend_on_the_neighbours_are_found(before):
    model = classifier(Brightest(before))
    assert "depends on the others" in (model.neighbours or "")
    assert model.remarks()["neighbours"] == model.neighbours


@pytest.mark.parametrize(
    "before", [lambda x: x, lambda x: x + 0.2 * torch.randn_like(x), nn.BatchNorm2d(3), nn.InstanceNorm2d(3)]
)
def test_answers_that_do_not_are_left_alone(before):
    network = Brightest(before)
    state = torch.get_rng_state()
    model = classifier(network)
    assert (model.neighbours, model.batch) == (None, None)
    if isinstance(before, nn.Module):
        assert torch.equal(torch.get_rng_state(), state)


def test_undefined_and_switched_off_answers_pass():
    def undefined(z: Tensor) -> Tensor:
        return torch.where((z.argmax(1) == 0)[:, None], torch.nan, z)

    class After(nn.Module):
        def __init__(self, after) -> None:
            super().__init__()
            self.inner, self.after = Brightest(), after

        def forward(self, x: Tensor) -> Tensor:
            return self.after(self.inner(x))

    found = classifier(After(undefined)).predict(IMAGES)
    assert torch.isnan(found).all(1).tolist() == (TOP == 0).tolist()
    off = classifier(After(lambda z: torch.cat([z, torch.full_like(z, -torch.inf)], 1)))
    assert torch.isinf(off.predict(IMAGES)).sum() == 12
    assert (off.form, off.neighbours) == ("logits", None)


def test_options_name_the_output():
    assert ModelOptions(model="a.py:b", output="logit").words() == ["a.py:b", "--output", "logit"]

"""What networks return, and how it is read: one output, containers, probabilities, several at once.

The inner network is `Shares`: logits 16 times the mean of each channel, so that everything is known in closed
form. What is put around it keeps its argmax.
"""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ostrich
from ostrich.attacks.score_based.square import Square
from ostrich.cli.main import run
from ostrich.errors import InputError

RANDOM = torch.Generator().manual_seed(3)
IMAGES = (torch.rand(6, 3, 8, 8, generator=RANDOM) * 60 + 90).round() / 255
LEAD = torch.tensor([4, 8, 12, 16, 20, 24]) / 255  # of the strongest channel before the second
for row, lead in enumerate(LEAD):  # channel means to one level: all others 90/255 in the mean
    means = IMAGES[row].mean((1, 2), keepdim=True)
    IMAGES[row] += 0.5 - means
    IMAGES[row, row % 3] += lead
TOP = torch.arange(6) % 3
Named = namedtuple("Named", "features logits")


class Shares(nn.Module):
    def __init__(self, factor: float = 16.0) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(factor * torch.eye(3)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x).mean((2, 3))


class Around(nn.Module):
    def __init__(self, change, factor: float = 16.0) -> None:
        super().__init__()
        self.inner, self.change = Shares(factor), change

    def forward(self, x: Tensor):
        return self.change(self.inner(x))


def classifier(change, factor: float = 16.0, **options) -> ostrich.Classifier:
    return ostrich.Classifier(Around(change, factor).eval(), size=(8, 8), **options)


def first_less_last(z: Tensor) -> Tensor:
    return z[:, :1] - z[:, 2:]


SAME = {  # read as the same scores
    "a dict": lambda z: {"features": z[:, :, None, None].expand(-1, -1, 4, 4), "logits": z},
    "one of its kind in a dict": lambda z: {"prediction": z, "loss": z.sum()},
    "a dict in a tuple": lambda z: ({"logits": z}, z.mean()),
    "a tuple": lambda z: (z, z.mean(), z.argmax(1)),
    "a list": lambda z: [z],
    "an object": lambda z: SimpleNamespace(logits=z, attentions=None),
    "a named tuple": lambda z: Named(z[:, :2], z),
    "maps of one pixel": lambda z: z[:, :, None, None],
    "an axis of one": lambda z: z[:, None],
}


@pytest.mark.parametrize("kind", SAME)
def test_scores_are_found_in_what_is_returned(kind):
    model, plain = classifier(SAME[kind]), classifier(lambda z: z)
    torch.testing.assert_close(model.predict(IMAGES), plain.predict(IMAGES))
    torch.testing.assert_close(model.predict(IMAGES[:1]), plain.predict(IMAGES[:1]))
    assert plain.output is None
    assert model.output is not None or kind in ("a list",)


def test_of_two_that_fit_the_one_with_as_many_as_class_names():
    def both(z: Tensor) -> tuple[Tensor, Tensor]:
        return z[:, :2], z

    with pytest.raises(InputError, match=r"0 float32 \(6, 2\), 1 float32 \(6, 3\).*--output 0\|1"):
        classifier(both).predict(IMAGES)
    assert classifier(both, class_names=("a", "b", "c")).predict(IMAGES).shape == (6, 3)
    assert classifier(both, output="0").predict(IMAGES).shape == (6, 2)
    with pytest.raises(InputError, match=r"--output 7: .* returns 0 float32"):
        classifier(both, output="7").predict(IMAGES)


HEADS = {  # of one width
    "a tuple": lambda z: (z, -z),
    "a list": lambda z: [z, torch.zeros_like(z)],
    "a dict": lambda z: {"coarse": z, "fine": -z},
    "a tuple of dicts": lambda z: ({"logits": z}, {"logits": -z}),
    "of which two are no aux": lambda z: {"main": z, "second": -z, "aux": 2 * z},
}
CALLED = {
    "out": lambda z: {"aux": -z, "out": z},
    "scores": lambda z: {"features": -z, "scores": z},
    "the only one that is no aux": lambda z: {"aux_1": -z, "head": z, "Aux2": 0 * z},
    "logits before those of a part": lambda z: {"teacher": {"logits": -z}, "logits": z},
    "logits and aux_logits": lambda z: namedtuple("Outputs", "logits aux_logits")(z, -z),
}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("names", [None, ("a", "b", "c")])
def test_of_heads_of_one_width_none_is_taken_in_silence(kind, names):
    with pytest.raises(InputError, match=r"which of them are the scores cannot be told. Choose one") as told:
        classifier(HEADS[kind], class_names=names).predict(IMAGES)
    first, second = str(told.value).split("--output ")[1].rstrip(".").split("|")[:2]
    one = classifier(HEADS[kind], class_names=names, output=first).predict(IMAGES)
    assert torch.equal(one, Shares()(IMAGES))
    other = classifier(HEADS[kind], class_names=names, output=second).predict(IMAGES)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("kind", CALLED)
@pytest.mark.parametrize("names", [None, ("a", "b", "c")])
def test_the_head_that_a_convention_names_is_taken_and_said(kind, names):
    model = classifier(CALLED[kind], class_names=names)
    assert torch.equal(model.predict(IMAGES), Shares()(IMAGES))
    assert "of all that is returned" in (model.output or "")


ONE = {
    "a logit": first_less_last,
    "a flat logit": lambda z: first_less_last(z)[:, 0],
    "a squeezed logit": lambda z: first_less_last(z).squeeze(),
    "a sigmoid": lambda z: first_less_last(z).sigmoid(),
    "a flat sigmoid": lambda z: torch.sigmoid(first_less_last(z)).squeeze(1),
    "an unseen sigmoid": lambda z: 1 / (1 + (-first_less_last(z)).exp()),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_output_is_two_classes(kind):
    model = classifier(ONE[kind], class_names=("last", "first"))
    model.probe()
    z = first_less_last(Shares()(IMAGES))
    expected = torch.cat([torch.zeros_like(z), z], 1)
    found = model.predict(IMAGES)
    torch.testing.assert_close(found[:, 1:] - found[:, :1], z, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    assert model.num_classes == 2
    assert "one" in (model.output or "")


BESIDE_FEATURES = {  # one logit, and 8 features that are no scores
    "logits": lambda z, f: {"logits": z, "features": f},
    "logits after": lambda z, f: {"features": f, "logits": z[:, 0]},
    "out": lambda z, f: {"features": f, "out": z},
    "the only one that is no aux": lambda z, f: {"head": z, "aux": f},
}
UNNAMED = {
    "a tuple": lambda z, f: (z, f),
    "a flat logit": lambda z, f: (f, z[:, 0]),
    "a squeezed logit": lambda z, f: (z.squeeze(), f),
    "a dict": lambda z, f: {"score": z, "features": f},
    "a loss too": lambda z, f: (z, f, z.mean()[None]),
}


def with_features(change) -> ostrich.Classifier:
    """`change` of one logit (N, 1) and features (N, 8)."""
    return classifier(lambda z: change(first_less_last(z), z[:, :1] * torch.arange(8)))


@pytest.mark.parametrize("first", [1, 6])
@pytest.mark.parametrize("kind", BESIDE_FEATURES)
def test_one_logit_that_a_name_tells_from_features_is_taken(kind, first):
    model = with_features(BESIDE_FEATURES[kind])
    model.predict(IMAGES[:first])
    torch.testing.assert_close(model.predict(IMAGES)[:, 1:], first_less_last(Shares()(IMAGES)))


@pytest.mark.parametrize("first", [1, 6])
@pytest.mark.parametrize("kind", UNNAMED)
def test_one_logit_beside_features_is_refused_where_no_name_tells_them_apart(kind, first):
    with pytest.raises(
        InputError, match=r"cannot be told. Choose one with --output (0\|1|score\|features)\."
    ):
        with_features(UNNAMED[kind]).predict(IMAGES[:first])


@pytest.mark.parametrize("loss", [lambda z: z.mean(), lambda z: z.mean()[None]])
def test_a_loss_is_no_output_of_one_image(loss):
    model = classifier(lambda z: (z, loss(z)))
    model.probe()
    assert model.num_classes == 3
    assert torch.equal(model.predict(IMAGES), Shares()(IMAGES))


def test_a_loss_of_a_network_that_takes_one_image_at_a_time():
    def answer(images: Tensor) -> tuple[Tensor, Tensor]:
        scores = Shares()(images.reshape(1, 3, 8, 8))
        return scores, scores.mean()

    assert ostrich.Classifier(answer, size=(8, 8), batch=1).predict(IMAGES).shape == (6, 3)


def test_a_saturated_sigmoid_has_the_gradient_of_its_logit():
    images = IMAGES.clone().requires_grad_(True)
    model = classifier(lambda z: first_less_last(z).sigmoid(), factor=1e5)
    assert model.network(IMAGES[TOP != 1]).flatten().tolist() == [1.0, 0.0, 1.0, 0.0]
    (slope,) = torch.autograd.grad(model(images)[:, 1].sum(), images)
    torch.testing.assert_close(slope[0, :, 0, 0], torch.tensor([1e5, 0.0, -1e5]) / 64)


def test_one_output_that_does_not_tell_what_it_is():
    with pytest.raises(InputError, match=r"--output logit .* or --output sigmoid"):
        classifier(lambda z: 0.4 + 0.1 * torch.tanh(first_less_last(z))).predict(IMAGES)
    model = classifier(lambda z: 0.4 + 0.1 * torch.tanh(first_less_last(z)), output="logit")
    assert (model.predict(IMAGES).argmax(1) == 1).all()
    with pytest.raises(InputError, match=r"one output.*but 3 class names"):
        classifier(first_less_last, class_names=("a", "b", "c")).predict(IMAGES)


NEVER_BELOW_ZERO = {
    "per cent": lambda z: 100 * first_less_last(z).sigmoid(),
    "per mille": lambda z: 1000 * first_less_last(z).sigmoid(),
    "a logarithm": lambda z: torch.log(1e-9 + 1 / (1 + (-first_less_last(z)).exp())),
    "bytes": lambda z: (255 * first_less_last(z).sigmoid()).round(),
    "a distance": lambda z: first_less_last(z).abs(),
}


@pytest.mark.parametrize("kind", NEVER_BELOW_ZERO)
def test_one_output_that_never_changes_its_sign_is_not_read_as_a_logit(kind):
    with pytest.raises(InputError, match=r"--output logit \(class 1 above 0\) or --output sigmoid"):
        classifier(NEVER_BELOW_ZERO[kind]).predict(IMAGES)
    assert classifier(NEVER_BELOW_ZERO[kind], output="logit").predict(IMAGES).shape == (6, 2)


def test_per_cent_less_fifty_is_a_logit():
    model = classifier(lambda z: 100 * first_less_last(z).sigmoid() - 50)
    assert torch.equal(model.predict(IMAGES).argmax(1) == 1, first_less_last(Shares()(IMAGES))[:, 0] > 0)


@pytest.mark.parametrize(
    "several",
    [
        lambda z: (z - 8).sigmoid(),
        lambda z: 1 / (1 + (8 - z).exp()),
        lambda z: (z > 8).float(),
        lambda z: 100 * (z - 8).sigmoid(),
    ],
)
def test_independent_sigmoids_are_never_taken_for_one_answer_in_silence(several):
    with pytest.raises(InputError, match=r"several classes can be true at once.*--output logits"):
        classifier(several).predict(IMAGES)
    model = classifier(several, output="logits")
    assert model.predict(IMAGES).shape == (6, 3)
    assert "several classes" in (model.output or "")


def test_votes_and_probabilities_are_scores():
    votes = classifier(lambda z: nn.functional.one_hot(z.argmax(1), 3).float())
    assert torch.equal(votes.predict(IMAGES).argmax(1), TOP)
    probable = classifier(lambda z: z.softmax(1))
    torch.testing.assert_close(probable.predict(IMAGES).exp().sum(1), torch.ones(6))
    assert (probable.form, votes.form) == ("probabilities", "probabilities")
    shares = classifier(lambda z: 100 * z.softmax(1))
    torch.testing.assert_close(shares.predict(IMAGES).exp().sum(1), torch.ones(6))
    torch.testing.assert_close(probable.answers(IMAGES, before_softmax=True), Shares()(IMAGES))


@pytest.mark.parametrize("ending", [lambda p: p, lambda p: 100 * p, lambda p: p.half(), lambda p: p.double()])
def test_the_softmax_of_the_scores_of_probabilities_is_what_was_returned(ending):
    """Not the softmax of a softmax, by which a network that is sure of 99 % is sure of half."""
    logits = classifier(lambda z: z)
    probable = classifier(lambda z: ending((z - z.amax(1, keepdim=True)).softmax(1)))
    expected = logits.predict(IMAGES).double().softmax(1)
    torch.testing.assert_close(probable.predict(IMAGES).double().softmax(1), expected, atol=1e-3, rtol=1e-3)
    surely = classifier(lambda z: nn.functional.one_hot(z.argmax(1), 3).float())
    scores = surely.predict(IMAGES)
    assert torch.isfinite(scores).all()
    torch.testing.assert_close(scores.softmax(1).amax(1), torch.ones(6))


def test_labels_of_a_network():
    model = classifier(lambda z: z.argmax(1), class_names=("a", "b", "c"))
    model.probe()
    assert model.access == "labels"
    assert torch.equal(model.predict(IMAGES).argmax(1), TOP)


@pytest.mark.parametrize("change", [lambda z: (200 * z).softmax(1), lambda z: z])
def test_a_saturated_softmax_falls_where_its_logits_do(change):
    """An image falls from half its lead on: at 5/255 those with a lead of 4 and 8."""
    attack = Square(threat=ostrich.Linf(5 / 255), queries=300)
    goal = ostrich.Untargeted(TOP)
    found = ostrich.attacks.attack(attack, classifier(change), IMAGES, goal, labels=TOP)
    assert found.success.tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    "answer", [lambda x: {"logits": x.mean((2, 3)) * 9}, lambda x: (x.mean((2, 3)) * 9,)]
)
def test_functions_are_read_by_the_same_rules(answer):
    model = ostrich.Classifier(lambda x: answer(x.numpy()), size=(8, 8))
    np.testing.assert_allclose(model.predict(IMAGES), IMAGES.numpy().mean((2, 3)) * 9, rtol=1e-6)
    assert model.access == "scores"


def test_what_was_found_out_is_said_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net(k):\n    return nn.Sequential(nn.Conv2d(3, k, 1), nn.AdaptiveAvgPool2d(1), nn.Sigmoid())\n"
        "def build():\n    return net(1)\ndef several():\n    return net(3)\n"
    )
    for i, name in enumerate(("no", "yes")):
        Path("photos", name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (200 * i, 90, 90)).save(f"photos/{name}/0.png")
    Path("names.txt").write_text("no\nyes\n")
    words = ["folder:photos", "--size", "8", "--classes", "names.txt", "--out", "out"]
    assert run(["attack", "fgsm", "net.py:build", *words]) == 0
    said = "one sigmoid, read as two classes: class 1 above 0.5"
    assert f"output: {'axes of length one are left out; '}{said}" in capsys.readouterr().err
    assert said in json.loads(Path("out/run.json").read_text())["network"]["output"]
    assert run(["doctor", "net.py:several", "folder:photos", "--size", "8"]) == 2
    assert "--output logits" in capsys.readouterr().err
    assert run(["doctor", "net.py:several", "folder:photos", "--size", "8", "--output", "logits"]) == 2

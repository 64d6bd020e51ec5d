"""`ostrich.generate`: each verb beside its command, what it returns in memory, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from run_folders import contents
from torch import nn

import ostrich
from ostrich.cli.main import run
from ostrich.generative.codes import Codes
from ostrich.generative.generator import Generator, load_generator
from ostrich.images import read_png, rounded

SMALL = {"precision": "exact", "steps": 4, "watch_every": 2, "batch_size": 16}
WORDS = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
PLAIN = "zoo:toybox-dcgan"
CONDITIONAL = "zoo:toybox-conditional"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A generator of digits from Python, and the folder of the command's."""
    folder = tmp_path_factory.mktemp("generator") / "command"
    assert run(["generate", "train", "digits-perceptron", *WORDS, "--out", str(folder)]) == 0
    return ostrich.generate.train("digits-perceptron", **SMALL), folder


def test_train_leaves_what_the_command_leaves(tmp_path, trained):
    result, folder = trained
    result.save(tmp_path / "saved")
    expected = contents(folder)
    assert {"card.json", "generator.safetensors", "training.gif", "sheets/000004.png"} <= set(expected)
    assert contents(tmp_path / "saved") == expected
    assert result.picture is not None
    assert result.picture.name == "000004.png"
    assert "diversity=" in repr(result)


def test_a_trained_generator_is_asked_as_it_is(trained):
    result, folder = trained
    one = ostrich.generate.sample(result.generator, 3)
    two = ostrich.generate.sample(folder, 3)
    assert torch.equal(one.images, two.images)
    assert one.images.shape == (3, 1, 8, 8)


COMMANDS = {
    "sample": (
        [CONDITIONAL, "--count", "3", "--class", "ostrich", "--truncation", "0.5"],
        lambda **o: ostrich.generate.sample(CONDITIONAL, 3, classes=["ostrich"], truncation=0.5, **o),
    ),
    "interpolate": (
        [CONDITIONAL, "--rows", "2", "--steps", "3", "--gif", "--from", "ostrich", "--to", "umbrella"],
        lambda **o: ostrich.generate.interpolate(
            CONDITIONAL, 2, 3, start="ostrich", end="umbrella", gif=True, **o
        ),
    ),
    "neighbours": (["DIGITS", "--count", "8"], lambda g, **o: ostrich.generate.neighbours(g, count=8, **o)),
    "evaluate": (["DIGITS", "--count", "60"], lambda g, **o: ostrich.generate.evaluate(g, count=60, **o)),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_verb_leaves_what_its_command_leaves(tmp_path, trained, name, capsys):
    words, verb = COMMANDS[name]
    given = [str(trained[1]) if word == "DIGITS" else word for word in words]
    own = {"g": str(trained[1])} if "DIGITS" in words else {}
    assert run(["generate", name, *given, "--out", str(tmp_path / "command"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    held = verb(**own)
    assert held.folder is None
    held.save(tmp_path / "saved")
    written = verb(**own, out=tmp_path / "verb")
    assert written.folder == tmp_path / "verb"
    expected = contents(tmp_path / "command")
    assert contents(tmp_path / "saved") == contents(tmp_path / "verb") == expected
    assert json.loads(json.dumps(held.figures)) == figures == expected["run.json"]["results"]
    assert repr(held).startswith(f"<generate-{name}: ")
    assert "tensor" not in repr(held)
    assert ("<img" in held._repr_html_()) == (name != "evaluate")


def test_samples_are_those_of_the_files(tmp_path):
    found = ostrich.generate.sample(CONDITIONAL, 4, classes=["umbrella", 0], seed=3)
    generator = load_generator(CONDITIONAL)
    images, classes = generator.sample(range(4), seed=3, classes=[generator.class_index("umbrella"), 0])
    assert torch.equal(found.images, images)
    assert torch.equal(found.classes, classes)
    found.save(tmp_path / "out")
    assert np.array_equal(np.load(tmp_path / "out/codes.npy"), found.codes.numpy())
    for name, image in zip(found.figures["files"], rounded(images), strict=True):
        assert torch.allclose(read_png(tmp_path / "out" / name), image, atol=1e-6)
    again = ostrich.generate.sample(generator, codes=found.codes, classes=classes[:2])
    assert torch.equal(again.images, images)
    read = ostrich.generate.sample(generator, codes=tmp_path / "out/codes.npy", classes=classes[:2].tolist())
    assert torch.equal(read.images, images)


def test_ways_begin_and_end_at_their_codes():
    found = ostrich.generate.interpolate(PLAIN, rows=2, steps=4, seed=5)
    assert found.images.shape == (4, 2, 3, 32, 32)
    generator = load_generator(PLAIN)
    codes = generator.codes.numbered(range(4), 5)
    assert torch.allclose(found.images[0], generator(codes[:2]), atol=1e-5)
    assert torch.allclose(found.images[-1], generator(codes[2:]), atol=1e-5)


def test_neighbours_of_ones_own_images(trained):
    """Real images of another draw as training data: the generator has not seen them."""
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = ostrich.generate.neighbours(trained[0].generator, images, count=5)
    assert 45 < found.figures["training"] < 60  # about a tenth is held out
    assert found.figures["training"] + found.figures["held_out"] == 60
    assert found.figures["memorised"] is False
    assert len(found.sentences) == 2
    assert set(found.neighbours) == {"pixels", "features of zoo:digits-cnn"}


class Normed(nn.Module):
    """A generator of one's own with batch norm, in training mode."""

    def __init__(self, classes: int | None = None) -> None:
        super().__init__()
        self.embedding = None if classes is None else nn.Embedding(classes, 5)
        self.layers = nn.Sequential(
            nn.Linear(5, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 64), nn.Tanh()
        )

    def forward(self, codes, classes=None):
        codes = codes if self.embedding is None else codes + self.embedding(classes)
        return self.layers(codes).unflatten(1, (1, 8, 8))


def ones_own(kind: str = "normal", classes: int | None = None) -> Generator:
    torch.manual_seed(0)
    names = None if classes is None else tuple(map(str, range(classes)))
    network = Normed(classes)
    return Generator(
        name="own", network=network, codes=Codes(kind, 5), shape=(1, 8, 8), class_names=names, card={}
    )


def test_a_generator_of_ones_own_is_asked_in_evaluation_mode_and_left_as_it_was():
    own = ones_own()
    images = ostrich.generate.sample(own, 4).images
    assert torch.allclose(ostrich.generate.sample(own, 1).images, images[:1], atol=1e-6)
    ostrich.visualize("zoo:digits-cnn", unit="class:1", prior=own, steps=2)
    assert all(module.training for module in own.network.modules())
    assert own.network.layers[1].num_batches_tracked == 0
    assert all(parameter.requires_grad for parameter in own.network.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_generator_is_asked_in_its_own_type(dtype):
    own = ones_own()
    images = ostrich.generate.sample(own, 4).images
    own.network.to(dtype)
    found = ostrich.generate.sample(own, 4).images
    assert found.dtype == torch.float32
    assert torch.allclose(found, images, atol=0.02)


def test_a_generator_without_a_card_is_asked_about_data_that_is_given():
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 10
    judge = "zoo:digits-cnn"
    found = ostrich.generate.neighbours(ones_own(), images, features=judge, count=8)
    assert found.figures["training"] + found.figures["held_out"] == 200
    told = ostrich.generate.evaluate(
        ones_own("uniform", 10), (images, labels), features=judge, judge=judge, count=16
    ).figures
    assert told["as_asked"]["n"] == 16
    assert "as_asked_truncated_0.5" not in told  # uniform codes have no tails


def test_what_a_card_cannot_name_is_asked_for():
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    trained = ostrich.generate.train("digits-perceptron", images, judge=None, **SMALL).generator
    with pytest.raises(ostrich.InputError, match="given in Python; name the images: --data DATA"):
        ostrich.generate.evaluate(trained, features="zoo:digits-cnn")
    with pytest.raises(ostrich.InputError, match="has no card"):
        ostrich.generate.evaluate(ones_own(), features="zoo:digits-cnn")
    with pytest.raises(ostrich.InputError, match="a network of its own"):
        ostrich.generate.interpolate(ones_own(classes=3), start=0, end=2)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda g: g.sample(3), "A generator is zoo:NAME, .* got int"),
        (lambda g: g.sample("zoo:toybox-dcgam"), "Did you mean zoo:toybox-dcgan"),
        (lambda g: g.sample(PLAIN, 0), "at least 1; got 0"),
        (lambda g: g.sample(PLAIN, classes=["ostrich"]), "not conditional"),
        (lambda g: g.sample(CONDITIONAL, classes=["ostrish"]), "Did you mean ostrich"),
        (lambda g: g.sample(CONDITIONAL, classes=[]), "at least one name or number"),
        (lambda g: g.sample(PLAIN, codes=torch.zeros(2, 3)), r"got \(2, 3\)"),
        (lambda g: g.sample(PLAIN, codes="none.npy"), "cannot be read as .npy"),
        (lambda g: g.sample(PLAIN, codes=object()), "a tensor .N, Z. or a .npy file"),
        (lambda g: g.sample(PLAIN, codes=torch.zeros(2, 100), truncation=0.5), "codes that are drawn"),
        (lambda g: g.interpolate(PLAIN, 0), "at least 1 row"),
        (lambda g: g.interpolate(CONDITIONAL, start="ostrich"), "both ends"),
        (lambda g: g.neighbours(PLAIN, 3), "Training data is"),
        (lambda g: g.neighbours(PLAIN, count=0), "at least 1; got 0"),
        (lambda g: g.evaluate(PLAIN, judge="zoo:toybox-resnet20"), "not conditional"),
        (lambda g: g.train("digits-perceptrom"), "Did you mean digits-perceptron"),
        (lambda g: g.train("digits-perceptron", step=3), "Did you mean steps"),
        (lambda g: g.train("digits-perceptron", torch.rand(40, 3, 8, 8), **SMALL), "do not fit"),
    ],
)
def test_what_they_cannot_use_is_refused(ask, message):
    with pytest.raises(ostrich.InputError, match=message):
        ask(ostrich.generate)

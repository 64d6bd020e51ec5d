"""`ostrich.train`: its result beside the command's, images of one's own, and what it refuses."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from run_folders import contents

import ostrich
from ostrich.cli.main import run
from ostrich.data.training_data import open_split
from ostrich.models.cards import card_of
from ostrich.training.recipe import RECIPES
from ostrich.training.run import trained as network_of

OF_64, OF_32 = ((torch.rand(40, 3, size, size), torch.arange(40) % 11) for size in (64, 32))
SMALL = {"train_images": 200, "epochs": 1, "batch_size": 50, "precision": "exact"}


def words(changes: dict[str, object]) -> list[str]:
    return [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def trained():
    """A digits network, trained from Python without a folder."""
    return ostrich.train("digits-cnn", **SMALL)


def test_the_verb_leaves_what_the_command_leaves(tmp_path, trained):
    assert run(["train", "digits-cnn", *words(SMALL), "--out", str(tmp_path / "command")]) == 0
    ostrich.train("digits-cnn", **SMALL, out=tmp_path / "verb")
    assert trained.save(tmp_path / "saved") == tmp_path / "saved"
    expected = contents(tmp_path / "command")
    assert {"run.json", "card.json", "network.safetensors", "metrics.jsonl", "checkpoint.pt"} <= set(expected)
    assert contents(tmp_path / "verb") == contents(tmp_path / "saved") == expected
    with pytest.raises(ostrich.OstrichError, match="finished run"):
        trained.save(tmp_path / "saved")


def test_the_model_is_the_network_of_the_card(trained):
    test = open_split("digits", "test", (1, 8, 8))
    model = trained.model
    assert model is trained.model
    right = (model.predict(test.images()).argmax(1) == test.labels).float().mean().item()
    assert right == pytest.approx(trained.figures["test_accuracy"], abs=1 / 360)
    assert model.class_names == test.class_names
    assert trained.figures["test_images"] == 360
    assert "test_accuracy=0." in repr(trained)
    assert "tensor" not in repr(trained)
    assert "test accuracy" in trained._repr_html_()


def test_the_card_says_the_command_and_the_data_it_was_trained_on(trained, tmp_path):
    sets = "--set train_images=200 --set epochs=1 --set batch_size=50 --set precision=exact"
    card = json.loads((trained.save(tmp_path / "saved") / "card.json").read_text())
    assert card["recipe"] == f"ostrich train digits-cnn --data digits {sets} --seed 0"
    assert card["data"] == "digits"
    images, labels = np.zeros((60, 8, 8), np.uint8), np.arange(60) % 10
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    own = ostrich.train("digits-cnn", f"npz:{tmp_path}/own.npz", epochs=1, seed=3)
    card = json.loads((own.folder / "card.json").read_text())
    assert card["data"] == f"npz:{tmp_path}/own.npz"
    assert card["recipe"] == f"ostrich train digits-cnn --data npz:{tmp_path}/own.npz --set epochs=1 --seed 3"


def test_the_test_images_are_of_the_classes_of_training_by_name(tmp_path):
    test = open_split("digits", "test", (1, 8, 8))
    chosen = test.labels != 0  # the first class is missing: each split numbers what it has
    train = open_split("digits", "train", (1, 8, 8), limit=600)
    images, labels = [train.pixels, test.pixels[chosen]], [train.labels, test.labels[chosen]]
    np.savez(tmp_path / "own.npz", x_train=images[0], x_test=images[1], y_train=labels[0], y_test=labels[1])
    found = ostrich.train("digits-cnn", f"npz:{tmp_path}/own.npz", epochs=4, precision="exact")
    right = found.model.predict(test.images()[chosen]).argmax(1) == test.labels[chosen]
    assert found.figures["test_accuracy"] == pytest.approx(right.float().mean().item(), abs=1 / 324)
    assert found.figures["test_accuracy"] > 0.8
    np.savez(tmp_path / "own.npz", x_train=images[1], x_test=images[0], y_train=labels[1], y_test=labels[0])
    with pytest.raises(ostrich.InputError, match=r":test has classes that .*:train lacks: 0\. It has 1, 2"):
        ostrich.train("digits-cnn", f"npz:{tmp_path}/own.npz")


def test_a_training_that_diverges_is_ended_and_says_so(tmp_path, capsys):
    folder = tmp_path / "out"
    more = {**SMALL, "epochs": 3, "learning_rate": 1e9}
    assert run(["train", "digits-cnn", *words(more), "--out", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "has diverged: by step 4 of 12" in said
    assert "learning_rate below 1e+09" in said
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1
    assert not (folder / "network.safetensors").exists()


def test_a_card_beside_the_weights_of_another_training_is_none(trained, tmp_path):
    weights = trained.save(tmp_path / "saved") / "network.safetensors"
    assert card_of(weights) is not None
    ostrich.train("digits-cnn", **SMALL, seed=1, out=tmp_path / "other")
    (tmp_path / "other/network.safetensors").replace(weights)
    assert card_of(weights) is None
    with pytest.raises(ostrich.OstrichError, match="holds no trained network"):
        network_of(tmp_path / "saved")


def test_a_trained_network_is_fed_as_its_card_says(trained, tmp_path):
    folder = trained.save(tmp_path / "saved")
    test = open_split("digits", "test", (1, 8, 8))
    for model, weights in ((str(folder), None), ("arch:digits-cnn", folder / "network.safetensors")):
        found = ostrich.load(model, weights=weights)
        assert torch.equal(found.predict(test.images()), trained.model.predict(test.images()))
        assert found.class_names == test.class_names
        assert found.remarks()["mean"] == "0.305, as the card beside the weights says"
        given = ostrich.load(model, weights=weights, mean=0.5, std=0.25, classes=list("abcdefghij"))
        assert (given.mean, given.std, given.class_names) == ((0.5,), (0.25,), tuple("abcdefghij"))
        assert not {"mean", "std", "class names"} & set(given.remarks())
    (folder / "card.json").unlink()
    assert ostrich.load("arch:digits-cnn", weights=folder / "network.safetensors").mean is None
    with pytest.raises(ostrich.InputError, match=r"run directory without a trained network: .*card\.json"):
        ostrich.load(str(folder))


def test_a_network_has_the_classes_that_its_data_names(tmp_path, capsys):
    """It kept the ten of the recipe, without names, and was refused on the very data."""
    for k, name in enumerate(("ant", "bee", "cat")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(12 if k else 1):
            pixels = np.random.default_rng(100 * k + i).integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"data/{name}/{i}.png")
    data, out = f"folder:{tmp_path / 'data'}", tmp_path / "out"
    words = ["train", "digits-cnn", "--data", data, "--set", "epochs=1", "--seed", held_out_by(data, "ant")]
    assert run([*words, "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "classes: the network has 3, as the data" in said
    assert "classes: no image of ant is among those to train on" in said
    model = ostrich.load(str(out))
    assert model.class_names == ("ant", "bee", "cat")
    card = json.loads((out / "card.json").read_text())
    assert card["architecture"] == "digits-cnn,classes=3"
    assert "--set architecture=digits-cnn,classes=3" in card["recipe"]
    assert ostrich.attack("fgsm", model, data, limit=6).figures["n"] == 6
    for changes in ({"architecture": "digits-cnn,classes=10"}, {"architecture": "digits-cnn,classes=2"}):
        with pytest.raises(ostrich.InputError, match=r"The data has 3 classes, .*architecture=.*,classes=3"):
            ostrich.train("digits-cnn", data, **changes)


def test_what_is_said_of_data_is_said_of_training_data(tmp_path, capsys):
    for k, name in enumerate("ab"):
        (tmp_path / "my data" / name).mkdir(parents=True)
        for i in range(12):
            np.save(tmp_path / f"my data/{name}/{i}.npy", np.full((8, 8), 9.0 * k + i))
    (tmp_path / "my data/a/bad.npy").write_bytes(b"nothing")
    data = f"folder:{tmp_path / 'my data'}"
    words = ["train", "digits-cnn", "--data", data, "--set", "epochs=1"]
    assert run(words) == 2
    assert run([*words, "--skip-bad"]) == 2
    assert "--range 255" in capsys.readouterr().err
    assert run([*words, "--skip-bad", "--range", "255", "--out", str(tmp_path / "out")]) == 0
    assert "left out: 1 that cannot be read" in capsys.readouterr().err
    given = ostrich.data.open_data(data, skip_bad=True, range=255)
    found = ostrich.train("digits-cnn", given, epochs=1, out=tmp_path / "verb")
    assert contents(tmp_path / "verb") == contents(tmp_path / "out")
    content = json.loads((tmp_path / "out/run.json").read_text())
    assert content["data"]["skipped"] == ["a/bad.npy"]
    again = shlex.split(json.loads((tmp_path / "out/card.json").read_text())["recipe"])[1:]
    assert run([*again, "--out", str(tmp_path / "again")]) == 0
    assert found.figures["train_images"] + found.figures["test_images"] == 24
    (tmp_path / "map.csv").write_text("a,0\n")
    mapped = ostrich.data.open_data(data, class_map=tmp_path / "map.csv")
    with pytest.raises(ostrich.InputError, match="training numbers its own"):
        ostrich.train("digits-cnn", mapped)
    with pytest.raises(ostrich.InputError, match="is not trained on"):
        ostrich.train("digits-cnn", replace(given, words=()))


def held_out_by(data: str, name: str) -> str:
    """A seed that holds the only image of a class out."""
    for seed in range(99):
        test = open_split(data, "test", (1, 8, 8), seed=seed)
        if test.class_names.index(name) in test.labels.tolist():
            return str(seed)
    raise AssertionError


def test_images_of_ones_own_are_trained_on_and_a_tenth_is_held_out(tmp_path):
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 2
    images = 0.2 * torch.rand(120, 1, 8, 8, generator=draw) + 0.6 * labels[:, None, None, None]
    changes = {"epochs": 4, "batch_size": 12, "precision": "exact", "seed": 1}
    found = ostrich.train("digits-cnn", (images, labels), **changes, out=tmp_path / "out")
    assert found.figures["train_images"] + found.figures["test_images"] == 120
    assert 4 <= found.figures["test_images"] <= 24  # each with a probability of a tenth, by what it shows
    assert found.figures["test_accuracy"] == 1
    asked = json.loads((tmp_path / "out/run.json").read_text())["asked"]
    assert asked["data"] == "images"
    with pytest.raises(ostrich.OstrichError, match=r"other .*images"):
        ostrich.train("digits-cnn", (images.flip(3), labels), **changes, out=unfinished(tmp_path / "out"))


def unfinished(folder):
    """The folder as an interrupted command leaves it."""
    content = json.loads((folder / "run.json").read_text())
    content.pop("checksum")
    (folder / "run.json").write_text(json.dumps({**content, "finished": False}))
    return folder


def test_a_recipe_of_ones_own(tmp_path):
    recipe = RECIPES["digits-cnn"]
    one = ostrich.train(recipe, **SMALL)
    two = ostrich.train("digits-cnn", **{**SMALL, "epochs": "1"})  # as the command line reads it
    assert one.figures["test_accuracy"] == two.figures["test_accuracy"]


@pytest.mark.parametrize(
    ("recipe", "data", "changes", "message"),
    [
        ("digits", None, {}, "Did you mean digits-cnn"),
        (3, None, {}, "A recipe is a name .* got 3"),
        ("digits-cnn", None, {"epoch": 3}, "Did you mean epochs"),
        ("digits-cnn", None, {"name": "mine"}, "Unknown setting of a recipe 'name'"),
        ("digits-cnn", None, {"epochs": -1}, "epochs is above 0; got -1"),
        ("digits-cnn", 7, {}, "Training data is a tensor .* got int"),
        ("digits-cnn", "digitz", {}, "Did you mean digits"),
        ("digits-cnn", torch.rand(20, 1, 8, 8), {}, "no labels to train on"),
        ("digits-cnn", (torch.rand(20, 3, 8, 8), torch.arange(20) % 3), {}, r"\(3, 8, 8\) do not fit"),
        ("digits-cnn", (torch.rand(40, 1, 8, 8), torch.arange(40) % 11), {}, "11 classes, the network 10"),
        ("digits-cnn", (torch.rand(20, 1, 8, 8), torch.arange(19)), {}, "one for each of 20 images"),
        ("digits-cnn", (torch.rand(20, 1, 8, 8), torch.arange(20) % 3 - 1), {}, "from 0; got -1 to 1"),
        ("digits-cnn", (torch.rand(20, 1, 8, 8), -100 * (torch.arange(20) % 2)), {}, "got -100 to 0"),
        (
            "digits-cnn",
            (torch.rand(0, 1, 8, 8), torch.arange(0)),
            {},
            "give at least one image",
        ),
        (
            "digits-cnn",
            (torch.rand(1, 1, 8, 8), torch.arange(1)),
            {},
            "has 1 images to train on and 0 to test",
        ),
        ("toybox-noise", OF_64, {}, "11 classes, the network 10: .*classes=11 and start=none"),
        ("toybox-noise", OF_64, {"architecture": "resnet8,classes=11,size=64"}, "set start=none"),
        (
            "toybox-resnet20",
            OF_32,
            {"architecture": "resnet8,classes=11,size=32"},
            "48 pixels of images of 32x32",
        ),
        ("digits-cnn", None, {"crops": ((0.5, 6),)}, "crops of 6 pixels .* digits-cnn does not take"),
    ],
)
def test_what_it_cannot_use_is_refused(recipe, data, changes, message):
    with pytest.raises(ostrich.InputError, match=message):
        ostrich.train(recipe, data, **changes)

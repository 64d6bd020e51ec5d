"""Networks without gradients: ONNX files, and functions from images to scores or labels."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

import ostrich
from ostrich.attacks import ATTACKS, Untargeted
from ostrich.attacks.engine.settings import configure
from ostrich.cli.main import run
from ostrich.errors import InputError, MissingExtra

RESIDUAL = "zoo:toybox-resnet20"


def export(path: Path, *, dynamic: bool) -> str:
    """The residual-20 of the zoo as an ONNX file, by the exporter that needs no further package."""
    network = ostrich.load(RESIDUAL, device="cpu").network
    axes = {"images": {0: "n"}, "scores": {0: "n"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: this exporter is its older one
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 64, 64),),
            path,
            dynamo=False,
            input_names=["images"],
            output_names=["scores"],
            dynamic_axes=axes,
        )
    return f"onnx:{path}"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("onnx")
    return {
        "any batch": export(folder / "any.onnx", dynamic=True),
        "batch of one": export(folder / "one.onnx", dynamic=False),
    }


def graph(path: Path, inputs, outputs, nodes, constants=()) -> str:
    """A small ONNX file: inputs and outputs are {name: (type, shape)}."""
    values = [
        [helper.make_tensor_value_info(n, *facts) for n, facts in side.items()] for side in (inputs, outputs)
    ]
    body = helper.make_graph(nodes, "small", *values, list(constants))
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return f"onnx:{path}"


def mean_of_channels(path: Path, shape=("n", 3, 8, 8), axes=(2, 3), kind=TensorProto.FLOAT) -> str:
    """Scores are the channels' means: what comes out is known."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["y"], axes=list(axes), keepdims=0),
    ]
    return graph(path, {"x": (kind, shape)}, {"y": (TensorProto.FLOAT, ("n", 3))}, nodes)


# ONNX ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["any batch", "batch of one"])
def test_an_export_gives_the_scores_of_the_network(files, kind):
    plain = ostrich.load(RESIDUAL, device="cpu")
    model = ostrich.load(files[kind], mean=plain.mean, std=plain.std, classes=plain.class_names)
    assert (model.size, model.channels, model.num_classes, model.access) == ((64, 64), 3, 10, "scores")
    images, labels = ostrich.data.toybox("test", limit=7)
    with torch.no_grad():
        expected = plain(images)
    found = model(images)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-3)
    assert torch.equal(model(images.to(memory_format=torch.channels_last)), found)
    assert model(images[:0]).shape == (0, 10)
    assert (found.argmax(1) == labels).float().mean() > 0.8


def test_the_checksum_is_the_files(files):
    model = ostrich.load(files["any batch"])
    assert model.digest() == ostrich.load(files["any batch"]).digest()
    other = Path(files["any batch"].removeprefix("onnx:"))
    changed = other.with_name("changed.onnx")
    content = onnx.load(other)
    content.doc_string = "another"
    onnx.save(content, changed)
    changed.replace(other)  # the same name, another content
    assert model.digest() != ostrich.load(files["any batch"]).digest()


def test_channels_last_is_seen_and_turned(tmp_path):
    images = nets.random_images(3, (8, 8))
    expected = images.mean((2, 3))
    for name, shape, axes in (("first", ("n", 3, 8, 8), (2, 3)), ("last", (2, 8, 8, 3), (1, 2))):
        model = ostrich.load(mean_of_channels(tmp_path / f"{name}.onnx", shape, axes))
        assert (model.size, model.channels) == ((8, 8), 3)
        assert torch.allclose(model(images), expected, atol=1e-6)


def test_bytes_and_an_open_size(tmp_path):
    model = ostrich.load(mean_of_channels(tmp_path / "u8.onnx", ("n", 3, "h", "w"), kind=TensorProto.UINT8))
    images = nets.random_images(2, (5, 9))
    assert model.size is None  # the data's, or --size
    assert torch.allclose(model(images), 255 * images.mean((2, 3)), rtol=1e-5)
    assert ostrich.load("onnx:" + str(tmp_path / "u8.onnx"), size="5x9").size == (5, 9)


def test_labels_and_several_outputs(tmp_path):
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    top = helper.make_node("ArgMax", ["y"], ["k"], axis=1, keepdims=0)
    x, y = {"x": (TensorProto.FLOAT, ("n", 3, 8, 8))}, {"y": (TensorProto.FLOAT, ("n", 3))}
    k = {"k": (TensorProto.INT64, ("n",))}
    images = nets.random_images(6, (8, 8))
    expected = images.mean((2, 3))
    both = ostrich.load(graph(tmp_path / "both.onnx", x, {**k, **y}, [mean, top]))
    assert both.access == "scores"
    assert torch.allclose(both(images), expected, atol=1e-6)
    path = graph(tmp_path / "labels.onnx", x, k, [mean, top])
    with pytest.raises(InputError, match="--classes FILE"):
        ostrich.load(path)
    labels = ostrich.load(path, classes=("a", "b", "c"))
    assert labels.access == "labels"
    assert torch.equal(labels(images).argmax(1), expected.argmax(1))


def test_what_is_no_onnx_network_of_images(tmp_path, files):
    (tmp_path / "text.onnx").write_text("no network")
    same = [helper.make_node("Identity", ["x"], [name]) for name in ("y", "z")]
    flat = (TensorProto.FLOAT, ("n", 3))
    graph(tmp_path / "flat.onnx", {"x": flat}, {"y": flat}, same[:1])
    means = [helper.make_node("ReduceMean", ["x"], [n], axes=[2, 3], keepdims=0) for n in ("y", "z")]
    image = {"x": (TensorProto.FLOAT, ("n", 3, 8, 8))}
    graph(tmp_path / "two.onnx", image, {"y": flat, "z": flat}, means)
    graph(tmp_path / "map.onnx", image, {"y": image["x"]}, same[:1])
    for name, message in [
        ("none.onnx", "no ONNX file"),
        ("text.onnx", "cannot be read as an ONNX network"),
        ("flat.onnx", r"takes x tensor\(float\) \['n', 3\].*PATH.py:FUNCTION"),
        ("two.onnx", "returns y .*, z .*Choose one with --output y.z"),
        ("map.onnx", "one output of scores"),
    ]:
        with pytest.raises(InputError, match=message):
            ostrich.load(f"onnx:{tmp_path / name}")
    with pytest.raises(InputError, match="fails on an image of 3x32x32"):
        ostrich.load(files["batch of one"], size=32)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="takes no weights"):
        ostrich.load(files["batch of one"], weights=tmp_path / "w.pt")


def test_without_the_extra_the_install_command_is_given(files, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r'pip install "ostrich-vision\[onnx\]"'):
        ostrich.load(files["any batch"])
    assert run(["check", files["any batch"], "toybox"]) == 2
    assert "ostrich-vision[onnx]" in capsys.readouterr().err


@pytest.mark.slow
def test_the_crash_test_of_an_onnx_file(files, tmp_path, capsys):
    out = tmp_path / "out"
    words = [
        files["any batch"],
        "toybox",
        "--mean",
        "0.5",
        "--std",
        "0.25",
        "--limit",
        "6",
        "--out",
        str(out),
    ]
    some = "clean,targeted-pair,noise,robustness,saliency,guided"
    assert run(["check", *words, "--only", some, "--minutes", "0.2", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["clean_accuracy"] > 0.8
    assert results["model"]["parameters"] is None
    states = {p.stem: json.loads(p.read_text())["status"] for p in (out / "probes").glob("*.json")}
    assert states["clean"] == states["noise"] == "done"
    assert set(states.values()) == {"done", "skipped"}
    assert run(["attack", "pgd", *words[:-1], str(tmp_path / "pgd")]) == 2
    assert "only a prediction function" in capsys.readouterr().err
    assert not (tmp_path / "pgd" / "images").exists()


@pytest.mark.parametrize(
    ("name", "settings"), [("square", {"eps": "8/255", "queries": "60"}), ("one-pixel", {"eps": "5"})]
)
def test_attacks_without_gradients_succeed_as_often_as_on_the_network_itself(name, settings, files):
    """The same weights as an ONNX file and as a function of torch: scores alone, either way."""
    if name not in ATTACKS:
        pytest.skip(f"{name} is not registered here")
    plain = ostrich.load(RESIDUAL, device="cpu")
    facts = {"mean": plain.mean, "std": plain.std, "size": (64, 64)}
    exported = ostrich.load(files["any batch"], classes=plain.class_names, **facts)
    network = plain.network.requires_grad_(False)
    function = ostrich.Classifier(network.forward, name="function", channels=3, **facts)
    images, labels = ostrich.data.toybox("test", limit=12)
    known = {f.name for f in fields(ATTACKS[name])}
    small = {"generations": "2", "population": "24"} if name == "one-pixel" else {}
    method = configure(ATTACKS[name], settings | {k: v for k, v in small.items() if k in known})
    results = [
        ostrich.attacks.attack(method, model, images, Untargeted(labels), labels=labels)
        for model in (exported, function)
    ]
    assert results[0].backwards.sum() == 0
    assert torch.equal(results[0].success, results[1].success)
    assert results[0].attacked.sum() >= 8


# Functions ----------------------------------------------------------------------------------------

IMAGES = nets.random_images(5)
SCORES = IMAGES.mean((2, 3))


def function(answer, **options) -> ostrich.Classifier:
    return ostrich.Classifier(answer, name="function", size=(16, 16), channels=3, **options)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((2, 3)).double(),
        lambda x: x.numpy().mean((2, 3)),
        lambda x: x.numpy().astype(np.float64).mean((2, 3)),
    ],
)
def test_scores_as_tensors_and_arrays(answer):
    model = function(answer)
    assert model.access == "scores"
    assert model.num_classes == 3
    for dtype in (torch.float32, torch.float64):
        found = model(IMAGES.to(dtype))
        assert found.dtype == dtype
        assert torch.allclose(found, SCORES.to(dtype), atol=1e-6)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.mean((2, 3)).argmax(1),
        lambda x: x.mean((2, 3)).argmax(1).to(torch.uint8),
        lambda x: x.numpy().mean((2, 3)).argmax(1).astype(np.int32),
    ],
)
def test_labels_become_one_hot_scores(answer):
    model = function(answer, class_names=("a", "b", "c", "d"))
    assert model.access == "labels"
    found, expected = model(IMAGES), torch.zeros(5, 4)
    for row, label in enumerate(SCORES.argmax(1).tolist()):
        expected[row, label] = 1
    assert torch.equal(found, expected)
    goal = ostrich.Untargeted(SCORES.argmax(1))
    assert not goal.reached(found, 64).any()
    assert ostrich.Untargeted((SCORES.argmax(1) + 1) % 3).reached(found, 64).all()


def test_a_function_is_asked_once_for_what_it_offers():
    asked = []

    def answer(x):
        asked.append(len(x))
        return -2 * x.mean((2, 3))  # below 0, so that it is no probability

    model = function(answer)
    assert asked == []
    assert model.access == "scores"
    assert asked == [1, 6, 6, 1, 1]  # a grey image; two dark ones beside others, twice, and each alone
    assert model.access == "scores"
    assert len(asked) == 5


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x.mean((1, 2, 3)).long(), "--classes FILE"),
        (lambda x: x.mean((2, 3)).long(), r"returns int64 \(5, 3\), not scores"),
        (lambda x: {"image": x}, r"returns image float32 \(5, 3"),
        (lambda x: x.mean((2, 3)).tolist(), "returns a list"),
        (lambda x: np.array(["cat"]), "returns a ndarray"),
    ],
)
def test_what_a_function_may_get_wrong(answer, message):
    with pytest.raises(InputError, match=message):
        function(answer)(IMAGES)


def test_labels_and_rows_that_do_not_fit():
    with pytest.raises(InputError, match=r"from 7 to 7, but has the classes 0 to 1"):
        function(lambda x: torch.full((len(x),), 7), class_names=("a", "b"))(IMAGES)
    with pytest.raises(InputError, match="5 images with 1 rows"):
        function(lambda x: x.mean((2, 3))[:1])(IMAGES)


def test_functions_in_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "def by_labels():\n    return lambda images: images.numpy().mean((2, 3)).argmax(1)\n"
        "def by_scores():\n    return lambda images: images.numpy().mean((2, 3))\n"
        "def predict(images):\n    return images.mean((2, 3))\n"
    )
    Path("names.txt").write_text("red\ngreen\nblue\n")
    Path("photos").mkdir()
    for i, colour in enumerate(((200, 0, 0), (0, 200, 0), (10, 20, 200))):
        Image.new("RGB", (20, 20), colour).save(f"photos/{i}.png")
    model = ostrich.load("net.py:by_labels", size=16, classes="names.txt")
    assert (model.access, model.num_classes) == ("labels", 3)
    before = ostrich.load("net.py:by_scores", size=16).digest()
    with pytest.raises(InputError, match=r"def build\(\): return predict"):
        ostrich.load("net.py:predict", size=16)
    words = ["images:photos", "--size", "16", "--out", "out"]
    assert run(["check", "net.py:by_labels", *words]) == 2
    assert "--classes FILE" in capsys.readouterr().err
    assert run(["check", "net.py:by_labels", *words, "--classes", "names.txt", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["n"], results["model"]["num_classes"]) == (3, 3)
    Path("net.py").write_text(Path("net.py").read_text() + "\n# another\n")
    assert ostrich.load("net.py:by_scores", size=16).digest() != before

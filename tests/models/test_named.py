"""What MODEL may say: options of a library's network, paths, modules; and the words that answer the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import ostrich
from ostrich.attacks.engine import runner
from ostrich.cli.main import run
from ostrich.errors import InputError, MissingExtra
from ostrich.images import fit
from ostrich.models.asked import with_options
from ostrich.models.huggingface import label_names, processor_facts
from ostrich.models.named import FORMS, unknown
from ostrich.models.preprocessing import Preprocessing, described
from ostrich.runtime.executors import Here, computing_on
from ostrich.runtime.executors.sending import packed, unpacked

SQUEEZE = """
from torchvision.models import squeezenet1_0
def build():
    return squeezenet1_0()
"""


def test_options_after_a_name():
    assert with_options("resnet18,classes=3,zero_init_residual=true,x=0.5,y=none,z=word") == (
        "resnet18",
        {"num_classes": 3, "zero_init_residual": True, "x": 0.5, "y": None, "z": "word"},
    )
    assert with_options("local-dir:a,b/c,in_chans=1") == ("local-dir:a,b/c", {"in_chans": 1})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvision:resnet18,classes=none", "classes is a whole number"),
        ("torchvision:resnet18,classes=3,depth=2", "cannot be made with these options: .*depth"),
        ("timm:test_resnet,classes=0", "classes is a whole number"),
        ("timm:local-dir:nowhere", "no folder with a config.json"),
        ("hf:./nowhere", "no such folder"),
        ("torchvison:resnet18", "Did you mean torchvision:resnet18"),
        ("no.such.module:build", "is no model.*package.module:FUNCTION"),
        ("json:nothing", "Unknown function in json"),
        ("json:__doc__", "is no function"),
        ("nowhere.onnx", "There is no file"),
    ],
)
def test_what_cannot_be_meant_says_the_way_out(spec, message):
    with pytest.raises(InputError, match=message):
        ostrich.load(spec)


def test_another_head_without_weights_is_untrained_and_says_so():
    model = ostrich.load("torchvision:squeezenet1_1,classes=3", crop=64, resize=64, device="cpu")
    assert (model.num_classes, model.class_names) == (3, None)
    assert model.remarks()["weights"].startswith("untrained")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.keras", r"export\('net.onnx', format='onnx'\)\"; then ostrich doctor net.onnx DATA"),
        ("net.h5", "Keras file"),
        ("net.tflite", "tf2onnx.convert --tflite net.tflite --output net.onnx"),
        ("net.py", "ostrich doctor net.py:FUNCTION DATA"),
        ("w.pth", "weights and no network.*ostrich doctor torchvision:NAME DATA --weights w.pth"),
        ("arch.ckpt", "ostrich doctor timm:resnet18 DATA --weights arch.ckpt"),
        ("whole.pt", "a whole network"),
        ("w.safetensors", "--weights w.safetensors"),
        ("text.pt", "not a weights file"),
        ("hf", "ostrich doctor hf:hf DATA"),
        ("timm", "ostrich doctor timm:local-dir:timm DATA"),
        ("saved", "tf2onnx.convert --saved-model saved"),
        ("weights", "Name a file in it: ostrich doctor weights/a.pth DATA"),
        ("empty", "ostrich doctor MODEL folder:empty"),
    ],
)
def test_a_path_that_is_no_network_names_the_next_command(tmp_path, monkeypatch, capsys, name, message):
    monkeypatch.chdir(tmp_path)
    for file in ("net.keras", "net.h5", "net.tflite", "net.py"):
        Path(file).write_bytes(b"x")
    Path("text.pt").write_text("x")
    torch.save(nn.Linear(2, 2).state_dict(), "w.pth")
    torch.save({"arch": "resnet18", "state_dict": nn.Linear(2, 2).state_dict()}, "arch.ckpt")
    torch.save(nn.Linear(2, 2), "whole.pt")
    from safetensors.torch import save_file

    save_file(nn.Linear(2, 2).state_dict(), "w.safetensors")
    for folder, file, content in (
        ("hf", "config.json", json.dumps({"model_type": "vit"})),
        ("timm", "config.json", json.dumps({"architecture": "resnet18", "pretrained_cfg": {}})),
        ("saved", "saved_model.pb", ""),
        ("weights", "a.pth", ""),
        ("empty", "a.jpg", ""),
    ):
        Path(folder).mkdir()
        (Path(folder) / file).write_text(content)
    with pytest.raises(InputError, match=message):
        ostrich.load(name)
    assert run(["check", name, "toybox"]) == 2
    assert "Traceback" not in capsys.readouterr().err


# Python files ------------------------------------------------------------------------------------


def test_imports_find_their_neighbours_and_a_clean_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ostrich", "check", "--weights", "x"])
    (tmp_path / "neighbour_late.py").write_text("SCALE = 2.0\n")
    (tmp_path / "neighbour_at_once.py").write_text("CLASSES = 3\n")
    (tmp_path / "net.py").write_text(
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', default=1)\n"
        "options = parser.parse_args()\n"
        "def build():\n"
        "    from neighbour_at_once import CLASSES\n"
        "    import sys\n    assert len(sys.argv) == 1\n"
        "    def scores(images):\n"
        "        from neighbour_late import SCALE\n"
        "        return images.mean((2, 3))[:, :CLASSES] * SCALE\n"
        "    return scores\n"
    )
    before = list(sys.path)
    model = ostrich.load(f"{tmp_path / 'net.py'}:build", size=8)
    assert model.num_classes == 3
    assert sys.argv == ["ostrich", "check", "--weights", "x"]
    assert sys.path == [*before, str(tmp_path.resolve())]


def two_folders(tmp_path, module="model.py", build="return Net()", first="from model import Net\n"):
    """`one/net.py:build` and `two/net.py:build`, whose neighbours of one name multiply by 1 and by 2."""
    names = [f"{tmp_path}/{folder}/net.py:build" for folder in ("one", "two")]
    for factor, name in enumerate(names, 1):
        file = Path(name.rpartition(":")[0])
        (file.parent / module).parent.mkdir(parents=True)
        (file.parent / module).write_text(
            f"import torch\nFACTOR = {factor}\nclass Net(torch.nn.Module):\n"
            "    def forward(self, x):\n        return FACTOR * x.mean((2, 3))\n"
        )
        file.write_text(f"{first}def build():\n    {build}\n")
    return names


def factors(*models):
    image = torch.ones(1, 3, 8, 8)
    return [float(model.predict(image)[0, 0]) for model in models]


NEIGHBOURS = {
    "at once": {},
    "when called": {"first": "", "build": "from model import Net; return Net()"},
    "of a package": {"module": "parts/inner.py", "first": "from parts.inner import Net\n"},
}


@pytest.mark.parametrize("kind", NEIGHBOURS)
def test_each_folder_has_its_own_neighbours(kind, tmp_path):
    one, two = two_folders(tmp_path, **NEIGHBOURS[kind])
    models = [ostrich.load(name, size=8) for name in (one, two, one, two)]
    assert factors(*models) == [1, 2, 1, 2]
    kinds = [type(model.network) for model in models]
    assert kinds[:2] == kinds[2:]
    assert kinds[0] is not kinds[1]
    assert factors(*(unpacked(packed(model)) for model in models)) == [1, 2, 1, 2]


def test_two_networks_of_two_folders_in_another_process(tmp_path):
    names = two_folders(tmp_path)
    code = (
        "import sys, ostrich, torch\nfrom ostrich.runtime.executors.sending import packed\n"
        f"models = [ostrich.load(name, size=8, device='cpu') for name in {names}]\n"
        "sys.stdout.buffer.write(packed(models))"
    )
    sent = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    code = (
        "import sys, torch\nfrom ostrich.runtime.executors.sending import unpacked\n"
        "models = unpacked(sys.stdin.buffer.read())\n"
        "print(*(float(model.predict(torch.ones(1, 3, 8, 8))[0, 0]) for model in models))"
    )
    said = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert said.stdout.split() == [b"1.0", b"2.0"]


def test_what_a_network_imports_late_is_of_the_first_folder_also_after_a_second(tmp_path):
    late = (
        "    def late(x):\n        from imported_late import FACTOR\n        return FACTOR * x.mean((2, 3))\n"
    )
    build = "from imported_late import Net; return Net()"
    one, two = two_folders(tmp_path, "imported_late.py", build, first="")
    Path(one.rpartition(":")[0]).write_text(f"def build():\n{late}    return late\n")
    model = ostrich.load(one, size=8)
    other = ostrich.load(two, size=8)
    assert factors(model, other) == [1, 2]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise SystemExit('usage: net.py DATA')", "net.py' cannot be imported: it ends the program.*usage"),
        ("def build():\n    raise SystemExit(2)", r"net.py:build fails .*ends the program \(SystemExit: 2\)"),
        (
            "def build():\n    open('weights/best.pth')",
            "net.py:build fails .*'weights/best.pth', which is not",
        ),
        ("open('config.yaml')", "net.py' cannot be imported: it looks for 'config.yaml'"),
    ],
)
def test_what_a_file_does_wrong_is_said_with_its_name(tmp_path, capsys, body, message):
    (tmp_path / "net.py").write_text(body + "\n")
    with pytest.raises(InputError, match=message):
        ostrich.load(f"{tmp_path / 'net.py'}:build")
    assert run(["check", f"{tmp_path / 'net.py'}:build", "toybox"]) == 2


def test_a_module_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a_package_of_mine").mkdir()
    Path("a_package_of_mine/nets.py").write_text("def build():\n    return lambda x: x.mean((2, 3))\n")
    Path("a_package_of_mine/broken.py").write_text("import no_such_module_at_all\n")
    assert ostrich.load("a_package_of_mine.nets:build", size=8).num_classes == 3
    with pytest.raises(InputError, match=r"'a_package_of_mine.broken' cannot be imported: .*no_such_module"):
        ostrich.load("a_package_of_mine.broken:build")


# Preprocessing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "size", "resize"),
    [
        ({"resize": 256, "crop": 224}, (224, 224), 256),
        ({"resize": "256", "crop": "224"}, (224, 224), 256),
        ({"resize": "256x300", "crop": "224x240"}, (224, 240), (256, 300)),
        ({"crop": 64}, (64, 64), 64),
        ({"resize": 40}, (32, 32), 40),
        ({"size": 48}, (48, 48), None),
        ({}, (32, 32), 36),
    ],
)
def test_preprocessing_as_said(options, size, resize):
    facts = Preprocessing(**options).over({"size": (32, 32), "resize": 36})
    assert (facts["size"], facts["resize"]) == (size, resize)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64, "crop": 64}, "--size is a plain resize.*give either"),
        ({"size": 64, "resize": 64}, "--size is a plain resize.*give either"),
        ({"resize": 200, "crop": 224}, "--resize 200 is smaller than the crop"),
        ({"resize": 250, "crop": "200x300"}, "--resize 250 is smaller than the crop, 200x300"),
        ({"resize": "300x200", "crop": "200x300"}, "--resize 300x200 is smaller than the crop"),
        ({"interpolation": "cubic"}, "Did you mean bicubic"),
        ({"crop": "big"}, "A size is N or HxW"),
    ],
)
def test_preprocessing_that_cannot_be_meant(options, message):
    with pytest.raises(InputError, match=message):
        ostrich.load("arch:resnet8", **options)


def test_resize_without_a_size_asks_for_the_crop(tmp_path):
    (tmp_path / "net.py").write_text("def build():\n    return lambda x: x.mean((2, 3))\n")
    with pytest.raises(InputError, match="--resize 256 needs --crop"):
        ostrich.load(f"{tmp_path / 'net.py'}:build", resize=256)


def test_what_was_used_stands_in_the_run(tmp_path):
    words = [
        "explain",
        "gradient",
        "arch:resnet8",
        "toybox",
        "--limit",
        "1",
        "--resize",
        "40",
        "--crop",
        "32",
    ]
    assert run([*words, "--interpolation", "bicubic", "--mean", "0.5", "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out/run.json").read_text())["network"]["preprocessing"]
    assert found == "shorter side to 40, centre 32x32, bicubic; mean 0.5, std 1"
    assert described((8, 9), (10, 12), "nearest", None, None).startswith(
        "resized to 10x12, centre 8x9, nearest"
    )


def test_squeezenet_through_a_file_agrees_with_its_published_preprocessing(shared, tmp_path):
    from skimage import data as photographs

    (tmp_path / "net.py").write_text(SQUEEZE)
    weights = shared / "weights/squeezenet1_0-imagenet.safetensors"
    published = ostrich.load("torchvision:squeezenet1_0", weights=weights, device="cpu")
    chosen = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "resize": 256, "crop": 224}
    mine = ostrich.load(f"{tmp_path / 'net.py'}:build", weights=weights, device="cpu", **chosen)
    from PIL import Image

    pictures = [photographs.astronaut(), photographs.chelsea(), photographs.coffee(), photographs.rocket()]
    crops = [p[y : y + 260, x : x + 280] for p in pictures for y in (0, 30) for x in (0, 60)]
    seen = [
        torch.stack(
            [
                torch.from_numpy(np.array(fit(Image.fromarray(c), m.size, m.resize, m.interpolation)))
                .movedim(-1, 0)
                .div(255)
                for c in crops
            ]
        )
        for m in (published, mine)
    ]
    assert torch.equal(published.predict(seen[0]), mine.predict(seen[1]))
    assert len(published.predict(seen[0]).argmax(1).unique()) > 3


# transformers' processors ------------------------------------------------------------------------

BASE = {"do_resize": True, "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255}
HALF = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.mark.parametrize(
    ("processor", "size", "resize"),
    [
        ({"size": {"height": 64, "width": 48}}, (64, 48), (64, 48)),
        ({"size": 64}, (64, 64), 64),
        (
            {"size": {"shortest_edge": 72}, "do_center_crop": True, "crop_size": {"height": 64, "width": 64}},
            (64, 64),
            72,
        ),
        (
            {"size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": 224},
            (224, 224),
            (256, 256),
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 224), 256),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), (384, 384)),
        ({"do_resize": False, "do_center_crop": True, "crop_size": 32}, (32, 32), None),
        (
            {
                "image_processor_type": "LevitImageProcessor",
                "size": {"shortest_edge": 224},
                "do_center_crop": True,
                "crop_size": 224,
            },
            (224, 224),
            256,
        ),
    ],
)
def test_sizes_of_a_processor(processor, size, resize):
    facts = processor_facts("hf:x", BASE | processor)
    assert (facts["size"], facts["resize"], facts["interpolation"]) == (size, resize, "bilinear")


@pytest.mark.parametrize(
    "processor",
    [
        HALF,
        {},
        HALF | {"do_rescale": False, "image_mean": [123.0, 117.0, 104.0], "image_std": [58.0, 57.0, 57.0]},
        HALF | {"rescale_factor": 1 / 127.5, "rescale_offset": True},
        HALF | {"include_top": True},
        {"rescale_factor": 1 / 127.5},
    ],
)
def test_one_mean_and_deviation_are_the_whole_normalisation(processor):
    settings = BASE | {"size": 8} | processor
    facts = processor_facts("hf:x", settings)
    value = np.arange(256.0)[:, None].repeat(3, 1)  # as transformers says what is done, step by step
    expected = value * settings["rescale_factor"] if settings["do_rescale"] else value
    if settings.get("rescale_offset"):
        expected = expected - 1
    if settings.get("do_normalize"):
        expected = (expected - settings["image_mean"]) / settings["image_std"]
        if settings.get("include_top"):
            expected = expected / settings["image_std"]
    mean, std = facts["mean"] or (0.0,), facts["std"] or (1.0,)
    np.testing.assert_allclose((value / 255 - mean) / std, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ({"do_flip_channel_order": True}, "flips images"),
        ({"do_pad": True}, "pads images"),
        ({"resample": 4}, "resamples as Pillow's number 4"),
        ({"size": {"longest_edge": 64}}, "resizes to"),
    ],
)
def test_a_processor_that_does_more_is_refused(processor, message):
    with pytest.raises(InputError, match=message):
        processor_facts("hf:x", BASE | {"size": 64} | processor)


def test_names_of_labels():
    assert label_names({"1": "b", "0": "a"}) == ("a", "b")
    assert label_names({0: "LABEL_0", 1: "LABEL_1"}) is None
    assert label_names({0: "a", 2: "b"}) is None


def test_without_transformers_the_install_command_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r'pip install "ostrich-vision\[hf\]"'):
        ostrich.load("hf:google/vit")


def test_a_name_that_is_nowhere_is_answered_in_a_sentence(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf:nobody/nothing cannot be had.*hf:DIR"):
        ostrich.load("hf:nobody/nothing")


# Bytes -------------------------------------------------------------------------------------------


def means(kind: int) -> onnx.ModelProto:
    """The mean of each channel of images of that type as a score."""
    cast = helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
    mean = helper.make_node("ReduceMean", ["f"], ["y"], axes=[2, 3], keepdims=0)
    values = [
        helper.make_tensor_value_info("x", kind, ("n", 3, 8, 8)),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 3)),
    ]
    return helper.make_model(
        helper.make_graph([cast, mean], "bytes", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )


@pytest.mark.parametrize("there", [True, False])
def test_an_onnx_network_is_sent_to_other_processes(there, tmp_path):
    onnx.save(means(TensorProto.FLOAT), tmp_path / "net.onnx")
    found = ostrich.load(str(tmp_path / "net.onnx"), mean=0.5)
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    sent = packed(found)
    if not there:
        (tmp_path / "net.onnx").unlink()
    again = unpacked(sent)
    assert torch.equal(again.predict(images), found.predict(images))
    assert again.digest() == found.digest()
    onnx.save(means(TensorProto.DOUBLE), tmp_path / "net.onnx")
    with pytest.raises(InputError, match="has changed"):
        packed(found)


def test_batches_of_an_onnx_network_are_computed_elsewhere(tmp_path, monkeypatch):
    """What is sent through pickles leaves what one process leaves."""

    class Elsewhere(Here):
        def map(self, compute, items, *, lost=None, log=None):
            for item in items:
                away, order = unpacked(packed((compute, item)))
                yield item, away(order)

    monkeypatch.setattr(runner, "MOST_IMAGES", 4)
    onnx.save(means(TensorProto.FLOAT), tmp_path / "net.onnx")
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    given = {"eps": 0.1, "queries": 20}
    one = ostrich.attack("square", str(tmp_path / "net.onnx"), images, **given)
    with computing_on(Elsewhere()):
        other = ostrich.attack("square", str(tmp_path / "net.onnx"), images, **given)
    assert torch.equal(one.images, other.images)
    assert one.success.any()


def test_a_network_of_bytes_says_that_it_gets_no_normalisation(tmp_path):
    model = means(TensorProto.UINT8)
    onnx.save(model, tmp_path / "net.onnx")
    found = ostrich.load(str(tmp_path / "net.onnx"))
    images = torch.full((2, 3, 8, 8), 51 / 255)
    assert torch.equal(found.predict(images), torch.full((2, 3), 51.0))
    assert "takes bytes" in found.remarks()["input"]
    with pytest.raises(InputError, match="--mean: the network takes bytes"):
        ostrich.load(str(tmp_path / "net.onnx"), mean=0.5)


def test_the_list_of_forms_is_in_the_error():
    assert all(form in str(unknown("nothing")) for form in FORMS)

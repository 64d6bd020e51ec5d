"""Every form of MODEL against a script of its own: the library's loader and transform, without Ostrich.

The pictures are synthetic photographs of 90x70 pixels. Scores are compared, which is more than predictions.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models as tv
from torchvision.transforms import v2

import ostrich
from ostrich import data as datasets
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.models.named import FORMS
from ostrich.verbs.inputs import read_samples

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
onnxruntime = pytest.importorskip("onnxruntime")
N = 12
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    first = nn.Conv2d(3, 8, 4, stride=4)
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))

def function():
    network = build().eval()
    def scores(images):
        with torch.no_grad():
            return network(images)
    return scores

def library():
    import timm
    torch.manual_seed(4)
    return timm.create_model("test_resnet", num_classes=3)
"""


def pictures(folder: Path) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(N):
        coarse = Image.fromarray(random.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        fine = np.asarray(coarse.resize((90, 70), Image.Resampling.BICUBIC), dtype=np.int64)
        noisy = np.clip(fine + random.integers(-12, 13, fine.shape), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{number:02d}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with one file or folder of each form."""
    folder = tmp_path_factory.mktemp("forms")
    pictures(folder / "pictures")
    (folder / "net.py").write_text(NET)
    (folder / "package").mkdir()
    (folder / "package/__init__.py").write_text("")
    (folder / "package/nets.py").write_text(NET)
    torch.manual_seed(1)
    torch.save(tv.resnet18(num_classes=3).state_dict(), folder / "resnet18.pth")
    torch.save({"model": {f"m.{k}": v for k, v in resnet(folder).state_dict().items()}}, folder / "m.ckpt")
    torch.save(vit(3).state_dict(), folder / "vit.pth")
    torch.save(grey().state_dict(), folder / "grey.pth")
    timm.models.save_for_hf(timm.create_model("test_resnet", num_classes=3), folder / "timm-saved")
    names = {"id2label": {0: "ant", 1: "bee", 2: "cat"}, "label2id": {"ant": 0, "bee": 1, "cat": 2}}
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ViTConfig(**small, image_size=64, patch_size=16, **names)
    transformers.ViTForImageClassification(config).save_pretrained(folder / "hf-vit")
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder / "hf-vit")
    other = transformers.ViTForImageClassification(
        transformers.ViTConfig(**small, image_size=64, num_labels=5)
    )
    torch.save(other.state_dict(), folder / "hf-five.pth")
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=64, **names
    )
    transformers.ConvNextForImageClassification(config).save_pretrained(folder / "hf-convnext")
    shorter = transformers.ConvNextImageProcessor(size={"shortest_edge": 56})
    shorter.save_pretrained(folder / "hf-convnext")
    export(folder)
    return folder


def resnet(folder: Path) -> nn.Module:
    network = tv.resnet18(num_classes=3)
    network.load_state_dict(torch.load(folder / "resnet18.pth", weights_only=True))
    return network.eval()


def vit(classes: int) -> nn.Module:
    torch.manual_seed(2)
    return timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=classes).eval()


def grey() -> nn.Module:
    torch.manual_seed(5)
    return timm.create_model("test_resnet", in_chans=1, num_classes=4).eval()


def from_file(function: str) -> nn.Module:
    space: dict[str, Callable[[], nn.Module]] = {}
    exec(NET, space)
    return space[function]().eval()


class Two(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x), -self.network(x)


def export(folder: Path) -> None:
    network = from_file("build")
    one = torch.zeros(1, 3, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on its older exporters
        options = {"dynamo": False, "input_names": ["x"]}
        axes = {"x": {0: "n"}}
        torch.onnx.export(
            network, (one,), folder / "net.onnx", output_names=["y"], dynamic_axes=axes, **options
        )
        torch.onnx.export(Two(network), (one,), folder / "two.onnx", output_names=["y", "z"], **options)
        torch.jit.trace(network, one).save(folder / "traced.pt")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3)).eval()
    torch.save(flat.state_dict(), folder / "flat.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(flat, one).save(folder / "fixed.pt")
    torch.export.save(torch.export.export(network, (one.repeat(2, 1, 1, 1),)), folder / "net.pt2")


def flat(folder: Path) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3))
    network.load_state_dict(torch.load(folder / "flat.pth", weights_only=True))
    return network


def transform(resize, crop, mean=(0.0,) * 3, std=(1.0,) * 3, how="BILINEAR"):
    mode = v2.InterpolationMode[how]
    return v2.Compose(
        [
            v2.Resize(resize, interpolation=mode),
            v2.CenterCrop(crop),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )


def own(network: nn.Module, **options):
    return timm.data.create_transform(**timm.data.resolve_data_config(options, model=network))


def saved(folder: Path) -> nn.Module:
    return timm.create_model(f"local-dir:{folder / 'timm-saved'}", pretrained=True).eval()


def hf(folder: Path, kind: str):
    network = transformers.AutoModelForImageClassification.from_pretrained(folder / kind).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder / kind)
    return (
        lambda x: network(x).logits,
        lambda picture: processor(picture, return_tensors="pt")["pixel_values"][0],
    )


def hf_of_five(folder: Path):
    config = transformers.AutoConfig.from_pretrained(folder / "hf-vit", num_labels=5)
    network = transformers.ViTForImageClassification(config)
    network.load_state_dict(torch.load(folder / "hf-five.pth", weights_only=True))
    network.eval()
    return lambda x: network(x).logits, hf(folder, "hf-vit")[1]


def onnx(folder: Path, name: str, place: int):
    session = onnxruntime.InferenceSession(str(folder / name))
    return lambda x: torch.cat(
        [torch.from_numpy(session.run(None, {"x": one[None].numpy()})[place]) for one in x]
    )


PLAIN = transform(64, 64)
CHOSEN = {"resize": 72, "crop": 64, "interpolation": "bicubic"}
TORCHVISION = transform(72, 64, *IMAGENET.values(), how="BICUBIC")
CASES: dict[str, tuple[str, dict, Callable]] = {  # MODEL, options, and the script: network and transform
    "torchvision, head of the file": (
        "torchvision:resnet18",
        {"weights": "resnet18.pth", **CHOSEN},
        lambda f: (resnet(f), TORCHVISION),
    ),
    "torchvision, published preprocessing": (
        "torchvision:resnet18",
        {"weights": "m.ckpt"},
        lambda f: (resnet(f), tv.ResNet18_Weights.DEFAULT.transforms()),
    ),
    "torchvision, head said": (
        "torchvision:resnet18,classes=3",
        {"weights": "resnet18.pth", **CHOSEN},
        lambda f: (resnet(f), TORCHVISION),
    ),
    "arch": (
        "arch:resnet18",
        {"weights": "resnet18.pth", **CHOSEN, **IMAGENET},
        lambda f: (resnet(f), TORCHVISION),
    ),
    "timm, head of the file": (
        "timm:vit_tiny_patch16_224,img_size=64,depth=2",
        {"weights": "vit.pth"},
        lambda f: (vit(3), own(vit(3), input_size=(3, 64, 64))),
    ),
    "timm, grey": (
        "timm:test_resnet,in_chans=1",
        {"weights": "grey.pth"},
        lambda f: (
            grey(),
            v2.Compose(
                [
                    v2.Resize(168),
                    v2.CenterCrop(160),
                    v2.Grayscale(),
                    v2.PILToTensor(),
                    v2.ToDtype(torch.float32, scale=True),
                    v2.Normalize([0.5], [0.5]),
                ]
            ),
        ),
    ),
    "timm local-dir": ("timm:local-dir:timm-saved", {}, lambda f: (saved(f), own(saved(f)))),
    "hf ViT": ("hf:hf-vit", {}, lambda f: hf(f, "hf-vit")),
    "hf ConvNeXt": ("hf:hf-convnext", {}, lambda f: hf(f, "hf-convnext")),
    "hf, head of the file": ("hf:hf-vit", {"weights": "hf-five.pth"}, hf_of_five),
    "Python file": ("net.py:build", {"size": 64}, lambda f: (from_file("build"), PLAIN)),
    "Python file, preprocessing said": (
        "net.py:build",
        {**CHOSEN, **IMAGENET},
        lambda f: (from_file("build"), TORCHVISION),
    ),
    "Python file, a callable": ("net.py:function", {"size": 64}, lambda f: (from_file("build"), PLAIN)),
    "Python file, its pretrained_cfg": (
        "net.py:library",
        {},
        lambda f: (from_file("library"), own(from_file("library"))),
    ),
    "module": ("package.nets:build", {"size": 64}, lambda f: (from_file("build"), PLAIN)),
    "onnx:": ("onnx:net.onnx", {}, lambda f: (onnx(f, "net.onnx", 0), PLAIN)),
    "path of ONNX": ("net.onnx", {}, lambda f: (onnx(f, "net.onnx", 0), PLAIN)),
    "ONNX, output by name": ("two.onnx", {"output": "z"}, lambda f: (onnx(f, "two.onnx", 1), PLAIN)),
    "ONNX, output by place": ("two.onnx", {"output": "0"}, lambda f: (onnx(f, "two.onnx", 0), PLAIN)),
    "TorchScript": ("traced.pt", {"size": 64}, lambda f: (from_file("build"), PLAIN)),
    "TorchScript, its only size": ("fixed.pt", {}, lambda f: (flat(f), PLAIN)),
    "torch.export, batches of two": ("net.pt2", {}, lambda f: (from_file("build"), PLAIN)),
}


def scores(model: str, options: dict) -> torch.Tensor:
    classifier = ostrich.load(model, device="cpu", **options)
    dataset = datasets.open_data(["images:pictures"])
    images = read_samples(dataset, classifier, limit=None, seed=0).images()
    return classifier.predict(images)


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_the_librarys_own_script(place, monkeypatch, name):
    monkeypatch.chdir(place)
    model, options, script = CASES[name]
    network, prepare = script(place)
    opened = [Image.open(path) for path in sorted((place / "pictures").iterdir())]
    with torch.no_grad():
        expected = network(torch.stack([prepare(picture) for picture in opened]))
    found = scores(model, options)
    assert found.shape == expected.shape
    # transformers resizes tensors, Pillow pictures: a pixel may differ by a level
    slack = 5e-2 if model.startswith("hf:") else 1e-4
    spread = (expected - expected.mean(0)).abs().max()
    assert (found - expected).abs().max() < slack * spread + 1e-6
    assert torch.equal(found.argmax(1), expected.argmax(1))


def test_every_form_is_listed_and_tried(capsys):
    assert run(["list", "models", "--json"]) == 0
    listed = [row for row in json.loads(capsys.readouterr().out) if row["kind"] == "form"]
    assert [row["name"] for row in listed] == list(FORMS)
    assert all(FORMS[row["name"]][0] in row["source"] for row in listed)


def test_a_folder_without_a_processor_says_so(place, monkeypatch, tmp_path):
    network = transformers.AutoModelForImageClassification.from_pretrained(place / "hf-vit")
    network.save_pretrained(tmp_path / "alone")
    found = ostrich.load(f"hf:{tmp_path / 'alone'}")
    assert (found.size, found.mean) == ((64, 64), None)
    assert "no preprocessor_config.json" in found.remarks()["preprocessing"]
    monkeypatch.chdir(place)
    chosen = {"mean": 0.5, "std": 0.5, "resize": "64x64", "crop": 64}
    assert torch.equal(scores(f"hf:{tmp_path / 'alone'}", chosen), scores("hf:hf-vit", {}))


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def saved_head(folder: Path, **settings) -> str:
    """hf: and a folder of a small classifier with such a configuration."""
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=16, **settings)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    return f"hf:{folder}"


def test_no_head_is_drawn_at_random_in_silence(tmp_path):
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=16, num_labels=3)
    transformers.ViTModel(config).save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match=r"classifier\.bias, classifier\.weight.*features, not scores"):
        ostrich.load(f"hf:{tmp_path / 'base'}")
    with pytest.raises(InputError, match="in other sizes"):
        ostrich.load(saved_head(tmp_path / "three", num_labels=3) + ",classes=5")
    timm.models.save_for_hf(timm.create_model("test_resnet", num_classes=0), tmp_path / "timm")
    for form in ("hf", "timm:local-dir"):
        with pytest.raises(InputError, match="features, not scores"):
            ostrich.load(f"{form}:{tmp_path / 'timm'}")


def test_counters_of_batch_norm_may_be_missing(tmp_path):
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], num_labels=3)
    network = transformers.ResNetForImageClassification(config)
    held = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    network.save_pretrained(tmp_path, state_dict=held)
    assert ostrich.load(f"hf:{tmp_path}").probe().shape == (1, 3)


def test_a_head_that_is_no_classifiers_is_refused_or_said(tmp_path):
    several = saved_head(tmp_path / "several", num_labels=3, problem_type="multi_label_classification")
    amount = saved_head(tmp_path / "amount", num_labels=1, problem_type="regression")
    own = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "several")
    for model in (several, own):
        with pytest.raises(InputError, match=r"several classes can be true.*--output logits"):
            ostrich.load(model)
        assert "several at once" in ostrich.load(model, output="logits").remarks()["labels"]
    for output in (None, "logits", "sigmoid"):
        with pytest.raises(InputError, match="is a regression"):
            ostrich.load(amount, output=output)


def test_what_timm_saved_is_timms_also_by_hf(place, monkeypatch):
    monkeypatch.chdir(place)
    assert torch.equal(scores("hf:timm-saved", {}), scores("timm:local-dir:timm-saved", {}))


def test_names_of_classes_come_with_the_network(place, monkeypatch):
    monkeypatch.chdir(place)
    assert ostrich.load("hf:hf-vit").class_names == ("ant", "bee", "cat")
    five = ostrich.load("hf:hf-vit", weights="hf-five.pth")
    assert (five.class_names, five.num_classes) == (None, 5)
    assert "5, as the head" in five.remarks()["classes"]
    assert ostrich.load("torchvision:resnet18", weights="resnet18.pth").class_names is None
    assert "pretrained_cfg" in ostrich.load("net.py:library").remarks()["preprocessing"]


FINE_TUNED = {
    "torchvision:resnet18": {"weights": "resnet18.pth"},
    "timm:vit_tiny_patch16_224,img_size=64,depth=2": {"weights": "vit.pth"},
    "hf:hf-vit": {},
    "hf:hf-convnext": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", FINE_TUNED)
def test_the_crash_test_runs_to_its_end(place, monkeypatch, model):
    monkeypatch.chdir(place)
    for label, name in enumerate(("ant", "bee", "cat")):
        (place / "classes" / name).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            picture = place / f"pictures/{2 * label + number:02d}.png"
            (place / f"classes/{name}/{number}.png").write_bytes(picture.read_bytes())
    options = [word for name, value in FINE_TUNED[model].items() for word in (f"--{name}", value)]
    out = place / "checked" / model.partition(":")[2].replace("/", "-")
    words = ["check", model, "folder:classes", *options, "--minutes", "0.2", "--only", "clean,robustness"]
    assert run([*words, "--out", str(out)]) == 0
    found = json.loads((out / "run.json").read_text())
    assert found["results"]["model"]["num_classes"] == 3
    assert found["results"]["model"]["preprocessing"] == found["network"]["preprocessing"]

"""A real ImageNet network from the package registry, and the photographs that libraries carry."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

import ostrich
from ostrich.data import open_data
from ostrich.models import packaged

SEEN = {  # the photographs that it knows, among its three most probable classes
    "cat": ("tabby", "tiger cat", "Egyptian cat"),
    "coffee": ("espresso", "cup"),
    "rocket": ("missile", "projectile", "space shuttle"),
    "camera": ("tripod",),
    "motorcycle": ("motor scooter", "moped", "disk brake", "crash helmet"),
    "flower": ("daisy", "pot", "bee", "sunglass"),
    "china": ("palace", "monastery", "bell cote"),
}


@pytest.fixture(scope="module")
def network():
    if not packaged.is_installed():
        pytest.skip("needs the package of its weights: extra imagenet")
    return ostrich.load("zoo:imagenet-efficientnet-lite0", device="cpu")


def test_it_is_read_in_its_own_preprocessing(network):
    assert (network.size, network.resize, network.interpolation) == ((224, 224), 256, "bicubic")
    assert (network.mean, network.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert network.num_classes == 1000
    dataset = open_data("photographs")
    picture = dataset.read(list(dataset.files).index("cat"))
    assert isinstance(picture, Image.Image)
    shown = v2.Compose([v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224), v2.PILToTensor()])(
        picture
    )
    images = shown[None] / 255
    with torch.no_grad():
        expected = network.network.eval()(images * 2 - 1)
    torch.testing.assert_close(network.predict(images), expected, rtol=1e-4, atol=1e-4)


def test_it_knows_the_photographs(network):
    from ostrich.verbs.inputs import as_samples

    samples = as_samples("photographs", None, network)
    assert samples.labels is None
    top = network.predict(samples.images()).topk(3).indices
    for file, classes in zip(samples.files, top.tolist(), strict=True):
        if file in SEEN:
            names = [network.class_name(k) for k in classes]
            assert set(names) & set(SEEN[file]), (file, names)


def test_without_the_package_it_says_which(monkeypatch):
    monkeypatch.setattr(packaged, "package_file", lambda package, file: None)
    with pytest.raises(ostrich.OstrichError, match=r"ostrich-vision\[imagenet\]"):
        ostrich.load("zoo:imagenet-efficientnet-lite0")


def test_other_weights_are_refused(monkeypatch):
    if not packaged.is_installed():
        pytest.skip("needs the package of its weights: extra imagenet")
    monkeypatch.setattr(packaged, "SHA256", "0" * 64)
    with pytest.raises(ostrich.OstrichError, match="not the file"):
        ostrich.load("zoo:imagenet-efficientnet-lite0")

"""The doctor is silent on sound networks: those of the zoo, a stranger's, and torchvision's."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ostrich
from ostrich import data as datasets
from ostrich.diagnosis import Examination, ModelUnderTest, batchnorm, examine
from ostrich.images import from_bytes

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
COUNT = 40  # images


def examined(model: ostrich.Classifier, images: Tensor, labels: Tensor | None) -> Examination:
    return examine(ModelUnderTest(classifier=model, images=images, labels=labels))


def samples(model: ostrich.Classifier, data: str) -> tuple[Tensor, Tensor]:
    assert model.size is not None
    found = datasets.load(
        datasets.open_data(data),
        size=model.size,
        channels=model.channels,
        class_names=model.class_names,
        limit=COUNT,
    )
    assert found.labels is not None
    return found.images(), found.labels


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("zoo:toybox-resnet20", "toybox"),
        ("zoo:toybox-plain14", "toybox"),
        ("zoo:toybox-alexnet", "toybox"),
        ("zoo:digits-cnn", "digits"),
    ],
)
def test_networks_of_the_zoo(name, data):
    model = ostrich.load(name, device="cpu")
    images, labels = samples(model, data)
    found = examined(model, images, labels)
    assert found.findings == []
    assert len(found.done) >= 15
    assert not any("time" in one["reason"] for one in found.skipped)


def test_without_labels_and_on_images_of_one_class():
    model = ostrich.load("zoo:toybox-plain14", device="cpu")
    images, labels = samples(model, "toybox")
    assert examined(model, images, None).findings == []
    model = ostrich.load("zoo:digits-cnn", device="cpu")
    images, labels = samples(model, "digits")
    assert examined(model, images[:8], None).findings == []
    one = labels == labels[0]
    assert examined(model, images[one], labels[one]).findings == []


def cifar(folder: Path) -> tuple[Tensor, Tensor]:
    """Four test images of each class of the JPEG copy, in the alphabetical order of the classes."""
    images, labels = [], []
    with zipfile.ZipFile(folder / "data/cifar10-jpeg.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("test/") and n.endswith(".jpg"))
        classes = sorted({n.split("/")[1] for n in names})
        for label, one in enumerate(classes):
            for name in [n for n in names if n.split("/")[1] == one][: COUNT // 10]:
                images.append(np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")))
                labels.append(label)
    return from_bytes(np.stack(images)), torch.tensor(labels)


@pytest.mark.shared
def test_a_network_for_cifar(shared):
    assert examined(ostrich.load("zoo:cifar10-resnet20", device="cpu"), *cifar(shared)).findings == []


def test_a_network_of_torchvision():
    """ShuffleNet with random features, batch norm measured and the head fitted on toybox images."""
    from torchvision import models

    torch.manual_seed(0)
    network = models.shufflenet_v2_x0_5(weights=None, num_classes=10)
    model = ostrich.Classifier(network, name="shufflenet", size=(64, 64), **IMAGENET)
    images, labels = ostrich.data.toybox("test", limit=COUNT)
    inputs = model.normalised(images)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    head, network.fc = network.fc, nn.Identity()
    with torch.no_grad():
        network.train()(inputs)
        features = network.eval()(inputs)
        wanted = 4 * nn.functional.one_hot(labels, 10).float() - 2
        kernel = features @ features.T + 0.1 * torch.eye(COUNT)
        head.weight.data, head.bias.data = (
            (features.T @ torch.linalg.solve(kernel, wanted)).T,
            torch.zeros(10),
        )
    network.fc = head
    assert (model(images).argmax(1) == labels).all()
    found = examined(model, images, labels)
    assert found.findings == []
    assert "batch-norm statistics" in found.done


def test_an_untrained_network_is_told_that_its_statistics_were_never_measured():
    torch.manual_seed(0)
    model = ostrich.load("arch:resnet20", device="cpu")
    images, _ = ostrich.data.toybox("test", limit=COUNT)
    tested = ModelUnderTest(classifier=model, images=nn.functional.avg_pool2d(images, 2))
    (finding,) = batchnorm.statistics(tested)
    assert finding.code == "batch-norm-statistics"
    assert "never measured" in finding.sentence

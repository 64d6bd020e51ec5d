"""The perceptron GAN of 2014 (Goodfellow et al., Generative adversarial nets; the authors' mnist.yaml).

    generator      100 uniform numbers, 1200 ReLU, 1200 ReLU, sigmoid pixels
    discriminator  maxout 240 units of 5 pieces, twice, one logit; dropout of 0.2 of the input and
                   half of the hidden units, what is kept scaled up
    weights        uniform within 0.05 (generator), 0.005 (discriminator)

Images are in [-1, 1] as in the other GANs; the generator's sigmoid and the discriminator's input are in
[0, 1], as published: with inputs in [-1, 1], which are longer, training at the published rate diverges.
Training was SGD, batch 100, rate 0.1, momentum from 0.5 to 0.7. Differs: the generator's output bias starts
at zero, not at the marginals.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.generative.codes import Codes
from ostrich.generative.gan import GAN


class PerceptronGenerator(nn.Module):
    """Codes (N, 100) to images (N, C, H, W) in [-1, 1]."""

    def __init__(self, code: int, hidden: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        pixels = shape[0] * shape[1] * shape[2]
        self.layers = nn.Sequential(
            nn.Linear(code, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, pixels),
        )
        _uniform(self, 0.05)

    def forward(self, codes: Tensor, classes: Tensor | None = None) -> Tensor:
        return (2 * torch.sigmoid(self.layers(codes)) - 1).unflatten(1, self.shape)


class Maxout(nn.Module):
    """The largest of `pieces` linear functions, for each unit (Goodfellow 2013)."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


class PerceptronDiscriminator(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to logits (N,)."""

    def __init__(self, units: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        pixels = shape[0] * shape[1] * shape[2]
        self.layers = nn.Sequential(
            nn.Dropout(0.2),
            Maxout(pixels, units, 5),
            nn.Dropout(0.5),
            Maxout(units, units, 5),
            nn.Dropout(0.5),
            nn.Linear(units, 1),
        )
        _uniform(self, 0.005)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        return self.layers((images.flatten(1) + 1) / 2)[:, 0]


def _uniform(network: nn.Module, reach: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.uniform_(module.weight, -reach, reach)
            nn.init.zeros_(module.bias)


def perceptron_gan(
    size: tuple[int, int] = (28, 28), channels: int = 1, width: float = 1.0, code: int = 100
) -> GAN:
    """The GAN of 2014; `width` multiplies the hidden units."""
    if width <= 0 or channels < 1 or code < 1:
        raise InputError("Width is above 0, channels and code at least 1.")
    shape = (channels, *size)
    return GAN(
        generator=PerceptronGenerator(code, max(1, round(1200 * width)), shape),
        discriminator=PerceptronDiscriminator(max(1, round(240 * width)), shape),
        codes=Codes("uniform", code),
        shape=shape,
    )

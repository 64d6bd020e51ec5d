"""What is climbed with: the numbers that an image is made of.

    pixels      the image itself
    fourier     its spectrum, scaled so that all frequencies move alike, in decorrelated colours
    prior       the code of a generator (`dgn_am.py`)

A parametrisation has a `start` for every seed, the `images` of its parameters (differentiable),
`project`, which brings parameters back to where they are allowed after a step, and `nothing`.

The Fourier one is lucid's (Olah 2017, "Preconditioning and parameterization"; constants from its
code): x = sigmoid(M irfft2(s / max(f, 1 / max(H, W))^decay_power) / 4). Any size, odd ones too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.models.classifier import Classifier
from ostrich.runtime.randomness import keyed

START = 0  # the purpose of random numbers, in their key
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))  # lucid's code: of ImageNet
SOFTENING = 4.0  # the same code: the image is divided by it before the sigmoid


@dataclass(frozen=True)
class Canvas:
    """What is drawn on: shape (C, H, W), and the colour (1, C, 1, 1) that counts as nothing."""

    shape: tuple[int, int, int]
    mean: Tensor

    @classmethod
    def of(cls, classifier: Classifier) -> Canvas:
        """A network's own: its input size, and the colour its preprocessing makes zero, else middle grey."""
        height, width = classifier.size or (224, 224)
        colour = classifier.mean or (0.5,) * classifier.channels
        mean = torch.tensor(colour, device=classifier.device, dtype=classifier.image_dtype).clamp(0, 1)
        return cls((classifier.channels, height, width), mean.view(1, -1, 1, 1))


class Parametrisation(Protocol):
    """How an image is made of parameters (R, ...), the image as first axis."""

    name: ClassVar[str]

    def start(self, canvas: Canvas, seeds: Sequence[int]) -> Tensor:
        """The first parameters (R, ...) for a `canvas`: a row for each of `seeds`, by it alone."""

    def images(self, canvas: Canvas, parameters: Tensor) -> Tensor:
        """The images (R, C, H, W) in [0, 1] that `parameters` (R, ...) make on a `canvas`."""

    def project(self, parameters: Tensor) -> Tensor:
        """The nearest allowed ones to `parameters` (R, ...)."""

    def nothing(self, canvas: Canvas) -> Tensor:
        """The parameters (1, ...) that count as nothing on a `canvas`: decay pulls towards them."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The image itself, from noise about the mean colour, kept in [0, 1].

    noise  standard deviation at the start, of values in [0, 1]; Yosinski 2015, their code: 10 / 255
    draws  "torch" or "numpy": its generator of old, which gave the published starts

    Raises InputError for noise below 0, and for other draws.
    """

    name: ClassVar[str] = "pixels"
    noise: float = 10 / 255
    draws: str = "torch"

    def __post_init__(self) -> None:
        _not_negative("noise", self.noise)
        if self.draws not in ("torch", "numpy"):
            raise InputError(f"draws is torch or numpy; got {self.draws!r}.")

    def start(self, canvas: Canvas, seeds: Sequence[int]) -> Tensor:
        drawn = {seed: self._normal(canvas.shape, seed) for seed in seeds}
        noise = torch.stack([drawn[seed] for seed in seeds]).to(canvas.mean)
        return canvas.mean + self.noise * noise

    def images(self, canvas: Canvas, parameters: Tensor) -> Tensor:
        return parameters

    def project(self, parameters: Tensor) -> Tensor:
        return parameters.clamp(0, 1)

    def nothing(self, canvas: Canvas) -> Tensor:
        return canvas.mean

    def _normal(self, shape: tuple[int, ...], seed: int) -> Tensor:
        if self.draws == "numpy":
            old = np.random.RandomState(seed % 2**32)
            return torch.from_numpy(old.standard_normal(shape))
        return torch.randn(shape, generator=keyed(seed, START), dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Fourier:
    """The image's spectrum; three channels are mixed as colours of photographs are.

    deviation    standard deviation of the spectrum at the start; lucid's code: 0.01
    decay_power  1: as in photographs, whose amplitude falls with 1 / frequency
    decorrelate  whether channels are mixed
    """

    name: ClassVar[str] = "fourier"
    deviation: float = 0.01
    decay_power: float = 1.0
    decorrelate: bool = True

    def __post_init__(self) -> None:
        _not_negative("deviation", self.deviation)
        _not_negative("decay_power", self.decay_power)

    def start(self, canvas: Canvas, seeds: Sequence[int]) -> Tensor:
        channels, height, width = canvas.shape
        shape = (channels, height, width // 2 + 1, 2)  # the last: real and imaginary part
        drawn = {
            seed: torch.randn(shape, generator=keyed(seed, START), dtype=torch.float64) for seed in seeds
        }
        return self.deviation * torch.stack([drawn[seed] for seed in seeds]).to(canvas.mean)

    def images(self, canvas: Canvas, parameters: Tensor) -> Tensor:
        channels, height, width = canvas.shape
        down = torch.fft.fftfreq(height, dtype=parameters.dtype, device=parameters.device)
        across = torch.fft.rfftfreq(width, dtype=parameters.dtype, device=parameters.device)
        frequency = torch.hypot(down[:, None], across).clamp_min(1 / max(height, width))  # cycles a pixel
        scaled = parameters * frequency.pow(-self.decay_power)[..., None]
        drawn = torch.fft.irfft2(torch.view_as_complex(scaled), s=(height, width), norm="ortho") / SOFTENING
        if self.decorrelate and channels == 3:
            mixing = parameters.new_tensor(COLOURS)
            drawn = torch.einsum("ij,rjhw->rihw", mixing / mixing.norm(dim=0).max(), drawn)
        return drawn.sigmoid()

    def project(self, parameters: Tensor) -> Tensor:
        return parameters

    def nothing(self, canvas: Canvas) -> Tensor:
        return canvas.mean.new_zeros(())


PARAMETRISATIONS: dict[str, type[Pixels] | type[Fourier]] = {kind.name: kind for kind in (Pixels, Fourier)}


def _not_negative(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise InputError(f"{name} is a number from 0 up; got {value}.")

"""A generator as prior: what is climbed with is its code, so that the image stays one it could draw.

Nguyen, Dosovitskiy, Yosinski, Brox, Clune 2016, "Synthesizing the preferred inputs for neurons in neural
networks via deep generator networks" (DGN-AM): two components, a generator and any network to visualise.
The code starts at random, takes normalised steps that fall linearly to nothing, decays a little, and
is clipped to the range of codes; their numbers are those of the shell script that runs the released code
(`published.toml`), whose own defaults differ. Theirs normalises the gradient at the image and again at the
code; the first only scales the second, which divides it out again, so one way back does (see the tests).

It is one more parametrisation: objectives, views and optimisers are those of every ascent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError
from ostrich.figures.clips import is_clip
from ostrich.images import into_range
from ostrich.models.untouched import untouched
from ostrich.published import published
from ostrich.runtime.randomness import keyed
from ostrich.visualization.ascent import Ascent
from ostrich.visualization.lucid import VIEWS
from ostrich.visualization.optimisers import Normalised
from ostrich.visualization.parametrisations import START, Canvas

if TYPE_CHECKING:  # generators are trained in a room beside this one
    from ostrich.generative import Generator

PRIOR_STEPS = int(published("dgn-am/steps").value)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The code (R, Z) of an unconditional `generator`, whose images are brought to the network's size.

    Nguyen, Dosovitskiy, Yosinski, Brox, Clune 2016, "Synthesizing the preferred inputs for neurons in neural
    networks via deep generator networks". `prior` is the generator's name.
    """

    name: ClassVar[str] = "prior"
    prior: str = field(metadata={"setting": False})  # the generator's name
    generator: Generator = field(repr=False, compare=False, metadata={"setting": False})

    @classmethod
    def of(cls, generator: Generator, canvas: Canvas) -> Prior:
        """The prior of a generator that fits a `canvas`.

        Raises InputError where channels or proportions do not.
        """
        if is_clip(generator.shape):
            raise InputError(f"{generator.name} makes clips; a prior makes images.")
        channels, height, width = generator.shape
        wanted, tall, wide = canvas.shape
        if generator.class_names is not None:
            raise InputError(
                f"{generator.name} is told the class that it draws, so it is no prior: its code alone is no "
                "image. Take a generator without classes."
            )
        if channels not in (1, wanted) or height * wide != width * tall:
            raise InputError(
                f"{generator.name} draws images of {channels} channels and {height}x{width} pixels; the "
                f"network takes {wanted} channels and {tall}x{wide}, which no enlargement makes of them."
            )
        return cls(prior=generator.name, generator=generator)

    def start(self, canvas: Canvas, seeds: Sequence[int]) -> Tensor:
        drawn = {seed: self.generator.codes.draw(1, keyed(seed, START)) for seed in seeds}
        return torch.cat([drawn[seed] for seed in seeds]).to(canvas.mean)

    def images(self, canvas: Canvas, parameters: Tensor) -> Tensor:
        weight = next(self.generator.network.parameters())
        with untouched(self.generator.network):
            drawn = self.generator.network(parameters.to(weight), None).to(canvas.mean)
        size = canvas.shape[1:]
        if drawn.shape[2:] != size:
            drawn = F.interpolate(drawn, size, mode="bilinear", align_corners=False, antialias=True)
        return into_range((drawn + 1) / 2).expand(-1, canvas.shape[0], -1, -1)  # grey ones in all channels

    def project(self, parameters: Tensor) -> Tensor:
        return self.generator.codes.clipped(parameters)

    def nothing(self, canvas: Canvas) -> Tensor:
        return canvas.mean.new_zeros(())


def with_prior(prior: Prior, steps: int = PRIOR_STEPS) -> Ascent:
    """An ascent of `steps` with a generator's code, the `prior`: DGN-AM's, under random views.

    Its steps are for codes of unit size.

    Its first step, 8, was for fc6 of CaffeNet: in units of a code's deviation it leaps from end to end of
    its range. Its decay of 0.01 was for codes without bounds; on zoo:toybox-dcgan's, which end at -1 and 1,
    it hurt. The views are lucid's and not DGN-AM's; other networks see more in images that bear them.
    """
    return Ascent(
        steps=steps,
        keep="last",
        parametrisation=prior,
        transformations=VIEWS,
        optimiser=Normalised(step_size=0.3, falls=steps),
    )

"""A short recipe of each kind of generator, and pictures for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ostrich.generative.recipe import GeneratorRecipe

DCGAN = GeneratorRecipe(
    name="test",
    architecture="dcgan,size=8,width=0.1,code=5",
    data="none",
    steps=12,
    batch_size=8,
    average=0.9,
    average_from=3,
    watch_every=5,
    precision="exact",
)
CONDITIONAL = replace(
    DCGAN,
    architecture="conditional,size=32,classes=3,channels=2,code=16,embedding=4",
    objective="hinge",
    discriminator_steps=2,
    orthogonal=1e-4,
    momentum=0.0,
    steps=6,
)
PERCEPTRON = replace(
    DCGAN,
    architecture="perceptron,size=8,channels=3,width=0.02",
    optimiser="sgd",
    generator_rate=0.1,
    average=0,
)
PROJECTED = replace(
    CONDITIONAL, projected="arch:resnet8,classes=3,width=0.25", heads=4, guidance=0.5, discriminator_steps=1
)
EVERY = {"projected": PROJECTED, "dcgan": DCGAN, "conditional": CONDITIONAL, "perceptron": PERCEPTRON}


def data(recipe: GeneratorRecipe, count: int = 21) -> tuple[Tensor, Tensor]:
    side = 32 if recipe.architecture.startswith("conditional") else 8
    draw = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, side, side), generator=draw, dtype=torch.uint8), torch.arange(
        count
    ) % 3

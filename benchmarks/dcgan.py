"""Steps of DCGAN beside the procedure of the reference PyTorch example (pytorch/examples, dcgan).

Both start from the same weights and see the same real images and codes. The example takes three losses
one after the other, lets the discriminator's parameters require gradients in the generator's step, and
leaves layout and Adam as they come; Ostrich freezes them, computes channels-last and takes the fused
Adam. "difference" is that of all parameters from the example's after the steps, relative to how far they
moved: Adam's first steps are the gradient's sign, so rounding moves those that have next to none.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.problem import Problem, Row
from ostrich.generative.architectures import build_gan
from ostrich.generative.gan import GAN
from ostrich.generative.recipe import RECIPES
from ostrich.generative.training import CODE, Players, optimisers, real_batch, train_step
from ostrich.runtime.randomness import keyed

STEPS = 4
RECIPE = replace(
    RECIPES["toybox-dcgan"],
    architecture="dcgan,size=64,width=0.5,kernel=4",  # the example's: 64 channels next to the image
    batch_size=32,
    precision="exact",
)


def rows(task: Problem) -> list[Row]:
    """At the example's 64 pixels and channels; the images are noise, on which the time does not depend."""
    torch.manual_seed(0)
    start = build_gan(RECIPE.architecture)
    images = torch.randint(256, (4 * RECIPE.batch_size, 3, 64, 64), dtype=torch.uint8)
    moved = parameters(example(copy.deepcopy(start), images)) - parameters(start)

    def judge(found: Tensor) -> dict[str, float]:
        difference = found - parameters(start) - moved
        return {"difference": (difference.norm() / moved.norm()).item()}

    return [
        Row(
            name="DCGAN, training steps",
            setting=f"64 pixels, batch {RECIPE.batch_size}, fp32, {STEPS} steps",
            contestants={
                "ostrich": lambda: parameters(ours(copy.deepcopy(start), images)),
                "the example's procedure": lambda: parameters(example(copy.deepcopy(start), images)),
            },
            judge=judge,
            work=STEPS,
            unit="step",
        )
    ]


def ours(game: GAN, images: Tensor) -> GAN:
    """STEPS steps by `train_step`."""
    game.to(memory_format=torch.channels_last).train()
    both, players = optimisers(game, RECIPE), Players(game)
    for step in range(STEPS):
        train_step(game, RECIPE, images, None, step, *both, players)
    return game


def example(game: GAN, images: Tensor) -> GAN:
    """STEPS steps in the order of the example, with the three figures that it reads in each."""
    of_discriminator, of_generator = (
        torch.optim.Adam(player.parameters(), 2e-4, betas=(0.5, 0.999))
        for player in (game.discriminator, game.generator)
    )
    ones, zeros = torch.ones(RECIPE.batch_size), torch.zeros(RECIPE.batch_size)
    for step in range(STEPS):
        real = real_batch(images, None, RECIPE, step, torch.device("cpu"))[0].contiguous()
        codes = game.codes.draw(RECIPE.batch_size, keyed(RECIPE.seed, CODE, step))
        game.discriminator.zero_grad()
        of_real = F.binary_cross_entropy(torch.sigmoid(game.discriminator(real)), ones)
        of_real.backward()
        fake = game.generator(codes)
        of_fake = F.binary_cross_entropy(torch.sigmoid(game.discriminator(fake.detach())), zeros)
        of_fake.backward()
        of_discriminator.step()
        game.generator.zero_grad()
        verdict = F.binary_cross_entropy(torch.sigmoid(game.discriminator(fake)), ones)
        verdict.backward()
        of_generator.step()
        _ = of_real.item(), of_fake.item(), verdict.item()
    return game


def parameters(game: GAN) -> Tensor:
    """All of them, one after the other."""
    return torch.cat([p.detach().flatten() for p in game.parameters()])

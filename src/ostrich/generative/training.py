"""Training a GAN: one step of the generator, after some of the discriminator's, resumed exactly.

As in `training.loop`, nothing random outlives a step: codes, classes, mirrors and dropout come from
(seed, purpose, step), the images of a step from its number. A checkpoint is the two networks, their
optimisers, the average, the best generator so far and the number of the step, and n + n steps equal
2n bit for bit on one machine.

The discriminator's last step is against the very images that the generator's step then improves: one
forward of the generator serves both. Its graph is cut off from the discriminator's step, and the
discriminator is frozen in the generator's, so neither computes gradients that nobody uses.

Under torchrun each process takes every w-th image and code of a batch, and the gradients are added up:
the steps are those of one process, up to rounding, for networks whose images do not meet. In batch norm
they do; its statistics are averaged over the processes before each measure. DistributedDataParallel, which
`training.loop` uses, is for one forward and one backward pass at a time. Here the discriminator sees real and
generated images before one backward pass, its slope may be in its loss, and it is frozen in the generator's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ostrich.errors import InputError
from ostrich.figures.clips import is_clip
from ostrich.generative.gan import GAN
from ostrich.generative.layers import SpectralNorm, add_orthogonal_gradient, advance
from ostrich.generative.objectives import gradient_penalty, objective
from ostrich.generative.projected import ProjectedDiscriminator, ProjectedVideoDiscriminator
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.models.fastpath import autocast
from ostrich.models.untouched import frozen
from ostrich.runtime import distributed, interrupts
from ostrich.runtime.facts import MARK, digest, settings_facts
from ostrich.runtime.randomness import keyed, seeded
from ostrich.runtime.resumable import Checkpoint
from ostrich.training.loop import epoch_order

Row = dict[str, float]
# (step, the generator as it would be handed back, what is known of these steps) -> what is measured of it
Watch = Callable[[int, nn.Module, Row], Row]
CODE, MIRROR, GLOBAL, PENALTY = 3, 4, 5, 6  # purposes in keys; 1 is the order of an epoch
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}  # of images and of clips


def train_gan(
    gan: GAN,
    recipe: GeneratorRecipe,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
    watch: Watch = lambda step, generator, row: {},
) -> nn.Module:
    """Train `gan` in place; returns the generator in evaluation mode.

    `images` uint8 (N, C, H, W), or clips, of the GAN's shape, `labels` int64 (N,) where it is
    conditional. It is the averaged generator where the recipe averages, and the one with the least
    `distance` that `watch` measured where it measures one, else the last. `checkpoint` and
    `stop_after` as in `training.train`. Raises InputError for images that the GAN cannot be trained on.
    """
    check_images(gan, images, labels, recipe.batch_size)
    gan.train()
    for parameter in gan.parameters():
        parameter.data = _laid_out(parameter.data)
    average = copy.deepcopy(gan.generator).requires_grad_(False)
    of_discriminator, of_generator = optimisers(gan, recipe)
    parts: dict[str, nn.Module | torch.optim.Optimizer] = {"game": gan, "average": average}
    parts |= {"discriminator_optimiser": of_discriminator, "generator_optimiser": of_generator}
    last = min(recipe.steps, stop_after if stop_after is not None else recipe.steps)
    step, known, device = 0, _Known(), next(gan.parameters()).device
    best: dict[str, Any] = {}
    facts = {} if checkpoint is None else _facts(gan, recipe, images, labels)

    def standing() -> dict[str, Any]:
        states = {name: part.state_dict() for name, part in parts.items()}
        return {"step": step, "best": best, "known": (known.steps, known.total), **states}

    with Checkpoint(checkpoint, facts) as kept:
        if (found := kept.restore()) is not None:
            step, best = found["step"], found["best"]
            for name, part in parts.items():
                part.load_state_dict(found[name])
            if distributed.is_main():  # what the others knew of the steps since the last row is lost
                known.steps, total = found["known"]
                known.total = None if total is None else total.to(device)
        while step < last:
            draw = keyed(recipe.seed, GLOBAL, step, distributed.rank())  # for dropout
            with seeded(int(torch.randint(2**62, (), generator=draw)), device):
                known.add(*train_step(gan, recipe, images, labels, step, of_discriminator, of_generator))
            step += 1
            follow(average, gan.generator, recipe.average if step > recipe.average_from else 0.0)
            if step % recipe.watch_every == 0 or step == recipe.steps:
                row = {"step": step, "steps": recipe.steps, **known.row()}
                average.eval()
                distributed.average_buffers(average)
                measured = watch(step, average, row) if distributed.is_main() else {}
                if measured.get("distance", float("inf")) < best.get("distance", float("inf")):
                    state = {name: value.clone() for name, value in average.state_dict().items()}
                    best = {"distance": measured["distance"], "step": step, "generator": state}
                known = _Known()
            if distributed.is_main():
                kept.offer(standing)
            elif interrupts.pending():
                raise KeyboardInterrupt
        if distributed.is_main():
            kept.save(standing())
    distributed.wait()
    if best and step == recipe.steps:  # rank 0 alone measured, and its generator is the one that is stored
        average.load_state_dict(best["generator"])
    return average.eval()


def _facts(gan: GAN, recipe: GeneratorRecipe, images: Tensor, labels: Tensor | None) -> dict[str, str]:
    """What decides the trained generator, but no buffers: the range of an encoder's code is measured."""
    teacher = gan.teacher
    networks = {} if teacher is None else {"encoder": f"{MARK}{teacher.encoder.digest()}"}
    if teacher is not None and teacher.comparator is not teacher.encoder:
        networks["comparator"] = f"{MARK}{teacher.comparator.digest()}"
    return {
        "weights": digest(dict(gan.named_parameters())),
        "images": digest(images),
        "labels": digest(labels),
        "device": str(next(gan.parameters()).device),
        "number of processes": str(distributed.world()),
        **networks,
        **settings_facts(recipe, without=("name", "data")),
    }


def check_images(gan: GAN, images: Tensor, labels: Tensor | None, batch: int) -> None:
    """Refuse images that the GAN cannot be trained on. Raises InputError."""
    if tuple(images.shape[1:]) != gan.shape:
        what = "clips" if is_clip(gan.shape) else "images"
        raise InputError(f"The GAN makes {what} {gan.shape}; got {tuple(images.shape[1:])}.")
    if len(images) < batch:
        what = "clip" if is_clip(gan.shape) else "image"
        count = f"is 1 {what}" if len(images) == 1 else f"are {len(images)} {what}s"
        raise InputError(
            f"There {count} to train on, fewer than a batch of {batch}. A generator needs hundreds; "
            "--set batch_size=N makes a batch smaller."
        )
    if gan.classes is None:
        return
    if labels is None:
        raise InputError("A conditional GAN needs labels: data with classes, such as folder:PATH or toybox.")
    present = torch.bincount(labels, minlength=gan.classes)
    if len(present) > gan.classes:
        raise InputError(f"The data has {len(present)} classes, the architecture classes={gan.classes}.")
    if missing := [str(k) for k in range(gan.classes) if present[k] == 0]:
        raise InputError(
            f"The GAN has {gan.classes} classes, and the data has no image of class {', '.join(missing)}: "
            "what is never seen cannot be learned. Set classes= of the architecture to the data's number."
        )


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * network, for parameters and statistics of batch norm.

    The unit vectors of spectral normalisation are not averaged: they are of the averaged weights, and
    follow them by one step of power iteration.
    """
    with torch.no_grad():
        pairs: list[tuple[Tensor, Tensor]] = [*zip(average.parameters(), network.parameters(), strict=True)]
        for mine, theirs in zip(average.modules(), network.modules(), strict=True):
            if not decay or not isinstance(mine, SpectralNorm):
                pairs += zip(mine.buffers(recurse=False), theirs.buffers(recurse=False), strict=True)
        for kept, new in pairs:
            if decay and kept.is_floating_point():
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)
    if decay:
        advance(average)


def train_step(
    gan: GAN,
    recipe: GeneratorRecipe,
    images: Tensor,
    labels: Tensor | None,
    step: int,
    discriminator_optimiser: torch.optim.Optimizer,
    generator_optimiser: torch.optim.Optimizer,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of the generator and those of the discriminator before it.

    Returns the two losses, and the logits of the last real and generated batch.
    """
    rules, batch = objective(recipe.objective), recipe.batch_size
    mine = slice(distributed.rank(), None, distributed.world())
    share = len(range(batch)[mine]) / batch
    device = next(gan.parameters()).device
    advance(gan.generator)
    for turn in range(recipe.discriminator_steps):
        number = step * recipe.discriminator_steps + turn
        real, real_classes = _rows(real_batch(images, labels, recipe, number, device), mine)
        if gan.teacher is None:
            draw = keyed(recipe.seed, CODE, number)
            drawn = gan.codes.draw(batch, draw).to(device), _classes(gan, batch, draw, device)
            codes, classes = _rows(drawn, mine)
        else:
            with torch.no_grad(), autocast(recipe.precision, device):
                codes, features = gan.teacher.encode(real)
            classes = real_classes = codes
        shared = turn == recipe.discriminator_steps - 1  # with the generator's step
        with torch.set_grad_enabled(shared), parametrize.cached(), autocast(recipe.precision, device):
            generated = gan.generator(codes, classes)

        advance(gan.discriminator)
        discriminator_optimiser.zero_grad(set_to_none=True)
        cut = generated.detach()
        with parametrize.cached():
            with autocast(recipe.precision, device):
                of_real = gan.discriminator(real, real_classes).float()
                of_generated = gan.discriminator(cut, classes).float()
            discriminator_loss = rules.discriminator(of_real, of_generated)
            if rules.penalised:
                slope = gradient_penalty(
                    lambda x: gan.discriminator(x, real_classes),  # noqa: B023, called here
                    real,
                    cut.float(),
                    keyed(recipe.seed, PENALTY, number, distributed.rank()),
                )
                discriminator_loss = discriminator_loss + recipe.penalty * slope
            (discriminator_loss * share).backward()
        distributed.add_gradients(gan.discriminator)
        discriminator_optimiser.step()

    generator_optimiser.zero_grad(set_to_none=True)
    with frozen(gan.discriminator), parametrize.cached():
        with autocast(recipe.precision, device):
            verdict = gan.discriminator(generated, classes).float()
            generator_loss = rules.generator(verdict)
            if gan.teacher is not None:
                of_image, of_features = gan.teacher.losses(generated, real, features)
                generator_loss = recipe.adversarial_weight * generator_loss + recipe.image_weight * of_image
                generator_loss = generator_loss + recipe.feature_weight * of_features
            elif recipe.guidance and classes is not None:
                assert isinstance(gan.discriminator, ProjectedDiscriminator | ProjectedVideoDiscriminator)
                guided = gan.discriminator.guidance(generated, classes)
                generator_loss = generator_loss + recipe.guidance * guided
        (generator_loss * share).backward()
    distributed.add_gradients(gan.generator)
    if recipe.orthogonal:
        add_orthogonal_gradient(gan.generator, recipe.orthogonal, except_for=("embedding",))
    generator_optimiser.step()
    return discriminator_loss.detach(), generator_loss.detach(), of_real.detach(), of_generated.detach()


def real_batch(
    images: Tensor, labels: Tensor | None, recipe: GeneratorRecipe, number: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """The batch of that number: float (N, C, H, W), or clips, in [-1, 1], always full, and its classes.

    Batches go through one epoch's order after the other without a gap.
    """
    places = range(number * recipe.batch_size, (number + 1) * recipe.batch_size)
    rows = torch.stack(
        [epoch_order(len(images), recipe.seed, p // len(images))[p % len(images)] for p in places]
    )
    pixels = images[rows]
    if recipe.flip:
        draw = keyed(recipe.seed, MIRROR, number)
        mirrored = torch.rand(len(rows), *[1] * (pixels.ndim - 1), generator=draw) < 0.5
        pixels = torch.where(mirrored, pixels.flip(-1), pixels)
    real = pixels.to(device, torch.float32).div_(127.5).sub_(1)
    classes = labels[rows].to(device) if labels is not None else None
    return _laid_out(real), classes


def _laid_out(values: Tensor) -> Tensor:
    """Images, clips and weights with their channels last, which is quicker."""
    layout = LAYOUTS.get(values.ndim)
    return values.contiguous(memory_format=layout) if layout is not None else values


def _rows(batch: tuple[Tensor, Tensor | None], rows: slice) -> tuple[Tensor, Tensor | None]:
    """These rows of images or codes and of their classes."""
    first, classes = batch
    return first[rows], classes[rows] if classes is not None else None


def _classes(gan: GAN, count: int, draw: torch.Generator, device: torch.device) -> Tensor | None:
    if gan.classes is None:
        return None
    return torch.randint(gan.classes, (count,), generator=draw).to(device)


def optimisers(gan: GAN, recipe: GeneratorRecipe) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """The discriminator's and the generator's."""
    rate = recipe.discriminator_rate
    return _optimiser(gan.discriminator, recipe, rate), _optimiser(
        gan.generator, recipe, recipe.generator_rate
    )


def _optimiser(network: nn.Module, recipe: GeneratorRecipe, rate: float) -> torch.optim.Optimizer:
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), rate, momentum=recipe.momentum)
    betas = (recipe.momentum, recipe.beta2)
    return torch.optim.Adam(network.parameters(), rate, betas=betas, eps=recipe.epsilon, fused=True)


class _Known:
    """Means over the steps since the last row; they leave the device only when a row is made."""

    def __init__(self) -> None:
        self.steps = 0
        self.total: Tensor | None = None

    def add(self, discriminator: Tensor, generator: Tensor, real: Tensor, generated: Tensor) -> None:
        told_apart = (real > generated).float().mean()  # share of pairs that the discriminator orders right
        now = torch.stack([discriminator, generator, told_apart])
        self.total = now if self.total is None else self.total + now
        self.steps += 1

    def row(self) -> Row:
        assert self.total is not None
        names = ("discriminator_loss", "generator_loss", "told_apart")
        return dict(zip(names, (self.total / self.steps).tolist()))

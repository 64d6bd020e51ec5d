"""Training a GAN: one step of the generator, after some of the discriminator's, resumed exactly.

As in `training.loop`, nothing random outlives a step: codes, classes, mirrors and dropout come from
(seed, purpose, step), the images of a step from its number. A checkpoint is the two networks, their
optimisers, the average, the best generator so far and the number of the step, and n + n steps equal
2n bit for bit on one machine.

The discriminator's last step is against the very images that the generator's step then improves: one
forward of the generator serves both. Its graph is cut off from the discriminator's step, and the
discriminator is frozen in the generator's, so neither computes gradients that nobody uses.

A batch is cut into micro-batches (`recipe.micro_batch`, `runtime.data_parallel`), each of real images and of
codes, which under torchrun several processes compute; the steps are the same, up to rounding, on any number
of them. Batch norm sees a micro-batch, and so does what a teacher compares: the variance of its features. The
graph of every generated micro-batch is kept until the generator's step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ostrich.errors import Diverged, InputError
from ostrich.figures.clips import is_clip
from ostrich.generative.gan import GAN
from ostrich.generative.layers import SpectralNorm, add_orthogonal_gradient, advance
from ostrich.generative.objectives import gradient_penalty, objective
from ostrich.generative.projected import ProjectedDiscriminator, ProjectedVideoDiscriminator
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.generative.video_gan import VideoGenerator
from ostrich.models.fastpath import autocast
from ostrich.models.untouched import frozen
from ostrich.runtime import distributed
from ostrich.runtime.data_parallel import DataParallel, Loss, Part, Statistics, is_apart, own_parts, say_idle
from ostrich.runtime.facts import MARK, digest, settings_facts
from ostrich.runtime.randomness import keyed, seed_of, seeded
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
    progress: Callable[[int], None] = lambda step: None,
) -> nn.Module:
    """Train `gan` in place; returns the generator in evaluation mode.

    `images` uint8 (N, C, H, W), or clips, of the GAN's shape, `labels` int64 (N,) where it is
    conditional. It is the averaged generator where the recipe averages, and the one with the least
    `distance` that `watch` measured where it measures one, else the last. `checkpoint`, `stop_after`
    and `progress` as in `training.train`. Raises InputError for images that the GAN cannot be trained
    on, Diverged where a loss is not finite when `watch` would be asked.
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
    device = next(gan.parameters()).device
    step, known, players = 0, _Known(device), Players(gan)
    say_idle(recipe.batch_size, recipe.micro_batch, apart=players.apart)
    best: dict[str, Any] = {}
    facts = {} if checkpoint is None else _facts(gan, recipe, images, labels)

    def standing() -> dict[str, Any]:
        states = {name: part.state_dict() for name, part in parts.items()}
        return {"step": step, "best": best, "known": known.total, **states}

    with Checkpoint(checkpoint, facts) as kept:
        if (found := kept.restore()) is not None:
            step, best = found["step"], found["best"]
            for name, part in parts.items():
                part.load_state_dict(found[name])
            if distributed.is_main():  # what the others knew of the steps since the last row is lost
                known.total = found["known"].to(device)
        while step < last:
            known.add(train_step(gan, recipe, images, labels, step, of_discriminator, of_generator, players))
            step += 1
            follow(average, gan.generator, recipe.average if step > recipe.average_from else 0.0)
            if step % recipe.watch_every == 0 or step == recipe.steps:
                row = {"step": step, "steps": recipe.steps, **known.row()}
                _check_finite(row, recipe)
                average.eval()
                measured = watch(step, average, row) if distributed.is_main() else {}
                if measured.get("distance", float("inf")) < best.get("distance", float("inf")):
                    state = {name: value.clone() for name, value in average.state_dict().items()}
                    best = {"distance": measured["distance"], "step": step, "generator": state}
                known = _Known(device)
            leaving = distributed.leaving(device)
            if distributed.is_main():
                progress(step)
                kept.offer(standing, leaving)
            elif leaving:
                raise KeyboardInterrupt
        if distributed.is_main():
            kept.save(standing())
    distributed.wait()
    if best and step == recipe.steps:  # rank 0 alone measured, and its generator is the one that is stored
        average.load_state_dict(best["generator"])
    return average.eval()


def _check_finite(row: dict[str, float], recipe: GeneratorRecipe) -> None:
    """End a training whose losses are not finite. Raises Diverged."""
    if not all(math.isfinite(row[f"{player}_loss"]) for player in ("discriminator", "generator")):
        rates = f"{recipe.generator_rate:g} (generator_rate) and {recipe.discriminator_rate:g}"
        way_out = f"Rates below {rates} (discriminator_rate) or another objective may help."
        raise Diverged(int(row["step"]), recipe.steps, way_out)


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


class Players:
    """The two networks of a game, each with its gradients and its statistics over micro-batches.

    `apart` says that the images of a batch have nothing to do with each other.
    """

    def __init__(self, gan: GAN) -> None:
        self.generator, self.discriminator = DataParallel(gan.generator), DataParallel(gan.discriminator)
        self.made, self.judged = Statistics(gan.generator), Statistics(gan.discriminator)
        self.apart = gan.teacher is None and is_apart(gan.generator, gan.discriminator)


@dataclass
class _Turn:
    """A micro-batch of one step of the discriminator, and what becomes of it.

    `real` (n, C, H, W) in [-1, 1], `codes` (n, Z), and their classes (n,); `share` (n,) where the gradient
    penalty lies between the two; `features` are a teacher's, of the real images. `sparse` is a term of the
    generator's loss that the generated clips come with.
    """

    part: Part
    seeds: tuple[int, int]  # of dropout in the discriminator's step and in the generator's
    real: Tensor
    real_classes: Tensor | None
    codes: Tensor
    classes: Tensor | None
    share: Tensor
    features: Tensor | None = None
    generated: Tensor | None = None
    sparse: Tensor | None = None
    losses: list[Tensor] = field(default_factory=list)  # the discriminator's, the generator's
    told_apart: Tensor | None = None  # share of pairs that the discriminator orders right


def train_step(
    gan: GAN,
    recipe: GeneratorRecipe,
    images: Tensor,
    labels: Tensor | None,
    step: int,
    discriminator_optimiser: torch.optim.Optimizer,
    generator_optimiser: torch.optim.Optimizer,
    players: Players | None = None,
) -> Tensor:
    """One step of the generator and those of the discriminator before it.

    Returns, of this process's micro-batches, their share of the batch, and by their shares the two losses and
    the share of pairs of the last real and generated images that the discriminator orders right, (4,).
    """
    players = players or Players(gan)
    own = own_parts(recipe.batch_size, recipe.micro_batch, apart=players.apart)
    device = next(gan.parameters()).device
    advance(gan.generator)
    with _dropping(recipe, step, device) as seed:
        for turn in range(recipe.discriminator_steps):
            number = step * recipe.discriminator_steps + turn
            shared = turn == recipe.discriminator_steps - 1  # with the generator's step
            given = [_drawn(gan, recipe, images, labels, number, part, seed, device) for part in own]
            advance(gan.discriminator)
            discriminator_optimiser.zero_grad(set_to_none=True)
            losses = [partial(_discriminator_loss, gan, recipe, players, one, shared) for one in given]
            players.discriminator.backward(_shared(given, losses))
            players.made.settle()
            players.judged.settle()
            discriminator_optimiser.step()

        generator_optimiser.zero_grad(set_to_none=True)
        losses = [partial(_generator_loss, gan, recipe, players, one) for one in given]
        players.generator.backward(_shared(given, losses))
        players.judged.settle()
        if recipe.orthogonal:
            add_orthogonal_gradient(gan.generator, recipe.orthogonal, except_for=("embedding",))
        generator_optimiser.step()
    found = [one.part.share * torch.stack([*one.losses, one.told_apart]) for one in given]  # type: ignore[list-item]
    shares = torch.tensor([sum(one.part.share for one in given)], device=device)
    return torch.cat([shares, sum(found, torch.zeros(3, device=device))])


def _shared(given: Sequence[_Turn], losses: Sequence[Loss]) -> list[tuple[float, Loss]]:
    return [(one.part.share, loss) for one, loss in zip(given, losses, strict=True)]


@contextmanager
def _dropping(recipe: GeneratorRecipe, step: int, device: torch.device) -> Iterator[int]:
    """Within it dropout draws from this step's own numbers, whose seed is given."""
    seed = int(torch.randint(2**62, (), generator=keyed(recipe.seed, GLOBAL, step, 0)))
    with seeded(seed, device):
        yield seed


@contextmanager
def _dropout_of(one: _Turn, place: int) -> Iterator[None]:
    """Within it dropout draws by the number of the micro-batch; the only one goes on where the step is."""
    with nullcontext() if one.part.of == 1 else seeded(one.seeds[place], one.real.device):
        yield


def _drawn(
    gan: GAN,
    recipe: GeneratorRecipe,
    images: Tensor,
    labels: Tensor | None,
    number: int,
    part: Part,
    seed: int,
    device: torch.device,
) -> _Turn:
    """A micro-batch of the discriminator's step of that number; what is random is drawn for all of it."""
    real, real_classes = real_batch(images, labels, recipe, number, device, part.rows)
    features = None
    if gan.teacher is None:
        draw = keyed(recipe.seed, CODE, number)
        codes, classes = gan.codes.draw(recipe.batch_size, draw), _classes(gan, recipe.batch_size, draw)
        codes = codes[part.rows].to(device)
        classes = None if classes is None else classes[part.rows].to(device)
    else:
        with torch.no_grad(), autocast(recipe.precision, device):
            codes, features = gan.teacher.encode(real)
        classes = real_classes = codes
    share = torch.rand(recipe.batch_size, generator=keyed(recipe.seed, PENALTY, number, 0))[part.rows]
    seeds = seed_of(seed, number, part.number, 0), seed_of(seed, number, part.number, 1)
    return _Turn(part, seeds, real, real_classes, codes, classes, share, features)


def _discriminator_loss(
    gan: GAN, recipe: GeneratorRecipe, players: Players, one: _Turn, shared: bool
) -> Tensor:
    """Its loss on a micro-batch; generated images that are `shared` with the generator's step stay."""
    rules, device = objective(recipe.objective), one.real.device
    with _dropout_of(one, 0):
        with (
            players.made.of(one.part),
            torch.set_grad_enabled(shared),
            parametrize.cached(),
            autocast(recipe.precision, device),
        ):
            generated, sparse = _generated(gan, one)
        cut = generated.detach()
        with players.judged.of(one.part), parametrize.cached():
            with autocast(recipe.precision, device):
                of_real = gan.discriminator(one.real, one.real_classes).float()
                of_generated = gan.discriminator(cut, one.classes).float()
            loss = rules.discriminator(of_real, of_generated)
            if rules.penalised:
                slope = gradient_penalty(
                    lambda x: gan.discriminator(x, one.real_classes), one.real, cut.float(), one.share
                )
                loss = loss + recipe.penalty * slope
    one.generated, one.sparse = (generated, sparse) if shared else (None, None)
    one.losses, one.told_apart = [loss.detach()], (of_real > of_generated).float().mean().detach()
    return loss


def _generated(gan: GAN, one: _Turn) -> tuple[Tensor, Tensor | None]:
    """Images of a micro-batch, and the term that a sparse mask adds to the generator's loss."""
    generator = gan.generator
    if isinstance(generator, VideoGenerator) and generator.sparsity:
        return generator.with_sparsity(one.codes, one.classes)
    return generator(one.codes, one.classes), None


def _generator_loss(gan: GAN, recipe: GeneratorRecipe, players: Players, one: _Turn) -> Tensor:
    """Its loss on the images that it generated in the discriminator's last step."""
    generated, sparse, device = one.generated, one.sparse, one.real.device
    assert generated is not None, "they are shared"
    one.generated = one.sparse = None  # their graph goes with the backward pass
    with (
        _dropout_of(one, 1),
        players.judged.of(one.part),
        frozen(gan.discriminator),
        parametrize.cached(),
        autocast(recipe.precision, device),
    ):
        verdict = gan.discriminator(generated, one.classes).float()
        loss = objective(recipe.objective).generator(verdict)
        if gan.teacher is not None:
            assert one.features is not None, "a teacher has seen the real images"
            of_image, of_features = gan.teacher.losses(generated, one.real, one.features)
            loss = recipe.adversarial_weight * loss + recipe.image_weight * of_image
            loss = loss + recipe.feature_weight * of_features
        elif recipe.guidance and one.classes is not None:
            assert isinstance(gan.discriminator, ProjectedDiscriminator | ProjectedVideoDiscriminator)
            loss = loss + recipe.guidance * gan.discriminator.guidance(generated, one.classes)
    one.losses.append(loss.detach())
    return loss if sparse is None else loss + sparse


def real_batch(
    images: Tensor,
    labels: Tensor | None,
    recipe: GeneratorRecipe,
    number: int,
    device: torch.device,
    part: slice = slice(None),
) -> tuple[Tensor, Tensor | None]:
    """The batch of that number: float (N, C, H, W), or clips, in [-1, 1], always full, and its classes.

    With `part`, those of its images. Batches go through one epoch's order after the other without a gap.
    """
    places = range(number * recipe.batch_size, (number + 1) * recipe.batch_size)[part]
    rows = torch.stack(
        [epoch_order(len(images), recipe.seed, p // len(images))[p % len(images)] for p in places]
    )
    pixels = images[rows]
    if recipe.flip:
        draw = keyed(recipe.seed, MIRROR, number)
        numbers = torch.rand(recipe.batch_size, *[1] * (pixels.ndim - 1), generator=draw)
        pixels = torch.where(numbers[part] < 0.5, pixels.flip(-1), pixels)
    real = pixels.to(device, torch.float32).div_(127.5).sub_(1)
    classes = labels[rows].to(device) if labels is not None else None
    return _laid_out(real), classes


def _laid_out(values: Tensor) -> Tensor:
    """Images, clips and weights with their channels last, which is quicker."""
    layout = LAYOUTS.get(values.ndim)
    return values.contiguous(memory_format=layout) if layout is not None else values


def _classes(gan: GAN, count: int, draw: torch.Generator) -> Tensor | None:
    return None if gan.classes is None else torch.randint(gan.classes, (count,), generator=draw)


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

    def __init__(self, device: torch.device) -> None:
        self.total = torch.zeros(4, device=device)  # as `train_step` returns it

    def add(self, found: Tensor) -> None:
        self.total = self.total + found

    def row(self) -> Row:
        """Of all processes."""
        total = distributed.total(self.total)
        names = ("discriminator_loss", "generator_loss", "told_apart")
        return dict(zip(names, (total[1:] / total[0]).tolist(), strict=True))

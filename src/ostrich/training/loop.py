"""The training loop: SGD with momentum on images held in memory, resumed exactly where it stopped.

Nothing random has a state that lives longer than a step: the order of an epoch comes from
(seed, epoch), augmentation, adversarial starts and dropout from (seed, step). So a checkpoint is
the parameters, the optimiser and the number of the step, and n + n steps equal 2n bit for bit on
one machine.

A batch is cut into micro-batches (`recipe.micro_batch`, `runtime.data_parallel`), computed one after another,
under torchrun by several processes; the step is the same, up to rounding, on any number of them. Batch norm
normalises by the images of a micro-batch (what goes wrong otherwise: study batchnorm-modes, bug 8). What is
random of an image is drawn for the whole batch, dropout by the number of the micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.models.fastpath import autocast
from ostrich.runtime import distributed
from ostrich.runtime.data_parallel import DataParallel, Part, Statistics, is_apart, own_parts, say_idle
from ostrich.runtime.facts import digest, settings_facts
from ostrich.runtime.randomness import keyed, seed_of, seeded
from ostrich.runtime.resumable import Checkpoint
from ostrich.training.adversarial import worst_case
from ostrich.training.interval_bounds import ramped, worst_logits
from ostrich.training.recipe import Recipe

Log = Callable[[dict[str, float]], None]
EVALUATION_BATCH = 256  # images


def train(
    network: nn.Module,
    recipe: Recipe,
    images: Tensor,
    labels: Tensor,
    *,
    held_out: tuple[Tensor, Tensor] | None = None,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
    log: Log = lambda row: None,
    progress: Callable[[int], None] = lambda step: None,
) -> nn.Module:
    """Train `network` in place and return it in evaluation mode.

    `images` uint8 (N, C, H, W), `labels` int64 (N,); `held_out` the same, for the accuracy that is
    logged after each epoch, in every process. With `checkpoint`, the run is continued from that file if it
    exists, and the file is kept up to date; `stop_after` ends after so many steps in all, and `progress`
    is told how many are done after each. Raises OtherComputation for a checkpoint of other weights at the
    start, images, labels or settings, and what `log` raises.
    """
    device = next(network.parameters()).device
    network.to(memory_format=torch.channels_last)  # NHWC: 1.5 to 2 times faster convolutions
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    parallel, statistics = DataParallel(network), Statistics(network)
    apart = is_apart(network)
    per_epoch, total = steps_of_epoch(recipe, len(images)), steps_of(recipe, len(images))
    say_idle(min(recipe.batch_size, len(images)), recipe.micro_batch, apart=apart)
    last = min(total, stop_after if stop_after is not None else total)
    step, tally = 0, _Tally()
    facts = {} if checkpoint is None else _facts(network, recipe, images, labels, held_out)

    def standing() -> dict[str, Any]:
        states = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
        return {"step": step, "sums": tally.sums, **states}

    with Checkpoint(checkpoint, facts) as kept:
        if (found := kept.restore()) is not None:
            step = found["step"]
            if distributed.is_main():  # what the others had seen of this epoch is not known
                tally.sums = found["sums"]
            network.load_state_dict(found["network"])
            optimiser.load_state_dict(found["optimiser"])
        while step < last:
            epoch, position = divmod(step, per_epoch)
            rows = epoch_order(len(images), recipe.seed, epoch)[
                position * recipe.batch_size : (position + 1) * recipe.batch_size
            ]
            own = own_parts(len(rows), recipe.micro_batch, apart=apart)
            given = _micro_batches(images, labels, rows, own, recipe, step, step / total)
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * ramp(
                    (step + 1) / (total + 1), recipe.warmup, recipe.schedule
                )
            optimiser.zero_grad(set_to_none=True)
            losses = [partial(_loss, network, statistics, recipe, one, (step, total), tally) for one in given]
            parallel.backward([(one.part.share, loss) for one, loss in zip(given, losses, strict=True)])
            statistics.settle()
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimiser.step()
            step += 1
            if step % per_epoch == 0 or step == last:
                row = {"step": step, "steps": total, "epoch": step / per_epoch, **tally.row(device)}
                if held_out is not None:
                    row["held_out_accuracy"] = accuracy(network, recipe, *held_out)
                log(row)
                tally.clear()
            leaving = distributed.leaving(device)
            if distributed.is_main():
                progress(step)
                kept.offer(standing, leaving)
            elif leaving:
                raise KeyboardInterrupt
        if distributed.is_main():
            kept.save(standing())
    distributed.wait()
    return network.eval()


def steps_of_epoch(recipe: Recipe, count: int) -> int:
    """How many steps go once through so many images; the last may have fewer than a batch."""
    return -(-count // recipe.batch_size)


def steps_of(recipe: Recipe, count: int) -> int:
    """How many steps the whole run has on so many images."""
    return max(1, round(recipe.epochs * steps_of_epoch(recipe, count)))


@dataclass(frozen=True)
class _MicroBatch:
    """Its images uint8 (n, C, H, W) as they are augmented, their labels (n,), and what was drawn for it."""

    part: Part
    pixels: Tensor
    labels: Tensor
    start: Tensor | None  # of adversarial training, as the images, in [0, 1)
    noise: Tensor | None  # as the images, of deviation 1
    seed: int  # of dropout


def _micro_batches(
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    own: Sequence[Part],
    recipe: Recipe,
    step: int,
    done: float,
) -> list[_MicroBatch]:
    """This process's micro-batches of a batch, the images at `rows`; numbers are drawn for all of it."""
    draw = keyed(recipe.seed, 2, step)
    places = torch.cat([torch.arange(len(rows))[part.rows] for part in own] or [rows[:0]])
    pixels = augment(images[rows[places]], recipe, done, draw, places, len(rows))
    shape = (len(rows), *pixels.shape[1:])
    start = torch.rand(shape, generator=draw) if recipe.adversarial_steps else None
    noise = torch.randn(shape, generator=draw) if recipe.noise else None
    seed = int(torch.randint(2**62, (), generator=draw))
    each = pixels.split([part.rows.stop - part.rows.start for part in own]) if own else ()
    return [
        _MicroBatch(
            part=part,
            pixels=some,
            labels=labels[rows[part.rows]],
            start=None if start is None else start[part.rows],
            noise=None if noise is None else noise[part.rows],
            seed=seed if part.of == 1 else seed_of(seed, part.number),
        )
        for part, some in zip(own, each, strict=True)
    ]


class _Tally:
    """Images seen, of them those that the network had right, and their losses, since the last row."""

    def __init__(self) -> None:
        self.sums: tuple[float, float, float] = (0, 0, 0.0)

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        seen, correct, losses = self.sums
        right = int((logits.argmax(1) == labels).sum())
        self.sums = (seen + len(labels), correct + right, losses + loss.item() * len(labels))

    def row(self, device: torch.device) -> dict[str, float]:
        """Of all processes."""
        seen, correct, losses = distributed.sums(*self.sums, device=device)
        return {"images": int(seen), "train_loss": losses / seen, "train_accuracy": correct / seen}

    def clear(self) -> None:
        self.sums = (0, 0, 0.0)


def _loss(
    network: nn.Module,
    statistics: Statistics,
    recipe: Recipe,
    given: _MicroBatch,
    at: tuple[int, int],
    tally: _Tally,
) -> Tensor:
    """The mean loss of a micro-batch, `at` this step of so many."""
    (step, total), like = at, next(network.parameters())
    batch, target = to_images(given.pixels, like.device, like.dtype), given.labels.to(like.device)
    with statistics.of(given.part):
        if given.start is not None:
            eps = recipe.adversarial_eps * min(1.0, (step + 1) / (recipe.warmup * total + 1))
            batch = worst_case(
                network,
                partial(normalised, recipe=recipe),
                batch,
                target,
                given.start,
                eps=eps,
                steps=recipe.adversarial_steps,
                precision=recipe.precision,
            )
        if given.noise is not None:
            batch = batch + recipe.noise * given.noise.to(batch)
        network.train()
        with seeded(given.seed, like.device), autocast(recipe.precision, like.device):
            logits = network(normalised(batch, recipe))
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = F.cross_entropy(precise, target, label_smoothing=recipe.label_smoothing)
        if recipe.interval_eps:
            loss = _with_bounds(loss, network, recipe, batch, target, (step + 1) / total)
    tally.add(logits, target, loss)
    return loss


def _with_bounds(
    loss: Tensor, network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor, done: float
) -> Tensor:
    """The loss with that of the worst logits within the budget, as far as the run is `done`."""
    eps, kappa = ramped(recipe.interval_eps, done)
    low, high = (normalised((images + way * eps).clamp(0, 1), recipe) for way in (-1, 1))
    return kappa * loss + (1 - kappa) * F.cross_entropy(worst_logits(network, low, high, labels), labels)


def _facts(
    network: nn.Module,
    recipe: Recipe,
    images: Tensor,
    labels: Tensor,
    held_out: tuple[Tensor, Tensor] | None,
) -> dict[str, str]:
    """What decides the trained network, and what is logged of it."""
    return {
        "weights": digest(network.state_dict()),
        "images": digest(images),
        "labels": digest(labels),
        "held-out images": digest(*(held_out or ())),
        "device": str(next(network.parameters()).device),
        "number of processes": str(distributed.world()),
        **settings_facts(recipe, without=("name", "data")),
    }


@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order (count,) in which an epoch goes through the images."""
    return torch.randperm(count, generator=keyed(seed, 1, epoch))


def ramp(done: float, warmup: float, schedule: str = "triangle") -> float:
    """The learning rate's factor: linearly 0 to 1 during warmup, then by the schedule.

    "triangle" goes linearly back to 0, "constant" stays at 1, "steps" is a tenth from 50 % of the run on and
    a hundredth from 75 % on (He 2016, section 4.2: after 32,000 and 48,000 of 64,000 steps).
    """
    if done < warmup:
        return done / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "steps":
        return 0.1 ** ((done >= 0.5) + (done >= 0.75))
    return (1 - done) / (1 - warmup)


def augment(
    pixels: Tensor,
    recipe: Recipe,
    done: float,
    draw: torch.Generator,
    places: Tensor | None = None,
    among: int | None = None,
) -> Tensor:
    """Random shift, crop and mirror of uint8 (N, C, H, W); every image has its own.

    With `places` (N,) they are those of a batch of `among` images, for all of which numbers are drawn.
    """
    count, _, height, width = pixels.shape
    drawn, mine = (count, torch.arange(count)) if places is None or among is None else (among, places)
    crop = next((size for until, size in recipe.crops if done < until), None)
    out_h, out_w = (crop, crop) if crop else (height, width)
    if recipe.shift or crop:
        # Edges repeated: indices outside are clamped to the border.
        span_h, span_w = height - out_h + 2 * recipe.shift, width - out_w + 2 * recipe.shift
        top = torch.randint(span_h + 1, (drawn, 1), generator=draw)[mine] - recipe.shift
        left = torch.randint(span_w + 1, (drawn, 1), generator=draw)[mine] - recipe.shift
        rows = (top + torch.arange(out_h)).clamp_(0, height - 1)  # (N, H')
        columns = (left + torch.arange(out_w)).clamp_(0, width - 1)  # (N, W')
        if recipe.flip:
            mirrored = torch.rand(drawn, 1, generator=draw)[mine] < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        each = torch.arange(count)[:, None, None]
        return pixels.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if recipe.flip:
        mirrored = torch.rand(drawn, 1, 1, 1, generator=draw)[mine] < 0.5
        return torch.where(mirrored, pixels.flip(3), pixels)
    return pixels


def to_images(pixels: Tensor, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 (N, C, H, W) as images in [0, 1] on the device."""
    return pixels.to(device, dtype).div_(255)


def normalised(images: Tensor, recipe: Recipe) -> Tensor:
    """Images (N, C, H, W) in [0, 1] as the network takes them, channels last."""
    mean = images.new_tensor(recipe.mean)[:, None, None]
    std = images.new_tensor(recipe.std)[:, None, None]
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def logits_of(network: nn.Module, recipe: Recipe, images: Tensor) -> Tensor:
    """Logits (N, K) of uint8 images (N, C, H, W), float32 on the CPU.

    Of a network in training or of a study, in the mode that it is in; `Classifier.predict` is for one that
    is only asked.
    """
    like, parts = next(network.parameters()), images.split(EVALUATION_BATCH)
    inputs = (normalised(to_images(part, like.device, like.dtype), recipe) for part in parts)
    return torch.cat([network(part).float().cpu() for part in inputs])


@torch.no_grad()
def accuracy(network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> float:
    """Fraction of uint8 images (N, C, H, W) that the network, in evaluation mode, gets right."""
    network.eval()
    right = 0
    for rows in torch.tensor(distributed.share(len(images)), dtype=torch.int64).split(EVALUATION_BATCH):
        found = logits_of(network, recipe, images[rows]).argmax(1)
        right += int((found == labels[rows]).sum())
    return distributed.sums(right, device=next(network.parameters()).device)[0] / len(images)

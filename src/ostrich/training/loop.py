"""The training loop: SGD with momentum on images held in memory, resumed exactly where it stopped.

Nothing random has a state that lives longer than a step: the order of an epoch comes from
(seed, epoch), augmentation, adversarial starts and dropout from (seed, step). So a checkpoint is
the parameters, the optimiser and the number of the step, and n + n steps equal 2n bit for bit on
one machine.

Under torchrun each process takes every w-th image of a batch, and torch's DistributedDataParallel averages
the gradients while they are computed: the steps are those of one process, up to rounding, for networks whose
images do not meet. In batch norm they do: it normalises by each process's own images (study batchnorm-modes,
bug 8). Its statistics are averaged over the processes at the end of each epoch; DistributedDataParallel would
give all of them those of rank 0, which has seen a w-th of the images. Dropout and adversarial starts draw for
each process by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.models.fastpath import autocast
from ostrich.runtime import distributed, interrupts
from ostrich.runtime.facts import digest, settings_facts
from ostrich.runtime.randomness import keyed, seeded
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
) -> nn.Module:
    """Train `network` in place and return it in evaluation mode.

    `images` uint8 (N, C, H, W), `labels` int64 (N,); `held_out` the same, for the accuracy that is
    logged after each epoch. With `checkpoint`, the run is continued from that file if it exists,
    and the file is kept up to date; `stop_after` ends after so many steps in all. Raises
    OtherComputation for a checkpoint of other weights at the start, images, labels or settings.
    """
    device, dtype = next(network.parameters()).device, next(network.parameters()).dtype
    network.to(memory_format=torch.channels_last)  # NHWC: 1.5 to 2 times faster convolutions
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    parallel = distributed.data_parallel(network)
    per_epoch = -(-len(images) // recipe.batch_size)  # steps
    total = max(1, round(recipe.epochs * per_epoch))
    if (rest := len(images) - (per_epoch - 1) * recipe.batch_size) < distributed.world():
        raise InputError(f"The last batch of an epoch has {rest} images for {distributed.world()} processes.")
    last = min(total, stop_after if stop_after is not None else total)
    step, seen, correct, loss_sum = 0, 0, 0, 0.0
    facts = {} if checkpoint is None else _facts(network, recipe, images, labels, held_out)

    def standing() -> dict[str, Any]:
        sums = (seen, correct, loss_sum)
        states = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
        return {"step": step, "sums": sums, **states}

    with Checkpoint(checkpoint, facts) as kept:
        if (found := kept.restore()) is not None:
            step = found["step"]
            if distributed.is_main():  # what the others had seen of this epoch is not known
                seen, correct, loss_sum = found["sums"]
            network.load_state_dict(found["network"])
            optimiser.load_state_dict(found["optimiser"])
        while step < last:
            epoch, position = divmod(step, per_epoch)
            rows = epoch_order(len(images), recipe.seed, epoch)[
                position * recipe.batch_size : (position + 1) * recipe.batch_size
            ]
            draw = keyed(recipe.seed, 2, step)
            mine = slice(distributed.rank(), None, distributed.world())
            target = labels[rows[mine]].to(device)
            batch = to_images(augment(images[rows], recipe, step / total, draw)[mine], device, dtype)
            if distributed.world() > 1:
                draw = keyed(recipe.seed, 2, step, distributed.rank())
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * ramp(
                    (step + 1) / (total + 1), recipe.warmup, recipe.schedule
                )

            if recipe.adversarial_steps:
                eps = recipe.adversarial_eps * min(1.0, (step + 1) / (recipe.warmup * total + 1))
                steps, precision = recipe.adversarial_steps, recipe.precision
                normalise = partial(normalised, recipe=recipe)
                batch = worst_case(
                    network, normalise, batch, target, eps=eps, steps=steps, draw=draw, precision=precision
                )
            if recipe.noise:
                batch = batch + recipe.noise * torch.randn(batch.shape, generator=draw).to(batch)
            network.train()
            own = int(torch.randint(2**62, (), generator=draw))  # for dropout
            with seeded(own, device), autocast(recipe.precision, device):
                logits = parallel(normalised(batch, recipe))
            precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
            loss = F.cross_entropy(precise, target, label_smoothing=recipe.label_smoothing)
            if recipe.interval_eps:
                loss = _with_bounds(loss, network, recipe, batch, target, (step + 1) / total)
            optimiser.zero_grad(set_to_none=True)
            share = len(target) * distributed.world() / len(rows)  # above 1 where others have an image less
            (loss if distributed.world() == 1 else loss * share).backward()
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimiser.step()
            step += 1

            seen += len(target)
            correct += int((logits.argmax(1) == target).sum())
            loss_sum += loss.item() * len(target)
            if step % per_epoch == 0 or step == last:
                distributed.average_buffers(network)
                every, hits, losses = distributed.sums(seen, correct, loss_sum, device=device)
                row = {"step": step, "steps": total, "epoch": step / per_epoch, "images": int(every)}
                row |= {"train_loss": losses / every, "train_accuracy": hits / every}
                if held_out is not None:
                    row["held_out_accuracy"] = accuracy(network, recipe, *held_out)
                if distributed.is_main():
                    log(row)
                seen, correct, loss_sum = 0, 0, 0.0
            if distributed.is_main():
                kept.offer(standing)
            elif interrupts.pending():
                raise KeyboardInterrupt
        if distributed.is_main():
            kept.save(standing())
    distributed.wait()
    return network.eval()


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


def augment(pixels: Tensor, recipe: Recipe, done: float, draw: torch.Generator) -> Tensor:
    """Random shift, crop and mirror of uint8 (N, C, H, W); every image has its own."""
    count, _, height, width = pixels.shape
    crop = next((size for until, size in recipe.crops if done < until), None)
    out_h, out_w = (crop, crop) if crop else (height, width)
    if recipe.shift:
        # Edges repeated: indices outside are clamped to the border.
        span_h, span_w = height - out_h + 2 * recipe.shift, width - out_w + 2 * recipe.shift
        top = torch.randint(span_h + 1, (count, 1), generator=draw) - recipe.shift
        left = torch.randint(span_w + 1, (count, 1), generator=draw) - recipe.shift
        rows = (top + torch.arange(out_h)).clamp_(0, height - 1)  # (N, H')
        columns = (left + torch.arange(out_w)).clamp_(0, width - 1)  # (N, W')
        if recipe.flip:
            mirrored = torch.rand(count, 1, generator=draw) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        each = torch.arange(count)[:, None, None]
        return pixels.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if recipe.flip:
        mirrored = torch.rand(count, 1, 1, 1, generator=draw) < 0.5
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

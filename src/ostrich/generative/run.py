"""A training run of a generator: data, GAN, loop, sheets along the way, and the weights with their card."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ostrich.data.dataset import Samples
from ostrich.data.training_data import open_split
from ostrich.figures.clips import is_clip, sheet
from ostrich.generative.collapse import collapse, diversity
from ostrich.generative.features import features
from ostrich.generative.frechet import frechet_distance
from ostrich.generative.gan import GAN
from ostrich.generative.generator import BATCH, CARD, WEIGHTS, Generator
from ostrich.generative.projected import match_guide
from ostrich.generative.recipe import INVERSION, RECIPES, GeneratorRecipe
from ostrich.generative.teacher import build_for
from ostrich.generative.training import Row, check_images, train_gan
from ostrich.images import read_png, write_gif, write_png
from ostrich.models import Classifier, load
from ostrich.runtime import distributed, events
from ostrich.runtime.files import write_card
from ostrich.runtime.resumable import peek
from ostrich.runtime.runs import Run
from ostrich.training.recipe import command
from ostrich.training.run import CHECKPOINT, save

SHEET = 64  # samples on a sheet, at the same codes and classes every time
ROWS = 16  # clips on a sheet, a row of frames each
MILLISECONDS = 250  # each sheet in the GIF
DIVERSITY = 256  # samples for the measure


def train_run(recipe: GeneratorRecipe, data: str | Samples, run: Run, device: torch.device) -> dict[str, Any]:
    """Train by a recipe into a run directory: checkpoint.pt, generator.safetensors, card.json, sheets.

    Results are rank 0's, which alone measures and writes; the others' are empty.
    """
    torch.manual_seed(recipe.seed)  # the initial weights
    gan, architecture = build_for(recipe, device)
    training = open_split(data, "train", gan.shape, limit=recipe.train_images, seed=recipe.seed)
    pixels, labels = training.tensor(), training.labels if gan.classes is not None else None
    check_images(gan, pixels, labels, recipe.batch_size)
    guided = {}
    if recipe.guidance and training.class_names is not None:
        guided["guided_classes"] = match_guide(gan, training.class_names)
    held_out = open_split(data, "test", gan.shape, seed=recipe.seed)
    judge = load(recipe.judge, device=device) if recipe.judge and distributed.is_main() else None
    real = _real(held_out, judge)
    measure = partial(_measure, gan=gan, recipe=recipe, names=training.class_names, real=real)
    name = data if isinstance(data, str) else data.name
    described = {"name": name, "n": len(training), "sha256": training.sha256}
    if training.skipped:
        described["skipped"] = list(training.skipped)
    run.describe(seed=recipe.seed, device=device, data=described)
    checkpoint = run.folder / CHECKPOINT
    done = (peek(checkpoint) or {"step": 0})["step"]
    run.rewind(done)
    if gan.teacher is not None and not done:
        gan.teacher.measure_codes(pixels)
    total = recipe.steps * recipe.batch_size  # by all processes
    with events.progress(f"training {recipe.name}", total) as advance:
        advance(0, total)
        watch = partial(
            _watch,
            gan=gan,
            recipe=recipe,
            names=training.class_names,
            measure=measure,
            real=real,
            run=run,
        )
        kept = train_gan(
            gan,
            recipe,
            pixels,
            labels,
            checkpoint=checkpoint,
            watch=watch,
            progress=lambda step: advance(step * recipe.batch_size, total),
        )
    if not distributed.is_main():
        return {}
    # The measures are those of the weights as they are stored, in half precision.
    kept.load_state_dict(
        {k: v.half().to(v.dtype) if v.is_floating_point() else v for k, v in kept.state_dict().items()}
    )
    told_apart = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])["told_apart"]
    results = measure(kept, told_apart=told_apart)
    results["kept_step"] = ((peek(checkpoint) or {}).get("best") or {}).get("step", recipe.steps)
    results |= {"train_images": len(training), "test_images": len(held_out), **guided}
    results |= _gif(run)
    save(kept, run.folder / WEIGHTS)
    told = card(recipe, architecture, name, training, results, device)
    write_card(run.folder / CARD, run.folder / WEIGHTS, told)
    return results


@dataclass(frozen=True, kw_only=True)
class _Real:
    """What samples are measured by: held-out images, some of them in any order, the features of all, and
    whose these are.
    """

    images: Tensor
    some: Tensor
    features: Tensor | None
    judge: Classifier | None


def _real(held_out: Samples, judge: Classifier | None) -> _Real:
    # A folder may hold fewer than is wished for. Labelled data may be sorted by class.
    real = held_out.images()
    some = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:DIVERSITY]
    known = features(judge, real)[0] if judge is not None and len(real) > 1 else None
    return _Real(images=real, some=real[some], features=known, judge=judge)


def _watch(
    step: int,
    network: nn.Module,
    row: Row,
    *,
    gan: GAN,
    recipe: GeneratorRecipe,
    names: tuple[str, ...] | None,
    measure: Callable[..., dict[str, Any]],
    real: _Real,
    run: Run,
) -> Row:
    """A sheet, a line of metrics.jsonl, and the measures by which the best generator is kept."""
    measured = measure(network, told_apart=row["told_apart"])
    count = ROWS if is_clip(gan.shape) else SHEET
    shown = _made(network, gan, names, count, recipe.seed, real.images)
    if gan.teacher is not None:  # each image beside what was made of its code
        shown = torch.stack([real.images[: count // 2], shown[: count // 2]], 1).flatten(0, 1)
    write_png(run.folder / f"sheets/{step:06d}.png", sheet(shown, ROWS))
    run.append({**row, **measured})
    return {k: v for k, v in measured.items() if isinstance(v, float)}


def _measure(
    network: nn.Module,
    *,
    gan: GAN,
    recipe: GeneratorRecipe,
    names: tuple[str, ...] | None,
    real: _Real,
    told_apart: float,
) -> dict[str, Any]:
    """Diversity, words on collapse, and the distance of the judge's features from those of real images."""
    count = recipe.judge_samples if real.judge is not None else DIVERSITY
    samples = _made(network, gan, names, count, recipe.seed + 1, real.images)
    some = min(len(samples), len(real.some))  # as many of both
    variety = diversity(samples[:some], real.some[:some])
    measured: dict[str, Any] = {"diversity": variety}
    if real.judge is not None and real.features is not None:
        distance = frechet_distance(features(real.judge, samples)[0], real.features)
        measured |= {"distance": distance, "distance_features": real.judge.name}
    if gan.teacher is not None:
        measured |= gan.teacher.errors(samples, real.images[: len(samples)])
    return measured | {"collapse": collapse(told_apart, variety, recipe.objective)}


def _made(
    network: nn.Module, gan: GAN, names: tuple[str, ...] | None, count: int, seed: int, real: Tensor
) -> Tensor:
    """Samples (count, C, H, W) in [0, 1]; with a teacher as many of the real images, made again."""
    generator = Generator.of(gan, network, names=names)
    if gan.teacher is None:
        return generator.sample(range(count), seed=seed)[0]
    with torch.no_grad():
        parts = [gan.teacher.encode(2 * part - 1)[0].cpu() for part in real[:count].split(BATCH)]
    return generator(torch.cat(parts))


def _gif(run: Run) -> dict[str, Any]:
    """The sheets as a film: read from their files, for some may be of before an interruption."""
    sheets = sorted((run.folder / "sheets").glob("*.png"))
    write_gif(run.folder / "training.gif", [read_png(path) for path in sheets], MILLISECONDS)
    return {"sheet": str(sheets[-1].relative_to(run.folder)), "gif": "training.gif"}


def card(
    recipe: GeneratorRecipe,
    architecture: str,
    data: str,
    training: Samples,
    results: dict[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """What anyone should know of the generator before they use it."""
    measures = ("diversity", "distance", "distance_features", "pixel_error", "feature_error", "test_images")
    inversion = {name: getattr(recipe, name) for name in INVERSION} if recipe.encoder is not None else {}
    return {
        "architecture": architecture,
        "projected": recipe.projected,
        "guidance": recipe.guidance,
        "class_names": training.class_names,
        "recipe": command("ostrich generate train", recipe, RECIPES, data),
        "objective": recipe.objective,
        "steps": recipe.steps,
        "kept_step": results["kept_step"],
        "batch_size": recipe.batch_size,
        "flip": recipe.flip,
        "seed": recipe.seed,
        "device": f"{device} ({platform.machine()})",
        "precision": recipe.precision,
        "data": data,
        "data_sha256": training.sha256,
        "train_images": len(training),
        **inversion,
        "limit": recipe.train_images,
        "judge": recipe.judge,
        "measures": {name: results[name] for name in measures if name in results},
        "samples": recipe.judge_samples,
        "date": datetime.date.today().isoformat(),
    }

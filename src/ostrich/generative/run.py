"""A training run of a generator: data, game, loop, sheets along the way, and the weights with their card."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ostrich import distributed
from ostrich.data.pictures import Pictures, pictures
from ostrich.generative.architectures import build_game
from ostrich.generative.collapse import collapse, diversity
from ostrich.generative.features import features
from ostrich.generative.game import Game
from ostrich.generative.generator import CARD, WEIGHTS, Generator
from ostrich.generative.measures import frechet_distance
from ostrich.generative.projected import project
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.generative.training import Row, check_images, train_game
from ostrich.images import grid, read_png, write_gif, write_png
from ostrich.models import Classifier, load
from ostrich.runs import Run, write_json
from ostrich.training.checkpoint import restore
from ostrich.training.run import save

SHEET = 64  # samples on a sheet, at the same codes and classes every time
MILLISECONDS = 250  # each sheet in the GIF
DIVERSITY = 256  # samples for the measure


def train_run(
    recipe: GeneratorRecipe, data: str, run: Run, device: torch.device, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Train by a recipe into a run directory: checkpoint.pt, generator.safetensors, card.json, sheets.

    Results are rank 0's, which alone measures and writes; the others' are empty.
    """
    torch.manual_seed(recipe.seed)  # the initial weights
    game = build_game(recipe.architecture)
    if recipe.projected:
        through = load(recipe.projected, device=str(device))
        project(game, through, recipe.heads, guided=recipe.guidance > 0)
    game.to(device)
    training = pictures(data, "train", game.shape, limit=recipe.train_images, seed=recipe.seed)
    labels = training.labels if game.classes is not None else None
    check_images(game, training.pixels, labels, recipe.batch_size)
    held_out = pictures(data, "test", game.shape, seed=recipe.seed)
    judge = load(recipe.judge, device=str(device)) if recipe.judge else None
    described = {"name": data, "n": len(training), "sha256": training.sha256}
    run.describe(seed=recipe.seed, device=device, data=described)
    run.rewind(restore(run.folder / "checkpoint.pt")["step"])
    progress(0, recipe.steps)
    watch = partial(
        _watch,
        game=game,
        recipe=recipe,
        names=training.class_names,
        real=held_out.images(),
        judge=judge,
        run=run,
        progress=progress,
    )
    kept = train_game(
        game, recipe, training.pixels, labels, checkpoint=run.folder / "checkpoint.pt", watch=watch
    )
    if not distributed.is_main():
        return {}
    # What is told of it is told of the weights as they are stored, in half precision.
    kept.load_state_dict(
        {k: v.half().to(v.dtype) if v.is_floating_point() else v for k, v in kept.state_dict().items()}
    )
    told_apart = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])["told_apart"]
    results = _measure(kept, game, recipe, training.class_names, held_out.images(), judge, told_apart)
    results["kept_step"] = restore(run.folder / "checkpoint.pt")["best"].get("step", recipe.steps)
    results |= {"train_images": len(training), "test_images": len(held_out)}
    results |= _gif(run)
    save(kept, run.folder / WEIGHTS)
    write_json(run.folder / CARD, card(recipe, data, training, results, device))
    return results


def _watch(
    step: int,
    network: nn.Module,
    row: Row,
    *,
    game: Game,
    recipe: GeneratorRecipe,
    names: tuple[str, ...] | None,
    real: Tensor,
    judge: Classifier | None,
    run: Run,
    progress: Callable[[int, int], None],
) -> Row:
    """A sheet, a line of metrics.jsonl, and the measures by which the best generator is kept."""
    measured = _measure(network, game, recipe, names, real, judge, row["told_apart"])
    shown, _ = _wrapped(network, game, names).sample(range(SHEET), seed=recipe.seed)
    write_png(run.folder / f"sheets/{step:06d}.png", grid(shown))
    run.append({**row, **measured})
    progress(step, recipe.steps)
    return {k: v for k, v in measured.items() if isinstance(v, float)}


def _measure(
    network: nn.Module,
    game: Game,
    recipe: GeneratorRecipe,
    names: tuple[str, ...] | None,
    real: Tensor,
    judge: Classifier | None,
    told_apart: float,
) -> dict[str, Any]:
    """Diversity, words on collapse, and the distance of the judge's features from those of real images."""
    count = recipe.judge_samples if judge is not None else DIVERSITY
    samples, _ = _wrapped(network, game, names).sample(range(count), seed=recipe.seed + 1)
    # As many of both; a folder may hold fewer than is wished for. Labelled data may be sorted by class.
    some = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:DIVERSITY]
    variety = diversity(samples[: len(some)], real[some]) if len(some) > 1 else float("nan")
    measured: dict[str, Any] = {"diversity": variety}
    if judge is not None and len(real) > 1:
        of_samples, of_real = features(judge, samples)[0], features(judge, real)[0]
        measured |= {"distance": frechet_distance(of_samples, of_real), "distance_features": judge.name}
    return measured | {"collapse": collapse(told_apart, variety, recipe.objective)}


def _wrapped(network: nn.Module, game: Game, names: tuple[str, ...] | None) -> Generator:
    conditional = None
    if game.classes is not None:
        conditional = names or tuple(map(str, range(game.classes)))
    return Generator(
        name="in training",
        network=network,
        codes=game.codes,
        shape=game.shape,
        class_names=conditional,
        card={},
    )


def _gif(run: Run) -> dict[str, Any]:
    """The sheets as a film: read from their files, for some may be of before an interruption."""
    sheets = sorted((run.folder / "sheets").glob("*.png"))
    write_gif(run.folder / "training.gif", [read_png(path) for path in sheets], MILLISECONDS)
    return {"sheet": str(sheets[-1].relative_to(run.folder)), "gif": "training.gif"}


def card(
    recipe: GeneratorRecipe, data: str, training: Pictures, results: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """What anyone should know of the generator before they use it."""
    measures = ("diversity", "distance", "distance_features", "test_images")
    return {
        "architecture": recipe.architecture,
        "projected": recipe.projected,
        "guidance": recipe.guidance,
        "class_names": training.class_names,
        "recipe": f"ostrich generate train {recipe.name} --data {data} --seed {recipe.seed}",
        "objective": recipe.objective,
        "steps": recipe.steps,
        "kept_step": results["kept_step"],
        "batch_size": recipe.batch_size,
        "seed": recipe.seed,
        "device": f"{device} ({platform.machine()})",
        "precision": recipe.precision,
        "data": data,
        "data_sha256": training.sha256,
        "train_images": len(training),
        "limit": recipe.train_images,
        "judge": recipe.judge,
        "measures": {name: results[name] for name in measures if name in results},
        "samples": recipe.judge_samples,
        "date": datetime.date.today().isoformat(),
    }

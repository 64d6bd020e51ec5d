"""What several processes do in tests of `distributed`; each starts as torchrun would start it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import nets
import torch
from attack_cases import given, short
from torch import nn

from ostrich.attacks import L2, FittedAttack, Untargeted
from ostrich.attacks.engine import runner
from ostrich.attacks.engine.evidence import FILES
from ostrich.attacks.fitted.fitting import fit
from ostrich.cli.main import run
from ostrich.generative.architectures import build_gan
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.generative.training import train_gan
from ostrich.models.classifier import Classifier
from ostrich.runtime import distributed, how_far, interrupts, memory, resumable
from ostrich.runtime.executors import ranks as executor
from ostrich.training import Recipe, train
from ostrich.training.loop import accuracy
from ostrich.verbs.attack import input_specific
from ostrich.verbs.status import status

RECIPE = Recipe(
    name="ranks",
    architecture="-",
    data="-",
    mean=(0.5,),
    std=(0.25,),
    epochs=10,  # of 5 steps: 50
    batch_size=25,
    learning_rate=0.05,
    shift=1,
    precision="exact",
)


def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, 8, 8), generator=generator).to(torch.uint8)
    return pixels, pixels.flatten(1).float().sum(1).long() % 5


def network() -> nn.Module:
    """Without batch norm, in float64."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5)]
    return nn.Sequential(*layers).double()


def train_task(folder: Path) -> None:
    """50 steps; the loss of every fifth, the parameters at the end, and the accuracy."""
    rows: list[dict[str, float]] = []
    trained = train(network(), RECIPE, *images(125), log=rows.append, checkpoint=folder / "checkpoint.pt")
    right = accuracy(trained, RECIPE, *images(101))
    if distributed.is_main():
        parameters = torch.cat([p.detach().flatten() for p in trained.parameters()]).tolist()
        losses = [row["train_loss"] for row in rows]
        found = {"losses": losses, "images": rows[-1]["images"], "parameters": parameters, "accuracy": right}
        (folder / "train.json").write_text(json.dumps(found))


def normed() -> nn.Module:
    """With batch norm and dropout, in float32."""
    torch.manual_seed(0)
    norm, rest = nn.BatchNorm2d(4), [nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 5)]
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, *rest)


NORMED = replace(RECIPE, epochs=1, micro_batch=9)  # of 25 images: three, of 8, 8 and 9
WAYS = {  # how a network is trained
    "plain": (network, replace(RECIPE, epochs=0.8, batch_size=31)),  # 4 steps
    "plain, float32": (lambda: network().float(), replace(RECIPE, epochs=0.8, batch_size=31)),
    "plain, noise": (network, replace(RECIPE, epochs=0.8, noise=0.1)),
    "one step": (normed, replace(NORMED, epochs=0.2)),
    "batch norm": (normed, NORMED),
    "adversarial": (normed, replace(NORMED, adversarial_steps=1, adversarial_eps=0.1, clip_norm=0.5)),
    "of one each": (normed, replace(NORMED, batch_size=4, micro_batch=2, epochs=0.1)),  # and 125 = 31 * 4 + 1
}


def agree_task(folder: Path) -> None:
    """Networks trained in several ways: each rank's parameters and statistics at the end."""
    found = {}
    for way, (build, recipe) in WAYS.items():
        found[way] = train(build(), recipe, *images(125), held_out=images(9)).state_dict()
    for stop in (2, None):
        file = folder / "half.pt"
        kept = train(normed(), NORMED, *images(125), checkpoint=file, stop_after=stop)
        distributed.wait()
    found["resumed"] = kept.state_dict()
    torch.save(found, folder / f"agree-{distributed.rank()}.pt")


GAME = GeneratorRecipe(
    name="ranks",
    architecture="dcgan,size=8,channels=1,width=0.05,code=5,norm=false",
    data="none",
    steps=12,
    batch_size=7,
    optimiser="sgd",
    generator_rate=0.05,
    discriminator_rate=0.05,
    precision="exact",
)
GAMES = {
    "dcgan": replace(GAME, architecture="dcgan,size=8,channels=1,width=0.05,code=5", steps=3, micro_batch=3),
    "perceptron": replace(
        GAME, architecture="perceptron,size=8,channels=1,width=0.05", steps=3, micro_batch=3
    ),
    "penalised": replace(GAME, objective="wgan-gp", discriminator_steps=2, steps=2, discriminator_rate=0.005),
    "averaged": replace(
        GAME,
        architecture="conditional,size=32,channels=2,classes=3,code=6,embedding=3",
        objective="hinge",
        orthogonal=1e-4,
        average=0.9,
        steps=2,
        batch_size=5,
        micro_batch=2,
        generator_rate=1e-3,
        discriminator_rate=1e-3,
    ),
}


def games_task(folder: Path) -> None:
    """Games of several kinds: what they measured, and each rank's parameters and statistics at the end."""
    found = {}
    for name, recipe in GAMES.items():
        torch.manual_seed(0)
        game, rows = build_gan(recipe.architecture), []
        count, channels, side = 12, game.shape[0], game.shape[1]
        draw = torch.Generator().manual_seed(1)
        pixels = torch.randint(0, 256, (count, channels, side, side), generator=draw).to(torch.uint8)
        classes = None if game.classes is None else torch.arange(count) % game.classes

        def watch(step: int, generator: nn.Module, row: dict[str, float], rows: list = rows) -> dict:
            rows.append(row)
            return {}

        kept = train_gan(game, replace(recipe, watch_every=1), pixels, classes, watch=watch)
        found[name] = {**game.state_dict(), **{f"kept.{k}": v for k, v in kept.state_dict().items()}}
        rows = [list(row.values()) for row in rows]
        found[name]["rows"] = torch.tensor(rows, dtype=torch.float64) if rows else torch.empty(0)
    torch.save(found, folder / f"games-{distributed.rank()}.pt")


def play_task(folder: Path) -> None:
    """12 steps of a game without batch norm, batches of 7: the parameters at the end."""
    torch.manual_seed(0)
    game = build_gan(GAME.architecture)
    train_gan(game, GAME, images(30)[0], checkpoint=folder / "game.pt")
    if distributed.is_main():
        parameters = torch.cat([p.detach().flatten() for p in game.parameters()]).tolist()
        (folder / "play.json").write_text(json.dumps(parameters))


FITS = {  # settings of fitted attacks, on 13 images
    "universal": {"epochs": 2, "batch_size": 5},
    "universal, l2": {"threat": L2(1.0), "epochs": 2, "batch_size": 5, "delta": 0.1},
    "patch": {"epochs": 2, "batch_size": 4, "variation": 0.1},
    "generator": {"epochs": 4, "batch_size": 5},
    "texture": {"epochs": 2, "batch_size": 5},
    "one by one": {"epochs": 1, "batch_size": 1},  # of which one process at a time has an image
    "deepfool": {"epochs": 1, "algorithm": "deepfool"},  # not data-parallel
}
FITTED = {"one by one": "patch", "deepfool": "universal", "universal, l2": "universal"}  # by what


def fits_task(folder: Path) -> None:
    """Attacks fitted in float64: what they leave, and what it took; one is cut off, and goes on."""
    found, model = {}, nets.small(dtype=torch.float64)
    for name, settings in FITS.items():
        method = replace(short(FITTED.get(name, name)), **settings)
        method, pictures = given(method, 13)
        found[name] = fitted(method, model, pictures.double())
    method, pictures = given(replace(short("patch"), **FITS["patch"]), 13)

    def cut(done: int, total: int) -> None:
        interrupts._Guard.pending = True

    for watch in (cut, lambda done, total: None):  # it is asked to leave after the first epoch
        with suppress(KeyboardInterrupt):
            found["resumed"] = fitted(method, model, pictures.double(), folder / "fitting.pt", watch)
    torch.save(found, folder / "fits-0.pt")


def fitted(
    method: FittedAttack,
    model: Classifier,
    pictures: torch.Tensor,
    checkpoint: Path | None = None,
    progress: Any = lambda done, total: None,
) -> dict[str, torch.Tensor]:
    """The tensors that it leaves, and its epochs, forwards and backwards."""
    goal = Untargeted(model.predict(pictures).argmax(1))
    found = fit(method, model, pictures, goal, seed=2, checkpoint=checkpoint, progress=progress)
    took = torch.tensor([found.epochs, found.forwards, found.backwards])
    return {**found.tensors, "took": took, "processes": torch.tensor(found.processes)}


COMMAND = ["train", "digits-cnn", "--out", "out", "--set", "epochs=0.5", "--set", "train_images=320"]
GENERATE = ["generate", "train", "digits-perceptron", "--out", "generator", "--set", "steps=4"]
GENERATE += ["--set", "architecture=perceptron,size=8,channels=1,width=0.05", "--set", "watch_every=2"]
GENERATE += ["--set", "batch_size=20", "--set", "judge_samples=20"]
ATTACK = ["attack", "apgd", "zoo:digits-cnn", "digits", "--limit", "80", "--set", "eps=0.06"]
ATTACK += ["--set", "steps=20", "--out", "out"]
BATCH = 10  # images in a batch of it
COMPUTED = "computed-{}.txt"  # keys of the batches that a rank has computed, beside `out`
KERNELS = "kernels-{}.json"  # what its environment says of kernels that are kept
LAST = "last.json"  # what a training said last of how far it is
STATUS = "status.json"  # what was said of the attack while rank 0 computed, beside `out`
DIGITS = ["zoo:digits-cnn", "digits", "--out", "out"]
SHARED = {  # commands of which ranks share some or all
    "explain": ["explain", "gradcam", *DIGITS, "--limit", "40", "--sanity"],
    "check": ["check", *DIGITS, "--images", "24", "--only", "clean,targeted-pair,robustness,corruptions"],
    "certify": [
        "certify",
        "zoo:toybox-resnet20",
        "toybox",
        "--limit",
        "8",
        "--out",
        "out",
        "--method",
        "intervals",
    ],
    "generate-sample": ["generate", "sample", "../generator", "--count", "300", "--out", "out"],
    "generate-evaluate": ["generate", "evaluate", "../generator", "--count", "300", "--out", "out"],
    "generate-neighbours": ["generate", "neighbours", "../generator", "--count", "300", "--out", "out"],
}
COMMANDS = {
    **SHARED,
    "attack": ATTACK,
    "killed": ATTACK,
    "stumbles": ATTACK,
    "many": ATTACK,
    "doctor": ["doctor", *DIGITS, "--limit", "32"],
    "help": ["explain", "--help"],
}
ALONE = ("doctor", "help")  # of which rank 0 computes all
ENOUGH = 20.0  # seconds that a rank waits for the other's first piece


def shared_command(task: str, number: int) -> int:
    """The exit code of a command that two ranks share, each at least a piece of it.

    Rank 1 is "killed" within its second piece, or "stumbles" over it.
    """
    runner.MOST_IMAGES = BATCH
    if task == "many":
        input_specific.HELD = 0  # as of many images: who computes a batch writes its files
        if number == 0:
            memory.keep_no_kernels()
    work, file = resumable._Work.__call__, Path(COMPUTED.format(number))
    other, count = Path(COMPUTED.format(1 - number)), 0

    def told(self: Any, order: Any) -> Any:
        nonlocal count
        count += 1
        if number == 1 and count == 2:
            if task == "stumbles":
                raise RuntimeError("over a stone")
            if task == "killed":
                resumable.EVERY = resumable.SHARE = 1e-9
                resumable.Checkpoint.save = killing  # type: ignore[method-assign]
        content = work(self, order)
        if not order.piece.key.startswith(FILES):
            with file.open("a") as lines:
                lines.write(f"{order.piece.key}\n")
            Path(KERNELS.format(number)).write_text(json.dumps(memory.kernels_kept()))
            if number == 0 and task == "attack":
                Path(STATUS).write_text(json.dumps(status("out").figures))
        limit = time.monotonic() + ENOUGH
        while sharing and not other.exists() and time.monotonic() < limit:
            time.sleep(0.01)
        return content

    def mapping(self: Any, compute: Any, items: Any, **more: Any) -> Any:
        nonlocal sharing
        sharing = True
        try:
            yield from mapped(self, compute, items, **more)
        finally:
            sharing = False

    save, saved, sharing, mapped = resumable.Checkpoint.save, 0, number > 0, executor.Ranks.map

    def killing(self: Any, content: Any) -> None:
        nonlocal saved
        self._due, saved = 0.0, saved + 1
        save(self, content)
        if saved == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    resumable._Work.__call__ = told  # type: ignore[method-assign]
    executor.Ranks.map = mapping  # type: ignore[method-assign]
    try:
        return run(COMMANDS[task])
    finally:
        resumable._Work.__call__ = work  # type: ignore[method-assign]
        executor.Ranks.map = mapped  # type: ignore[method-assign]
        resumable.Checkpoint.save = save  # type: ignore[method-assign]


TASKS = {
    "train": train_task,
    "play": play_task,
    "agree": agree_task,
    "games": games_task,
}


def rank(number: int, count: int, port: int, task: str, folder: Path) -> None:
    """One of so many processes, with torchrun's variables."""
    own = {"RANK": number, "WORLD_SIZE": count, "LOCAL_RANK": number, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in own.items()} | {"MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(1)
    if task in COMMANDS:
        os.chdir(folder)
        with Path(f"screen-{number}.txt").open("wb") as screen:
            os.dup2(screen.fileno(), 1)
            os.dup2(screen.fileno(), 2)
        sys.exit(shared_command(task, number))
    if task == "fits":
        sys.exit(executor.shared(partial(done, fits_task, folder)))
    if task == "command":  # which begins to work together by itself
        os.chdir(folder)
        how_far.forget = lambda out: (out / how_far.NAME).rename(out / LAST)  # type: ignore[assignment]
        assert run(COMMAND) == 0
        assert run(GENERATE) == 0
        return
    with distributed.process_group():
        assert distributed.world() == count
        TASKS[task](folder)


def done(task: Callable[[Path], None], folder: Path) -> int:
    """A task as a command that rank 0 runs."""
    task(folder)
    return 0


def started(count: int, task: str, folder: Path) -> list[BaseProcess]:
    """So many processes at a task, started as torchrun does but sharing the import of torch."""
    context = multiprocessing.get_context("forkserver")
    # what every training imports, once: optimisers import dynamo
    context.set_forkserver_preload(["torch._dynamo", "ostrich.training.run", "ostrich.cli.train"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        context.Process(target=rank, args=(number, count, port, task, folder)) for number in range(count)
    ]
    for process in processes:
        process.start()
    return processes


def together(count: int, task: str, folder: Path) -> list[int | None]:
    """The exit codes of so many processes at a task."""
    processes = started(count, task, folder)
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]

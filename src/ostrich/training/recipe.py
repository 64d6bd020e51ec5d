"""A recipe: everything a training run needs, as one frozen dataclass, and the recipes of the zoo."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostrich.errors import InputError, UnknownName
from ostrich.runtime.settings import spelled

SCHEDULES = ("triangle", "constant", "steps")  # linearly to 0; as it is; a tenth at 50 % and at 75 %
MICRO_BATCH = 128  # images, unless said


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train one network by SGD with momentum; images per step, fractions of the whole run.

    Where an image is shifted (`shift`) its edges are repeated; He 2016, section 4.2, pads with zeros.
    """

    name: str
    architecture: str  # an `arch:` spec, for example "resnet20,classes=10"
    data: str  # the DATA spec it is meant for; --data overrides where the files lie
    train_images: int | None = None  # how many of the training split, None for all of it
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)  # per channel, of images in [0, 1]
    std: tuple[float, ...] = (0.25, 0.25, 0.25)

    epochs: float = 10.0
    batch_size: int = 128
    micro_batch: int = MICRO_BATCH  # images computed together at most; batch norm sees as many
    learning_rate: float = 0.1  # the peak
    warmup: float = 0.2  # fraction of the run until the peak
    schedule: str = "triangle"  # after the peak; see SCHEDULES
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4  # on all parameters, as in He 2016
    label_smoothing: float = 0.0
    clip_norm: float | None = None  # largest norm of the whole gradient

    flip: bool = True  # mirror half of the images
    shift: int = 2  # random translation by up to this many pixels, edges repeated
    crops: tuple[tuple[float, int], ...] = ()  # ((0.4, 24),): until 40 % of the run train on 24-pixel crops

    start: str | None = None  # a network of the zoo whose weights the run starts from
    adversarial_eps: float = 0.0  # Linf budget of adversarial training; grows during the warmup
    adversarial_steps: int = 0  # of PGD for each step of training; 0: none

    interval_eps: float = 0.0  # Linf budget of training by interval bounds (Gowal 2018); 0: none
    noise: float = 0.0  # deviation of Gaussian noise on each image in [0, 1] (Cohen 2019, section 4)

    seed: int = 0
    precision: str = "fast"  # "fast": bf16 where the processor computes in it; "exact": fp32

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "micro_batch", "learning_rate"):
            if not getattr(self, field) > 0:
                raise InputError(f"A recipe's {field} is above 0; got {getattr(self, field)}.")
        if not 0 <= self.warmup < 1 or not 0 <= self.momentum < 1:
            raise InputError("Warmup and momentum lie in [0, 1).")
        if self.adversarial_steps < 0 or not 0 <= self.adversarial_eps < 1:
            raise InputError("Adversarial training takes steps from 0 up and a budget in [0, 1).")
        if bool(self.adversarial_steps) != bool(self.adversarial_eps):
            raise InputError("Adversarial training takes both, adversarial_steps and adversarial_eps.")
        if not 0 <= self.interval_eps < 1 or not 0 <= self.noise < 10:
            raise InputError("interval_eps lies in [0, 1), the noise's deviation in [0, 10).")
        if sum(map(bool, (self.adversarial_eps, self.interval_eps, self.noise))) > 1:
            raise InputError("Train on one of adversarial images, interval bounds and noise.")
        if not 0 <= self.label_smoothing <= 1 or self.weight_decay < 0:
            raise InputError("Label smoothing lies in [0, 1], weight decay is from 0 up.")
        if self.shift < 0 or (self.clip_norm is not None and not self.clip_norm > 0):
            raise InputError("A shift is from 0 pixels up, clip_norm above 0 or none.")
        if self.train_images is not None and self.train_images < 1:
            raise InputError(f"train_images is at least 1, or none for all; got {self.train_images}.")
        ends = [until for until, _ in self.crops]
        if ends != sorted({end for end in ends if 0 < end <= 1}) or any(size < 1 for _, size in self.crops):
            raise InputError(
                f"Crops are pairs (until, pixels), shares of the run rising within (0, 1]; got {self.crops}."
            )
        if self.schedule not in SCHEDULES:
            raise UnknownName("schedule", self.schedule, SCHEDULES)
        if self.precision not in ("fast", "exact"):
            raise InputError(f"Precision is fast or exact; got {self.precision!r}.")
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise InputError("Mean and std have one value per channel, std above 0.")


CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))  # mean and deviation of its training images
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="cifar10-resnet20",
            architecture="resnet20,classes=10",
            data="cifar10",
            mean=CIFAR10[0],
            std=CIFAR10[1],
            epochs=16,
            learning_rate=0.15,
            crops=((0.4, 24),),
        ),
        Recipe(
            name="cifar10-robust",
            architecture="resnet20,classes=10",
            data="cifar10",
            mean=CIFAR10[0],
            std=CIFAR10[1],
            epochs=9,
            learning_rate=0.1,
            warmup=0.3,
            crops=((0.4, 24),),
            start="cifar10-resnet20",
            adversarial_eps=8 / 255,
            adversarial_steps=2,
        ),
        Recipe(
            name="toybox-resnet20",
            architecture="resnet20,classes=10,stem_stride=2,size=64",
            data="toybox",
            train_images=30_000,
            epochs=12,
            learning_rate=0.15,
            shift=4,
            crops=((0.4, 48),),
        ),
        Recipe(
            name="toybox-robust",  # something for a robust accuracy to be measured on
            architecture="resnet20,classes=10,stem_stride=2,size=64",
            data="toybox",
            train_images=24_000,
            epochs=9,
            learning_rate=0.1,
            warmup=0.3,
            shift=4,
            crops=((0.4, 48),),
            start="toybox-resnet20",
            adversarial_eps=4 / 255,
            adversarial_steps=2,
        ),
        Recipe(
            name="toybox-plain14",
            architecture="plain14,classes=10,stem_stride=2,size=64",
            data="toybox",
            train_images=24_000,
            epochs=6,
            learning_rate=0.1,
            shift=4,
            crops=((0.5, 48),),
        ),
        Recipe(
            name="toybox-alexnet",  # no batch norm: a smaller step and a bound on the gradient
            architecture="alexnet-small,classes=10",
            data="toybox",
            train_images=24_000,
            epochs=8,
            batch_size=64,
            learning_rate=0.02,
            clip_norm=1.0,
            shift=4,
        ),
        Recipe(
            name="digits-cnn",
            architecture="digits-cnn",
            data="digits",
            mean=(0.305,),  # of the training images
            std=(0.376,),
            epochs=30,
            batch_size=64,
            learning_rate=0.05,
            flip=False,  # a mirrored digit is another sign
            shift=1,
        ),
        Recipe(
            name="mnist-lenet",
            architecture="lenet",
            data="npz:mnist.npz",  # Keras's file
            mean=(0.1307,),  # of the training images
            std=(0.3081,),
            epochs=15,
            learning_rate=0.05,
            flip=False,
            shift=2,
        ),
        Recipe(
            name="mnist-ibp",  # a network whose robust accuracy is known from both sides
            architecture="strided-cnn",
            data="npz:mnist.npz",  # Keras's file
            mean=(0.0,),  # so that black stays 0 and a budget is a budget
            std=(1.0,),
            epochs=20,
            learning_rate=0.05,
            warmup=0.1,
            weight_decay=0.0,
            clip_norm=1.0,
            flip=False,
            shift=0,
            interval_eps=0.12,
            precision="exact",
        ),
        Recipe(
            name="toybox-noise",  # for randomised smoothing
            architecture="resnet20,classes=10,stem_stride=2,size=64",
            data="toybox",
            train_images=4_000,  # a few minutes on one core; more images make it better
            epochs=3,
            learning_rate=0.1,
            shift=4,
            crops=((0.4, 48),),
            start="toybox-resnet20",
            noise=0.25,
        ),
        Recipe(
            name="face-cnn",  # the windows are turned, moved and mirrored already
            architecture="face-cnn",
            data="face-windows",
            mean=(0.44,),  # of the training windows
            std=(0.26,),
            epochs=8,
            batch_size=64,
            learning_rate=0.05,
            shift=0,
        ),
    )
}


def command(verb: str, recipe: Any, known: Mapping[str, Any], data: str) -> str:
    """The command line that trains by this recipe on `data`: what differs from the `known` one is set.

    `verb` begins it; `recipe` is one of a network or of a generator. One whose name is not known is told by
    what differs from the defaults.
    """
    base = known.get(recipe.name) or type(recipe)(name=recipe.name, architecture="", data="")
    sets = spelled(recipe, base, hidden=("name", "data", "seed"))
    words = [recipe.name, "--data", data, *(word for one in sets for word in ("--set", one))]
    return f"{verb} {shlex.join([*words, '--seed', str(recipe.seed)])}"


def known_recipes() -> list[dict[str, str]]:
    """The rows of `ostrich list recipes` for networks."""
    return [
        {"name": r.name, "architecture": r.architecture, "data": r.data, "length": f"{r.epochs:g} epochs"}
        for r in RECIPES.values()
    ]


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises UnknownName."""
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    return RECIPES[name]

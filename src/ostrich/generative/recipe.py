"""A recipe of a generator: all that its training needs, as one frozen dataclass, and those there are."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ostrich.errors import InputError, UnknownName
from ostrich.generative.objectives import OBJECTIVES
from ostrich.training.recipe import MICRO_BATCH

# The settings of a generator that inverts a layer.
INVERSION = (
    "encoder",
    "layer",
    "cells",
    "comparator",
    "comparator_layer",
    "image_weight",
    "feature_weight",
    "adversarial_weight",
)


@dataclass(frozen=True, kw_only=True)
class GeneratorRecipe:
    """How to train one GAN; images per step, one step being one of the generator's.

    Two defaults are not Radford's (2016, section 4): half of the images are mirrored (`flip`), his are not
    augmented; and where a `judge` measures samples, the generator of the nearest step is kept, not the last.

    name                 what it is called
    architecture         a spec of `generative.architectures`, for example "dcgan,width=0.5"
    data                 the DATA spec it is meant for; --data overrides it
    train_images         how many (clips, where it makes clips) of the training split; None: all
    flip                 whether half of the images are mirrored
    objective            one of `OBJECTIVES`
    penalty              weight of the gradient penalty (wgan-gp), Gulrajani 2017
    orthogonal           strength of orthogonal regularisation; Brock 2019: 1e-4
    projected            a classifier through which the discriminator looks (Sauer 2021); None: it sees pixels
    heads                channels of what looks through it
    guidance             weight of that classifier's cross-entropy for the generator (Sauer 2022)
    encoder              of a generator that inverts: the classifier whose layer is the code
    layer                of the encoder
    cells                a map is averaged to so many by so many places; 0: to one vector
    comparator           the classifier whose features are compared; None: the encoder
    comparator_layer     None: the encoder's
    image_weight         of the squared difference of images in [-1, 1]
    feature_weight       of that of the comparator's features
    adversarial_weight   of the discriminator's word
    steps                of the generator
    batch_size           images
    micro_batch          images computed together at most; batch norm sees as many
    discriminator_steps  for each step of the generator
    optimiser            "adam" or "sgd"
    generator_rate       learning rate; Radford 2016, section 4: 2e-4
    discriminator_rate   learning rate
    momentum             beta1 of Adam, momentum of SGD, in [0, 1)
    beta2                of Adam, in [0, 1)
    epsilon              of Adam
    average              decay of the average of the generator's parameters, in [0, 1); 0: none
    average_from         step from which it averages; before, it follows
    watch_every          steps between sheets of samples, measures and words on collapse
    judge                a classifier whose features measure samples; the nearest generator is kept
    judge_samples        samples that are measured
    seed                 of initialisation, order and codes
    precision            "fast": bf16 where the processor computes in it; "exact": fp32

    Raises InputError for a value out of its range and for settings of another kind of generator, UnknownName
    for an objective that there is not.
    """

    name: str
    architecture: str
    data: str
    train_images: int | None = None
    flip: bool = True

    objective: str = "non-saturating"
    penalty: float = 10.0
    orthogonal: float = 0.0

    projected: str | None = None
    heads: int = 64
    guidance: float = 0.0
    # Of a generator that inverts. Published weights: `published.py`, deepsim; of the image, over a mean of
    # squares in [-1, 1] and beside an adversarial weight of 1: 2e-6 * 256 * 256 * 3 * 127.5**2 / 100 = 64.
    encoder: str | None = None
    layer: str | None = None
    cells: int = 4
    comparator: str | None = None
    comparator_layer: str | None = None
    image_weight: float = 64.0
    feature_weight: float = 10.0
    adversarial_weight: float = 1.0

    steps: int = 10_000
    batch_size: int = 128
    micro_batch: int = MICRO_BATCH
    discriminator_steps: int = 1
    optimiser: str = "adam"
    generator_rate: float = 2e-4
    discriminator_rate: float = 2e-4
    momentum: float = 0.5
    beta2: float = 0.999
    epsilon: float = 1e-8
    average: float = 0.0
    average_from: int = 0

    watch_every: int = 500
    judge: str | None = None
    judge_samples: int = 1000

    seed: int = 0
    precision: str = "fast"

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UnknownName("objective", self.objective, OBJECTIVES)
        counts = ("steps", "batch_size", "micro_batch", "discriminator_steps", "watch_every")
        for name in (*counts, "judge_samples", "heads", "generator_rate", "discriminator_rate", "epsilon"):
            if not getattr(self, name) > 0:
                raise InputError(f"A recipe's {name} is above 0; got {getattr(self, name)}.")
        for name in ("momentum", "beta2", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"A recipe's {name} lies in [0, 1); got {getattr(self, name)}.")
        for name in ("penalty", "orthogonal", "guidance", "average_from"):
            if not getattr(self, name) >= 0:
                raise InputError(f"A recipe's {name} is at least 0; got {getattr(self, name)}.")
        if self.guidance and self.projected is None:
            raise InputError("guidance is by the classifier that projected= names; the recipe names none.")
        for name in ("cells", "image_weight", "feature_weight", "adversarial_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"A recipe's {name} is at least 0; got {getattr(self, name)}.")
        self._check_inversion()
        if self.optimiser not in ("adam", "sgd"):
            raise InputError(f"An optimiser is adam or sgd; got {self.optimiser!r}.")
        if self.precision not in ("fast", "exact"):
            raise InputError(f"Precision is fast or exact; got {self.precision!r}.")

    def _check_inversion(self) -> None:
        """An encoder and its layer belong to a generator that inverts, and nothing of it is ignored."""
        inverts = self.architecture.partition(",")[0] == "inversion"
        if inverts and (self.encoder is None or self.layer is None):
            raise InputError(
                "A generator that inverts needs the network that it inverts: set encoder=MODEL and "
                "layer=NAME (`ostrich list units MODEL` lists the layers)."
            )
        if inverts and self.projected is not None:
            raise InputError("A generator that inverts has a discriminator of its own: leave projected= out.")
        if inverts:
            return
        if idle := [
            f.name for f in fields(self) if f.name in INVERSION and getattr(self, f.name) != f.default
        ]:
            raise InputError(
                f"{', '.join(idle)} is of a generator that inverts a network's layer, and "
                f"{self.architecture!r} does not; architecture=inversion does."
            )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        GeneratorRecipe(  # Goodfellow 2014, the authors' mnist.yaml; momentum there rises to 0.7
            name="digits-perceptron",
            architecture="perceptron,size=8,channels=1",
            data="digits",
            flip=False,
            steps=3000,
            batch_size=100,
            optimiser="sgd",
            generator_rate=0.1,
            discriminator_rate=0.1,
            judge="zoo:digits-cnn",
            judge_samples=360,
        ),
        GeneratorRecipe(
            name="cifar10-dcgan", architecture="dcgan,size=32", data="cifar10", judge="zoo:cifar10-resnet20"
        ),
        GeneratorRecipe(  # Brock 2019, as the authors' code runs it on CIFAR-10
            name="cifar10-conditional",
            architecture="conditional,size=32,classes=10,channels=64,code=128",
            data="cifar10",
            objective="hinge",
            steps=50_000,
            batch_size=50,
            discriminator_steps=4,
            momentum=0.0,
            average=0.9999,
            average_from=1000,
            judge="zoo:cifar10-resnet20",
        ),
        GeneratorRecipe(
            name="toybox-dcgan",
            architecture="dcgan,size=32,width=0.5,kernel=4",
            data="toybox",
            train_images=12_000,
            steps=5000,
            batch_size=64,
            average=0.995,
            judge="zoo:toybox-resnet20",
        ),
        GeneratorRecipe(
            name="toybox-conditional",
            architecture="conditional,size=64,classes=10,channels=8,code=80,embedding=32",
            data="toybox",
            train_images=12_000,
            objective="hinge",
            projected="zoo:toybox-robust",
            heads=32,
            guidance=1.0,
            steps=3000,
            batch_size=48,
            generator_rate=4e-4,
            discriminator_rate=4e-4,
            momentum=0.0,
            average=0.995,
            watch_every=200,
            judge="zoo:toybox-resnet20",
        ),
        GeneratorRecipe(  # Vondrick 2016, section 2.3: the published network and settings, on toybox clips
            name="video",
            architecture="video",
            data="toybox",
            train_images=4000,
            steps=30_000,
            batch_size=64,
            judge="zoo:toybox-resnet20",
            judge_samples=256,
        ),
        GeneratorRecipe(
            name="toybox-video",
            architecture="video,size=32,width=0.5,classes=10,path=true,sparsity=1",
            data="toybox",
            train_images=3000,
            objective="hinge",
            projected="zoo:toybox-robust",
            heads=32,
            guidance=1.0,
            steps=3000,
            batch_size=16,
            generator_rate=4e-4,
            discriminator_rate=4e-4,
            average=0.995,
            watch_every=500,
            judge="zoo:toybox-resnet20",
            judge_samples=128,
        ),
        GeneratorRecipe(
            name="toybox-prior",
            architecture="inversion,size=64,channels=48",
            data="toybox",
            train_images=12_000,
            encoder="zoo:toybox-robust",
            layer="layer2",
            cells=8,
            objective="hinge",
            image_weight=32.0,
            feature_weight=3.0,
            steps=1200,
            batch_size=32,
            generator_rate=5e-4,
            discriminator_rate=4e-4,
            average=0.995,
            watch_every=200,
            judge="zoo:toybox-robust",
        ),
    )
}


def known_recipes() -> list[dict[str, str]]:
    """The rows of `ostrich list recipes` for generators."""
    return [
        {"name": r.name, "architecture": r.architecture, "data": r.data, "length": f"{r.steps} steps"}
        for r in RECIPES.values()
    ]


def recipe(name: str) -> GeneratorRecipe:
    """The recipe of that name. Raises UnknownName."""
    if name not in RECIPES:
        raise UnknownName("recipe of a generator", name, RECIPES)
    return RECIPES[name]

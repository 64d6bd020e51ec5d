"""Camouflage against face detection: make-up and hair under which a detector finds no face.

Harvey 2010, "CV Dazzle", where looks were drawn by hand; here a look's numbers (`makeup.py`) are found by
CMA-ES (Hansen and Ostermeier 2001; package `cma`, extra `faces`), which needs nothing but the strength of a
detection. The mean of that strength is brought down over faces and views of them, drawn anew in every
generation: other sizes of the picture, and tilts (expectation over transformation, Athalye 2018, without
its gradient). With `per_face` every face gets its own look; otherwise one look is fitted on some faces and
judged on others. Both are judged on views that the fitting has not seen, as 8-bit files hold them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ostrich.attacks.base import CamouflageAttack
from ostrich.attacks.camouflage.makeup import Drawing, Form, drawn, random_look
from ostrich.attacks.threats import Patch
from ostrich.errors import InputError, MissingExtra
from ostrich.images import luma, rounded
from ostrich.models.detectors import Box, Detector, grey
from ostrich.runtime.randomness import keyed
from ostrich.runtime.ranges import at_least
from ostrich.warping import warp

SEEN, HELD_OUT, CHANCE = 31, 32, 33  # purposes of random numbers
RANDOM_LOOKS = 20  # of which the best is where the search begins
SPREAD = 0.5  # CMA-ES's first step, where a look's numbers are standard normal
SEEN_VIEWS = 6  # of the one face in a generation; of many faces, each has one
STARTS = 4  # of a search for one face: most end at the first, a few in a local minimum
PROOFS = 2  # times as many views of a look that seems to hide every face, before the search ends


@dataclass(frozen=True, kw_only=True)
class Dazzle(CamouflageAttack):
    """Make-up and hair: eps is the part of the picture's pixels covered at most; eyes and mouth stay free.

    Harvey 2010, "CV Dazzle"; looks found by CMA-ES, Hansen and Ostermeier 2001, "Completely derandomized
    self-adaptation in evolution strategies".

    per_face     each face its own look, instead of one for all
    fit          faces to fit one look on; None: half of what there is
    strokes      strokes of make-up
    triangles    triangles of make-up
    symmetric    every shape on both sides of the face
    generations  of a start, at most
    starts       at most; None: 4 with per_face, else 1
    population   looks in a generation
    scale        part of the picture's size by which a view is larger or smaller at most
    tilt         most degrees of a view, either way
    views        of each face, that it is judged on

    Raises InputError for a look of no shape, and for `fit` with `per_face`.
    """

    name: ClassVar[str] = "dazzle"
    needs: ClassVar[str] = "scores"
    norms: ClassVar[tuple[str, ...]] = ("patch",)

    threat: Patch = Patch(0.02)
    per_face: bool = False
    fit: Annotated[int | None, at_least(1)] = None
    strokes: Annotated[int, at_least(0)] = 3
    triangles: Annotated[int, at_least(0)] = 2
    symmetric: bool = False
    generations: Annotated[int, at_least(1)] = 30
    starts: Annotated[int | None, at_least(1)] = None
    population: Annotated[int, at_least(4)] = 14
    scale: Annotated[float, at_least(0, below=1)] = 0.25
    tilt: Annotated[float, at_least(0, at_most=45)] = 10.0
    views: Annotated[int, at_least(1)] = 8

    def validate(self) -> None:
        if not self.form.numbers:
            raise InputError("A look has a stroke or a triangle at least.")
        if self.per_face and self.fit is not None:
            raise InputError("fit is for one look for all; with per_face every face is fitted on.")

    @property
    def form(self) -> Form:
        """What shapes a look has, and so of how many numbers it is."""
        return Form(self.strokes, self.triangles, self.symmetric)

    def view(self, draw: torch.Generator) -> View:
        """A random view, of the numbers that `draw` gives, its size uniform in its logarithm."""
        size, tilt = (2 * torch.rand(2, generator=draw, dtype=torch.float64) - 1).tolist()
        return View(math.exp(math.log1p(self.scale) * size), self.tilt * tilt)

    def held_out(self, key: int, seed: int) -> list[View]:
        """The views that the face with the fingerprint `key` is judged on, under a `seed`."""
        return [self.view(keyed(seed, HELD_OUT, key, number)) for number in range(self.views)]


@dataclass(frozen=True)
class View:
    """A picture `scale` times as large, turned about its centre by `tilt` degrees."""

    scale: float
    tilt: float

    def of(self, images: Tensor) -> Tensor:
        """Views (n, C, round(H * scale), round(W * scale)), on the 8-bit grid, of images (n, C, H, W)."""
        cos, sin = math.cos(math.radians(self.tilt)), math.sin(math.radians(self.tilt))
        turn = images.new_tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        size = (round(images.shape[2] * self.scale), round(images.shape[3] * self.scale))
        return rounded(warp(images, turn.expand(len(images), 3, 3), size=size))

    def box(self, box: Box, size: tuple[int, int]) -> Box:
        """Where a face of a picture of `size` (H, W) lies in its view: an upright square of its side."""
        cos, sin = math.cos(math.radians(self.tilt)), math.sin(math.radians(self.tilt))
        across, down = box.left + (box.side - size[1]) / 2, box.top + (box.side - size[0]) / 2
        side = box.side * self.scale
        x, y = (cos * across + sin * down) * self.scale, (cos * down - sin * across) * self.scale
        return Box(
            x + (size[1] * self.scale - side) / 2, y + (size[0] * self.scale - side) / 2, side, box.confidence
        )


@dataclass(frozen=True)
class Face:
    """A face: its picture (C, H, W) in [0, 1], on the 8-bit grid, its box, and the picture's fingerprint.

    `whole` is the area of the whole picture by that of the box, where `picture` is only a part of it.
    """

    name: str
    picture: Tensor
    box: Box
    key: int
    whole: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        return int(self.picture.shape[1]), int(self.picture.shape[2])

    @property
    def room(self) -> float:
        """The area of the whole picture by that of the face's box."""
        return self.size[0] * self.size[1] / round(self.box.side) ** 2 if self.whole is None else self.whole

    def wearing(self, look: np.ndarray, method: Dazzle) -> Tensor:
        """The picture with a look, on the 8-bit grid."""
        return worn(self, self.drawing(look, method))

    def drawing(self, look: np.ndarray, method: Dazzle) -> Drawing:
        where = (self.box.left, self.box.top, self.box.side)
        return drawn(look, method.form, where, self.size, method.threat.eps * self.room)

    def covered(self, image: Tensor) -> float:
        """The part of the picture's pixels that differ in an image (C, H, W)."""
        return int((image != self.picture).any(0).sum()) / (self.size[0] * self.size[1])


def worn(face: Face, drawing: Drawing) -> Tensor:
    """A face's picture with a look that is drawn already."""
    pixels = face.picture.movedim(0, -1).numpy()
    flat = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    found = torch.from_numpy(drawing.on(flat))
    return rounded(found[None] if found.ndim == 2 else found.movedim(-1, 0))


# Fitting ------------------------------------------------------------------------------------------

Costs = Callable[
    [Sequence[np.ndarray], int, int], list[float]
]  # looks, generation, how many views: their cost


@dataclass(frozen=True)
class Found:
    """A look (P,), its cost on the views it was last tried on, and the generations it took."""

    look: np.ndarray
    cost: float
    generations: int


def search(method: Dazzle, costs: Costs, seed: int) -> Found:
    """The look that CMA-ES finds; it ends early where a look costs nothing on many views.

    Where it does not, it starts again elsewhere, and the best of all starts is taken. Raises MissingExtra.
    """
    random = np.random.default_rng(seed)
    found: list[Found] = []
    for number in range(method.starts or (STARTS if method.per_face else 1)):
        found.append(_from_one_start(method, costs, random, number * (method.generations + 2)))
        if found[-1].cost <= 0:
            break
    best = min(found, key=lambda one: one.cost)
    return replace(best, generations=sum(one.generations for one in found))


def _from_one_start(method: Dazzle, costs: Costs, random: np.random.Generator, before: int) -> Found:
    """A search from the best of some random looks; `before` is the number of its first generation."""
    looks = [random_look(method.form, random) for _ in range(RANDOM_LOOKS)]
    start = looks[int(np.argmin(costs(looks, before, 1)))]
    options = {
        "popsize": method.population,
        "randn": lambda *shape: random.standard_normal(shape),
        "seed": np.nan,  # leave numpy's own generator alone
        "verbose": -9,
    }
    strategy = cma_package().CMAEvolutionStrategy(start, SPREAD, options)
    for generation in range(1, method.generations + 1):
        looks = strategy.ask()
        found = costs(looks, before + generation, 1)
        strategy.tell(looks, found)
        best = looks[int(np.argmin(found))]
        if min(found) <= 0 and costs([best], before + generation, PROOFS)[0] <= 0:
            return Found(best, 0.0, generation)
    last = [best, strategy.mean]
    found = costs(last, before + method.generations + 1, PROOFS)
    chosen = int(np.argmin(found))
    return Found(np.asarray(last[chosen]), found[chosen], method.generations)


def cost_of(
    method: Dazzle, detector: Detector, faces: Sequence[Face], seed: int, count: Callable[[int], None]
) -> Costs:
    """The mean strength of a detection over faces and their views, drawn anew in every generation.

    `count` is called with the number of pictures that the detector is shown.
    """
    near = [close_up(face) for face in faces]

    def costs(looks: Sequence[np.ndarray], generation: int, times: int) -> list[float]:
        total = np.zeros(len(looks))
        each = times * (SEEN_VIEWS if len(near) == 1 else 1)
        same = len({(face.box, face.size, face.room) for face in near}) == 1  # drawn once, worn by all
        drawings = [near[0].drawing(look, method) for look in looks]
        for face in near:
            if not same:
                drawings = [face.drawing(look, method) for look in looks]
            images = torch.stack([worn(face, drawing) for drawing in drawings])
            for number in range(each):
                view = method.view(keyed(seed, SEEN, face.key, generation, times, number))
                side = face.box.side * view.scale
                total += [max(0.0, detector.strength(grey(one), side)) for one in view.of(images)]
        count(len(looks) * each * len(near))
        return list(total / (each * len(near)))

    return costs


NEAR_SIDE, NEAR_BORDER = 92, 0.26  # the face's side in pixels, and what is kept around it, of that side


def close_up(face: Face) -> Face:
    """What surrounds a face, so large that the face has 92 pixels: enough to fit on, and quick."""
    height, width = face.size
    margin = round(face.box.side * NEAR_BORDER)
    left, top = max(0, round(face.box.left) - margin), max(0, round(face.box.top) - margin)
    right = min(width, round(face.box.left + face.box.side) + margin)
    bottom = min(height, round(face.box.top + face.box.side) + margin)
    part = face.picture[None, :1] if face.picture.shape[0] == 1 else luma(face.picture)[None]
    part = part[..., top:bottom, left:right]
    box = Box(face.box.left - left, face.box.top - top, face.box.side)
    factor = NEAR_SIDE / face.box.side
    if factor != 1:
        size = (round(part.shape[2] * factor), round(part.shape[3] * factor))
        part = torch.nn.functional.interpolate(part, size, mode="bilinear", antialias=factor < 1)
        box = Box(box.left * factor, box.top * factor, NEAR_SIDE)
    return Face(face.name, rounded(part[0]), box, face.key, face.room)


def random_of(method: Dazzle, key: int, number: int, seed: int) -> np.ndarray:
    """A random look of the same form, another one for each face and view: what a fitted one has to beat."""
    draw = keyed(seed, CHANCE, key, number)
    return torch.randn(method.form.numbers, generator=draw, dtype=torch.float64).numpy()


def cma_package() -> ModuleType:
    """The package `cma`. Raises MissingExtra."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses matplotlib, which only its plots need
            import cma
    except ImportError:
        raise MissingExtra(
            "dazzle needs the package cma, which is not installed: pip install 'ostrich-vision[faces]'."
        ) from None
    module: ModuleType = cma
    return module

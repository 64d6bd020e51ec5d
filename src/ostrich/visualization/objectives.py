"""What an image is to bring about: units, directions and diversity, added and scaled.

    unit("layer3:17") - 0.5 * unit("class:ostrich")     prints as  layer3:17 - 0.5*class:ostrich

An objective is a weighted sum of terms and prints itself as `parse_objective` reads it:

    LAYER:CHANNEL, LAYER:CHANNEL@ROW,COLUMN, class:NAME, ...   a unit, as in `ostrich.inspection.units`
    LAYER:CHANNEL@centre    the neuron in the middle of the map, row H // 2 and column W // 2
    diversity(LAYER)        how little alike the images of several seeds are for that layer
    direction(...)          activations along a vector; in Python only

After lucid (Olah, Mordvintsev, Schubert 2017, "Feature visualization"). Each image has a value of its
own, so many objectives climb side by side in one batch without feeling one another; only diversity
looks at the other images, those of the same objective.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError
from ostrich.inspection.unit_names import class_unit
from ostrich.inspection.units import FORMS, Unit, every, laid, parse, read, split_terms
from ostrich.inspection.watching import Seen
from ostrich.models.classifier import Classifier

OUTPUT = ""  # stands for the scores among the names of layers


@dataclass(frozen=True)
class Direction:
    """Activations along a vector of unit length: their dot product, its mean over the map."""

    layer: str
    vector: tuple[float, ...]

    def __str__(self) -> str:
        shown = ", ".join(f"{part:.3g}" for part in self.vector[:3])
        return f"direction({self.layer}, [{shown}{', ...' if len(self.vector) > 3 else ''}])"

    def values(self, output: Tensor) -> Tensor:
        """The values (G,) of images with outputs (G, C, ...) of the layer."""
        if output.ndim < 2 or output.shape[1] != len(self.vector):
            channels = output.shape[1] if output.ndim > 1 else 0
            raise InputError(
                f"Layer {self.layer!r} has {channels} channels; this direction has {len(self.vector)}."
            )
        vector = F.normalize(output.new_tensor(self.vector), dim=0)
        return output.flatten(2).mean(2) @ vector if output.ndim > 2 else output @ vector


@dataclass(frozen=True)
class Diversity:
    """Minus the mean cosine of an image's Gram matrix with the others' (Olah 2017, "Diversity")."""

    layer: str

    def __str__(self) -> str:
        return f"diversity({self.layer})"

    def values(self, output: Tensor) -> Tensor:
        """The values (G,) of the G images of one objective, from outputs (G, C, H, W) of the layer."""
        if len(output) < 2:
            raise InputError(f"{self} compares the images of several seeds; ask for at least two.")
        if output.ndim < 3:
            raise InputError(f"{self} is of a layer with a map; the outputs are {tuple(output.shape[1:])}.")
        flat = output.flatten(2)  # (G, C, H*W)
        grams = F.normalize((flat @ flat.mT).flatten(1), dim=1)  # (G, C*C)
        alike = grams @ grams.T
        return -(alike.sum(1) - alike.diagonal()) / (len(output) - 1)


Term = Unit | Direction | Diversity


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms, each of them once and none with weight zero."""

    terms: tuple[tuple[Term, float], ...]

    def __str__(self) -> str:
        text = ""
        for term, weight in self.terms:
            size = "" if abs(weight) == 1 else f"{abs(weight):.12g}*"
            sign = ("-" if weight < 0 else "") if not text else (" - " if weight < 0 else " + ")
            text += f"{sign}{size}{term}"
        return text or "nothing"

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        weights: dict[Term, float] = {}
        for term, weight in (*self.terms, *other.terms):
            weights[term] = weights.get(term, 0.0) + weight
        return Objective(tuple((term, weight) for term, weight in weights.items() if weight))

    def __mul__(self, factor: float) -> Objective:
        if not isinstance(factor, int | float):
            return NotImplemented
        if not isfinite(factor):
            raise InputError(f"An objective is multiplied by a finite number; got {factor}.")
        return Objective(tuple((term, weight * factor) for term, weight in self.terms if weight * factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Objective:
        return self * (1 / divisor)

    def __neg__(self) -> Objective:
        return self * -1

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    @property
    def units(self) -> list[Unit]:
        """The units among the terms."""
        return [term for term, _ in self.terms if isinstance(term, Unit)]

    @property
    def layers(self) -> frozenset[str]:
        """The layers that a forward has to reach; OUTPUT for the scores."""
        return frozenset(OUTPUT if _is_output(term) else term.layer for term, _ in self.terms)

    @property
    def is_joint(self) -> bool:
        """Whether an image's value depends on the images of the other seeds."""
        return any(isinstance(term, Diversity) for term, _ in self.terms)


def unit(text: str) -> Objective:
    """A unit by its name, `text`, such as "class:ostrich" or "layer3:17".

    Raises InputError for what is none.
    """
    return Objective(((parse(text), 1.0),))


def direction(layer: str, vector: Sequence[float]) -> Objective:
    """Activations of a layer along `vector` (C,). Raises InputError for one without a direction."""
    numbers = tuple(float(part) for part in vector)
    if not numbers or not any(numbers) or not all(map(isfinite, numbers)):
        raise InputError("A direction is a vector of finite numbers that are not all zero.")
    return Objective(((Direction(layer, numbers), 1.0),))


def diversity(layer: str) -> Objective:
    """How little alike the images of several seeds are, by the Gram matrices of a layer."""
    return Objective(((Diversity(layer), 1.0),))


def as_objective(given: Objective | Unit | str) -> Objective:
    """An objective, `given` as itself, as a unit, or as the text of either. Raises InputError."""
    if isinstance(given, Objective):
        if not given.terms:
            raise InputError("The terms of this objective cancel: nothing is left to climb.")
        return given
    return Objective(((given, 1.0),)) if isinstance(given, Unit) else as_objective(parse_objective(given))


def parse_objective(text: str) -> Objective:
    """Read a `text` of terms with " + " and " - " between, each with NUMBER* before it or not.

    Signs between terms stand as `split_terms` says, since names of classes may hold them. Raises InputError.
    """
    total = Objective(())
    for weight, name in split_terms(text):
        total = total + weight * _term(name, text)
    return total


def _term(name: str, whole: str) -> Objective:
    if called := re.fullmatch(r"diversity\(\s*([\w.]+)\s*\)", name):
        return diversity(called[1])
    try:
        return unit(name)
    except InputError:
        raise InputError(
            f"{name!r} in the objective {whole!r} is no term. A term is {FORMS}, or diversity(LAYER), with "
            "NUMBER* before it or not; between terms stands + or -, with spaces around."
        ) from None


def named_objectives(
    classifier: Classifier,
    units: Sequence[Objective | Unit | str],
    sums: Sequence[Objective | Unit | str] = (),
) -> list[Objective]:
    """Each objective once; `class:*`, `probability:*` and `LAYER:*` are all units there.

    Raises InputError, UnknownName.
    """
    found: list[Objective | Unit | str] = []
    for one in units:
        layer, _, rest = one.strip().rpartition(":") if isinstance(one, str) else ("", "", "")
        if not isinstance(one, str) or rest != "*":
            found.append(unit(one) if isinstance(one, str) else one)
        elif layer in ("class", "probability"):
            names = [class_unit(classifier, k).partition(":")[2] for k in range(classifier.num_classes)]
            found += [unit(f"{layer}:{name}") for name in names]
        else:
            found += [unit(text) for text in every(classifier, layer)]
    return list(dict.fromkeys(as_objective(one) for one in [*found, *sums]))


def class_of(classifier: Classifier, objective: Objective) -> int | None:
    """The class whose score or probability this is, if it is one; where that is to fall, it is none."""
    if len(objective.terms) == 1:
        term, weight = objective.terms[0]
        if isinstance(term, Unit) and term.is_output and weight > 0:
            return classifier.class_index(term.index)
    return None


def evaluate(classifier: Classifier, seen: Seen, objectives: Sequence[Objective]) -> Tensor:
    """The value (R,) of objectives[i] at image i, from what one forward of the R images showed.

    Raises InputError for a channel, place, class or vector that a layer does not have.
    """
    units = list(dict.fromkeys(one for objective in objectives for one in objective.units))
    total = torch.zeros((), device=classifier.device, dtype=classifier.image_dtype)
    if units:
        found = read(classifier, seen, units)  # (U, R)
        weights = found.new_zeros(len(units), len(objectives))
        places = {one: place for place, one in enumerate(units)}
        for row, objective in enumerate(objectives):
            for term, weight in objective.terms:
                if isinstance(term, Unit):
                    weights[places[term], row] = weight
        total = (weights * torch.where(weights != 0, found, 0)).sum(0)
    for objective in dict.fromkeys(objectives):
        rows = [row for row, one in enumerate(objectives) if one == objective]
        for term, weight in objective.terms:
            if not isinstance(term, Unit):
                part = term.values(laid(classifier, seen, term.layer)[rows])
                total = total.expand(len(objectives)).index_add(
                    0, torch.tensor(rows).to(part.device), part, alpha=weight
                )
    return total


def _is_output(term: Term) -> bool:
    return isinstance(term, Unit) and term.is_output

"""What `ostrich visualize` is asked for: a preset with settings, objectives, and judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ostrich.cli import options as o

if TYPE_CHECKING:
    from ostrich.models import Classifier
    from ostrich.visualization import Ascent, Objective


def read_settings(settings: Sequence[str], preset: str | None) -> Ascent:
    """A preset, by its option or as `preset=NAME`, with `settings`, NAME=VALUE. Raises InputError."""
    from ostrich.errors import InputError
    from ostrich.runtime.settings import pairs
    from ostrich.visualization import PRESET, configure

    given = pairs(settings)
    named = given.pop("preset", preset) or PRESET
    if preset and named != preset:
        raise InputError(f"Two presets are named, {preset} and {named}; one is allowed.")
    return configure(given, named)


def read_prior(classifier: Classifier, name: str, settings: Sequence[str]) -> Ascent:
    """An ascent under the generator of that name, with `settings`. Raises InputError."""
    from ostrich.generative import load_generator
    from ostrich.runtime.settings import pairs
    from ostrich.visualization import Prior, configure, with_prior
    from ostrich.visualization.parametrisations import Canvas

    generator = load_generator(name, classifier.device)
    return configure(pairs(settings), with_prior(Prior.of(generator, Canvas.of(classifier))))


def read_objectives(classifier: Classifier, units: Sequence[str], sums: Sequence[str]) -> list[Objective]:
    """What is asked for, each once. `class:*`, `probability:*` and `LAYER:*` are all units there."""
    from ostrich.inspection.units import every
    from ostrich.visualization import parse_objective
    from ostrich.visualization import unit as named

    texts: list[str] = []
    for text in units:
        layer, _, rest = text.strip().rpartition(":")
        if rest != "*":
            texts.append(text)
        elif layer in ("class", "probability"):
            texts += [f"{layer}:{_class(classifier, k)}" for k in range(classifier.num_classes)]
        else:
            texts += every(classifier, layer)
    return list(dict.fromkeys([*(named(text) for text in texts), *map(parse_objective, sums)]))


def read_judges(
    classifier: Classifier, wanted: Sequence[Objective], names: Sequence[str], device: str
) -> list[Classifier]:
    """The other networks, which have to know the classes. Raises InputError."""
    import torch

    from ostrich.attacks.fooling.recognition import shown
    from ostrich.errors import InputError

    if not names:
        return []
    places = [its_class(classifier, one) for one in wanted]
    if None in places:
        raise InputError("--judges asks whether a class is recognised: each --unit is class:NAME then.")
    others = [o.ModelOptions(model=name, device=device).load() for name in dict.fromkeys(names)]
    height, width = classifier.size or (224, 224)
    grey = torch.full((1, classifier.channels, height, width), 0.5)
    for other in others:
        for place in places:
            shown(grey, [place or 0], classifier, other)
    return others


def _class(classifier: Classifier, index: int) -> str:
    from ostrich.inspection.unit_names import class_unit

    return class_unit(classifier, index).partition(":")[2]


def its_class(classifier: Classifier, objective: Objective) -> int | None:
    """The class whose score or probability this is, if it is one."""
    if len(objective.terms) == 1 and objective.units and objective.units[0].is_output:
        return classifier.class_index(objective.units[0].index)
    return None

"""`ostrich.visualize`: images that units prefer, and the filters of the first layer.

What an ascent computes stands in `visualization/`; here its question is put together from what the user
has, other networks are asked whether they recognise its images, and all becomes a run directory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.fooling.recognition import shown, verdicts
from ostrich.errors import InputError
from ostrich.figures.words import in_percent
from ostrich.generative import Generator, load_generator
from ostrich.images import picture, rounded, write_png
from ostrich.inspection.units import Unit
from ostrich.inspection.watching import called_again
from ostrich.models.classifier import Classifier
from ostrich.models.loading import load
from ostrich.runtime import events
from ostrich.runtime.runs import Run
from ostrich.runtime.stopwatch import stopwatch
from ostrich.verbs.inputs import Model, as_classifier, check_whole_number
from ostrich.verbs.outcome import InMemory, Where, answer, as_png, begun_on
from ostrich.visualization import (
    PRESET,
    Ascent,
    Objective,
    Preferred,
    Prior,
    ascend,
    check_objectives,
    configure,
    describe,
    first_layer_filters,
    with_prior,
    worth,
)
from ostrich.visualization.activation_maximization import Watch
from ostrich.visualization.evidence import GRID, overview, remarks, rows_of, write_images
from ostrich.visualization.film import Film
from ostrich.visualization.objectives import OUTPUT, class_of, named_objectives
from ostrich.visualization.parametrisations import Canvas

Several = str | Objective | Unit | Sequence[str | Objective | Unit]
GIF, FILTERS = "ascent.gif", "filters.png"


def visualize(
    model: Model,
    *,
    unit: Several | None = None,
    objective: Several | None = None,
    filters: bool = False,
    preset: str | Ascent | None = None,
    prior: str | Generator | None = None,
    seeds: int = 1,
    judges: Model | Sequence[Model] | None = None,
    gif: bool = False,
    watch: Watch | None = None,
    seed: int = 0,
    out: Where = None,
    force: bool = False,
    **settings: Any,
) -> Visualization:
    """Images that a network's units prefer: what they look for.

    `model` is a classifier, a module, a function or a MODEL. `unit` is one or several of "class:ostrich",
    "layer3:17", "layer3:17@4,5", "layer3:17@centre", "class:*" or "layer3:*" for all; `objective` a sum,
    "layer3:17 - 0.5*class:ostrich", or one of `ostrich.visualization`'s. `filters`: the first layer's, as a
    picture. `preset` is lucid (unless said), plain, yosinski-1 to yosinski-4, or an `Ascent`; `prior` a
    trained generator to draw with. `settings` are those of the ascent: steps=256, step_size=0.02. `seeds`
    starts for each unit, from `seed` upwards. `judges` are other networks, which are asked whether they
    recognise the classes; `gif` keeps the ascent as a film. `watch` is called after each step with its
    number, the places of rows and their images (n, C, H, W).

    Returns a `Visualization`: `images` (R, C, H, W), a row for each unit and seed. With `out` its files are
    written there; `force` overwrites a finished run. Raises InputError (what the network does not have, no
    gradient, settings), UnknownName.
    """
    check_whole_number("seeds", seeds)
    check_whole_number("seed", seed)
    units, sums = _several(unit), _several(objective)
    if not units and not sums and not filters:
        raise InputError(
            "Name what to show: a unit (`ostrich list units MODEL` lists them), an objective, or the filters."
        )
    if not units and not sums and (settings or preset or prior or judges or gif or seeds != 1):
        raise InputError("Settings, preset, prior, seeds, judges and gif are for units, not for the filters.")
    classifier = as_classifier(model)
    if classifier.size is None:
        raise InputError(f"The input size of {classifier.name} is not known: ostrich.load(..., size=224).")
    ascent = as_ascent(classifier, preset, prior, settings)
    objectives = named_objectives(classifier, units, sums)
    if objectives:
        check_objectives(classifier, objectives, seeds)
    question = Question(
        classifier=classifier,
        objectives=objectives,
        filters=first_layer_filters(classifier) if filters else None,
        ascent=ascent,
        seeds=seeds,
        judges=_judges(classifier, objectives, judges),
        gif=gif,
        watch=watch,
        seed=seed,
    )
    found: Visualization = answer(question, out, force)
    return found


def as_ascent(
    classifier: Classifier,
    preset: str | Ascent | None,
    prior: str | Generator | None,
    settings: Mapping[str, Any],
) -> Ascent:
    """A preset, or the ascent under a generator's prior, with settings. Raises InputError, UnknownName."""
    if prior is None:
        return configure(settings, PRESET if preset is None else preset)
    if preset is not None:
        raise InputError("A preset climbs without a generator, a prior with one: name one of them.")
    generator = load_generator(prior, classifier.device) if isinstance(prior, str) else prior
    own = Prior.of(generator, Canvas.of(classifier))
    steps = configure(settings, with_prior(own)).steps  # in which its step size falls
    return configure(settings, with_prior(own, steps))


def _several(given: Several | None) -> list[str | Objective | Unit]:
    several = [] if given is None else [given] if isinstance(given, str | Objective | Unit) else given
    if not isinstance(several, Sequence) or not all(isinstance(u, str | Objective | Unit) for u in several):
        raise InputError(
            f"A unit is a name such as 'class:ostrich' or 'layer3:17', or a list; got {given!r}."
        )
    return list(several)


def _judges(
    classifier: Classifier, objectives: Sequence[Objective], judges: Model | Sequence[Model] | None
) -> list[Classifier]:
    """The other networks, which have to know the classes. Raises InputError."""
    several: list[Any] = list(judges) if isinstance(judges, list | tuple) else [judges]
    if judges is None or not several:
        return []
    classes = [class_of(classifier, one) for one in objectives]
    if None in classes:
        raise InputError("Judges say whether a class is recognised: each unit is class:NAME then.")
    others = [
        load(one, device=classifier.device) if isinstance(one, str) else as_classifier(one)
        for one in dict.fromkeys(several)
    ]
    grey = torch.full((1, *Canvas.of(classifier).shape), 0.5)
    for other in others:
        for place in classes:
            shown(grey, [place or 0], classifier, other)
    return others


@dataclass(frozen=True, kw_only=True)
class Question:
    """Objectives to climb, how, and who judges the images; `filters` is their picture (1 or 3, H, W)."""

    classifier: Classifier
    objectives: list[Objective]
    filters: Tensor | None
    ascent: Ascent
    seeds: int
    judges: list[Classifier]
    gif: bool
    watch: Watch | None
    seed: int

    def begin(self, out: Where, force: bool) -> Any:
        """Its run directory."""
        asked = {
            "objectives": [str(one) for one in self.objectives],
            "filters": self.filters is not None,
            "settings": describe(self.ascent),
            "seeds": self.seeds,
            "judges": [other.name for other in self.judges],
            "gif": self.gif,
        }
        return begun_on("visualize", asked, self.classifier, None, seed=self.seed, out=out, force=force)

    def answered(self, run: Run | None) -> Visualization:
        """The images; with a run, they are written there."""
        classifier, film = self.classifier, Film(self.ascent.steps) if self.gif else None

        def look(step: int, places: list[int], images: Tensor) -> None:
            for watch in (None if film is None else film.watch, self.watch):
                if watch is not None:
                    watch(step, places, images)

        with stopwatch() as spent:
            found = Preferred.none(Canvas.of(classifier))
            if self.objectives:
                title = f"climbing for {len(self.objectives)} units"
                with events.progress(title, self.ascent.steps, "steps") as advance:
                    found = ascend(
                        classifier,
                        self.objectives,
                        self.ascent,
                        seed=self.seed,
                        seeds=self.seeds,
                        progress=advance,
                        watch=look,
                    )
            whole = Visualization(self, found, film)
            if run is not None:
                whole.write(run)
            whole.figures["seconds"] = spent.seconds
        return whole


class Visualization(InMemory):
    """What R = units times seeds rows came to, the seeds of a unit together, and its `figures`.

    `images` (R, C, H, W) in [0, 1], as their 8-bit files hold them; `values` (R,) of the objectives there;
    `trace` (steps, R) on the way; `dead` (R,) where nothing ever moved the unit, so that the image is
    noise, `undefined` (R,) where values or slopes that are not finite leave that open; `units` R names;
    `filters` the picture (1 or 3, H, W) of the first layer, or None; `film` the ascent, or None.
    """

    question: Question

    def __init__(self, question: Question, found: Preferred, film: Film | None) -> None:
        asked = question
        self.images, self.trace, self.dead = rounded(found.images), found.trace, found.dead
        self.undefined = found.undefined
        self.filters, self.film = asked.filters, film
        self.values = worth(asked.classifier, asked.objectives, self.images, asked.seeds, seed=asked.seed)
        rows = rows_of(asked.objectives, found, self.values, asked.seed, asked.seeds)
        self.units = [row["unit"] for row in rows]
        figures: dict[str, Any] = {} if self.filters is None else {"filters": FILTERS}
        if rows:
            figures |= {"settings": describe(asked.ascent), "units": rows, "grid": GRID}
        inside = sorted(set().union(*(one.layers for one in asked.objectives)) - {OUTPUT})
        if called := called_again(asked.classifier, inside):
            figures["remarks"] = called
        if film is not None:
            figures["gif"] = GIF
        if asked.judges:
            classes = [
                class_of(asked.classifier, one) or 0 for one in asked.objectives for _ in range(asked.seeds)
            ]
            networks = list(dict.fromkeys([asked.classifier, *asked.judges]))
            figures["judges"] = verdicts(self.images, classes, asked.classifier, networks)
        super().__init__("visualize", asked, figures)

    @property
    def sentences(self) -> list[str]:
        """How far each unit came, which are dead, and the judges' word."""
        rows = self.figures.get("units", [])
        found = [
            f"{row['unit']}: from {row['start']:.4g} to {row['value']:.4g}  {row['file']}" for row in rows
        ]
        found += remarks(rows, self.figures.get("settings", {}).get("prior"))
        found += self.figures.get("remarks", [])
        for name, verdict in self.figures.get("judges", {}).items():
            share, low, high = map(in_percent, (verdict["recognised"], *verdict["interval"]))
            found.append(f"{name} recognises {share} of {verdict['n']} (95 %: {low} to {high}).")
        return found

    @property
    def picture(self) -> Path | bytes:
        drawn = overview(self.images, self.question.seeds) if len(self.images) else self.filters
        assert drawn is not None
        return as_png(picture(drawn))

    def write(self, run: Run) -> None:
        """Its files."""
        folder, seeds = run.folder, self.question.seeds
        if self.filters is not None:
            write_png(folder / FILTERS, self.filters)
        if len(self.images):
            write_images(folder, self.figures["units"], self.images, self.trace, seeds)
        if self.film is not None:
            self.film.write(folder / GIF, seeds if seeds > 1 else None)

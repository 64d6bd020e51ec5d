"""Activation maximisation: from noise, up the gradient of an objective, to an image it prefers.

Erhan 2009; Simonyan 2014, section 2. An ascent is four pieces, each in a file of its own, and this
is the loop that joins them; a step of it is

    images     = parametrisation(parameters)
    value      = objective(network(transformations(images)))       the forward ends at its layer
    parameters = optimiser(parameters, gradient of value - tv * total variation)
    parameters = regularisers(parameters)

An objective that is dead for the noise (SqueezeNet's classes lie behind a ReLU) has no slope at
all; it is shown the way by `REDIRECTED` ReLUs until it has one.

Every image climbs by itself: its step has its own scale, its random numbers belong to its seed. So
it does not depend on what is computed beside it, except where diversity asks for it. A network whose
answers are random is asked about one image at a time, with numbers of the image's seed and step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ostrich.attribution.question import begun_at
from ostrich.attribution.relu_rules import REDIRECTED, ReluRule
from ostrich.errors import InputError
from ostrich.inspection.units import Unit
from ostrich.inspection.watching import observe
from ostrich.models.classifier import Classifier
from ostrich.models.untouched import untouched
from ostrich.runtime.events import Progress, silent
from ostrich.runtime.randomness import seed_of
from ostrich.visualization.ascent import Ascent
from ostrich.visualization.objectives import OUTPUT, Objective, as_objective, evaluate
from ostrich.visualization.parametrisations import Canvas
from ostrich.visualization.presets import PRESET, PRESETS
from ostrich.visualization.regularisers import total_variation

VALUES_PER_BATCH = 16 * 3 * 224 * 224  # pixels times channels of the images that climb side by side
PURPOSE = 0x4145  # of the random numbers of a network's own
Watch = Callable[[int, list[int], Tensor], None]  # step, places among the rows, their images


@dataclass(frozen=True, kw_only=True)
class Preferred:
    """What R = objectives times seeds rows came to; the seeds of an objective stand together.

    `images` (R, C, H, W) in [0, 1]; `trace` (steps, R): the objectives' values, of the views where there
    are transformations, and `values` (R,) those of the steps that the images are of; `dead` (R,): whether
    there was no slope at any step, so that it is noise; `undefined` (R,): whether that is so because values
    or slopes were not finite, of which it is not known.
    """

    images: Tensor
    values: Tensor
    trace: Tensor
    dead: Tensor
    undefined: Tensor

    @classmethod
    def none(cls, canvas: Canvas) -> Preferred:
        """Of no objective, on a `canvas`."""
        mean = canvas.mean
        return cls(
            images=mean.new_zeros(0, *canvas.shape),
            values=mean.new_zeros(0),
            trace=mean.new_zeros(0, 0),
            dead=torch.zeros(0, dtype=torch.bool, device=mean.device),
            undefined=torch.zeros(0, dtype=torch.bool, device=mean.device),
        )


@dataclass(frozen=True)
class _Group:
    """Rows that climb together: their objectives and seeds."""

    classifier: Classifier
    canvas: Canvas
    objectives: list[Objective]
    seeds: list[int]
    layout: torch.memory_format = torch.contiguous_format

    def only(self, rows: list[int]) -> _Group:
        """Some of the rows."""
        objectives, seeds = [self.objectives[row] for row in rows], [self.seeds[row] for row in rows]
        return replace(self, objectives=objectives, seeds=seeds)


def ascend(
    classifier: Classifier,
    objectives: Sequence[Objective | Unit | str],
    settings: Ascent = PRESETS[PRESET],
    *,
    seed: int = 0,
    seeds: int = 1,
    progress: Progress = silent,
    watch: Watch = lambda step, places, images: None,
) -> Preferred:
    """Climb each of `objectives` from the noise of `seeds` seeds: seed, seed + 1, and so on.

    `settings` say how to climb. `watch` is shown the step, the rows and their images (R, C, H, W) as they
    are. `trace[0]` is the value of the noise, and the last image is not changed any more, so a run of `steps`
    takes as many forwards. Raises InputError for a prediction function, or for what the network does not
    have.
    """
    wanted = check_objectives(classifier, objectives, seeds)
    canvas = Canvas.of(classifier)
    rows = [(objective, seed + turn) for objective in wanted for turn in range(seeds)]
    images = canvas.mean.new_zeros(len(rows), *canvas.shape)
    values, trace = canvas.mean.new_zeros(len(rows)), canvas.mean.new_zeros(settings.steps, len(rows))
    dead, undefined = torch.zeros(2, len(rows), dtype=torch.bool, device=images.device)
    batches = _batches(classifier, wanted, seeds, images[0].numel())
    with untouched(classifier.network):
        for number, places in enumerate(batches):
            group = _Group(classifier, canvas, [rows[p][0] for p in places], [rows[p][1] for p in places])

            def look(step: int, shown: Tensor, number: int = number, places: list[int] = places) -> None:
                watch(step, places, shown)
                progress(number * settings.steps + step + 1, len(batches) * settings.steps)

            group = replace(group, layout=_layout(group))
            images[places], values[places], trace[:, places], dead[places], undefined[places] = _climb(
                group, settings, look
            )
    return Preferred(images=images, values=values, trace=trace, dead=dead, undefined=undefined)


def check_objectives(
    classifier: Classifier, objectives: Sequence[Objective | Unit | str], seeds: int = 1
) -> list[Objective]:
    """The objectives, once the network is known to have them all, for so many `seeds`. Raises InputError."""
    if classifier.access != "gradient":
        raise InputError(f"{classifier.name} {classifier.lacks}: there is no slope to climb.")
    if not objectives:
        raise InputError("No unit is given; `ostrich list units MODEL` lists the layers.")
    if seeds < 1:
        raise InputError(f"At least one seed is needed; got {seeds}.")
    wanted = [as_objective(given) for given in objectives]
    canvas, turns = Canvas.of(classifier), min(seeds, 2)
    grey = torch.full_like(canvas.mean, 0.5).expand(len(wanted) * turns, *canvas.shape)
    _worth(classifier, wanted, grey, turns, 0, 1)
    return wanted


def worth(
    classifier: Classifier, objectives: Sequence[Objective], images: Tensor, seeds: int = 1, *, seed: int = 0
) -> Tensor:
    """The objectives' values (R,) at images (R, C, H, W), of which each has `seeds` in a row.

    Where answers are random they are means over the classifier's `draws`, which `seed` decides.
    """
    return _worth(classifier, objectives, images, seeds, seed, classifier.draws)


def _worth(
    classifier: Classifier, objectives: Sequence[Objective], images: Tensor, seeds: int, seed: int, draws: int
) -> Tensor:
    found, canvas = images.new_zeros(len(images)), Canvas.of(classifier)
    with untouched(classifier.network), torch.no_grad():
        for places in _batches(classifier, objectives, seeds, images.shape[1:].numel()):
            own = [objectives[place // seeds] for place in places]
            group = _Group(classifier, canvas, own, [seed + place % seeds for place in places])
            answers = [_values(group, images[places], turn) for turn in range(draws)]
            found[places] = torch.stack(answers).mean(0) if draws > 1 else answers[0]
    return found


def _climb(group: _Group, settings: Ascent, look: Callable[[int, Tensor], None]) -> tuple[Tensor, ...]:
    """The images (R, C, H, W), their values (R,), the trace (steps, R), and which rows (R,) never had a value
    and a slope: none that is not zero, and none that is known.
    """
    canvas, drawing, optimiser = group.canvas, settings.parametrisation, settings.optimiser
    parameters = drawing.project(drawing.start(canvas, group.seeds))
    state = optimiser.init(parameters)
    still = torch.ones(len(parameters), dtype=torch.bool, device=parameters.device)
    known = still.clone()
    kept = highest = torch.empty(0)
    trace = []
    for step in range(settings.steps):
        last = step + 1 == settings.steps
        if last and step > 0:
            with torch.no_grad():
                images, value = _forward(group, settings, parameters, step)
        else:
            images, value, slope, moved, finite = _slope(group, settings, parameters, step)
            still &= ~(moved & value.isfinite())
            known &= finite
        trace.append(value)
        if step == 0 or settings.keep == "last":
            kept, highest = images.clone(), value.clone()
        better = (value > highest) | highest.isnan()
        kept[better], highest[better] = images[better], value[better]
        look(step, images)
        if last:
            break
        parameters, state = optimiser.step(parameters, slope, state, step)
        parameters = settings.regularisers.apply(parameters, slope, drawing.nothing(canvas), step)
        parameters = drawing.project(parameters)
    return kept, highest, torch.stack(trace), still & known, still & ~known


def _slope(group: _Group, settings: Ascent, parameters: Tensor, step: int) -> tuple[Tensor, ...]:
    """The images (R, C, H, W), their values (R,), the slope of the parameters, 0 where it is not finite; and
    which rows (R,) have one, and which have finite ones and a finite value.
    """
    images, value, slope, finite = _gradient(group, settings, parameters, step)
    moved = slope.flatten(1).any(1)
    if not moved.all():
        joint = any(objective.is_joint for objective in group.objectives)
        rows = torch.nonzero(moved.new_ones(len(moved)) if joint else ~moved)[:, 0]
        with ReluRule(REDIRECTED):
            shown = _gradient(group.only(rows.tolist()), settings, parameters[rows], step)[2]
        slope[rows] = torch.where(moved[rows].view(-1, *[1] * (slope.ndim - 1)), slope[rows], shown)
    if settings.regularisers.tv:
        with torch.enable_grad():
            leaf = parameters.clone().requires_grad_(True)
            variation = total_variation(settings.parametrisation.images(group.canvas, leaf)).sum()
            (rough,) = torch.autograd.grad(variation, leaf)
        slope = slope - settings.regularisers.tv * rough
    return images, value, slope, moved, finite


def _gradient(group: _Group, settings: Ascent, parameters: Tensor, step: int) -> tuple[Tensor, ...]:
    """One forward and backward: the images, their values, the gradient of the parameters, 0 where it is not
    finite, and which rows are finite.
    """
    with torch.enable_grad():
        leaf = parameters.detach().clone().requires_grad_(True)
        images, value = _forward(group, settings, leaf, step)
        if not value.requires_grad:
            name = group.classifier.name
            raise InputError(f"{name} cuts the gradient between the image and {group.objectives[0]}.")
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    known = slope.isfinite()
    finite = value.detach().isfinite() & known.flatten(1).all(1)
    return images.detach(), value.detach(), torch.where(known, slope, 0), finite


def _forward(group: _Group, settings: Ascent, parameters: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """One forward: the images (R, C, H, W), and what their views are worth (R,)."""
    images = settings.parametrisation.images(group.canvas, parameters)
    views = settings.transformations.view(group.canvas, images, group.seeds, step)
    # a clone: a network may change its input in place
    return images, _values(group, views.clone(memory_format=group.layout), step)


def _values(group: _Group, images: Tensor, step: int = 0) -> Tensor:
    """The objectives' values (R,) at the images, from a forward that ends at their last layer."""
    layers = group.objectives[0].layers  # the same for all
    with begun_at(seed_of(group.seeds[0], PURPOSE, step), group.classifier):
        outputs = observe(group.classifier, images, layers - {OUTPUT}, to_the_end=OUTPUT in layers)
    return evaluate(group.classifier, outputs, group.objectives)


def _layout(group: _Group) -> torch.memory_format:
    """Channels-last, in which convolutions are quicker, for a network that takes it: `view` may refuse."""
    several = len(group.objectives) if any(one.is_joint for one in group.objectives) else 1
    grey = torch.full_like(group.canvas.mean, 0.5).expand(several, *group.canvas.shape)
    try:
        with torch.no_grad():
            _values(group.only(list(range(several))), grey.clone(memory_format=torch.channels_last))
    except RuntimeError:
        return torch.contiguous_format
    return torch.channels_last


def _batches(
    classifier: Classifier, objectives: Sequence[Objective], seeds: int, values_each: int
) -> list[list[int]]:
    """The places of the rows, by layers, as many together as fit into memory; diverse seeds stay together."""
    size = max(1, VALUES_PER_BATCH // values_each) if classifier.draws == 1 else 1
    lots: dict[frozenset[str], list[list[int]]] = defaultdict(list)
    for number, objective in enumerate(objectives):
        own = list(range(number * seeds, (number + 1) * seeds))
        lots[objective.layers] += [own] if objective.is_joint else [[place] for place in own]
    batches: list[list[int]] = []
    for several in lots.values():
        batches.append([])
        for lot in several:
            if batches[-1] and len(batches[-1]) + len(lot) > size:
                batches.append([])
            batches[-1] += lot
    return batches

"""The network as a map: its layers, the channels of one for this image, and all about a channel."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ostrich.images import grid
from ostrich.inspection.silencing import silenced
from ostrich.inspection.units import activations, layers
from ostrich.models.untouched import untouched
from ostrich.serve.jobs.asked import AboutImage, Asked, Name
from ostrich.serve.playground import Playground, png, shares
from ostrich.serve.worker import Job
from ostrich.verbs.explain import explain
from ostrich.verbs.explain.sheets import UnitSheets
from ostrich.visualization.responses import receptive_field, respond

TILE, MOST_TILES = 56, 1024  # pixels of a channel's tile; channels that are shown
SEEN, STEPS, STRONGEST = 128, 64, 8  # images of DATA for a sheet, steps to its preferred image, images shown


class Layers(Asked):
    """The layers in the order of a forward."""


class Tiles(AboutImage):
    """The channels of a layer for an image."""

    layer: Name


class Sheet(AboutImage):
    """All about a channel."""

    unit: Name


def rows(playground: Playground, _asked: Layers, job: Job) -> None:
    """Name, type, shape, parameters of each layer, and how many units it has."""
    found = [
        {
            "name": row.name,
            "type": row.type,
            "shape": list(row.shape),
            "parameters": row.parameters,
            "features": row.features,
        }
        for row in layers(playground.classifier)
    ]
    job.emit("layers", rows=found)


def tiles(playground: Playground, asked: Tiles, job: Job) -> None:
    """The channels as one picture, tile by tile, all on one scale; their means; the strongest first."""
    classifier = playground.classifier
    image = classifier.beside(playground.image(asked.image))
    with untouched(classifier.network), torch.no_grad():
        found = activations(classifier, image, asked.layer)[0].float().cpu()
    maps = found if found.ndim == 3 else found.reshape(len(found), 1, -1)
    means = maps.mean((1, 2))
    count = min(len(maps), MOST_TILES)
    if max(maps.shape[1:]) > TILE:
        height, width = maps.shape[1:]
        maps = adaptive_avg_pool2d(maps, (min(height, TILE), min(width, TILE)))
    finite = maps[maps.isfinite()]
    low, high = (finite.min().item(), finite.max().item()) if len(finite) else (math.nan, math.nan)
    shown = ((maps - low) / max(high - low, 1e-12))[:count, None].nan_to_num(0.0, posinf=1.0, neginf=0.0)
    columns = math.ceil(math.sqrt(count))
    job.emit(
        "tiles",
        layer=asked.layer,
        count=count,
        left_out=len(maps) - count,
        columns=columns,
        size=list(maps.shape[1:]),
        gap=0,
        picture=png(grid(shown, columns, gap=0)),
        means=[round(value, 4) for value in means[:count].tolist()],
        order=means[:count].nan_to_num(-math.inf).argsort(descending=True).tolist(),
        range=[low, high],
    )


def sheet(playground: Playground, asked: Sheet, job: Job) -> None:
    """What a unit answers to this image and where it looks; what it moves; what it likes."""
    classifier = playground.classifier
    image = classifier.beside(playground.image(asked.image))
    response = respond(classifier, [image], [asked.unit])[0]
    here: dict[str, Any] = {
        "value": response.values[0].item(),
        "neuron": str(response.neurons[0]),
        "box": None,
    }
    if classifier.access == "gradient":
        here["box"] = list(receptive_field(classifier, [response.neurons[0]])[0])
    job.emit("here", unit=asked.unit, **here)
    if not response.unit.is_output:
        job.emit("moves", unit=asked.unit, classes=moved(playground, image, asked.unit))
    if classifier.access != "gradient":
        return
    count = min(SEEN, len(playground.samples))
    seen = playground.samples.take(range(count))
    pages = explain("sheet", classifier, seen, unit=asked.unit, steps=STEPS, top=min(STRONGEST, count))
    assert isinstance(pages, UnitSheets)
    found = pages.sheets[0]
    job.emit(
        "sheet",
        unit=asked.unit,
        preferred=png(found.preferred),
        strongest=[
            {
                "image": f"d{place}",
                "value": found.response.values[place].item(),
                "box": list(box),
            }
            for place, box in zip(found.places, found.boxes, strict=True)
        ],
        of=count,
    )


def moved(playground: Playground, image: Tensor, unit: str) -> list[dict[str, Any]]:
    """The classes that move most when the unit is silent: their shares with it and without."""
    classifier = playground.classifier
    both = classifier.predict(image), silenced(classifier, image, unit)
    return playground.moved(*(shares(classifier, logits) for logits in both))

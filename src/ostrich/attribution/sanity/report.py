"""All checks of a method on one network and some images: figures, curves, and a sentence each.

randomisation   the maps of the first RANDOMISED images while the network's layers are made random
fading          deletion and insertion, on the first FADED images
pointing        on the toybox, whose masks are known: every image, for its own class
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.attribution.importance import importance
from ostrich.attribution.question import Explainer, explain
from ostrich.attribution.sanity.deletion import Fading, fading
from ostrich.attribution.sanity.parameter_randomisation import Randomisation, randomisation
from ostrich.attribution.sanity.pointing import Pointing, pointing_game
from ostrich.attribution.sanity.similarity import Mean
from ostrich.data.dataset import Samples
from ostrich.figures.chart import write_chart
from ostrich.images import fit
from ostrich.inspection.unit_names import class_unit
from ostrich.models.classifier import Classifier
from ostrich.runtime.events import counted, progress
from ostrich.runtime.resumable import Content, mapped

RANDOMISED, FADED = 16, 64  # images
PICTURES = {"randomisation": "sanity/randomisation.png", "fading": "sanity/fading.png"}
Known = Callable[[int, str], Tensor | None]  # an image's place and a unit; its map (C, H, W), if there is one


@dataclass(frozen=True, kw_only=True)
class Sanity:
    """What the checks found of the method `name`; the randomisation is of `images` images.

    `pointing` is None where the objects' masks, or the labels, are not known.
    """

    name: str
    images: int
    randomisation: Randomisation
    fading: Fading
    pointing: Pointing | None

    @property
    def sentences(self) -> list[str]:
        """One for each check."""
        areas = {"deletion": self.fading.deletion_area, "insertion": self.fading.insertion_area}
        found = [self.randomisation.sentence(self.name)]
        found += [_compared(way, self.name, own, self.fading.images) for way, own in areas.items()]
        if (game := self.pointing) is not None:
            found.append(
                f"Pointing game: {self.name} hits the object in {_interval(*game.share)} of "
                f"{game.n} images, the centre in {_interval(*game.centre_share)}."
            )
        return found

    def figures(self) -> dict[str, Any]:
        """As run.json has them under `sanity`."""
        curves, game = self.randomisation, self.pointing
        layers = zip(curves.layers, curves.cascading, curves.independent, strict=True)
        return {
            "sentences": self.sentences,
            "randomisation": {
                "images": self.images,
                "unread_top_layers": curves.unread,
                "kept": curves.kept,
                "layers": [
                    {"layer": name, "cascading": asdict(cascading), "independent": asdict(independent)}
                    for name, cascading, independent in layers
                ],
                "controls": {
                    "rerun": asdict(curves.rerun),
                    "edges": asdict(curves.edges),
                    "noise": asdict(curves.noise),
                    "edges_at_random": asdict(curves.edges_at_random),
                },
                "picture": PICTURES["randomisation"],
            },
            "fading": asdict(self.fading) | {"picture": PICTURES["fading"] if self._curves() else None},
            "pointing": game and asdict(game) | {"share": game.share, "centre_share": game.centre_share},
        }

    def draw(self, folder: Path) -> None:
        """The curves, into PICTURES, where there are any."""
        curves = self.randomisation
        write_chart(
            folder / PICTURES["randomisation"],
            x_label="layers made random, from the output down",
            y_label="likeness to the learned network's map",
            series={name: _line(means) for name, means in self._likenesses()}
            | {"an edge detector": [{"x": i, "y": 1.0} for i in range(len(curves.layers) + 1)]},
        )
        if series := self._curves():
            write_chart(
                folder / PICTURES["fading"],
                x_label="percent of the pixels, the most important first",
                y_label="the unit (a class: its probability)",
                series=series,
            )

    def _curves(self) -> dict[str, list[dict[str, Any]]]:
        """The lines of deletion and insertion; where no image could be followed there are none."""
        return {
            f"{way}: {name}": [
                {"x": x, "y": y, "label": f"{100 * x:.0f}"}
                for x, y in zip(self.fading.fractions, curve, strict=True)
            ]
            for way, own in (("deletion", self.fading.deletion), ("insertion", self.fading.insertion))
            for name, curve in own.items()
            if curve
        }

    def _likenesses(self) -> Iterator[tuple[str, Sequence[Mean]]]:
        """The lines of the picture; where no map has a sign, two of them would lie on one another."""
        curves = self.randomisation
        signed = [likeness.spearman for likeness in curves.cascading]
        unsigned = [likeness.spearman_abs for likeness in curves.cascading]
        alike = ", with sign or without" if signed == unsigned else ""
        yield f"{self.name}: rank correlation, one layer after the other{alike}", signed
        if signed != unsigned:
            yield "the same without sign", unsigned
        yield "structural similarity", [likeness.ssim for likeness in curves.cascading]
        yield "rank correlation, the layer alone", [own.spearman for own in curves.independent]


def check_sanity(
    method: Explainer,
    classifier: Classifier,
    samples: Samples,
    units: Sequence[Sequence[str]],
    *,
    known: Known = lambda place, unit: None,
    seed: int = 0,
) -> Sanity:
    """All checks; `units` are a list for each image, and `known` gives maps that are computed already.

    Raises InputError for a network without parameters.
    """
    some = samples.images(0, RANDOMISED).to(classifier.device, classifier.image_dtype)
    with progress("layers made random", 1, "steps") as advance:
        curves = randomisation(method, classifier, some, units[:RANDOMISED], seed=seed, progress=advance)
    more = samples.images(0, FADED).to(classifier.device, classifier.image_dtype)
    return Sanity(
        name=method.name,
        images=len(some),
        randomisation=curves,
        fading=fading(method, classifier, more, [own[0] for own in units[:FADED]], seed=seed),
        pointing=_pointing(method, classifier, samples, known, seed),
    )


def _pointing(
    method: Explainer, classifier: Classifier, samples: Samples, known: Known, seed: int
) -> Pointing | None:
    """The pointing game over all images, for their labels; None where masks or labels are not known."""
    masks = _masks(classifier, samples)
    if masks is None or samples.labels is None:
        return None
    units = [class_unit(classifier, label) for label in samples.labels.tolist()]
    maps = {i: found for i, unit in enumerate(units) if (found := known(i, unit)) is not None}

    def explained_alone(given: tuple[Tensor, str]) -> Content:
        image = given[0].to(classifier.device, classifier.image_dtype)
        return {"maps": explain(method, classifier, image, [given[1]], seed=seed)[0, 0].cpu().float()}

    others = [i for i in range(len(units)) if i not in maps]
    asked = [(samples.images(i, i + 1), units[i]) for i in others]
    with counted("the pointing game", len(asked), "images") as advance:
        for i, content in zip(others, mapped(explained_alone, asked, advance), strict=True):
            maps[i] = content["maps"]
    return pointing_game(torch.stack([importance(method, maps[i]) for i in range(len(units))]), masks)


def _masks(classifier: Classifier, samples: Samples) -> Tensor | None:
    """The objects' masks (N, H, W) as the images were resized and cut; None for data without masks."""
    from ostrich.data import toyscenes

    kind, _, split = samples.name.partition(":")
    if kind != "toybox":
        return None
    if split == "test":
        stored = toyscenes.test_images().masks
        masks = [stored[i] for i in samples.index]
    else:
        masks = [toyscenes.render(toyscenes.scene(split, i)).mask for i in samples.index]
    size = classifier.size or masks[0].shape
    fitted = [
        fit(Image.fromarray(mask.astype(np.uint8)), size, classifier.resize, "nearest") for mask in masks
    ]
    return torch.from_numpy(np.stack([np.asarray(mask) > 0 for mask in fitted]))


def _line(means: Sequence[Mean]) -> list[dict[str, Any]]:
    """The points of a curve that begins at 1, where no layer is random."""
    points = [
        {"x": i + 1, "y": mean.mean, "low": mean.low, "high": mean.high} for i, mean in enumerate(means)
    ]
    return [{"x": 0, "y": 1.0, "label": "0"}, *points]


def _compared(way: str, name: str, areas: Mapping[str, Mean], images: int) -> str:
    """One sentence on the areas under a curve, of `images` that were to be followed."""
    counted = f"{areas[name].n} images"
    if areas[name].n < images:
        counted = f"{areas[name].n} of {images} images, the others without a map or an answer on the way"
    if not areas[name].n:
        return (
            f"Area under {way}: not known, each of {images} images is without a map or an answer on the way."
        )
    better = "the smaller, the better" if way == "deletion" else "the larger, the better"
    each = [f"{_number(areas[of])} for {of}" for of in areas]
    return f"Area under {way} ({better}; {counted}): {', '.join(each)}."


def _number(found: Mean) -> str:
    mean = f"{found.mean:.3f}"
    return mean if found.low is None else f"{mean} ({found.low:.3f} to {found.high:.3f})"


def _interval(share: float, low: float, high: float) -> str:
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"

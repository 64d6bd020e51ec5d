"""`ostrich.explain`: which pixels of an image move a unit; `sheet`: all about a unit (`explain_sheet.py`).

What a method computes stands in `attribution/`; here its question is put together from what the user has,
and its maps become figures and a run directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attribution import EXPLAINERS, Explainer
from ostrich.attribution.batches import BATCH, check_method, explained
from ostrich.attribution.evidence import SHEET, SHEET_ROWS, read_maps, rows_of, sheet, write_maps
from ostrich.attribution.sanity import Sanity, check_sanity
from ostrich.attribution.sanity.parameter_randomisation import stages
from ostrich.data.dataset import Samples
from ostrich.errors import InputError, UnknownName
from ostrich.images import picture, write_png
from ostrich.inspection.units import AnyUnit, Sum, Unit
from ostrich.models.classifier import Classifier
from ostrich.runtime import events
from ostrich.runtime.runs import Run
from ostrich.runtime.settings import read
from ostrich.runtime.stopwatch import stopwatch
from ostrich.verbs.explain_sheet import NAME as SHEETS
from ostrich.verbs.explain_sheet import UnitSheets, unit_pages
from ostrich.verbs.inputs import Images, Model, as_classifier, as_samples
from ostrich.verbs.outcome import InMemory, Where, answer, as_png, begun_on

Units = str | AnyUnit | Sequence[str | AnyUnit]


def explain(
    method: str | Explainer | type[Explainer],
    model: Model,
    images: Images | None = None,
    *,
    unit: Units | None = None,
    sanity: bool = False,
    limit: int | None = None,
    seed: int = 0,
    out: Where = None,
    force: bool = False,
    **settings: Any,
) -> Explanation | UnitSheets:
    """Which pixels of an image move a unit: a class, a channel, a neuron.

    `method` is a name (`ostrich list explainers`), a class, or a method with its settings; `settings` are
    those of a name: steps=64. `model` is a classifier, a module, a function or a MODEL; `images`
    (N, C, H, W) in [0, 1], a pair with labels, or DATA as on the command line. `unit` is one or several of
    "class:ostrich", "probability:ostrich", "layer3:17", "layer3:17@4,5", "class:a - class:b"; left out, it
    is the class that the network predicts for each image. `sanity` checks the method on this network and
    these images (Adebayo 2018, Petsiuk 2018, Zhang 2016). `limit` takes a seeded, class-balanced choice.

    Returns an `Explanation`: `maps` (N, U, C, H, W), `units`, `predictions`, `remarks`. "sheet" shows all
    about units, the whole of a layer with unit="layer3", and returns `UnitSheets`. With `out` the files
    are written from the beginning. Raises InputError (wrong images, units, settings; a network that the
    method does not apply to), UnknownName.
    """
    if method != SHEETS:
        method = as_explainer(method, settings)
    classifier = as_classifier(model)
    samples = _samples(images, classifier, limit, seed)
    units = as_units(unit)
    if not isinstance(method, Explainer):
        if sanity:
            raise InputError("sanity checks a method; a sheet shows several.")
        found: UnitSheets = unit_pages(classifier, samples, units, settings, seed=seed, out=out, force=force)
        return found
    check_method(method, classifier, units)
    if sanity:
        stages(classifier)  # refuses a network without parameters
    question = Question(
        method=method, classifier=classifier, samples=samples, units=units, sanity=sanity, seed=seed
    )
    whole: Explanation = answer(question, out, force)
    return whole


def as_explainer(method: object, settings: Mapping[str, Any]) -> Explainer:
    """A method of that name or class with settings, values or text. Raises UnknownName, InputError."""
    if isinstance(method, Explainer):
        if settings:
            raise InputError(
                f"{method.name} has its settings already; {', '.join(settings)} belongs into it: "
                f"{type(method).__name__}({', '.join(f'{name}=...' for name in settings)})."
            )
        return method
    if isinstance(method, str):
        if method not in EXPLAINERS:
            raise UnknownName("explainer", method, [*EXPLAINERS, SHEETS])
        method = EXPLAINERS[method]
    if not isinstance(method, type) or not issubclass(method, Explainer):
        raise InputError(f"A method is a name, a class, or an instance of one; got {method!r}.")
    return method(**read(method, settings, method.name))


def as_units(unit: Units | None) -> list[str]:
    """Names of units, each once. Raises InputError."""
    several = [] if unit is None else [unit] if isinstance(unit, str | Unit | Sum) else unit
    if not isinstance(several, Sequence) or not all(isinstance(u, str | Unit | Sum) for u in several):
        raise InputError(f"A unit is a name such as 'class:ostrich' or 'layer3:17', or a list; got {unit!r}.")
    return list(dict.fromkeys(str(one) for one in several))


def _samples(images: Images | None, classifier: Classifier, limit: int | None, seed: int) -> Samples:
    if images is None:
        raise InputError("Give the images to explain: a tensor (N, C, H, W) in [0, 1], or DATA.")
    samples = as_samples(images, None, classifier, limit=limit, seed=seed)
    if not len(samples):
        raise InputError("Give at least one image; got none.")
    return samples


@dataclass(frozen=True, kw_only=True)
class Question:
    """Images, and the units whose maps are asked for; without units, of the predicted classes."""

    method: Explainer
    classifier: Classifier
    samples: Samples
    units: list[str]
    sanity: bool
    seed: int

    def begin(self, out: Where, force: bool) -> Any:
        """Its run directory."""
        asked = {"explainer": repr(self.method), "units": self.units, "sanity": self.sanity}
        name = f"explain-{self.method.name}"
        return begun_on(name, asked, self.classifier, self.samples, seed=self.seed, out=out, force=force)

    def answered(self, run: Run | None) -> Explanation:
        """The maps; with a run they are written there batch by batch, and not kept."""
        method, samples, rows, kept = self.method, self.samples, list[dict[str, Any]](), list[Tensor]()
        title = f"{method.name} of {len(samples)} images"
        with stopwatch() as spent:
            with events.progress(title, len(samples)) as advance:
                for batch in explained(method, self.classifier, samples, self.units, seed=self.seed):
                    own, maps = rows_of(samples, batch), batch.maps.to("cpu", torch.float32)
                    if run is None:
                        kept.append(maps)
                    else:
                        write_maps(run.folder, method, own, batch.images, maps)
                    rows += own
                    advance(batch.start + len(maps), len(samples))
            whole = Explanation(self, rows, torch.cat(kept) if kept else None)
            if run is not None:
                whole.folder = run.folder
            if self.sanity:
                whole.check()
            if run is not None:
                whole.draw(run.folder)
            whole.figures["seconds"] = spent.seconds
        return whole


class Explanation(InMemory):
    """The maps of N images and U units each, and their `figures` as run.json has them.

    `units` are N lists of U names, `predictions` (N,) classes, `remarks` what is to be known of the maps,
    `sanity` what the checks found, or None.
    """

    question: Question

    def __init__(self, question: Question, rows: list[dict[str, Any]], maps: Tensor | None) -> None:
        method, count = question.method, len(question.samples)
        self._maps, self._each = maps, len(rows) // count
        self.units = [
            [row["unit"] for row in rows[i : i + self._each]] for i in range(0, len(rows), self._each)
        ]
        self.predictions = torch.tensor([row["prediction"] for row in rows[:: self._each]])
        self.remarks = method.remarks(rows)
        self.sanity: Sanity | None = None
        if method.agnostic and question.units:
            self.remarks.append(
                f"{method.name} has no unit: its map is the same for all, whatever --unit says."
            )
        figures = {
            "explainer": method.name,
            "settings": repr(method),
            "n": count,
            "explanations": rows,
            "sheet": SHEET,
            "sheet_images": min(SHEET_ROWS, count),
            "remarks": self.remarks,
            "sanity": None,
        }
        super().__init__(f"explain-{method.name}", question, figures)

    @property
    def maps(self) -> Tensor:
        """The maps (N, U, C, H, W), float32 on the processor; read anew where they were written."""
        return self._read(0, len(self.units)) if self._maps is None else self._maps

    @property
    def sentences(self) -> list[str]:
        """What is to be known of the maps, and what the checks found."""
        return [*self.remarks, *(self.sanity.sentences if self.sanity else ())]

    @property
    def headline(self) -> tuple[str, ...]:
        return ("explainer", "n", "seconds")

    @property
    def picture(self) -> Path | bytes:
        if self.folder is not None:
            return self.folder / SHEET
        return as_png(picture(sheet(self.question.method, self._shown(SHEET_ROWS))))

    def check(self) -> None:
        """The checks of the method, with the maps that are there."""
        asked = self.question
        self.sanity = check_sanity(
            asked.method, asked.classifier, asked.samples, self.units, known=self._known, seed=asked.seed
        )
        self.figures["sanity"] = self.sanity.figures()

    def write(self, run: Run) -> None:
        """Its files."""
        rows, start = self.figures["explanations"], 0
        for images, maps in self._shown(len(self.units)):
            own = rows[start * self._each : (start + len(images)) * self._each]
            write_maps(run.folder, self.question.method, own, images, maps)
            start += len(images)
        self.draw(run.folder)
        self.folder = self.folder or run.folder

    def draw(self, folder: Path) -> None:
        """The sheet of the first images, and the curves of the checks."""
        write_png(folder / SHEET, sheet(self.question.method, self._shown(SHEET_ROWS)))
        if self.sanity is not None:
            self.sanity.draw(folder)

    def _shown(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first images (N, C, H, W) and their maps (N, U, C, H, W), batch by batch."""
        count = min(count, len(self.units))
        for start in range(0, count, BATCH):
            stop = min(count, start + BATCH)
            maps = self._read(start, stop) if self._maps is None else self._maps[start:stop]
            yield self.question.samples.images(start, stop), maps

    def _known(self, place: int, unit: str) -> Tensor | None:
        if unit not in self.units[place]:
            return None
        maps = self._read(place, place + 1) if self._maps is None else self._maps[place : place + 1]
        return maps[0, self.units[place].index(unit)]

    def _read(self, start: int, stop: int) -> Tensor:
        assert self.folder is not None
        rows = self.figures["explanations"][start * self._each : stop * self._each]
        return read_maps(self.folder, rows).unflatten(0, (-1, self._each))

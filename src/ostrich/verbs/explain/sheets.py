"""`ostrich.explain("sheet", ...)`: all about a unit on one page.

Its preferred image, the images that excite it most, cut to what it sees of them, what deconvnet and guided
backpropagation bring back from there, and how its responses are distributed. A whole layer is a page for
each channel, and one with a row for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.inspection.unit_names import as_file_name
from ostrich.inspection.units import Unit, resolve
from ostrich.inspection.watching import called_again
from ostrich.models.classifier import Classifier
from ostrich.runtime import events
from ostrich.runtime.runs import Run
from ostrich.runtime.settings import read_value
from ostrich.runtime.stopwatch import stopwatch
from ostrich.verbs.outcome import InMemory, Where, answer, as_png, begun_on
from ostrich.visualization import PRESET, Ascent, Sheet, check_objectives, configure, describe, unit_sheets
from ostrich.visualization.objectives import named_objectives
from ostrich.visualization.sheets.pages import layer_pages, page
from ostrich.visualization.sheets.unit_sheets import TOP

NAME = "sheet"


def unit_pages(
    classifier: Classifier,
    samples: Samples,
    units: Sequence[str],
    settings: Mapping[str, Any],
    *,
    seed: int = 0,
    out: Where = None,
    force: bool = False,
) -> Any:
    """A page for each of the units, as `UnitSheets`. Raises InputError, UnknownName."""
    ascent, top = sheet_settings(settings)
    found = _units(classifier, units)
    check_objectives(classifier, found)
    question = Question(
        classifier=classifier,
        samples=samples,
        asked=list(units),
        units=found,
        ascent=ascent,
        top=top,
        seed=seed,
    )
    return answer(question, out, force)


def sheet_settings(settings: Mapping[str, Any]) -> tuple[Ascent, int]:
    """The ascent to the preferred image, of `preset` and its settings, and how many images are shown, `top`.

    Raises InputError, UnknownName.
    """
    given = dict(settings)
    top, preset = read_value("top", given.pop("top", TOP), int), given.pop("preset", PRESET)
    if not 1 <= top <= TOP:
        raise InputError(f"A sheet shows 1 to {TOP} images; got top={top}.")
    return configure(given, preset), top


def _units(classifier: Classifier, asked: Sequence[str]) -> list[Unit]:
    """The units asked for; a layer alone stands for all its channels. Raises InputError."""
    if not asked:
        raise InputError(
            "A sheet is about a unit: class:ostrich, layer3:17, or a whole layer, layer3. "
            "`ostrich list units MODEL` lists the layers."
        )
    texts = [text if ":" in text else f"{text}:*" for text in asked]
    objectives = named_objectives(classifier, texts)
    return [resolve(classifier, unit) for objective in objectives for unit in objective.units]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Units, and the images that they are shown by; `asked` are the units as they were given."""

    classifier: Classifier
    samples: Samples
    asked: list[str]
    units: list[Unit]
    ascent: Ascent
    top: int
    seed: int

    def begin(self, out: Where, force: bool) -> Any:
        """Its run directory."""
        asked = {"units": self.asked, "settings": describe(self.ascent), "top": self.top}
        name = f"explain-{NAME}"
        return begun_on(name, asked, self.classifier, self.samples, seed=self.seed, out=out, force=force)

    def answered(self, run: Run | None) -> UnitSheets:
        """The sheets; with a run, their pages are written there."""
        samples = self.samples
        with stopwatch() as spent, events.progress("preferred images", 1, "steps") as advance:
            sheets = unit_sheets(
                self.classifier,
                samples.images,
                len(samples),
                self.units,
                self.ascent,
                top=self.top,
                seed=self.seed,
                progress=advance,
            )
            found = UnitSheets(self, sheets)
            if run is not None:
                found.write(run)
            found.figures["seconds"] = spent.seconds
        return found


class UnitSheets(InMemory):
    """Sheets of units (`sheets`), as pages to look at, and their `figures` as run.json has them."""

    question: Question

    def __init__(self, question: Question, sheets: Sequence[Sheet]) -> None:
        self.sheets = list(sheets)
        layers = [one.response.unit.layer for one in sheets]
        figures = {
            "sheets": [_row(question.samples, number, one) for number, one in enumerate(sheets)],
            "layers": {
                layer: f"sheets/layer-{as_file_name(layer)}.png"
                for layer in dict.fromkeys(layers)
                if layers.count(layer) > 1
            },
            "n": len(question.samples),
        }
        inside = [one.response.unit.layer for one in sheets if not one.response.unit.is_output]
        if remarks := called_again(question.classifier, inside):
            figures["remarks"] = remarks
        super().__init__(f"explain-{NAME}", question, figures)

    @property
    def pages(self) -> dict[str, Image.Image]:
        """The page of each unit, and of each layer with several of them, by name; drawn when asked for."""
        network = self.question.classifier.name
        units = {str(one.response.unit): page(one, network) for one in self.sheets}
        return {**units, **layer_pages(self.sheets, network)}

    @property
    def sentences(self) -> list[str]:
        """What there is to say of each unit, and where its page lies."""
        lines = [
            f"{row['unit']}: {row['values'][0]:.4g} at most, {row['median']:.4g} in the middle  {row['file']}"
            + (f"; no image of {self.figures['n']} moves it" if row["dead"] else "")
            + (f"; of {row['unanswered']} images its value is not finite" if "unanswered" in row else "")
            for row in self.figures["sheets"]
        ]
        lines += [f"{layer}: {file}" for layer, file in self.figures["layers"].items()]
        return lines + self.figures.get("remarks", [])

    @property
    def picture(self) -> Path | bytes:
        if self.folder is not None and self._is_there():
            return self.folder / self.figures["sheets"][0]["file"]
        return as_png(page(self.sheets[0], self.question.classifier.name))

    def write(self, run: Run) -> None:
        """Its pages."""
        network = self.question.classifier.name
        (run.folder / "sheets").mkdir(exist_ok=True)
        for row, one in zip(self.figures["sheets"], self.sheets, strict=True):
            page(one, network).save(run.folder / row["file"])
        for layer, drawn in layer_pages(self.sheets, network).items():
            drawn.save(run.folder / self.figures["layers"][layer])


def _row(samples: Samples, number: int, one: Sheet) -> dict[str, Any]:
    """A unit's row in run.json."""
    unit, values = one.response.unit, one.response.values
    finite = values[values.isfinite()]
    return {
        "unit": str(unit),
        "file": f"sheets/{number:03d}-{as_file_name(str(unit))}.png",
        "images": [samples.files[place] for place in one.places],
        "index": [samples.index[place] for place in one.places],
        "values": [values[place].item() for place in one.places],
        "neurons": [str(one.response.neurons[place]) for place in one.places],
        "boxes": [list(box) for box in one.boxes],
        "median": finite.median().item(),
        "dead": not bool(values.any()),
    } | ({"unanswered": lacking} if (lacking := len(values) - len(finite)) else {})

"""The maps of a method: the question that is put together from what the user has, and its answer.

The maps become figures and a run directory; what a method computes stands in `attribution/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.engine.resuming import network_facts
from ostrich.attribution import Explainer
from ostrich.attribution.batches import BATCH, explained
from ostrich.attribution.evidence import SHEET, SHEET_ROWS, read_maps, rows_of, sheet, write_maps
from ostrich.attribution.question import begun_at
from ostrich.attribution.sanity import Sanity, check_sanity
from ostrich.data.dataset import Samples
from ostrich.images import picture, write_png
from ostrich.inspection.unit_names import parse_sum
from ostrich.inspection.watching import called_again
from ostrich.models.answers import NO_ANSWER
from ostrich.models.classifier import Classifier
from ostrich.runtime import events
from ostrich.runtime.resumable import Computation
from ostrich.runtime.runs import Run
from ostrich.runtime.stopwatch import stopwatch
from ostrich.verbs.outcome import InMemory, Where, as_png, begun_on, folder_of

SHARDS = "shards"  # of a run that goes on: its finished batches


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
            with events.progress(title, len(samples)) as advance, self._pieces(run) as pieces:
                for batch in explained(
                    method, self.classifier, samples, self.units, seed=self.seed, kept=pieces
                ):
                    own, maps = rows_of(samples, batch), batch.maps.to("cpu", torch.float32)
                    if run is None:
                        kept.append(maps)
                    else:
                        write_maps(run.folder, method, own, batch.images, maps)
                    rows += own
                    advance(batch.start + len(maps), len(samples))
            whole = Explanation(self, rows, torch.cat(kept) if kept else None)
            whole.remarks += called_again(self.classifier, self._layers(rows))
            if run is not None:
                whole._written_by(run)
            if self.sanity:
                whole.check()
            if run is not None:
                whole.draw(run.folder)
            whole.figures["seconds"] = spent.seconds
        return whole

    def _layers(self, rows: list[dict[str, Any]]) -> list[str]:
        """The layers that units, and maps, were read from."""
        units = [term.layer for unit in self.units for term, _ in parse_sum(unit).terms if not term.is_output]
        return [*units, *(row["figures"]["read"] for row in rows if "read" in row["figures"])]

    def _pieces(self, run: Run | None) -> Computation:
        """Where finished batches are kept until all is done."""
        facts = {
            **network_facts(self.classifier),
            "explainer": repr(self.method),
            "units": repr(self.units),
            "images": self.samples.sha256,
            "seed": str(self.seed),
        }
        return Computation(None if run is None else run.folder / SHARDS, facts)


class Explanation(InMemory):
    """The maps of N images and U units each, and their `figures` as run.json has them.

    `units` are N lists of U names, `predictions` (N,) classes, `remarks` what is to be known of the maps,
    `sanity` what the checks found, or None. An image without an answer has the prediction NO_ANSWER, and
    where the predicted class is asked for a map of NaN, of which nothing is checked.
    """

    question: Question

    def __init__(self, question: Question, rows: list[dict[str, Any]], maps: Tensor | None) -> None:
        method, count = question.method, len(question.samples)
        self._maps, self._each = maps, len(rows) // count
        self.units = [
            [row["unit"] for row in rows[i : i + self._each]] for i in range(0, len(rows), self._each)
        ]
        self.predictions = torch.tensor([row["prediction"] for row in rows[:: self._each]])
        with_map = [i for i, k in enumerate(self.predictions.tolist()) if question.units or k != NO_ANSWER]
        self._with_map = with_map
        self.remarks = method.remarks([rows[i * self._each + u] for i in with_map for u in range(self._each)])
        if lacking := int((self.predictions == NO_ANSWER).sum()):
            without = "no class is predicted of them, and they have no map"
            self.remarks.append(
                f"{lacking} of {count} images got no answer (NaN, or no finite score): "
                f"{'what a map says of them explains none' if question.units else without}."
            )
        self.sanity: Sanity | None = None
        if question.classifier.draws > 1:
            draws = question.classifier.draws
            self.remarks.append(f"Answers are random: every map is the mean over {draws} draws, by the seed.")
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
        if self.folder is not None and (self._maps is None or self._is_there()):
            return self.folder / SHEET
        return as_png(picture(sheet(self.question.method, self._shown(SHEET_ROWS))))

    def check(self) -> None:
        """The checks of the method, with the maps that are there; none where no image has one."""
        asked, places = self.question, self._with_map
        if not places:
            return
        some = asked.samples if len(places) == len(self.units) else asked.samples.take(places)
        with begun_at(asked.seed, asked.classifier):
            self.sanity = check_sanity(
                asked.method,
                asked.classifier,
                some,
                [self.units[place] for place in places],
                known=lambda number, unit: self._known(places[number], unit),
                seed=asked.seed,
            )
        self.figures["sanity"] = self.sanity.figures()

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        if self._maps is None:
            folder_of(self)  # where they are read; refused before anything there is overwritten
        return super().save(folder, force=force)

    def write(self, run: Run) -> None:
        """Its files."""
        rows, start = self.figures["explanations"], 0
        for images, maps in self._shown(len(self.units)):
            own = rows[start * self._each : (start + len(images)) * self._each]
            write_maps(run.folder, self.question.method, own, images, maps)
            start += len(images)
        self.draw(run.folder)

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
        rows = self.figures["explanations"][start * self._each : stop * self._each]
        return read_maps(folder_of(self), rows).unflatten(0, (-1, self._each))

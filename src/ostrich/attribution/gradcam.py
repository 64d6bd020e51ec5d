"""Grad-CAM: where in a layer's map the channels lie that move a unit.

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, "Grad-CAM: visual explanations from deep
networks via gradient-based localization", section 3: with the map A of a layer before the unit y,

    weight_c = mean over the map of dy / dA_c                equation 1
    map      = relu(sum over c of weight_c * A_c)            equation 2

brought to the image's size bilinearly, the same for all channels. The map is the last one before the
unit through which everything passes (`maps.py`), rectified where the network rectifies it, be that by a
layer or by an operation; a layer that is named is read as it is. For transformers the map is the grid of
tokens. The averaging takes the place out of the gradient: for a single neuron of a layer the map shows
what it reads, not only where it reads. With `weights="each"` it is left out, and the map is
relu(sum of dy / dA_c * A_c), whose values do add up to what linear layers above make of them
(HiResCAM; Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations").
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ostrich.attribution.backward import back
from ostrich.attribution.maps import Activations, Place, before, named
from ostrich.attribution.question import SIDES, Explainer, Question, images_per_batch, not_finite
from ostrich.errors import InputError, UnknownName
from ostrich.inspection.units import look, read
from ostrich.inspection.watching import Seen, begin_at, module_of
from ostrich.models.untouched import is_scripted

WEIGHTS = ("mean", "each")
REASONS = (  # why a map can be zero everywhere
    "no place of the map speaks for the unit, all weighted sums are negative or zero",
    "the map itself is zero where it moves the unit",
    "the map's gradient is zero, so that nothing there moves the unit",
)
BARE = (nn.Conv2d, nn.BatchNorm2d)  # layers that an activation mostly follows
ATTENTION = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


@dataclass(frozen=True, kw_only=True)
class GradCAM(Explainer):
    """The channels of a layer, weighted by how they move the unit; from 0 up unless `signed`.

    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, "Grad-CAM: visual explanations from deep networks
    via gradient-based localization", section 3.

    layer    the map that is read; found unless given
    grid     rows x columns of a transformer's tokens, such as 14x14; found unless given
    weights  "mean" over the map, or "each" place its own (HiResCAM)
    signed   whether what speaks against the unit is shown too: without the relu of equation 2

    Raises UnknownName for other weights.
    """

    name: ClassVar[str] = "gradcam"
    reading: ClassVar[str] = SIDES

    layer: str | None = None
    grid: str | None = None
    weights: str = "mean"
    signed: bool = False

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise UnknownName("weights of gradcam", self.weights, WEIGHTS)
        self._given()

    def explain(self, question: Question) -> Tensor:
        found = self._for_each(question, lambda part, place: self._enlarged(part, self._maps(part, place)))
        return found[:, :, None].expand(-1, -1, question.images.shape[1], -1, -1).clone()

    def figures(self, question: Question, maps: Tensor) -> list[list[dict[str, Any]]]:
        """Which map was read, and of a map that is zero everywhere the reason."""
        network = module_of(question.classifier)
        read_at: dict[int, dict[str, Any]] = {}
        for place, units in self._places(question).items():
            plain = place.activation is None and isinstance(network.get_submodule(place.layer), BARE)
            said = {"read": str(place)} | ({"unactivated": True} if plain and self.layer is None else {})
            read_at |= dict.fromkeys(units, said)
        found = [[dict(read_at[number]) for number in own] for own in question.rows.tolist()]
        zero = ~maps.flatten(2).any(2)
        if zero.any():
            reasons = self._for_each(question, self._reasons)
            for n, u in zero.nonzero().tolist():
                found[n][u]["blank"] = REASONS[int(reasons[n, u])]
        return found

    def remarks(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        blank = [row["figures"]["blank"] for row in rows if "blank" in row["figures"]]
        bare = dict.fromkeys(row["figures"]["read"] for row in rows if "unactivated" in row["figures"])
        return [
            *not_finite(rows),
            *(
                f"The map of {layer} was read as it is: no activation was recognised behind it."
                for layer in bare
            ),
        ] + [
            f"{blank.count(reason)} of {len(rows)} maps are zero everywhere: {reason}."
            + (" gradcam with signed=true shows what speaks against it." if reason == REASONS[0] else "")
            for reason in dict.fromkeys(blank)
        ]

    def _for_each(self, question: Question, compute: Callable[[Question, Place], Tensor]) -> Tensor:
        """Results (N, U, ...), computed from each place for the units that are read there."""
        found = None
        for place, units in self._places(question).items():
            if len(units) == len(question.units):
                return compute(question, place)
            mine = torch.isin(question.rows, torch.tensor(units, device=question.rows.device))  # (N, U)
            some, columns = mine.any(1), mine.any(0)
            part = compute(question.only(units, some, columns), place)
            if found is None:
                found = part.new_zeros(*question.rows.shape, *part.shape[2:])
            found[mine] = part[mine[some][:, columns]]
        assert found is not None
        return found

    def _reasons(self, question: Question, place: Place) -> Tensor:
        """Which of REASONS would make each of the maps (N, U) zero."""
        sums, moved = self._sums(question, place)
        negative = sums.flatten(2).amin(2) < 0
        return torch.where(moved, torch.where(negative, 0, 1), 2)

    def _enlarged(self, question: Question, maps: Tensor) -> Tensor:
        height, width = question.images.shape[2:]
        return F.interpolate(maps, (height, width), mode="bilinear")

    def _places(self, question: Question) -> dict[Place, list[int]]:
        """The places that are read, and the numbers of the units for which each is."""
        if is_scripted(question.classifier.network):
            raise InputError(f"{question.classifier.name} is compiled: its layers cannot be seen.")
        grid = self._given()
        if self.layer is not None:
            return {Place(self.layer): list(range(len(question.units)))}
        known: dict[frozenset[str], Place] = {}
        places: dict[Place, list[int]] = defaultdict(list)
        for number, unit in enumerate(question.units):
            source = frozenset("" if term.is_output else term.layer for term, _ in unit.terms)
            if source not in known:
                known[source] = before(question, unit, grid)
            places[known[source]].append(number)
        return places

    def _maps(self, question: Question, place: Place) -> Tensor:
        """The maps (N, U, h, w) in the place's own size."""
        sums, _ = self._sums(question, place)
        return sums if self.signed else sums.relu()

    def _sums(self, question: Question, place: Place) -> tuple[Tensor, Tensor]:
        """The weighted sums (N, U, h, w) in the place's own size, and whether it moves the unit (N, U)."""
        found, moved = [], []
        for part in question.parts():
            count, part = len(part.images), part.filled()
            with torch.enable_grad():
                seen, output, edge = _forward(part, place)
                computed, slopes = read(part.classifier, seen, part.units), None
                if edge is not None:
                    at_once = images_per_batch(part.images, len(part.images))
                    slopes = back(computed, part.rows, edge, at_once=at_once)
            if slopes is None:
                raise InputError(
                    f"Nothing differentiable leads from layer {str(place)!r} to {part.units[0]}."
                )
            if place.activation is None:
                place = replace(place, axis=seen.axes[place.layer])
            grid = named(part.classifier, place, output, part.images, self._given())
            output = grid.lay(output.detach()).to(part.images)  # (n, C, h, w)
            slopes = grid.lay(slopes.flatten(0, 1)).unflatten(0, slopes.shape[:2])  # (n, U, C, h, w)
            slopes = slopes.to(part.images)
            if self.weights == "mean":
                sums = torch.einsum("nuc,nchw->nuhw", slopes.mean((3, 4)), output)
            else:
                sums = (slopes * output[:, None]).sum(2)
            found.append(sums[:count])
            moved.append(slopes.flatten(2).any(2)[:count])
        return torch.cat(found), torch.cat(moved)

    def _given(self) -> tuple[int, int] | None:
        if self.grid is None:
            return None
        found = re.fullmatch(r"(\d+)x(\d+)", self.grid)
        if not found or "0" in (found[1], found[2]):
            raise InputError(f"grid is ROWSxCOLUMNS, such as 14x14; got {self.grid!r}.")
        return int(found[1]), int(found[2])


def _forward(question: Question, place: Place) -> tuple[Seen, Tensor, GradientEdge | None]:
    """A forward with a graph from the place on; from the image on where it cannot begin at the place.

    What it showed, and the place's output and edge. Attention computes in another way, and rounds
    otherwise, where nothing needs a gradient: there it begins at the image, to be of one kind.
    """
    classifier, images = question.classifier, question.images.detach()
    if not any(isinstance(module, ATTENTION) for module in module_of(classifier).modules()):
        shown = _shown(question, place, images.clone(), begin=True)
        if shown[2] is not None:
            return shown
    return _shown(question, place, images.clone().requires_grad_(True).clone(), begin=False)


def _shown(
    question: Question, place: Place, images: Tensor, *, begin: bool
) -> tuple[Seen, Tensor, GradientEdge | None]:
    classifier, units = question.classifier, question.units
    if place.activation is None:
        seen = look(classifier, images, units, place.layer, begin=begin)
        return seen, seen.outputs[place.layer], seen.edges.get(place.layer)
    found: list[tuple[Tensor, GradientEdge | None]] = []

    def watch(other: Place, output: Tensor) -> None:
        if other.activation == place.activation:
            if begin and not output.requires_grad:
                begin_at(output, module_of(classifier), images)
            found.append((output.clone(), get_gradient_edge(output) if output.requires_grad else None))

    with Activations(module_of(classifier), watch):
        seen = look(classifier, images, units)
    if not found:
        raise InputError(f"{classifier.name} does not compute the same image the same way twice.")
    return seen, *found[0]

"""How signal and gradient pass through any network: each layer's second moments, and one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError
from ostrich.figures.chart import Chart, write_charts
from ostrich.inspection.units import layers as rows_of
from ostrich.inspection.watching import observe
from ostrich.models.untouched import untouched

if TYPE_CHECKING:  # a room above: this only takes classifiers
    from ostrich.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What passes through a layer for some images: of its outputs, and of the loss's gradient by them.

    `gradient` is the second moment for the summed loss, so that it does not depend on the number of images;
    None where none reaches the layer.
    """

    layer: str
    type: str
    mean: float
    deviation: float
    moment: float  # mean square
    zeros: float  # share of outputs that are exactly 0
    gradient: float | None


def signals(
    classifier: Classifier, images: Tensor, labels: Tensor, layers: Sequence[str] | None = None
) -> list[Signal]:
    """One row a layer for images (N, C, H, W) and labels (N,): the given layers, else all without children.

    The loss is cross-entropy; one forward and one backward in evaluation mode. The network is untouched.
    Raises UnknownName for a layer that does not exist, InputError for a network without gradients.
    """
    known = {row.name: row.type for row in rows_of(classifier, images[:1])}
    names = list(layers) if layers is not None else list(known)
    with untouched(classifier.network), torch.enable_grad():
        seen = observe(classifier, images.clone().requires_grad_(True), names, to_the_end=True)
        assert seen.logits is not None
        if not seen.logits.requires_grad:
            raise InputError(f"No gradient leads from the scores of {classifier.name} to its images.")
        loss = F.cross_entropy(seen.logits, labels, reduction="sum")
        edges = [seen.edges[name] for name in names if name in seen.edges]
        found = iter(torch.autograd.grad(loss, edges, allow_unused=True))
        gradients = {name: next(found) if name in seen.edges else None for name in names}
    return [_row(name, known.get(name, ""), seen.outputs[name].detach(), gradients[name]) for name in names]


def write_signals(path: Path, rows: Sequence[Signal]) -> None:
    """One figure: log10 of the second moments of signal and gradient, and the share of zeros."""

    def points(values: Sequence[float | None]) -> list[dict[str, object]]:
        chosen = [(i, v) for i, v in enumerate(values) if v is not None]
        return [{"x": i, "y": v, "label": rows[i].layer} for i, v in chosen]

    def log(value: float | None) -> float | None:
        return log10(value) if value else None

    passing = {
        "signal": points([log(row.moment) for row in rows]),
        "gradient": points([log(row.gradient) for row in rows]),
    }
    write_charts(
        path,
        [
            Chart(x_label="layer", even=True, y_label="log10 of the second moment", series=passing),
            Chart(
                x_label="layer",
                even=True,
                y_label="outputs that are zero",
                series={"zeros": points([r.zeros for r in rows])},
            ),
        ],
    )


def _row(name: str, kind: str, output: Tensor, gradient: Tensor | None) -> Signal:
    x = output.double()
    return Signal(
        layer=name,
        type=kind,
        mean=x.mean().item(),
        deviation=x.std().item(),
        moment=x.square().mean().item(),
        zeros=(x == 0).double().mean().item(),
        gradient=None if gradient is None else gradient.double().square().mean().item(),
    )

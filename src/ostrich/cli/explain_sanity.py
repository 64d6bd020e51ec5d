"""`ostrich explain ... --sanity`: what the maps of a method can be trusted to say, on this network.

    randomisation   the maps of the first RANDOMISED images while the network's layers are made random
    fading          deletion and insertion, on the first FADED images
    pointing        on the toybox, whose masks are known: every image, for its own class

Figures and sentences go into run.json, the curves into sanity/*.png.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ostrich.cli.session import Session
from ostrich.figures.chart import write_chart
from ostrich.runtime.events import progress

if TYPE_CHECKING:
    from torch import Tensor

    from ostrich.attribution import Explainer
    from ostrich.attribution.sanity import Fading, Likeness, Mean, Randomisation
    from ostrich.data.dataset import Samples
    from ostrich.models import Classifier

RANDOMISED, FADED = 16, 64  # images


def check(
    method: Explainer, session: Session, rows: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, Any]:
    """All checks; `rows` are the explanations, image by image, as in the results."""
    from ostrich.attribution.sanity import fading, randomisation

    classifier, samples = session.classifier, session.samples
    each = len(rows) // len(samples)  # units an image
    units = [[row["unit"] for row in rows[i * each : (i + 1) * each]] for i in range(len(samples))]
    some = samples.images(0, RANDOMISED).to(classifier.device, classifier.dtype)
    with progress("layers made random", 1) as advance:
        curves = randomisation(method, classifier, some, units[:RANDOMISED], seed=seed, progress=advance)
    more = samples.images(0, FADED).to(classifier.device, classifier.dtype)
    faded = fading(method, classifier, more, [own[0] for own in units[:FADED]], seed=seed)
    pointing = _pointing(method, session, rows, seed)
    _draw_randomisation(session, method.name, curves)
    _draw_fading(session, faded)
    areas = {way: getattr(faded, f"{way}_area") for way in ("deletion", "insertion")}
    sentences = [curves.sentence(method.name)]
    sentences += [_compared(way, method.name, found) for way, found in areas.items()]
    if pointing is not None:
        sentences.append(
            f"Pointing game: {method.name} hits the object in {_interval(*pointing['share'])} of "
            f"{pointing['n']} images, the centre in {_interval(*pointing['centre_share'])}."
        )
    return {
        "sentences": sentences,
        "randomisation": {"images": len(some), **_figures(curves), "picture": "sanity/randomisation.png"},
        "fading": asdict(faded) | {"picture": "sanity/fading.png"},
        "pointing": pointing,
    }


def _figures(curves: Randomisation) -> dict[str, Any]:
    """The curves layer by layer, and the controls."""
    return {
        "unread_top_layers": curves.unread,
        "layers": [
            {"layer": name, "cascading": asdict(together), "independent": asdict(alone)}
            for name, together, alone in zip(curves.layers, curves.cascading, curves.independent, strict=True)
        ],
        "controls": {
            name: asdict(getattr(curves, name)) for name in ("rerun", "edges", "noise", "edges_at_random")
        },
    }


def _pointing(
    method: Explainer, session: Session, rows: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, Any] | None:
    """The pointing game over all images, for their labels; None where masks or labels are not known.

    Maps that are written already, because the label's unit was asked for, are not computed again.
    """
    import numpy as np
    import torch

    from ostrich.attribution import explain
    from ostrich.attribution.importance import importance
    from ostrich.attribution.sanity import pointing_game
    from ostrich.inspection.unit_names import class_unit

    classifier, samples = session.classifier, session.samples
    masks = _masks(classifier, samples)
    if masks is None or samples.labels is None:
        return None
    written = {(row["index"], row["unit"]): session.run.folder / row["map_file"] for row in rows}
    found = []
    for i, label in enumerate(samples.labels.tolist()):
        unit = class_unit(classifier, label)
        if file := written.get((samples.index[i], unit)):
            maps = torch.from_numpy(np.load(file))
        else:
            image = samples.images(i, i + 1).to(classifier.device, classifier.dtype)
            maps = explain(method, classifier, image, [unit], seed=seed)[0, 0].cpu().float()
        found.append(importance(method, maps))
    game = pointing_game(torch.stack(found), masks)
    return asdict(game) | {"share": game.share, "centre_share": game.centre_share}


def _masks(classifier: Classifier, samples: Samples) -> Tensor | None:
    """The objects' masks (N, H, W) as the images were resized and cut; None for data without masks."""
    import numpy as np
    import torch
    from PIL import Image

    from ostrich.data import toyscenes
    from ostrich.images import fit

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


def _draw_randomisation(session: Session, name: str, curves: Randomisation) -> None:
    def line(likenesses: Sequence[Likeness], measure: str) -> list[dict[str, Any]]:
        found = [getattr(likeness, measure) for likeness in likenesses]
        return [
            {"x": 0, "y": 1.0, "label": "0"},
            *({"x": i + 1, "y": m.mean, "low": m.low, "high": m.high} for i, m in enumerate(found)),
        ]

    write_chart(
        session.run.folder / "sanity/randomisation.png",
        x_label="layers made random, from the output down",
        y_label="likeness to the learned network's map",
        series={
            f"{name}: rank correlation, one layer after the other": line(curves.cascading, "spearman"),
            "the same without sign": line(curves.cascading, "spearman_abs"),
            "structural similarity": line(curves.cascading, "ssim"),
            "rank correlation, the layer alone": line(curves.independent, "spearman"),
            "an edge detector": [{"x": i, "y": 1.0} for i in range(len(curves.layers) + 1)],
        },
    )


def _draw_fading(session: Session, faded: Fading) -> None:
    series = {
        f"{way}: {name}": [
            {"x": x, "y": y, "label": f"{100 * x:.0f}"} for x, y in zip(faded.fractions, curve, strict=True)
        ]
        for way, curves in (("deletion", faded.deletion), ("insertion", faded.insertion))
        for name, curve in curves.items()
    }
    write_chart(
        session.run.folder / "sanity/fading.png",
        x_label="percent of the pixels, the most important first",
        y_label="the unit (a class: its probability)",
        series=series,
    )


def _compared(way: str, name: str, areas: Mapping[str, Mean]) -> str:
    """One sentence on the areas under a curve."""
    better = "the smaller, the better" if way == "deletion" else "the larger, the better"
    told = [f"{_number(areas[of])} for {of}" for of in areas]
    return f"Area under {way} ({better}; {areas[name].n} images): {', '.join(told)}."


def _number(found: Mean) -> str:
    told = f"{found.mean:.3f}"
    return told if found.low is None else f"{told} ({found.low:.3f} to {found.high:.3f})"


def _interval(share: float, low: float, high: float) -> str:
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"

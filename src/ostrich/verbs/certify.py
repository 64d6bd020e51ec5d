"""`ostrich.certify`: lower bounds of robust accuracy, image by image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from torch import Tensor

from ostrich.attacks.engine.evidence import write_table
from ostrich.attacks.engine.resuming import network_facts
from ostrich.certification import Method, Smoothing, find
from ostrich.errors import InputError
from ostrich.figures.words import in_percent, several
from ostrich.models import Classifier
from ostrich.models.answers import predictions
from ostrich.models.untouched import untouched
from ostrich.runtime.events import progress
from ostrich.runtime.facts import settings_facts
from ostrich.runtime.resumable import Checkpoint, Computation, Content, Piece
from ostrich.runtime.runs import Run
from ostrich.runtime.settings import changed
from ostrich.statistics import wilson
from ostrich.verbs.inputs import Images, Model, as_classifier, as_samples
from ostrich.verbs.outcome import Kept, Where, begun_on

COLUMNS = ("index", "file", "label", "clean_prediction", "verdict", "margin", "radius", "seconds")
RADII = 10  # at which a certified accuracy is told, where each image has a radius of its own


class CertifyResult(Kept):
    """What holds within a budget: `rows` are the lines of images.csv, `figures` those of run.json."""

    def __init__(self, run: Run, figures: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
        super().__init__(
            "certify", run, figures, headline=("method", "norm", "eps", "n", "certified_accuracy")
        )
        self.rows = list(rows)


def certify(
    model: Model,
    data: Images,
    labels: Tensor | Sequence[int] | None = None,
    *,
    method: str | Method = "linear",
    limit: int | None = None,
    seed: int = 0,
    out: Where = None,
    force: bool = False,
    **settings: Any,
) -> CertifyResult:
    """Which images no change within a budget can mislead a network on: a lower bound of robust accuracy.

    `model` is a classifier, a module or a MODEL; `data` images (N, C, H, W) in [0, 1], a pair of them with
    labels (N,), a DataLoader, or DATA as on the command line; `labels` (N,) may stand beside. `method` is
    "linear" (CROWN with optimised slopes), "intervals", both of networks of convolutions, linear layers,
    batch norm, average pooling, ReLU and sums, or "smoothing", of any network, about its smoothed form;
    `settings` are its fields: eps=2/255, norm="l2" (`help(ostrich.certification.Linear)`). Without labels the
    clean predictions are held against. `limit` takes a seeded, class-balanced choice. `seed` decides every
    random number, `force` overwrites a finished run in `out`.

    Returns a `CertifyResult`: `figures` with `certified_accuracy` (right and verified, of n), its 95 %
    interval and a `sentence` that says of what, `rows`, and `save(folder)`. With `out` it is written there
    from the beginning, and an interrupted one goes on. Raises InputError, also for a network that cannot be
    bounded or whose answer to an image depends on the others in its batch, and UnknownName.
    """
    chosen = find(method)() if isinstance(method, str) else method
    chosen = changed(chosen, settings, chosen.name)
    classifier = as_classifier(model)
    if classifier.access != "gradient" and chosen.name != "smoothing":
        raise InputError(f"{classifier.name} {classifier.lacks}: bounds need its layers.")
    samples = as_samples(data, labels, classifier, limit=limit, seed=seed)
    asked = {"method": chosen.name, "settings": asdict(chosen)}
    with begun_on("certify", asked, classifier, samples, seed=seed, out=out, force=force) as run:
        with untouched(classifier.network):
            figures, rows = _certified(chosen, classifier, samples, seed, run)
        write_table(run.folder / "images.csv", COLUMNS, rows)
        run.finish(figures)
    return CertifyResult(run, figures, rows)


def _certified(
    method: Method, classifier: Any, samples: Any, seed: int, run: Run
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures and the lines of images.csv; each image is a piece of work with a file of its own."""
    images = samples.images().to(classifier.device)
    said = predictions(classifier.predict(images)).cpu()
    labels = said if samples.labels is None else samples.labels.cpu()
    verification = _Verification(method, classifier, tuple(images.shape[1:]), seed)
    assert verification.prepared is not None  # what cannot be bounded is refused
    facts = {**network_facts(classifier), **settings_facts(method), "seed": str(seed)}
    keys = [f"{key:x}-{int(label)}" for key, label in zip(samples.keys, labels)]
    places = {key: row for row, key in enumerate(keys)}

    def read(piece: Piece) -> tuple[Tensor, int, int, bool]:
        row = places[piece.key]
        return images[row], int(labels[row]), samples.keys[row], bool(said[row] == labels[row])

    with (
        progress(f"certifying by {method.name}", len(places)) as advance,
        Computation(run.folder / "pieces", facts, "json") as kept,
    ):
        found = kept.in_order([Piece(key) for key in places], verification, read, progress=advance)
        done = {piece.key: content for piece, _, content in found}
    rows = [
        {
            "index": samples.index[row],
            "file": samples.files[row],
            "label": int(labels[row]),
            "clean_prediction": int(said[row]),
            **{name: "" if value is None else value for name, value in done[key].items()},
        }
        for row, key in enumerate(keys)
    ]
    return _figures(method, rows, said, labels, samples.labels is not None), rows


class _Verification:
    """The verdict on one image; what is known of the network is found once in each process."""

    def __init__(self, method: Method, classifier: Classifier, shape: tuple[int, ...], seed: int) -> None:
        self._given = method, classifier, shape, seed

    def __reduce__(self) -> Any:
        return _Verification, self._given

    @cached_property
    def prepared(self) -> Any:
        """What the method knows of the network. Raises InputError where it cannot be bounded."""
        method, classifier, shape, _ = self._given
        return method.prepared(classifier, shape)

    def __call__(self, given: tuple[Tensor, int, int, bool], checkpoint: Checkpoint) -> Content:
        """Of an image (C, H, W) with its label, its key, and whether the network gets it right."""
        method, _, _, seed = self._given
        image, label, key, right = given
        started = time.perf_counter()
        if not right and method.name != "smoothing":
            return {"verdict": "wrong", "margin": None, "radius": None, "seconds": 0.0}
        found = method.verify(self.prepared, image, label, key, seed)
        return {**asdict(found), "seconds": time.perf_counter() - started}


def _figures(
    method: Method, rows: Sequence[dict[str, Any]], said: Tensor, labels: Tensor, labelled: bool
) -> dict[str, Any]:
    n, held = len(rows), [row["verdict"] for row in rows]
    low, high = wilson(held.count("verified"), n)
    figures: dict[str, Any] = {
        "method": method.name,
        "norm": method.norm,
        "eps": method.eps,
        "n": n,
        "clean_accuracy": int((said == labels).sum()) / n if labelled else None,
        "certified_accuracy": held.count("verified") / n,
        "low": low,
        "high": high,
        "abstained": held.count("abstained"),
        "seconds": sum(row["seconds"] for row in rows),
    }
    budget = f"within {method.norm} {method.eps:.4g}"
    share, least, most = (in_percent(part, 1) for part in (figures["certified_accuracy"], low, high))
    share += f" of {several(n, 'image')} ({least} to {most})"
    figures["sentence"] = f"No change {budget} misleads it on {share}, by {method.name}."
    if isinstance(method, Smoothing):
        figures["sentence"] = (
            f"Its smoothed form (sigma {method.sigma:g}) is right on {share} under every change {budget}, "
            f"with probability {1 - method.alpha:g} an image; the network itself may still be misled."
        )
        radii = [row["radius"] for row in rows if row["radius"] != ""]
        largest = max(radii, default=0.0)
        figures["by_radius"] = [
            {"radius": radius, "certified_accuracy": sum(one > radius for one in radii) / n}
            for radius in (largest * i / RADII for i in range(RADII + 1))
        ]
    return figures

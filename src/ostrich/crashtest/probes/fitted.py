"""What the probes of image-agnostic attacks share: fitted on half of the images, judged on the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.base import FittedAttack
from ostrich.attacks.engine.figures import measured
from ostrich.attacks.engine.runner import check_attack
from ostrich.attacks.fitted.artefact import Artefact, Judgement, judge
from ostrich.attacks.fitted.held_out import fit_part, hold_out_split
from ostrich.crashtest.answer import Measurement
from ostrich.crashtest.blocks import Pair
from ostrich.crashtest.context import CannotRun, Context, check_gradient
from ostrich.crashtest.summary import success
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.statistics import wilson

FEWEST = 8  # images to fit on, and to judge on


@dataclass(frozen=True, kw_only=True)
class HeldOutResult:
    """A fitted attack and what it does to images it has not seen, by their places `rows` (n,)."""

    artefact: Artefact
    judged: Judgement
    measured: Mapping[str, Any]  # what speaks for and against it, as `engine.figures` has it
    rows: Tensor
    n_fitted: int

    @property
    def figures(self) -> dict[str, Any]:
        """What is said of every such attack; `n` are the images held out that it was tried on."""
        result = self.judged.result
        hits, n = int(result.success.sum()), int(result.attacked.sum())
        return {
            "n": n,
            "n_fitted": self.n_fitted,
            "eps": self.artefact.method.threat.eps,
            "success_rate": hits / n if n else None,
            "interval": list(wilson(hits, n)) if n else None,
            "fooling_rate": self.judged.fooling_rate,
            "by_chance": self.judged.random_baseline,
            **self.measured,
        }

    @property
    def doubt(self) -> str | None:
        """Why what it left is not known; None where it is."""
        return self.measured["reason"]

    def summary(self, what: str) -> list[Measurement]:
        """Its line of the summary."""
        result = self.judged.result
        hits, n = int(result.success.sum()), int(result.attacked.sum())
        return [success(what, hits, n, [self.artefact.method.name], self.doubt)] if n else []


def fit_and_judge(context: Context, method: FittedAttack, target: int | None = None) -> HeldOutResult:
    """Fit a method on a class-balanced half of its probe's images and judge it on the other half.

    Raises CannotRun where there are too few, and for a network without gradients.
    """
    classifier = context.classifier
    check_gradient(classifier, "there is no gradient to fit by")
    check_attack(method, classifier)
    places = torch.tensor(context.rows(method.name))
    given, predictions = context.samples.labels, context.predictions[places]
    images = context.images[places]
    if len(places) // 2 < FEWEST:
        raise CannotRun(f"Too few images: {len(places)} to fit on and to judge on.")
    keys = [context.samples.keys[place] for place in places.tolist()]
    try:
        split = hold_out_split(keys, method.fit, None if given is None else given[places], context.seed)
    except InputError as error:
        raise CannotRun(str(error)) from None
    if target is not None and int((predictions[split[0]] != target).sum()) < FEWEST:
        raise CannotRun("Too few images that are not of the target class already.")
    checkpoint = context.folder / f"fitting-{method.name}.pt"
    artefact, fitted, rest = fit_part(
        method,
        classifier,
        images,
        predictions,
        split,
        keys=fingerprints(images),
        target=target,
        seed=context.seed,
        precision=context.precision,
        checkpoint=checkpoint,
        progress=context.progress,
    )
    artefact.save(context.folder / f"{method.name}.safetensors")
    context.saved.append(f"{method.name}.safetensors")
    held_out = places[rest]
    judged = judge(artefact, classifier, images[rest], context.labels[held_out], context.seed)
    checkpoint.unlink(missing_ok=True)
    return HeldOutResult(
        artefact=artefact,
        judged=judged,
        measured=measured(method.name, judged.result, classifier),
        rows=held_out,
        n_fitted=len(fitted),
    )


def examples(context: Context, found: HeldOutResult, count: int, budget: str) -> list[Pair]:
    """Before-and-after items of some held-out images that it fooled, the surest first."""
    result = found.judged.result
    order = (result.confidence * result.success).argsort(descending=True, stable=True)
    rows = [i for i in order.tolist() if result.success[i]][:count]
    name = found.artefact.method.name
    return [
        context.comparison(
            f"{name}-{context.samples.index[int(found.rows[i])]}",
            result.originals[i],
            result.images[i],
            budget,
            found.artefact.method.threat.eps,
        )
        for i in rows
    ]

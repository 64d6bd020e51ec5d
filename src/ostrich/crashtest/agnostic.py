"""What the probes of image-agnostic attacks share: fitted on half of the images, judged on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.engine import check
from ostrich.attacks.universal.artefact import Artefact, Judgement, fit_artefact, judge
from ostrich.attacks.universal.fitting import Agnostic
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.statistics import wilson
from ostrich.data.dataset import subset
from ostrich.images import fingerprints

FEWEST = 8  # images to fit on, and to judge on


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A fitted attack and what it does to images it has not seen, by their places `rows` (n,)."""

    artefact: Artefact
    judged: Judgement
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
            "by_chance": self.judged.chance,
        }


def trial(context: Context, method: Agnostic, target: int | None = None) -> Trial:
    """Fit a method on a class-balanced half of its probe's images and judge it on the other half.

    Raises CannotRun where there are too few, and for a network without gradients.
    """
    classifier = context.classifier
    if classifier.access != "gradient":
        raise CannotRun("This is a prediction function: there is no gradient to fit by.")
    check(method, classifier)
    rows = torch.tensor(context.rows(method.name))
    predictions = context.logits.argmax(1)
    given = context.samples.labels
    labels = None if given is None else given[rows].tolist()
    first = torch.zeros(len(rows), dtype=torch.bool)
    first[subset(labels, len(rows), max(1, len(rows) // 2), context.seed)] = True
    fitting, held_out = rows[first], rows[~first]
    named = None
    if target is not None:
        named = (target, classifier.class_name(target))
        fitting = fitting[predictions[fitting].cpu() != target]
    if min(len(fitting), len(held_out)) < FEWEST:
        raise CannotRun(f"Too few images: {len(fitting)} to fit on and {len(held_out)} to judge on.")
    images = context.images[fitting]
    checkpoint = context.folder / f"fitting-{method.name}.pt"
    artefact = fit_artefact(
        method,
        classifier,
        images,
        predictions[fitting],
        seen=fingerprints(images),
        target=named,
        seed=context.seed,
        precision=context.precision,
        checkpoint=checkpoint,
        progress=context.progress,
    )
    artefact.save(context.folder / f"{method.name}.safetensors")
    held_out = held_out[artefact.unseen(fingerprints(context.images[held_out])).cpu()]
    judged = judge(artefact, classifier, context.images[held_out], context.labels[held_out], context.seed)
    checkpoint.unlink(missing_ok=True)
    return Trial(artefact=artefact, judged=judged, rows=held_out, n_fitted=len(fitting))


def examples(context: Context, found: Trial, count: int, budget: str) -> list[dict[str, Any]]:
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

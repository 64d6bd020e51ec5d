"""The figures of an attack, as run.json has them, and what speaks for and against them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.engine.runner import Result
from ostrich.attacks.eot import EOT
from ostrich.attacks.goals import Goal
from ostrich.images import fingerprints
from ostrich.models.answers import NO_ANSWER
from ostrich.models.classifier import Classifier
from ostrich.runtime.randomness import keyed


def attack_figures(
    name: str,
    result: Result,
    norm: str,
    correct: Tensor,
    labelled: bool,
    seconds: float,
    classifier: Classifier | None = None,
    eot: EOT | None = None,
) -> dict[str, Any]:
    """The `results` of an attack of that name, whose gradients `eot` averaged.

    `correct` (N,) bool: right before; all with an answer, where there are no labels.
    """
    count, right = len(correct), int(correct.sum())
    broken = int(result.success.sum())
    attacked = int(result.attacked.sum())
    distances = result.distance[result.success].double()
    return {
        "n": count,
        "clean_accuracy": right / count if labelled else None,
        "success_rate": broken / attacked if attacked else None,
        "robust_accuracy": (right - broken) / count,
        **measured(name, result, classifier, averaged=eot is not None and eot.samples > 1),
        "distance": {
            "norm": norm,
            "median": _or_none(torch.quantile(distances, 0.5) if broken else None),
            "mean": _or_none(distances.mean() if broken else None),
            "max": _or_none(distances.max() if broken else None),
        },
        "forwards_per_image": result.forwards.double().mean().item(),
        "backwards_per_image": result.backwards.double().mean().item(),
        "seconds": seconds,
    }


def measured(
    name: str, result: Result, classifier: Classifier | None = None, *, averaged: bool = False
) -> dict[str, Any]:
    """What speaks for and against a robust accuracy: by which attack, and whether it could work.

    `bound` is "upper": no network is more robust than what one attack left of it; or None, with the
    `reason`, where images stand only because the attack could not work on them (of an ensemble, where no
    member could), or where answers are random and gradients were not `averaged` over them. `zero_gradient`,
    `flat_scores`, where there are any, `unattacked` and `unanswered` count images.
    """
    standing = result.attacked & ~result.success
    blind, flat = (
        int((mask & standing & ~result.worked).sum()) for mask in (result.zero_gradient, result.flat_scores)
    )
    never = int((result.unattacked & standing).sum())
    reasons = [] if classifier is None else classifier.doubts(averaged=averaged)
    if blind:
        reasons.append(f"{blind} images stand whose gradient was zero or not finite")
    if flat:
        reasons.append(f"{flat} images stand whose scores no query changed: `rays` needs labels alone")
    if never:
        reasons.append(f"{never} images stand that the attack found no way to begin with")
    return {
        "measured_by": name,
        "bound": None if reasons else "upper",
        "reason": "; ".join(reasons) or None,
        "zero_gradient": int(result.zero_gradient.sum()),
        **({"flat_scores": int(result.flat_scores.sum())} if result.flat_scores.any() else {}),
        "unattacked": int(result.unattacked.sum()),
        "unanswered": int((result.clean_predictions == NO_ANSWER).sum()),
        **({} if classifier is None or classifier.draws == 1 else _draws(classifier, result)),
    }


def _draws(classifier: Classifier, result: Result) -> dict[str, Any]:
    """Of a network whose answers are random: how successes were decided, and how often each fools."""
    shares = [round(share, 3) for share in result.fooled_draws[result.success].tolist()]
    return {"draws": {"of": classifier.draws, "needed": classifier.needed, "fooled": shares}}


def broken_by(method: InputSpecificAttack, result: Result) -> dict[str, Any]:
    """Of an ensemble, how many images each member broke, in the order in which they were run."""
    if len(method.members) == 1:
        return {}
    return {"broken_by": {title: int((result.found_by == i).sum()) for i, title in enumerate(method.titles)}}


def curve(result: Result, correct: Tensor) -> list[list[float]]:
    """Robust accuracy against budget, [[eps, accuracy], ...], from the smallest changes found.

    `correct` (N,) bool: right before. A budget of each distance at which an image falls; none is
    run anew.
    """
    found = result.distance[result.success].double().sort().values.tolist()
    right, count = int(correct.sum()), len(correct)
    return [[0.0, right / count], *([eps, (right - i - 1) / count] for i, eps in enumerate(found))]


@torch.no_grad()
def under_views(eot: EOT, classifier: Classifier, goal: Goal, result: Result, seed: int) -> dict[str, Any]:
    """How often random views, drawn anew, of the successful files reach the goal."""
    rows = result.success.nonzero()[:, 0]
    reached = []
    for row in rows:
        image = result.images[row][None]
        views = eot.apply(image, [keyed(seed, fingerprints(image)[0], 2)])
        reached.append(goal.rows(row.expand(len(views))).reached(classifier.predict(views)).double().mean())
    return {
        "samples": eot.samples,
        "views_reaching_the_goal": torch.stack(reached).mean().item() if reached else None,
    }


def _or_none(value: Tensor | None) -> float | None:
    return None if value is None else value.item()

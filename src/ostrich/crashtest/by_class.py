"""Which classes are weak, and which images fall first: what the attacks of a check did, told of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ostrich.crashtest.answer import (
    AttackOutcome,
    ByClass,
    ClassOutcome,
    Fallen,
    ProbeAnswer,
    RobustAccuracy,
)
from ostrich.crashtest.context import Context
from ostrich.crashtest.outcomes import broken_within
from ostrich.crashtest.probes.robustness import headline_point

SHOWN = 12  # images that fall first
ATTACKED = ("robustness", "worst-case", "bounds")  # probes whose images all attacks of a check are told of


def by_class(
    context: Context,
    robust: Sequence[RobustAccuracy],
    outcomes: Iterable[AttackOutcome],
    answers: Mapping[str, ProbeAnswer],
) -> ByClass | None:
    """The classes at the budget of the headline; None where nothing was attacked."""
    if not robust:
        return None
    one = headline_point(robust, context.clean_accuracy)
    fallen = broken_within(outcomes, one["norm"], one["eps"])
    asked = set(next(answers[name] for name in ATTACKED if name in answers).rows)
    labelled, correct = context.samples.labels is not None, context.correct.tolist()
    classes: dict[int, ClassOutcome] = {}
    for row, label in enumerate(context.labels.tolist()):
        found = classes.setdefault(
            label,
            {
                "name": context.classifier.class_name(label),
                "n": 0,
                "right": 0 if labelled else None,
                "attacked": 0,
                "standing": 0,
            },
        )
        found["n"] += 1
        if found["right"] is not None:
            found["right"] += correct[row]
        if row in asked and correct[row]:
            found["attacked"] += 1
            found["standing"] += row not in fallen
    lines = sorted(classes.values(), key=_strength)
    return {"norm": one["norm"], "eps": one["eps"], "classes": lines}


def _strength(one: ClassOutcome) -> tuple[float, float, str]:
    """Of a class: what stood of what was attacked, then what was right; one that was not attacked is last."""
    stood = one["standing"] / one["attacked"] if one["attacked"] else 1.0
    return stood, (one["right"] or 0) / one["n"], one["name"]


def first_to_fall(
    context: Context, outcomes: Iterable[AttackOutcome], clean_files: Sequence[str]
) -> list[Fallen]:
    """The images that fall to the smallest change of a value (Linf), nearest first."""
    nearest: dict[int, tuple[float, str]] = {}
    for one in outcomes:
        if one["norm"] == "linf":
            for place, distance in one["broken"].items():
                found = (distance, one["attack"])
                nearest[int(place)] = min(nearest.get(int(place), found), found)
    labels = context.labels.tolist()
    order = sorted(nearest, key=lambda row: (nearest[row][0], row))[:SHOWN]
    return [
        {
            "index": context.samples.index[row],
            "file": context.samples.files[row],
            "name": context.classifier.class_name(labels[row]),
            "norm": "linf",
            "distance": nearest[row][0],
            "attack": nearest[row][1],
            "clean_file": clean_files[row],
        }
        for row in order
    ]

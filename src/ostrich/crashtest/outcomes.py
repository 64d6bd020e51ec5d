"""What all attacks of a check together left of its images: one meaning of robust accuracy.

Every attack on images of the check leaves an outcome: which it was tried on, which it broke, at which
distance, and on which it could not work. Robust accuracy at a budget is the least that any of them left: an
image falls where any attack broke it within that budget. It is an upper bound. Where an image stands only
because no attack could work on it, or where the doctor finds that gradients lie, it is not known. Nor is it
where the doctor was asked and had no time to look, and most of what stands fell at no budget: what falls at a
larger one shows that the attack leads somewhere. Where none stands at all, 0 is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.engine.result import Result
from ostrich.crashtest.answer import AttackOutcome, ProbeAnswer, RobustAccuracy
from ostrich.diagnosis.checks import out_of_time
from ostrich.statistics import wilson

CLOSE = 1e-6  # relative, of distances and budgets
MASKING = (
    frozenset(  # what the doctor calls a network whose gradients, or answers, do not say what moves them
        (
            *("zero-gradient", "nan-gradient", "constant-gradient", "masked-gradient", "quantized-input"),
            "other-classes-off",
            *("noise-beats-gradient", "more-steps-weaker", "larger-budget-weaker", "unbounded-attack-fails"),
            *("black-box-beats-white-box", "transfer-beats-white-box"),
            *("stochastic-output", "batch-dependent-output", "constant-output", "single-score"),
        )
    )
)

MASKING_CHECKS = frozenset(  # the doctor's, that find them
    (
        *("the same answer twice", "neighbours in the batch", "outputs that depend on the image"),
        *("steps in the output", "gradients", "gradients against differences", "noise against gradients"),
        *("more steps", "larger budgets", "an attack without bounds", "an attack without gradients"),
    )
)


def outcome(method: InputSpecificAttack, rows: Tensor, result: Result) -> AttackOutcome:
    """What an attack did to the images at `rows` (n,)."""
    places = rows.tolist()
    broken = result.success.tolist()
    blind = (result.zero_gradient | result.flat_scores) & ~result.worked
    useless = (blind | result.unattacked).tolist()
    distance = result.distance.tolist()
    eps = method.threat.eps
    return {
        "attack": method.title,
        "norm": method.threat.norm,
        "eps": eps if eps < float("inf") else None,
        "rows": places,
        "broken": {str(row): distance[i] for i, row in enumerate(places) if broken[i]},
        "useless": [row for i, row in enumerate(places) if useless[i] and not broken[i]],
    }


def broken_within(outcomes: Iterable[AttackOutcome], norm: str, eps: float) -> set[int]:
    """The images that any attack broke within a budget."""
    known = (one["broken"].items() for one in outcomes if one["norm"] == norm)
    return {int(row) for broken in known for row, size in broken if size <= eps * (1 + CLOSE)}


def _tried(one: AttackOutcome, eps: float) -> set[int]:
    """The images that an attack was tried on at a budget: what stands at a larger one stands there too."""
    rows = set(one["rows"])
    if one["eps"] is None or abs(one["eps"] - eps) <= CLOSE * eps:
        return rows
    return rows - set(map(int, one["broken"])) if one["eps"] > eps else set()


def robust_accuracy(
    norm: str,
    eps: float,
    rows: Sequence[int],
    correct: Sequence[bool],
    outcomes: Iterable[AttackOutcome],
    against: Sequence[str] = (),
    late: str | None = None,
) -> RobustAccuracy:
    """The figure at one budget over the images at `rows`; `correct` are right without an attack.

    `against` are reasons that speak against every such figure, `late` what the doctor had no time for.
    """
    outcomes = list(outcomes)
    right = [row for row, was in zip(rows, correct, strict=True) if was]
    standing, names = set(right), []
    worked: set[int] = set()
    for one in outcomes:
        if one["norm"] != norm:
            continue
        fallen = broken_within([one], norm, eps) & set(right)
        tried = _tried(one, eps)
        worked |= tried - set(one["useless"])
        if fallen or tried & set(right):
            names.append(one["attack"])
        standing -= fallen
    reasons = list(against)
    if blind := len(standing - worked):
        reasons.append(f"{blind} of {len(standing)} images stand because no attack could work on them")
    firm = standing - {int(row) for one in outcomes for row in one["broken"]}
    if late is not None and 2 * len(firm) > len(standing):
        reasons.append(f"{len(firm)} of {len(standing)} that stand fall at no budget, and {late}")
    low, high = wilson(len(standing), len(rows))
    return {
        "norm": norm,
        "eps": eps,
        "robust_accuracy": len(standing) / len(rows),
        "low": low,
        "high": high,
        "n": len(rows),
        "measured_by": sorted(set(names)),
        "bound": None if reasons else "upper",
        "reason": "; ".join(reasons) or None,
    }


def _doubts(doctor: ProbeAnswer | None) -> Iterator[str]:
    """What the doctor says against a figure of robustness."""
    figures: Mapping[str, Any] = {} if doctor is None else doctor.figures
    codes = [finding["code"] for finding in figures.get("findings", [])]
    if masking := [code for code in codes if code in MASKING]:
        yield f"the doctor finds {', '.join(masking)}"
    if doctor is not None and not doctor.done:
        yield "the doctor gave no answer"


def _late(doctor: ProbeAnswer | None) -> str | None:
    """What the doctor had no time for, of its checks that find that gradients lie."""
    if doctor is None:
        return "the doctor had no time"
    late = [name for name in out_of_time(doctor.figures.get("skipped", [])) if name in MASKING_CHECKS]
    if not late:
        return None
    more = f" and {len(late) - 1} more of its checks" if len(late) > 1 else ""
    return f"the doctor had no time for {late[0]}{more}"


def combined(
    answers: Mapping[str, ProbeAnswer],
    correct: Sequence[bool],
    known: Sequence[str] = (),
    *,
    doctor: bool = False,
) -> list[RobustAccuracy]:
    """The figures of a check, smallest budget first, from the answers of its probes.

    A budget is one of the sweep of `robustness`, or of `bounds` where that one attacked by itself, or that
    of `worst-case`; its images are those of the
    probe. `correct` (N,) is of all images of the check, `known` what speaks against every figure besides.
    `doctor` says that the doctor was asked.
    """
    outcomes = [one for answer in answers.values() for one in answer.outcomes]
    answer = answers.get("doctor")
    against, late = [*known, *_doubts(answer)], _late(answer) if doctor else None
    budgets: dict[tuple[str, float], list[int]] = {}
    for name in ("bounds", "worst-case", "robustness"):  # the sweep's images count where both know a budget
        answer = answers.get(name)
        if answer is not None and answer.done:
            budgets |= dict.fromkeys(answer.budgets, answer.rows)
    return [
        robust_accuracy(norm, eps, rows, [correct[row] for row in rows], outcomes, against, late)
        for (norm, eps), rows in sorted(budgets.items(), key=lambda one: (one[0][0] != "linf", one[0]))
        if rows
    ]

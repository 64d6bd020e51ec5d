"""Gates: does the network pass? And is it worse than it was?

`--fail-under linf:1/255=0.2` asks for a robust accuracy of at least 0.2 at that budget,
`--fail-under corruption:3=0.5` for a mean accuracy of 0.5 under the common corruptions of severity 3,
`--fail-under certified:linf:2/255=0.4` for a share of 0.4 that no change within a budget can mislead;
`--baseline run.json` for no figure below that run's 95 % interval, and for every figure that it knew. A
gate that cannot be judged is not passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ostrich.attacks.threats import NORMS
from ostrich.corruptions import SEVERITIES
from ostrich.crashtest.answer import Gate, NotRun, ProbeAnswer, RobustAccuracy
from ostrich.crashtest.comparable import SWEPT, comparable, images_of, unlabelled, was_asked
from ostrich.crashtest.context import certified_name, robust_name
from ostrich.errors import InputError, UnknownName
from ostrich.runtime.runs import EDITED
from ostrich.runtime.settings import read_value

Asked = Literal["robust", "corruption", "certified"]
EXPECTED = "NORM:EPS=ACCURACY is expected: linf:1/255=0.2, corruption:3=0.5, or certified:linf:2/255=0.4."
OTHER_IMAGES = "The images are not the same ones."
WAS_EDITED = "A run.json was edited after it was written."


@dataclass(frozen=True, kw_only=True)
class Floor:
    """An accuracy that is asked for: robust or certified at a budget, or under corruptions of a severity.

    Of corruptions the severity is `eps`, and there is no norm.
    """

    text: str
    norm: str
    eps: float
    accuracy: float
    kind: Asked = "robust"


def read_floor(text: str) -> Floor:
    """`linf:1/255=0.2`, `corruption:3=0.5` or `certified:linf:2/255=0.4` as a Floor. Raises InputError."""
    budget, equals, accuracy = text.partition("=")
    *names, eps = budget.split(":")
    if not equals or not names:
        raise InputError(f"--fail-under {text!r}: {EXPECTED}")
    kind: Asked = next((one for one in get_args(Asked)[1:] if one == names[0]), "robust")
    names = names if kind == "robust" else names[1:]
    if len(names) != (kind != "corruption"):
        raise InputError(f"--fail-under {text!r}: {EXPECTED}")
    norm = names[0] if names else ""
    if kind != "corruption" and norm not in SWEPT:
        raise UnknownName("norm of --fail-under", norm, (*SWEPT, *get_args(Asked)[1:]))
    floor = Floor(
        text=text,
        kind=kind,
        norm=norm,
        eps=read_value("eps", eps, float),
        accuracy=read_value("accuracy", accuracy, float),
    )
    if kind != "corruption":
        NORMS[norm](floor.eps)  # refuses a negative budget
    elif floor.eps not in SEVERITIES:
        raise InputError(f"--fail-under {text!r}: the severity of corruptions is 1, 2, 3, 4 or 5.")
    if not 0 <= floor.accuracy <= 1:
        raise InputError(f"--fail-under {text!r}: an accuracy lies between 0 and 1.")
    return floor


def judge(
    floor: Floor,
    robust: Sequence[RobustAccuracy],
    answers: Mapping[str, ProbeAnswer],
    not_run: Sequence[NotRun],
    labelled: bool,
    right: tuple[int, int] | None = None,
) -> Gate:
    """Whether what was found reaches the floor; what is not known can fail, and cannot pass.

    `right` are the images right without an attack, and all.
    """
    if floor.kind == "robust":
        return judge_floor(floor, robust, labelled, right)
    if floor.kind == "corruption":
        figures = answers["corruptions"].figures if "corruptions" in answers else {}
        return judge_corruption(floor, figures, labelled)
    late = next((one["reason"] for one in not_run if one["probe"] == "bounds"), None)
    return judge_certified(floor, answers.get("bounds"), late, labelled)


def judge_floor(
    floor: Floor,
    robust: Sequence[RobustAccuracy],
    labelled: bool,
    right: tuple[int, int] | None = None,
) -> Gate:
    """Whether the robust accuracy reaches the floor; what is not known can fail, and cannot pass.

    Without an attack it is known where the budget is 0, and where no image is `right` before.
    """
    what = robust_name(floor.norm, floor.eps)
    if not labelled:
        return _gate("fail-under", floor.text, None, "Images without labels have no accuracy to judge.")
    at_budget = (one for one in robust if one["norm"] == floor.norm and abs(one["eps"] - floor.eps) < 1e-9)
    found = next(at_budget, None)
    if found is None and right is not None and (floor.eps == 0 or right[0] == 0):
        value, told = right[0] / right[1], f"n = {right[1]}, without an attack"
        return _judged(floor, what, value, told)
    if found is None:
        return _gate("fail-under", floor.text, None, f"The {what} was not measured.")
    value = found["robust_accuracy"]
    if value >= floor.accuracy and found["bound"] is None:
        sentence = f"The {what} is not known, at most {value:.3f}: {found['reason']}."
        return _gate("fail-under", floor.text, None, sentence)
    return _judged(floor, what, value, f"n = {found['n']}, by {', '.join(found['measured_by'])}")


def judge_corruption(floor: Floor, figures: Mapping[str, Any], labelled: bool) -> Gate:
    """Whether the mean accuracy under corruptions, of the probe's figures, reaches the floor."""
    what = f"mean accuracy under corruptions of severity {floor.eps:g}"
    if not labelled:
        return _gate("fail-under", floor.text, None, "Images without labels have no accuracy to judge.")
    found = (figures.get("severities") or {}).get(f"{floor.eps:g}")
    if found is None:
        return _gate("fail-under", floor.text, None, f"The {what} was not measured.")
    return _judged(floor, what, found["accuracy"], f"n = {found['n']}")


def judge_certified(floor: Floor, answer: ProbeAnswer | None, late: str | None, labelled: bool) -> Gate:
    """Whether the certified accuracy of the probe `bounds` reaches the floor; `late`: why it had no time.

    Where an image is both verified and broken, bounds are not to be trusted, and nothing passes.
    """
    what = certified_name(floor.norm, floor.eps)
    if not labelled:
        return _gate("fail-under", floor.text, None, "Images without labels have no accuracy to judge.")
    if answer is None or not answer.done:
        why = late or "The probe bounds was not asked for." if answer is None else answer.reason
        return _gate("fail-under", floor.text, None, f"The {what} was not measured. {why}")
    points = [one for one in answer.figures[floor.norm] if abs(one["x"] - floor.eps) < 1e-9]
    value, n = points[0]["y"], answer.figures["n"]
    if value >= floor.accuracy and (both := answer.figures["both_verified_and_broken"]):
        sentence = f"The {what} is not known: of {n} images {len(both)} are both verified and broken."
        return _gate("fail-under", floor.text, None, sentence)
    return _judged(floor, what, value, f"n = {n}, by {answer.figures['method']}")


def judge_baseline(path: str, baseline: Mapping[str, Any], now: Mapping[str, Any]) -> Gate:
    """Whether any figure lies below the interval of the same figure of an earlier run.

    Both are runs as run.json has them: {results, asked, data}. What is not known now, though it was and was
    asked for, cannot pass.

    That run's interval alone counts, as the contract says. So of a network that did not change, judged on as
    many other images, a figure falls below it by chance in one of 12 runs; on the same images hardly ever.
    """
    before, found = comparable(baseline), comparable(now)
    results = now.get("results") or {}
    if before and found and (unlabelled(baseline.get("results") or {}) or unlabelled(results)):
        return _gate("baseline", path, None, "Images without labels have no accuracy to judge.")
    if not any(name in found for name in before):
        return _gate("baseline", path, None, "The two runs have no figure in common.")
    then = {name: one for name, one in before.items() if one["known"]}
    worse = [n for n in then if n in found and found[n]["value"] < then[n]["low"]]
    remark = f" {told}" if (told := remark_on(baseline, now)) else ""
    if worse:
        listed = "; ".join(f"{n}: {then[n]['value']:.3f} then, {found[n]['value']:.3f} now" for n in worse)
        return _gate("baseline", path, False, f"Worse than before: {listed}.{remark}")
    both = [n for n in then if n in found and found[n]["known"]]
    lost = [n for n in then if n not in both and (n in found or was_asked(then[n], results))]
    if lost:
        return _gate("baseline", path, None, f"No longer known: {', '.join(lost)}.{remark}")
    if not both:
        return _gate("baseline", path, None, f"The two runs have no known figure in common.{remark}")
    return _gate("baseline", path, True, f"None of {len(both)} figures fell below its interval.{remark}")


def remark_on(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What else to know of two runs before one believes their comparison: "", or one or two sentences."""
    remarks = [OTHER_IMAGES] if images_of(baseline) != images_of(now) else []
    if baseline.get(EDITED) or now.get(EDITED):
        remarks.append(WAS_EDITED)
    return " ".join(remarks)


def _judged(floor: Floor, what: str, value: float, told: str) -> Gate:
    """The gate on a value that is known, with as many digits as tell it from the floor; `told`: of what."""
    reaches = value >= floor.accuracy
    shown = (f"{value:.{digits}f}" for digits in range(3, 17))
    text = next((text for text in shown if (float(text) >= floor.accuracy) == reaches), repr(value))
    verb = "reaches" if reaches else "stays below"
    return _gate(
        "fail-under", floor.text, reaches, f"The {what} is {text} ({told}): it {verb} {floor.accuracy}."
    )


def _gate(kind: Literal["fail-under", "baseline"], text: str, passed: bool | None, sentence: str) -> Gate:
    return {"kind": kind, "text": text, "passed": passed, "sentence": sentence}

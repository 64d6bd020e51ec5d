"""Gates: does the network pass? And is it worse than it was?

`--fail-under linf:1/255=0.2` asks for a robust accuracy of at least 0.2 at that budget,
`--fail-under corruption:3=0.5` for a mean accuracy of 0.5 under the common corruptions of severity 3,
`--fail-under certified:linf:2/255=0.4` for a share of 0.4 that no change within a budget can mislead;
`--baseline run.json` for no figure below that run's 95 % interval. A gate that cannot be judged is
not passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ostrich.attacks.threats import NORMS
from ostrich.corruptions import SEVERITIES
from ostrich.crashtest.answer import Gate, NotRun, ProbeAnswer, RobustAccuracy
from ostrich.crashtest.context import certified_name, robust_name
from ostrich.crashtest.summary import CLEAN, UNDER_CORRUPTION
from ostrich.errors import InputError, UnknownName
from ostrich.runtime.settings import read_value
from ostrich.statistics import wilson

SWEPT = ("linf", "l2")
Asked = Literal["robust", "corruption", "certified"]
EXPECTED = "NORM:EPS=ACCURACY is expected: linf:1/255=0.2, corruption:3=0.5, or certified:linf:2/255=0.4."


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
) -> Gate:
    """Whether what was found reaches the floor; what is not known can fail, and cannot pass."""
    if floor.kind == "robust":
        return judge_floor(floor, robust, labelled)
    if floor.kind == "corruption":
        figures = answers["corruptions"].figures if "corruptions" in answers else {}
        return judge_corruption(floor, figures, labelled)
    late = next((one["reason"] for one in not_run if one["probe"] == "bounds"), None)
    return judge_certified(floor, answers.get("bounds"), late, labelled)


def judge_floor(floor: Floor, robust: Sequence[RobustAccuracy], labelled: bool) -> Gate:
    """Whether the robust accuracy reaches the floor; what is not known can fail, and cannot pass."""
    what = robust_name(floor.norm, floor.eps)
    if not labelled:
        return _gate("fail-under", floor.text, None, "Images without labels have no accuracy to judge.")
    at_budget = (one for one in robust if one["norm"] == floor.norm and abs(one["eps"] - floor.eps) < 1e-9)
    found = next(at_budget, None)
    if found is None:
        return _gate("fail-under", floor.text, None, f"The {what} was not measured.")
    value, reaches = found["robust_accuracy"], found["robust_accuracy"] >= floor.accuracy
    if reaches and found["bound"] is None:
        sentence = f"The {what} is not known, at most {value:.3f}: {found['reason']}."
        return _gate("fail-under", floor.text, None, sentence)
    verb = "reaches" if reaches else "stays below"
    by = ", ".join(found["measured_by"])
    sentence = f"The {what} is {value:.3f} (n = {found['n']}, by {by}): it {verb} {floor.accuracy}."
    return _gate("fail-under", floor.text, reaches, sentence)


def judge_corruption(floor: Floor, figures: Mapping[str, Any], labelled: bool) -> Gate:
    """Whether the mean accuracy under corruptions, of the probe's figures, reaches the floor."""
    what = f"mean accuracy under corruptions of severity {floor.eps:g}"
    if not labelled:
        return _gate("fail-under", floor.text, None, "Images without labels have no accuracy to judge.")
    found = (figures.get("severities") or {}).get(f"{floor.eps:g}")
    if found is None:
        return _gate("fail-under", floor.text, None, f"The {what} was not measured.")
    reaches = found["accuracy"] >= floor.accuracy
    verb = "reaches" if reaches else "stays below"
    sentence = f"The {what} is {found['accuracy']:.3f} (n = {found['n']}): it {verb} {floor.accuracy}."
    return _gate("fail-under", floor.text, reaches, sentence)


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
    reaches = value >= floor.accuracy
    if reaches and (both := answer.figures["both_verified_and_broken"]):
        sentence = f"The {what} is not known: of {n} images {len(both)} are both verified and broken."
        return _gate("fail-under", floor.text, None, sentence)
    verb = "reaches" if reaches else "stays below"
    sentence = (
        f"The {what} is {value:.3f} (n = {n}, by {answer.figures['method']}): it {verb} {floor.accuracy}."
    )
    return _gate("fail-under", floor.text, reaches, sentence)


def judge_baseline(
    path: str, baseline: Mapping[str, Any], results: Mapping[str, Any], data: Mapping[str, Any]
) -> Gate:
    """Whether any figure lies below the interval of the same figure of an earlier run.

    That run's interval alone counts, as the contract says. So of a network that did not change, judged on as
    many other images, a figure falls below it by chance in one of 12 runs; on the same images hardly ever.
    """
    before = comparable(baseline.get("results") or {})
    now = comparable(results)
    shared = [name for name in before if name in now]
    if not shared:
        return _gate("baseline", path, None, "The two runs have no figure in common.")
    worse = [n for n in shared if now[n]["value"] < before[n]["low"]]
    other = (baseline.get("data") or {}).get("sha256") != data.get("sha256")
    remark = " The images are not the same ones." if other else ""
    if not worse and (lost := [n for n in shared if before[n]["known"] and not now[n]["known"]]):
        return _gate("baseline", path, None, f"No longer known: {', '.join(lost)}.{remark}")
    if not worse:
        return _gate(
            "baseline", path, True, f"None of {len(shared)} figures fell below its interval.{remark}"
        )
    listed = "; ".join(f"{n}: {before[n]['value']:.3f} then, {now[n]['value']:.3f} now" for n in worse)
    return _gate("baseline", path, False, f"Worse than before: {listed}.{remark}")


def comparable(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The accuracies of a run by name: {"robust accuracy at linf 1/255": {value, low, high, known}}.

    Of a check; one of version 0.1 has its robust accuracies in the probe alone, and they are PGD's. Of an
    attack they are its clean and its robust accuracy, with the intervals of n images.
    Under corruptions it is the mean at severity 3, where the images have labels.
    """
    found: dict[str, dict[str, Any]] = {}
    if "probes" not in results and "robustness" not in results:
        return _of_attack(results)
    probes = results.get("probes") or {}
    clean = probes.get("clean") or {}
    if clean.get("accuracy") is not None:
        low, high = clean["interval"]
        found[CLEAN] = {"value": clean["accuracy"], "low": low, "high": high, "known": True}
    corrupted = probes.get("corruptions") or {}
    judged = (corrupted.get("severities") or {}).get("3")
    if judged is not None and corrupted["labelled"]:
        low, high = judged["interval"]
        found[UNDER_CORRUPTION] = {"value": judged["accuracy"], "low": low, "high": high, "known": True}
    bounds = probes.get("bounds") or {}
    trusted = not bounds.get("both_verified_and_broken")
    for norm in SWEPT:
        for point in bounds.get(norm) or []:
            kept = {"value": point["y"], "low": point["low"], "high": point["high"], "known": trusted}
            found[certified_name(norm, point["x"])] = kept
    for one in robustness_of(results):
        name = robust_name(one["norm"], one["eps"])
        found[name] = {"value": one["robust_accuracy"], "low": one["low"], "high": one["high"]}
        found[name]["known"] = one.get("bound", "upper") is not None
    return found


def robustness_of(results: Mapping[str, Any]) -> list[RobustAccuracy]:
    """The robust accuracies of a check; those of version 0.1 stand in the probe alone, and are PGD's."""
    if results.get("robustness") is not None:
        found: list[RobustAccuracy] = results["robustness"]
        return found
    figures = (results.get("probes") or {}).get("robustness") or {}
    return [
        {
            "norm": norm,
            "eps": point["x"],
            "robust_accuracy": point["y"],
            "low": point["low"],
            "high": point["high"],
            "n": figures["n"],
            "measured_by": ["pgd"],
            "bound": "upper",
            "reason": None,
        }
        for norm in SWEPT
        for point in figures.get(norm, [])
        if point["x"] > 0
    ]


def _of_attack(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in ("clean_accuracy", "robust_accuracy"):
        value, n = results.get(name), results.get("n")
        if isinstance(value, float) and isinstance(n, int) and n > 0:
            low, high = wilson(round(value * n), n)
            known = name == "clean_accuracy" or results.get("bound", "upper") is not None
            found[name.replace("_", " ")] = {"value": value, "low": low, "high": high, "known": known}
    return found


def _gate(kind: Literal["fail-under", "baseline"], text: str, passed: bool | None, sentence: str) -> Gate:
    return {"kind": kind, "text": text, "passed": passed, "sentence": sentence}

"""Gates: does the network pass? And is it worse than it was?

`--fail-under linf:1/255=0.2` asks for a robust accuracy of at least 0.2 at that budget,
`--fail-under corruption:3=0.5` for a mean accuracy of 0.5 under the common corruptions of severity 3;
`--baseline run.json` for no figure below that run's 95 % interval. A gate that cannot be judged is
not passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ostrich.attacks.threats import NORMS
from ostrich.corruptions import SEVERITIES
from ostrich.crashtest.answer import Gate, RobustAccuracy
from ostrich.crashtest.context import robust_name
from ostrich.crashtest.summary import CLEAN, UNDER_CORRUPTION
from ostrich.errors import InputError, UnknownName
from ostrich.runtime.settings import read_value
from ostrich.statistics import wilson

SWEPT = ("linf", "l2")
CORRUPTION = "corruption"  # in the place of a norm; the budget is then a severity


@dataclass(frozen=True, kw_only=True)
class Floor:
    """An accuracy that is asked for at a budget, or under corruptions, whose severity is then `eps`."""

    text: str
    norm: str
    eps: float
    accuracy: float


def read_floor(text: str) -> Floor:
    """`linf:1/255=0.2` or `corruption:3=0.5` as a Floor. Raises InputError."""
    budget, equals, accuracy = text.partition("=")
    norm, colon, eps = budget.partition(":")
    if not equals or not colon:
        raise InputError(
            f"--fail-under {text!r}: NORM:EPS=ACCURACY is expected: linf:1/255=0.2, or corruption:3=0.5."
        )
    if norm not in (*SWEPT, CORRUPTION):
        raise UnknownName("norm of --fail-under", norm, (*SWEPT, CORRUPTION))
    floor = Floor(
        text=text,
        norm=norm,
        eps=read_value("eps", eps, float),
        accuracy=read_value("accuracy", accuracy, float),
    )
    if norm != CORRUPTION:
        NORMS[norm](floor.eps)  # refuses a negative budget
    elif floor.eps not in SEVERITIES:
        raise InputError(f"--fail-under {text!r}: the severity of corruptions is 1, 2, 3, 4 or 5.")
    if not 0 <= floor.accuracy <= 1:
        raise InputError(f"--fail-under {text!r}: an accuracy lies between 0 and 1.")
    return floor


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


def judge_baseline(
    path: str, baseline: Mapping[str, Any], results: Mapping[str, Any], data: Mapping[str, Any]
) -> Gate:
    """Whether any figure lies below the interval of the same figure of an earlier run."""
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

"""Gates: does the network pass? And is it worse than it was?

`--fail-under linf:1/255=0.2` asks for a robust accuracy of at least 0.2 at that budget;
`--baseline run.json` for no figure below that run's 95 % interval. A gate that cannot be judged is
not passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostrich.attacks.threats import NORMS
from ostrich.crashtest.context import budget_text
from ostrich.errors import InputError, UnknownName
from ostrich.settings import read_value

SWEPT = ("linf", "l2")


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A robust accuracy that is asked for at a budget."""

    text: str
    norm: str
    eps: float
    accuracy: float


def read_floor(text: str) -> Floor:
    """`linf:1/255=0.2` as a Floor. Raises InputError."""
    budget, equals, accuracy = text.partition("=")
    norm, colon, eps = budget.partition(":")
    if not equals or not colon:
        raise InputError(f"--fail-under {text!r}: NORM:EPS=ACCURACY is expected, for example linf:1/255=0.2.")
    if norm not in SWEPT:
        raise UnknownName("norm of --fail-under", norm, SWEPT)
    floor = Floor(
        text=text,
        norm=norm,
        eps=read_value("eps", eps, float),
        accuracy=read_value("accuracy", accuracy, float),
    )
    NORMS[norm](floor.eps)  # refuses a negative budget
    if not 0 <= floor.accuracy <= 1:
        raise InputError(f"--fail-under {text!r}: an accuracy lies between 0 and 1.")
    return floor


def judge_floor(floor: Floor, probes: Mapping[str, Any], labelled: bool) -> dict[str, Any]:
    """Whether the measured robust accuracy reaches the floor."""
    what = f"robust accuracy at {floor.norm} {budget_text(floor.norm, floor.eps)}"
    if not labelled:
        return _gate("fail-under", floor.text, None, "Images without labels have no accuracy to judge.")
    found = _point(probes, floor.norm, floor.eps)
    if found is None:
        return _gate("fail-under", floor.text, None, f"The {what} was not measured.")
    passed = found["y"] >= floor.accuracy
    verb = "reaches" if passed else "stays below"
    return _gate(
        "fail-under", floor.text, passed, f"The {what} is {found['y']:.3f}: it {verb} {floor.accuracy}."
    )


def judge_baseline(
    path: str, baseline: Mapping[str, Any], probes: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Whether any figure lies below the interval of the same figure of an earlier run."""
    before = comparable((baseline.get("results") or {}).get("probes", {}))
    now = comparable(probes)
    shared = [name for name in before if name in now]
    if not shared:
        return _gate("baseline", path, None, "The two runs have no figure in common.")
    worse = [n for n in shared if now[n]["value"] < before[n]["low"]]
    other = (baseline.get("data") or {}).get("sha256") != data.get("sha256")
    remark = " The images are not the same ones." if other else ""
    if not worse:
        return _gate(
            "baseline", path, True, f"None of {len(shared)} figures fell below its interval.{remark}"
        )
    listed = "; ".join(f"{n}: {before[n]['value']:.3f} then, {now[n]['value']:.3f} now" for n in worse)
    return _gate("baseline", path, False, f"Worse than before: {listed}.{remark}")


def comparable(probes: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The accuracies of a check by name, with their intervals: {"linf 1/255": {value, low, high}}."""
    found: dict[str, dict[str, float]] = {}
    clean = probes.get("clean") or {}
    if clean.get("accuracy") is not None:
        low, high = clean["interval"]
        found["clean accuracy"] = {"value": clean["accuracy"], "low": low, "high": high}
    for norm in SWEPT:
        for point in (probes.get("robustness") or {}).get(norm, []):
            if point["x"] > 0:
                name = f"robust accuracy at {norm} {point['label']}"
                found[name] = {"value": point["y"], "low": point["low"], "high": point["high"]}
    return found


def _point(probes: Mapping[str, Any], norm: str, eps: float) -> dict[str, Any] | None:
    points = (probes.get("robustness") or {}).get(norm, [])
    return next((p for p in points if abs(p["x"] - eps) < 1e-9), None)


def _gate(kind: str, text: str, passed: bool | None, sentence: str) -> dict[str, Any]:
    return {"kind": kind, "text": text, "passed": passed, "sentence": sentence}

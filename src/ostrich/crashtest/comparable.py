"""The figures of a run by name: what two runs can be compared by, and which of them are known.

Runs are as run.json has them: {results, asked, ...}. What a run did not measure, was not asked for, or has no
labels for, is told apart here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ostrich.crashtest.answer import RobustAccuracy
from ostrich.crashtest.context import certified_name, robust_name
from ostrich.crashtest.summary import CLEAN, UNDER_CORRUPTION
from ostrich.errors import InputError
from ostrich.statistics import wilson

SWEPT = ("linf", "l2")


def comparable(run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The accuracies of a run by name: {"robust accuracy at linf 1/255": {value, low, high, known, ...}}.

    Of a check, with the `probe` and `norm` of each; one of version 0.1 has its robust accuracies in the probe
    alone, and they are PGD's. Under corruptions it is the mean at severity 3, where the images have labels.
    Of an attack or of bounds they are its clean and its robust or certified accuracy, with the intervals of n
    images. Raises InputError for a run.json that was changed into something else.
    """
    results = run.get("results") or {}
    try:
        return _of_check(results) if _is_check(results) else _of_one(results, run.get("asked") or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        name = run.get("command") or "a run"
        raise InputError(f"The figures of {name} are not as Ostrich writes them ({error!r}).") from None


def images_of(run: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """What tells the images of a run from those of another: their checksum, and how many were asked about."""
    data, results = run.get("data") or {}, run.get("results") or {}
    return data.get("sha256"), results.get("n", data.get("n"))


def unlabelled(results: Mapping[str, Any]) -> bool:
    """Whether it is known that the images of a run had no labels."""
    if not _is_check(results):
        return "clean_accuracy" in results and results["clean_accuracy"] is None
    clean = (results.get("probes") or {}).get("clean") or {}
    classes = (results.get("by_class") or {}).get("classes") or []
    return clean.get("accuracy", 0) is None or any(one["right"] is None for one in classes)


def was_asked(figure: Mapping[str, Any], results: Mapping[str, Any]) -> bool:
    """Whether a run that lacks a figure was to have it: what --only left out, it was not.

    Nor was it, where its probe has figures of that norm, at other budgets.
    """
    if not _is_check(results):
        return True
    probes = results.get("probes") or {}
    asked = {*probes, *(one["probe"] for one in results.get("not_run") or [])}
    return figure["probe"] in asked and not (probes.get(figure["probe"]) or {}).get(figure["norm"])


def clean_of(results: Mapping[str, Any]) -> float | None:
    """The clean accuracy of a check; an older one says it only where a probe of it was asked."""
    if results.get("clean_accuracy") is not None:
        return float(results["clean_accuracy"])
    clean: float | None = ((results.get("probes") or {}).get("robustness") or {}).get("clean")
    return clean


def _is_check(results: Mapping[str, Any]) -> bool:
    return "probes" in results or "robustness" in results


def _of_check(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    probes = results.get("probes") or {}
    clean = probes.get("clean") or {}
    if clean.get("accuracy") is not None:
        found[CLEAN] = _figure(clean["accuracy"], *clean["interval"], probe="clean")
    corrupted = probes.get("corruptions") or {}
    judged = (corrupted.get("severities") or {}).get("3")
    if judged is not None and corrupted["labelled"]:
        found[UNDER_CORRUPTION] = _figure(judged["accuracy"], *judged["interval"], probe="corruptions")
    bounds = probes.get("bounds") or {}
    trusted = not bounds.get("both_verified_and_broken")
    for norm in SWEPT:
        for point in bounds.get(norm) or []:
            figure = _figure(point["y"], point["low"], point["high"], trusted, probe="bounds", norm=norm)
            found[certified_name(norm, point["x"])] = figure
    for one in robustness_of(results):
        norm, known = one["norm"], one.get("bound", "upper") is not None
        probe = _swept_by(probes, norm, one["eps"])
        figure = _figure(one["robust_accuracy"], one["low"], one["high"], known, probe=probe, norm=norm)
        found[robust_name(norm, one["eps"])] = figure
    return found


def _swept_by(probes: Mapping[str, Any], norm: str, eps: float) -> str:
    """The probe that a budget is of."""
    for name in ("robustness", "bounds"):
        if any(point["x"] == eps for point in (probes.get(name) or {}).get(norm) or []):
            return name
    return "worst-case"


def _figure(
    value: Any, low: Any, high: Any, known: bool = True, *, probe: str = "", norm: str = ""
) -> dict[str, Any]:
    numbers = {"value": float(value), "low": float(low), "high": float(high)}
    return {**numbers, "known": known, "probe": probe, "norm": norm}


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


def _of_one(results: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of an attack, or of `certify`; of other commands there is none."""
    names = {"clean_accuracy": CLEAN}
    if results.get("robust_accuracy") is not None:
        names["robust_accuracy"] = _attacked_name(results, asked)
    if results.get("certified_accuracy") is not None:
        names["certified_accuracy"] = _certified_name(results, asked)
    found: dict[str, dict[str, Any]] = {}
    for field, name in names.items():
        value, n = results.get(field), results.get("n")
        if isinstance(value, float) and isinstance(n, int) and n > 0:
            known = field != "robust_accuracy" or results.get("bound", "upper") is not None
            found[name] = _figure(value, *wilson(round(value * n), n), known)
    return found


def _certified_name(results: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What a certified accuracy is called: that of a smoothed form is another network's."""
    name = certified_name(results["norm"], results["eps"])
    return f"{name}, smoothed by {asked['settings']['sigma']:g}" if results["method"] == "smoothing" else name


def _attacked_name(results: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What the robust accuracy that an attack left is called: by its budget, and by its target."""
    norm = (results.get("distance") or {}).get("norm")
    budget = re.search(r"threat=\w+\(eps=([^,()]+)", asked.get("attack", ""))
    name = f"robust accuracy at {norm} without a budget"
    if norm is not None and budget is not None:
        name = robust_name(norm, float(budget[1]))
    goal = asked.get("goal") or {}
    if goal.get("goal", "untargeted") != "untargeted":
        return f"{name}, {goal['goal']} {goal['target classes']}"
    return name if asked.get("target") is None else f"{name}, towards {asked['target']}"

"""The report of one run: what a check left in its folder, run.json, probes/NAME.json and pictures, shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ostrich.crashtest.advice import NEXT
from ostrich.crashtest.answer import ByClass, Fallen, Measurement, ProbeAnswer, Results
from ostrich.crashtest.blocks import Number, Pair, Pairs
from ostrich.crashtest.comparable import SWEPT, clean_of, robustness_of
from ostrich.crashtest.context import budget_text, robust_name
from ostrich.crashtest.probes.robustness import headline_point
from ostrich.crashtest.report.pictures import Embedder
from ostrich.crashtest.report.templating import write_page
from ostrich.crashtest.summary import CLEAN, UNDER_CORRUPTION, summary
from ostrich.figures.words import in_percent
from ostrich.runtime.files import read_json
from ostrich.runtime.runs import read_run
from ostrich.runtime.schema import validated

KEY_FIGURES = 3  # on the first screen


def write_report(folder: Path) -> Path:
    """Write `folder/index.html` from the run's own files, whole or not at all, and return its path.

    Raises InputError where run.json is missing, unreadable, of a newer Ostrich or of another command.
    """
    folder = Path(folder)
    run, results = read_check(folder)
    probes = answers_of(folder, results)
    lines = lines_of(results, probes)
    shown = {"since": None, "by_class": None, "first_to_fall": [], **results}
    if found := results.get("by_class"):
        shown["by_class"] = _class_rows(found)
    if fallen := results.get("first_to_fall"):
        shown["first_to_fall"] = [_with_budget(one) for one in fallen]
    return write_page(
        folder / "index.html",
        "report.html.j2",
        {
            "run": run,
            "results": shown,
            "probes": probes,
            "lines": lines,
            "last_words": "summary" not in results or results["next_commands"] == NEXT,
            "how_read": _how_read(run, results),
            "key_figures": _key_figures(lines, results),
            "best_pair": _best_pair(probes),
            "embedded": Embedder(folder),
        },
    )


def read_check(folder: Path) -> tuple[dict[str, Any], Results]:
    """The run.json of a check, and its results. Raises InputError, also for a run of another command."""
    run = read_run(folder)
    other = f"{str(folder)!r} holds no finished `ostrich check`"
    results: Results = validated(Results, run["results"], other)
    return run, results


def answers_of(folder: Path, results: Results) -> list[ProbeAnswer]:
    """The answers of its probes, in order of worth."""
    names = list(results["probes"])
    extra = sorted(p.stem for p in (folder / "probes").glob("*.json") if p.stem not in names)
    return [_probe(folder, name) for name in names + extra]


def lines_of(results: Results, probes: Sequence[ProbeAnswer]) -> list[Measurement]:
    """The summary; of a run that has none it is made by today's rule."""
    if "summary" in results:
        return results["summary"]
    answers = {probe.name: probe for probe in probes}
    return summary(answers, robustness_of(results), results["model"]["num_classes"], clean_of(results))


def _probe(folder: Path, name: str) -> ProbeAnswer:
    """A probe's answer, or a failed one in its place: one broken probe does not cost the others."""
    file = folder / "probes" / f"{name}.json"
    try:
        answer: ProbeAnswer = validated(
            ProbeAnswer, read_json(file, checked=False), f"{name}.json is damaged"
        )
    except FileNotFoundError:
        reason = f"There is no {str(file)!r}."
    except (OSError, ValueError) as error:  # InputError is a ValueError
        reason = str(error)
    else:
        return answer
    unreadable = f"The probe left no readable answer. {reason}"
    return ProbeAnswer(name=name, title=name, status="failed", reason=unreadable)


def _key_figures(lines: Sequence[Measurement], results: Results) -> list[Number]:
    """The figures of the first screen: clean, the headline's, then what holds least of what else is known."""
    names = [CLEAN]
    robust, clean = robustness_of(results), clean_of(results)
    for norm in SWEPT:
        if points := [one for one in robust if one["norm"] == norm]:
            one = headline_point(points, clean)
            names.append(robust_name(norm, one["eps"]))
    names.insert(2, UNDER_CORRUPTION)
    found = {line["name"]: line for line in lines}
    return [_number(found[name]) for name in names if name in found][:KEY_FIGURES]


def _number(line: Measurement) -> Number:
    low, high = line["low"], line["high"]
    interval = None if low is None or high is None else (low, high)
    return Number(label=line["name"], value=line["value"], interval=interval, n=line["n"])


def _best_pair(probes: Sequence[ProbeAnswer]) -> Pair | None:
    """The first pair of `targeted-pair`, else of the first probe that shows one."""
    for probe in sorted(probes, key=lambda p: p.name != "targeted-pair"):
        for block in probe.blocks:
            if isinstance(block, Pairs) and block.items:
                return block.items[0]
    return None


def _how_read(run: Mapping[str, Any], results: Results) -> list[str]:
    """How images came to the network, and their labels to its classes."""
    said = [results["model"].get("preprocessing"), (run.get("data") or {}).get("classes")]
    return [one for one in said if one]


def _class_rows(found: ByClass) -> dict[str, Any]:
    """The classes as the rows of a table."""
    rows = [
        [
            one["name"],
            one["n"],
            one["right"],
            one["attacked"],
            _share(one["standing"], one["attacked"]),
        ]
        for one in found["classes"]
    ]
    return {"norm": found["norm"], "budget": budget_text(found["norm"], found["eps"]), "rows": rows}


def _share(standing: int, attacked: int) -> str | None:
    return f"{standing} ({in_percent(standing / attacked)})" if attacked else None


def _with_budget(one: Fallen) -> dict[str, Any]:
    return {**one, "budget": budget_text(one["norm"], one["distance"])}

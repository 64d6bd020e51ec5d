"""All figures of a check in one list, each with a verdict by a rule that is the same for all.

An accuracy under attack, noise or corruption *holds* where its whole 95 % interval lies at or above half of
the clean accuracy, *falls* where it lies below, and is *undecided* between: more images would tell. Where an
attack could not work, a figure that does not fall is *not known*. The clean accuracy is *above chance* where
guessing, which reaches the share of the images' most frequent class, gets as many right in one of forty tries
at most (an exact binomial test). The success of an attack on images that it has not seen is judged by what it
leaves. A certified accuracy is a lower bound: it *holds* by the same rule, and else is *not known*. A
calibration error is *small* where its whole interval lies at or below 5 %, *large* where it lies above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ostrich.crashtest.answer import Measurement, ProbeAnswer, RobustAccuracy
from ostrich.crashtest.context import robust_name
from ostrich.diagnosis.checks import out_of_time
from ostrich.figures.words import in_percent
from ostrich.statistics import binomial_test, wilson

CLEAN = "clean accuracy"  # the names by which figures are found
UNDER_CORRUPTION = "accuracy under corruption of severity 3"
HALF = 0.5  # of the clean accuracy
RARE = 0.025  # probability, to either side: what happens as seldom is not chance
SMALL_ERROR = 0.05  # of calibration
TONES = {  # of a verdict, as the page and the screen colour it
    "holds": "good",
    "above chance": "good",
    "no fault": "good",
    "small": "good",
    "falls": "bad",
    "no better than chance": "bad",
    "faults": "bad",
    "large": "bad",
    "undecided": "unsure",
    "not known": "unsure",
}


def summary(
    answers: Mapping[str, ProbeAnswer],
    robust: Sequence[RobustAccuracy],
    num_classes: int | None,
    clean: float | None,
) -> list[Measurement]:
    """The lines of a check: clean, robust accuracies, the doctor, then those that probes have themselves.

    `clean` is the clean accuracy, whether or not its probe was asked; None where images have no labels.
    """
    done = {name: answer for name, answer in answers.items() if answer.done}
    lines: list[Measurement] = []
    if "clean" in done:
        lines.append(_clean(done["clean"], num_classes))
    lines += [_robust(one, clean) for one in robust]
    if "doctor" in done:
        lines.append(_doctor(done["doctor"]))
    return lines + [line for answer in done.values() for line in answer.summary]


def accuracy(
    name: str, hits: int, n: int, clean: float | None, measured_by: Sequence[str] = ()
) -> Measurement:
    """A line for `hits` of n images that are still right, beside the accuracy without anything done."""
    return share(name, hits / n, wilson(hits, n), n, clean, measured_by)


def share(
    name: str,
    value: float,
    interval: tuple[float, float],
    n: int,
    clean: float | None,
    measured_by: Sequence[str] = (),
) -> Measurement:
    """A line for an accuracy with an interval of its own, beside the one without anything done."""
    low, high = interval
    return _line(name, value, low, high, n, measured_by, judged(low, high, clean))


def success(
    name: str, hits: int, n: int, measured_by: Sequence[str] = (), doubt: str | None = None
) -> Measurement:
    """A line for an attack that fooled `hits` of n images that were right before.

    `doubt` is why what it left is not known, None where it is.
    """
    low, high = wilson(hits, n)
    verdict = judged(1 - high, 1 - low, 1.0)
    if doubt is None or verdict == "falls":
        return _line(name, hits / n, low, high, n, measured_by, verdict)
    return _line(name, hits / n, low, high, n, measured_by, "not known", doubt)


def doubted(doubt: str | None) -> str:
    """How a sentence about an attack's success goes on where what it left is not known."""
    return "" if doubt is None else f" What it left is not known: {doubt}."


def lower_bound(
    name: str,
    hits: int,
    n: int,
    clean: float,
    above: RobustAccuracy,
    measured_by: Sequence[str],
) -> Measurement:
    """A line for `hits` of n images that are verified; `above` is what attacks left of them."""
    low, high = wilson(hits, n)
    if judged(low, high, clean) == "holds":
        return _line(name, hits / n, low, high, n, measured_by, "holds")
    reason = f"a lower bound; attacks leave {in_percent(above['robust_accuracy'], 1)} of these images"
    return _line(name, hits / n, low, high, n, measured_by, "not known", reason)


def calibration(
    value: float, interval: tuple[float, float], n: int, surer: bool, measured_by: Sequence[str] = ()
) -> Measurement:
    """A line for a calibration error; `surer`: on the whole it is surer than it is right."""
    low, high = interval
    verdict = "small" if high <= SMALL_ERROR else "large" if low > SMALL_ERROR else "undecided"
    reason = None if verdict == "small" else f"it is {'surer' if surer else 'less sure'} than it is right"
    return _line("calibration error", value, low, high, n, measured_by, verdict, reason)


def judged(low: float, high: float, clean: float | None) -> str:
    """Whether an accuracy with that interval holds or falls, beside the clean one (None: 1)."""
    half = HALF * (1.0 if clean is None else clean)
    return "holds" if low >= half else "falls" if high < half else "undecided"


def _clean(answer: ProbeAnswer, num_classes: int | None) -> Measurement:
    figures = answer.figures
    if figures.get("accuracy") is None:
        reason = "the images have no labels: what the network says of them counts as right"
        return _line(CLEAN, None, None, None, figures.get("n"), (), "not known", reason)
    (low, high), n = figures["interval"], figures["n"]
    chance = figures.get("chance", 1 / (num_classes or 2))  # older runs do not say it
    fewer, more = binomial_test(round(figures["accuracy"] * n), n, chance)
    verdict = "above chance" if more <= RARE else "no better than chance" if fewer <= RARE else "undecided"
    return _line(CLEAN, figures["accuracy"], low, high, n, (), verdict)


def _robust(one: RobustAccuracy, clean: float | None) -> Measurement:
    verdict, reason = judged(one["low"], one["high"], clean), None
    if verdict != "falls" and one["bound"] is None:
        verdict, reason = "not known", one["reason"]
    name = robust_name(one["norm"], one["eps"])
    value, low, high = one["robust_accuracy"], one["low"], one["high"]
    return _line(name, value, low, high, one["n"], one["measured_by"], verdict, reason)


def _doctor(answer: ProbeAnswer) -> Measurement:
    codes = [finding["code"] for finding in answer.figures.get("findings", [])]
    late = out_of_time(answer.figures.get("skipped", []))
    verdict = "faults" if codes else "not known" if late else "no fault"
    reason = ", ".join(codes) or (f"no time for {', '.join(late)}" if late else None)
    return _line("the doctor", None, None, None, answer.figures.get("n"), (), verdict, reason)


def _line(
    name: str,
    value: float | None,
    low: float | None,
    high: float | None,
    n: int | None,
    measured_by: Sequence[str],
    verdict: str,
    reason: str | None = None,
) -> Measurement:
    return {
        "name": name,
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "measured_by": list(measured_by),
        "verdict": verdict,
        "reason": reason,
    }

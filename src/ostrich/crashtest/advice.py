"""What to do next, in at most three lines: first what would make the figures of a check truer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice

from ostrich.crashtest.answer import Gate, Next, NotRun, ProbeAnswer, RobustAccuracy
from ostrich.crashtest.context import Context, budget_text
from ostrich.crashtest.outcomes import MASKING
from ostrich.crashtest.probes.robustness import headline_point
from ostrich.diagnosis.checks import out_of_time
from ostrich.figures.words import several

LINES = 3
SEEN = 16  # images that are explained, unless said
FEW = 0.2  # width of an interval above which more images are asked for
NEXT: list[Next] = [  # after the demo: how to ask the same of one's own network
    {
        "text": "Your weights, your folder of class folders:",
        "command": "ostrich check torchvision:resnet50 folder:PHOTOS --weights FILE",
    },
    {
        "text": "Any network that Python can build:",
        "command": "ostrich check my_model.py:build folder:PHOTOS --size 224 "
        "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
    },
    {
        "text": "As a test in your CI, which fails when it gets worse:",
        "command": "ostrich check MODEL DATA --fail-under linf:1/255=0.2 --baseline runs/OLD/run.json",
    },
]


def advice(
    context: Context,
    answers: Mapping[str, ProbeAnswer],
    robust: Sequence[RobustAccuracy],
    gates: Sequence[Gate],
    not_run: Sequence[NotRun],
    *,
    minutes: float | None,
) -> list[Next]:
    """At most three lines."""
    headline = headline_point(robust, context.clean_accuracy) if robust else None
    return [
        *islice(
            chain(
                _mend(context, answers.get("doctor")),
                _more_images(context, headline, minutes),
                _more_time(context, [*(one["probe"] for one in not_run), *_cut_short(answers)], minutes),
                _keep(context, headline, gates),
                _look(context, headline),
            ),
            LINES,
        )
    ]


def _mend(context: Context, doctor: ProbeAnswer | None) -> Iterator[Next]:
    """The first fault that the doctor finds, before others what hides the truth about robustness."""
    findings = [] if doctor is None else doctor.figures.get("findings", [])
    for finding in sorted(findings, key=lambda one: one["code"] not in MASKING)[:1]:
        yield {"text": f"{finding['sentence']} {finding['fix']}", "command": context.typed("doctor")}


def _more_images(context: Context, one: RobustAccuracy | None, minutes: float | None) -> Iterator[Next]:
    """More images, where the interval of the headline is wide because there were few."""
    if one is None:
        return
    n, width = one["n"], one["high"] - one["low"]
    if width > FEW:
        enough = 10 * math.ceil(n * (width / FEW) ** 2 / 10)
        text = f"The headline rests on {several(n, 'image')}. About {enough} would narrow its interval to "
        yield {
            "text": f"{text}{FEW:.0%}:",
            "command": context.typed(
                "check",
                images=enough if minutes is None else None,
                limit=enough if minutes is not None and n == len(context.samples) else None,
                minutes=math.ceil(minutes * enough / n)
                if minutes is not None and n < len(context.samples)
                else None,
                only="clean,robustness,worst-case,doctor",
            ),
        }


def _cut_short(answers: Mapping[str, ProbeAnswer]) -> list[str]:
    """The doctor, where there was no time for all of its checks."""
    doctor = answers.get("doctor")
    return [] if doctor is None or not out_of_time(doctor.figures.get("skipped", [])) else ["doctor"]


def _more_time(context: Context, names: Sequence[str], minutes: float | None) -> Iterator[Next]:
    """More time, for the questions that had none, or not enough."""
    if names and minutes is not None:
        count = "One question" if len(names) == 1 else f"{len(names)} questions"
        yield {
            "text": f"{count} had too little time: {', '.join(names)}. With more of it:",
            "command": context.typed("check", minutes=math.ceil(3 * minutes)),
        }


def _keep(context: Context, one: RobustAccuracy | None, gates: Sequence[Gate]) -> Iterator[Next]:
    """A gate that holds the network to what it is now, where that is known: else none can be judged."""
    if one is not None and one["bound"] is not None and context.samples.labels is not None:
        floor = math.floor(100 * one["low"]) / 100
        asked = f"{one['norm']}:{budget_text(one['norm'], one['eps'])}={floor:g}"
        yield {
            "text": "As a test in your CI, which fails when it gets worse than in this RUN:",
            "command": context.typed(
                "check",
                images=len(context.samples),
                baseline="RUN/run.json",
                fail_under=None if gates else asked,
            ),
        }


def _breaking(context: Context, one: RobustAccuracy) -> str:
    """The attack whose files show the figure; none that follows gradients where these cannot be believed."""
    if context.classifier.access == "gradient" and one["bound"] is not None:
        return "pgd"
    return "square" if "square" in one["measured_by"] and "rays" not in one["measured_by"] else "rays"


def _look(context: Context, one: RobustAccuracy | None) -> Iterator[Next]:
    """What falls, and where the network looks."""
    if one is not None:
        yield {
            "text": "The images that fall at that budget, as files:",
            "command": context.typed(
                "attack",
                _breaking(context, one),
                settings={"eps": budget_text(one["norm"], one["eps"]), "norm": one["norm"]},
                limit=context.limit(256),
            ),
        }
    if context.classifier.access == "gradient":
        few = context.limit(SEEN) if len(context.samples) < SEEN else None
        yield {"text": "Where it looks:", "command": context.typed("explain", "gradcam", limit=few)}

"""The registry of checks, and the examination that runs them.

A check is a function from a ModelUnderTest to findings, and its line in CHECKS. It may raise NotApplicable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ostrich.diagnosis import (
    batchnorm,
    classes,
    data,
    double_normalization,
    gradients,
    normalization,
    outputs,
    preprocessing,
    robustness,
)
from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable, Remark
from ostrich.models.untouched import untouched
from ostrich.runtime.deadline import Deadline, TimeUp, time_left, until
from ostrich.runtime.events import Progress, silent
from ostrich.runtime.randomness import seeded

OFFERED = {"labels": 0, "scores": 1, "gradient": 2}
# Faults after which other questions have no answer, or only the same one in other words.
BLIND = frozenset(("constant-output",))
INPUT = frozenset(
    (
        "double-normalization",
        "missing-normalization",
        "wrong-normalization",
        "wrong-channel-order",
        "wrong-input-range",
    )
)
ORDER = frozenset(("wrong-class-order",))
OTHER = frozenset(("other-preprocessing",))
RANDOM = frozenset(("stochastic-output",))
USELESS = frozenset(("zero-gradient", "nan-gradient", "constant-gradient", "other-classes-off"))


NO_TIME = "The time was up."


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question. It is left out after any of the codes in `unless`, and without the access it `needs`.

    It may take a `share` of the time that is left, so that what tries much leaves some for what follows.
    """

    name: str
    run: Callable[[ModelUnderTest], Iterable[Finding]]
    needs: str = "labels"
    unless: frozenset[str] = BLIND
    share: float = 1.0


@dataclass(kw_only=True)
class Examination:
    """What was found, by which checks, and which did not run: {check, reason}. A remark is no finding."""

    findings: list[Finding] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0


CHECKS = (  # causes before their symptoms
    Check(name="finite outputs", run=outputs.finite, needs="scores"),
    Check(name="training mode", run=outputs.training_mode, needs="gradient"),
    Check(name="the same answer twice", run=outputs.stochastic),
    Check(name="neighbours in the batch", run=outputs.batch_dependent, unless=BLIND | RANDOM),
    Check(name="outputs that depend on the image", run=outputs.constant, unless=BLIND | RANDOM),
    Check(name="probabilities as logits", run=outputs.probabilities, needs="scores"),
    Check(name="class order", run=classes.order),
    Check(name="normalised twice", run=double_normalization.normalised_twice, needs="gradient"),
    Check(name="other inputs", run=normalization.alternatives, unless=BLIND | INPUT, share=0.25),
    Check(name="other preprocessing", run=preprocessing.others, unless=BLIND | INPUT | ORDER, share=0.25),
    Check(name="the head", run=data.head, unless=BLIND | INPUT | ORDER | OTHER),
    Check(name="files that are not used", run=data.unused, unless=frozenset()),
    Check(
        name="batch-norm statistics",
        run=batchnorm.statistics,
        needs="gradient",
        unless=BLIND | INPUT | {"training-mode"},
    ),
    Check(name="scale of the logits", run=outputs.saturated, needs="scores", unless=BLIND | INPUT),
    Check(name="classes for the DLR loss", run=classes.few_for_dlr, needs="scores"),
    Check(name="steps in the output", run=gradients.quantized, needs="scores", unless=BLIND | RANDOM),
    Check(name="gradients", run=gradients.useless, needs="gradient"),
    Check(
        name="gradients against differences",
        run=gradients.masked,
        needs="gradient",
        unless=BLIND | RANDOM | USELESS | {"quantized-input"},
    ),
    *(
        Check(name=name, run=run, needs="gradient", unless=BLIND | INPUT | RANDOM | USELESS)
        for name, run in (
            ("noise against gradients", robustness.noise),
            ("more steps", robustness.steps),
            ("larger budgets", robustness.budgets),
            ("an attack without bounds", robustness.unbounded),
            ("an attack without gradients", robustness.black_box),
            ("an attack from another network", robustness.transfer),
        )
    ),
)


def examine(
    model: ModelUnderTest,
    *,
    minutes: float = float("inf"),
    only: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Examination:
    """Run every check, or those named in `only`. What is not done after `minutes` is left out, and said.

    The network is as it was afterwards, and so are torch's random numbers.
    """
    started, found, deadline = time.monotonic(), Examination(), Deadline(60 * minutes)
    # What a network draws by itself is the same each time.
    with until(deadline), untouched(model.classifier.network), seeded(model.seed, model.images.device):
        chosen = [check for check in CHECKS if only is None or check.name in only]
        for place, check in enumerate(chosen):
            progress(place, len(chosen))
            reason = _reason(check, model, found, deadline.reached)
            if not reason:
                try:
                    with until(Deadline(check.share * time_left())):
                        for one in check.run(model):
                            if isinstance(one, Remark):
                                found.remarks.append(one)
                            else:
                                found.findings.append(one)
                    found.done.append(check.name)
                    continue
                except NotApplicable as why:
                    reason = str(why)
                except TimeUp:
                    reason = NO_TIME
            found.skipped.append({"check": check.name, "reason": reason})
    progress(len(chosen), len(chosen))
    found.seconds = time.monotonic() - started
    return found


def out_of_time(skipped: Iterable[Mapping[str, str]]) -> list[str]:
    """The checks, of those skipped, that had no time."""
    return [one["check"] for one in skipped if one["reason"] == NO_TIME]


def _reason(check: Check, model: ModelUnderTest, found: Examination, late: bool) -> str:
    """Why a check is left out, empty where it is not."""
    if OFFERED[check.needs] > OFFERED[model.classifier.access]:
        needs = "gradients" if check.needs == "gradient" else check.needs
        return f"It needs {needs}; the network {model.classifier.lacks}."
    earlier = [finding.code for finding in found.findings if finding.code in check.unless]
    if earlier:
        return f"After {earlier[0]} there is nothing to look at."
    if not len(model.images):
        return "No image is left that the network has a finite answer to."
    return NO_TIME if late else ""

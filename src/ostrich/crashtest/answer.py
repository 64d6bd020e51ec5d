"""What a check computes, as types: a probe's answer, and the results of run.json.

A probe returns an `Answer`; with what is known around it, it becomes the `ProbeAnswer` that lies in
probes/NAME.json. `Results` are those of the whole check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic asks for it before Python 3.12
)

from pydantic import BaseModel
from typing_extensions import TypedDict

from ostrich.crashtest.blocks import Block


class Measurement(TypedDict):
    """A line of the summary: a figure with its 95 % interval, of n images, and a verdict (`summary.py`)."""

    name: str
    value: float | None  # None where it is no number
    low: float | None
    high: float | None
    n: int | None
    measured_by: list[str]
    verdict: str
    reason: str | None  # of the verdict, where it needs one


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One sentence, how to read what is shown, the figures, and the blocks of the report."""

    sentence: str
    how_to_read: str
    figures: dict[str, Any]
    blocks: list[Block]
    rows: list[int] = field(default_factory=list)  # the images asked about, where robustness was
    budgets: list[tuple[str, float]] = field(default_factory=list)  # norm and eps at which it was
    summary: list[Measurement] = field(default_factory=list)  # its lines there


class AttackOutcome(TypedDict):
    """What one attack did to images of the check, by their places."""

    attack: str
    norm: str
    eps: float | None  # None where nothing bounds it
    rows: list[int]  # tried on these
    broken: dict[str, float]  # place: distance
    useless: list[int]  # no gradient, or no way to begin


class ProbeAnswer(BaseModel):
    """A probe's answer as it lies in probes/NAME.json.

    One that is skipped has nothing to say about this network; one that failed says why. `files` are the
    checksums of the files that belong to it, None of one that is missing.
    """

    name: str
    title: str
    command: str | None = None  # asks this question alone
    status: Literal["done", "skipped", "failed"]
    reason: str | None = None
    sentence: str | None = None
    how_to_read: str | None = None
    figures: dict[str, Any] = {}
    blocks: list[Block] = []
    rows: list[int] = []
    budgets: list[tuple[str, float]] = []
    outcomes: list[AttackOutcome] = []
    summary: list[Measurement] = []
    files: dict[str, str | None] = {}
    seconds: float | None = None

    @property
    def done(self) -> bool:
        return self.status == "done"


class RobustAccuracy(TypedDict):
    """The least that all attacks of the check left at a budget, with its 95 % interval."""

    norm: str
    eps: float
    robust_accuracy: float
    low: float
    high: float
    n: int
    measured_by: list[str]
    bound: Literal["upper"] | None  # None where it is not known, for the reason
    reason: str | None


class Gate(TypedDict):
    """Something that was asked for: passed, failed (False), or not to be judged (None)."""

    kind: Literal["fail-under", "baseline"]
    text: str
    passed: bool | None
    sentence: str


class NotRun(TypedDict):
    """A probe that did not fit into the time, and the command that asks it alone."""

    probe: str
    reason: str
    command: str | None


class ClassOutcome(TypedDict):
    """What became of the images of one class, with nothing done to them and at a budget."""

    name: str
    n: int
    right: int | None  # without an attack; None where there are no labels
    attacked: int  # of those that are right
    standing: int  # of those that were attacked


class ByClass(TypedDict):
    """The classes at one budget, the weakest first."""

    norm: str
    eps: float
    classes: list[ClassOutcome]


class Fallen(TypedDict):
    """An image that falls to a small change: the smallest distance at which any attack broke it."""

    index: int
    file: str
    name: str  # of its class
    norm: str
    distance: float
    attack: str
    clean_file: str


class Changed(TypedDict):
    """A figure then and now, with the 95 % intervals; `beyond`: now lies outside of the interval then."""

    figure: str
    first: float
    first_low: float | None
    first_high: float | None
    second: float
    second_low: float | None
    second_high: float | None
    difference: float
    beyond: bool | None  # None where there is no interval, or where either is not known


class Since(TypedDict):
    """What changed since the baseline, beyond its intervals first."""

    run: str
    command: str | None
    same_images: bool
    rows: list[Changed]


class Next(TypedDict):
    """What to type next."""

    text: str
    command: str


class ModelFacts(TypedDict):
    """The network in facts; `input` is channels, height, width; older ones do not say the preprocessing."""

    name: str
    source: str | None
    parameters: int | None
    num_classes: int | None
    input: list[int]
    preprocessing: NotRequired[str]


class Results(TypedDict):
    """The results of a check's run.json; the oldest lack what need not be there."""

    model: ModelFacts
    n: NotRequired[int]
    clean_accuracy: NotRequired[float | None]
    verdict: str
    robustness: NotRequired[list[RobustAccuracy]]
    summary: NotRequired[list[Measurement]]
    by_class: NotRequired[ByClass | None]
    first_to_fall: NotRequired[list[Fallen]]
    since: NotRequired[Since | None]
    probes: dict[str, dict[str, Any]]  # the figures by probe
    gates: list[Gate]
    not_run: list[NotRun]
    next_commands: list[Next]
    seconds: float | None

"""The form of a study: a published experiment, rerun at a scale that fits the machine.

A study is a file with a frozen dataclass of settings (a `Spec` for each scale) and three functions:

    trials(spec) -> [trial, ...]            what is run: small dictionaries, each with its seed
    run(spec, trial, folder) -> [row, ...]  one trial, alone in a process; rows are flat dictionaries
    judge(spec, done) -> Findings           tables, charts, and the verdict by the rule in `rule`

The rule is written before anything is run, and stands in the report beside the verdict.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ostrich.errors import InputError
from ostrich.figures.chart import Chart

Scale = Literal["smoke", "cpu", "hours", "gpu", "paper"]
Verdict = Literal["reproduced", "direction only", "not reproduced"]
Trial = dict[str, Any]
Row = dict[str, Any]
SCALES: tuple[Scale, ...] = ("smoke", "cpu", "hours", "gpu", "paper")
FEWEST_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every study's settings have: how many seeds, and which data (a DATA spec without its split).

    `device` is where networks are trained.
    """

    seeds: int = 3
    data: str = "digits"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"A study has at least one seed; got {self.seeds}.")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished trial: what was asked, its rows, and the folder with what else it wrote."""

    trial: Trial
    rows: list[Row]
    folder: Path


def decided(reproduced: bool, direction: bool) -> Verdict:
    """The verdict of a rule: what it asks for "reproduced", and what for "direction only" at least."""
    return "reproduced" if reproduced else "direction only" if direction else "not reproduced"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Part of a report. A cell is a number or words."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What came out: verdict and the sentence that gives its reason, tables, charts, figures by name.

    `compared` is, in words, what was asked, the published figure ("-" where there is none), and ours.
    """

    verdict: Verdict
    because: str
    tables: Sequence[Table]
    charts: Sequence[Chart]
    figures: Mapping[str, float | int | None] = field(default_factory=dict)
    compared: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study; see the module. `published` are names in `published.toml`; `takes_model` says that
    it is about a network of the user's: `ostrich study NAME MODEL DATA`; `rows_suffice`, that `judge` reads
    nothing of a trial but its rows; `row_by_row`, that it judges whatever trials there are, so that a page
    shows what an unfinished run has; `decides` names the settings that decide a trial's rows, None: all.
    `pictures` are files that a trial leaves, with what they show: those of the first that has them are shown.
    """

    name: str
    question: str
    claim: str
    source: str
    differs: str  # how the small version differs from what was published
    rule: str
    specs: Mapping[Scale, Spec]
    trials: Callable[[Any], list[Trial]]
    run: Callable[[Any, Trial, Path], list[Row]]
    judge: Callable[[Any, Sequence[Done]], Findings]
    published: Sequence[str] = ()
    takes_model: bool = False
    rows_suffice: bool = True
    row_by_row: bool = False
    decides: Callable[[Trial], set[str]] | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)

    def spec(self, scale: str) -> Spec:
        """The settings of a scale. Raises InputError for one that the study does not have."""
        for known, spec in self.specs.items():
            if known == scale:
                return spec
        raise InputError(f"The study {self.name} has the scales {', '.join(self.specs)}; got {scale!r}.")


def crossed(seeds: int, **choices: Sequence[Any]) -> list[Trial]:
    """A trial for each seed and combination of choices: the usual plan. Seeds turn slowest.

    So a study that is stopped in the middle has whole seeds.
    """
    names = list(choices)
    return [
        {**dict(zip(names, values)), "seed": seed}
        for seed in range(seeds)
        for values in itertools.product(*choices.values())
    ]


def rows_of(done: Sequence[Done], **wanted: Any) -> list[Row]:
    """All rows, each with its trial's fields, whose fields have the wanted values."""
    found = [{**one.trial, **row} for one in done for row in one.rows]
    return [row for row in found if all(row.get(name) == value for name, value in wanted.items())]


def values_of(rows: Sequence[Row], name: str) -> list[float]:
    """One field of the rows that have it."""
    return [row[name] for row in rows if row.get(name) is not None]

"""`ostrich check MODEL DATA`: the crash test, its report, and its gates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostrich.cli import options as o

if TYPE_CHECKING:
    from ostrich.verbs.check import CheckResult

NAME = "check"
JOB_SUMMARY = "GITHUB_STEP_SUMMARY"  # a CI system's file of what a job found

FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-under",
        metavar="NORM:EPS=ACCURACY",
        help="at least: linf:1/255=0.2, corruption:3=0.5, certified:linf:2/255=0.4",
    ),
]
Baseline = Annotated[
    str | None, typer.Option(metavar="RUN", help="an earlier run.json: no figure may be worse")
]
Only = Annotated[str | None, typer.Option(metavar="PROBE,PROBE", help="these probes alone")]
Minutes = Annotated[float | None, typer.Option(help="time for the whole check [default: 10]")]
Images = Annotated[int | None, typer.Option(help="this many images in every probe, instead of --minutes")]
JUnit = Annotated[Path | None, typer.Option(metavar="FILE", help="write the gates as a JUnit file")]
Summary = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help=f"write a summary in Markdown [default: what {JOB_SUMMARY} names]"),
]


@o.takes_options
def command(
    chosen: o.ModelOptions,
    read_as: o.DataOptions,
    data: o.DataArgument,
    fail_under: FailUnder = None,
    baseline: Baseline = None,
    only: Only = None,
    minutes: Minutes = None,
    images: Images = None,
    junit: JUnit = None,
    summary: Summary = None,
    surrogate: o.Surrogate = None,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    precision: o.Precision = "fast",
    on: o.On = "local",
    keep: o.Keep = "all",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> int:
    """Crash-test a network: how does it fail, how badly, and the files that prove it."""
    from ostrich.cli.session import computing, read
    from ostrich.errors import InputError
    from ostrich.runtime.events import say
    from ostrich.runtime.executors import shares
    from ostrich.runtime.runs import NEW
    from ostrich.verbs.check import check

    if on != "local" and images is None:
        raise InputError(f"--on {on} takes --images N: how far one comes in --minutes cannot be shared.")
    if images is None and shares():
        say("one process computes: how far one comes in a time cannot be shared. --images N is shared.")
    classifier, samples = read(chosen, data, images or limit, seed, read_as, out)
    with computing(on):
        found = check(
            classifier,
            samples,
            minutes=minutes,
            images=images,
            junit=junit,
            summary=summary or os.environ.get(JOB_SUMMARY) or None,
            only=only,
            fail_under=fail_under or (),
            baseline=baseline,
            surrogate=surrogate,
            seed=seed,
            precision=precision,
            keep=keep,
            out=out or NEW,
            force=force,
        )
    return show_check(found, as_json)


def show_check(found: CheckResult, as_json: bool) -> int:
    """The verdict, the gates, what was left out, and what to type next; the exit code."""
    from ostrich.cli.session import GATE_WORDS, console, echo_json

    results = found.figures
    if as_json:
        echo_json(results)
        return 0 if found.passed else 1
    console.print()
    console.print(results["verdict"], style="bold", soft_wrap=True)
    for gate in found.gates:
        word = GATE_WORDS[gate["passed"]]
        console.print(f"gate {gate['text']}: {word}. {gate['sentence']}", soft_wrap=True)
    for missing in results["not_run"]:
        console.print(
            f"not run: {missing['probe']}. {missing['reason']} {missing['command']}", soft_wrap=True
        )
    console.print(f"report: {found.report}", soft_wrap=True)
    console.print()
    for line in results["next_commands"]:
        console.print(f"{line['text']}\n  {line['command']}", soft_wrap=True)
    return 0 if found.passed else 1

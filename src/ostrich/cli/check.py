"""`ostrich check MODEL DATA`: the crash test, its report, and its gates."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ostrich.cli import options as o

NAME = "check"

FailUnder = Annotated[
    list[str] | None,
    typer.Option("--fail-under", metavar="NORM:EPS=ACCURACY", help="least robust accuracy: linf:1/255=0.2"),
]
Baseline = Annotated[
    str | None, typer.Option(metavar="RUN", help="an earlier run.json: no figure may be worse")
]
Only = Annotated[str | None, typer.Option(metavar="PROBE,PROBE", help="these probes alone")]
Minutes = Annotated[float, typer.Option(help="time for the whole check")]


@o.takes_model
def command(
    chosen: o.ModelOptions,
    data: o.DataArgument,
    fail_under: FailUnder = None,
    baseline: Baseline = None,
    only: Only = None,
    minutes: Minutes = 10.0,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    precision: o.Precision = "fast",
    out: o.Out = None,
    skip_bad: o.SkipBad = False,
    force: o.Force = False,
    as_json: o.Json = False,
) -> int:
    """Crash-test a network: how does it fail, how badly, and the files that prove it."""
    return perform(
        chosen,
        data,
        fail_under=fail_under or [],
        baseline=baseline,
        only=only,
        minutes=minutes,
        limit=limit,
        seed=seed,
        precision=precision,
        out=out,
        skip_bad=skip_bad,
        force=force,
        as_json=as_json,
    )


def perform(
    chosen: o.ModelOptions,
    data: list[str],
    *,
    fail_under: list[str],
    baseline: str | None,
    only: str | None,
    minutes: float,
    limit: int,
    seed: int,
    precision: str,
    out: o.Path | None,
    skip_bad: bool,
    force: bool,
    as_json: bool,
    demo: bool = False,
) -> int:
    """The check behind `check` and `demo`; returns the exit code."""
    from ostrich.cli.session import console, opened
    from ostrich.crashtest.check import DEMO_PROBES, PROBES, crash_test
    from ostrich.crashtest.context import Context
    from ostrich.crashtest.gates import read_floor
    from ostrich.crashtest.report import write_report
    from ostrich.errors import InputError, UnknownName
    from ostrich.runtime.events import progress
    from ostrich.runtime.runs import read_run

    known = DEMO_PROBES if demo else PROBES
    names = [name.strip() for name in only.split(",")] if only else list(known)
    for name in names:
        if name not in known:
            raise UnknownName("probe", name, known)
    if not minutes > 0:
        raise InputError(f"--minutes is above 0; got {minutes}.")
    o.check_precision(precision)
    floors = [read_floor(text) for text in fail_under]
    earlier = (baseline, read_run(baseline)) if baseline else None
    asked = {
        "only": only,
        "minutes": minutes,
        "precision": precision,
        "fail_under": fail_under,
        "baseline": baseline,
    }
    with opened(
        "demo" if demo else "check", chosen, data, asked, limit, seed, skip_bad, out, force
    ) as session:
        context = Context(
            classifier=session.classifier,
            samples=session.samples,
            folder=session.run.folder,
            model_words=chosen.words(),
            data_words=data,
            seed=seed,
            precision=precision,
            budgets={norm: [f.eps for f in floors if f.norm == norm] for norm in ("linf", "l2")},
        )
        quiet = (lambda line: None) if as_json else lambda line: console.print(line, soft_wrap=True)
        with progress("attacking", len(session.samples)) as advance:
            context.progress = advance
            results = crash_test(
                context,
                session.run,
                names=names,
                minutes=minutes,
                floors=floors,
                baseline=earlier,
                next_commands=_next_commands(),
                say=quiet,
            )
        path = write_report(session.run.folder)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        _print_end(console, results, path)
    return 0 if all(gate["passed"] is True for gate in results["gates"]) else 1


def _next_commands() -> list[dict[str, str]]:
    return [
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


def _print_end(console: Any, results: dict[str, Any], path: o.Path) -> None:
    """The verdict, the gates, what was left out, and what to type next."""
    console.print()
    console.print(results["verdict"], style="bold", soft_wrap=True)
    for gate in results["gates"]:
        word = {True: "passed", False: "FAILED", None: "NOT JUDGED"}[gate["passed"]]
        console.print(f"gate {gate['text']}: {word}. {gate['sentence']}", soft_wrap=True)
    for missing in results["not_run"]:
        console.print(
            f"not run: {missing['probe']}. {missing['reason']} {missing['command']}", soft_wrap=True
        )
    console.print(f"report: {path}", soft_wrap=True)
    console.print()
    for line in results["next_commands"]:
        console.print(f"{line['text']}\n  {line['command']}", soft_wrap=True)

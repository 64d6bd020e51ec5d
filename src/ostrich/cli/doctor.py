"""`ostrich doctor MODEL DATA`: is a network fed and evaluated right; can its robustness be believed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ostrich.cli import options as o

if TYPE_CHECKING:
    from ostrich.verbs.doctor import DoctorResult

NAME = "doctor"
SHOWN = 3  # of the preprocessings that were tried, the best

Surrogate = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="another network for the same classes: do its attacks transfer?"),
]
Minutes = Annotated[float, typer.Option(help="what is not done by then is left out")]


@o.takes_options
def command(
    chosen: o.ModelOptions,
    read_as: o.DataOptions,
    data: o.DataArgument,
    surrogate: Surrogate = None,
    minutes: Minutes = 2.0,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Look for faults that make a network's figures meaningless, and say how to repair them."""
    from ostrich.cli.session import echo_json, read
    from ostrich.runtime.runs import NEW
    from ostrich.verbs.doctor import doctor

    classifier, samples = read(chosen, data, limit, seed, read_as, out)
    found = doctor(
        classifier, samples, surrogate=surrogate, minutes=minutes, seed=seed, out=out or NEW, force=force
    )
    if as_json:
        echo_json(found.figures)
    else:
        _print(found)


def _print(found: DoctorResult) -> None:
    """A table of the findings, which checks were left out, and the cost."""
    from rich.table import Table
    from rich.text import Text

    from ostrich.cli.session import console

    results = found.figures
    if found.findings:
        table = Table(show_lines=True, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for one in found.findings:
            said = Text.assemble((one.sentence, "bold"), f"\n{one.evidence}\n{one.fix}")
            table.add_row(one.code, said)
        console.print(table)
    console.print(found.verdict, style="bold")
    for one in found.remarks:
        console.print(f"{one.code}: {one.sentence} {one.fix}", soft_wrap=True)
    given, *others = results["preprocessing"] or [None]
    best = sorted(others, key=lambda one: -one["accuracy"])[:SHOWN]
    for one in [given, *best] if given else []:
        options = f": {one['options']}" if one["options"] else ""
        console.print(f"{one['accuracy']:.1%} right, {one['words']}{options}", soft_wrap=True)
    reasons: dict[str, list[str]] = {}
    for one in results["skipped"]:
        reasons.setdefault(one["reason"], []).append(one["check"])
    for reason, names in reasons.items():
        console.print(f"not run: {', '.join(names)}. {reason}", soft_wrap=True)
    console.print(
        f"cost: {results['forwards']} forwards and {results['gradients']} gradients of single images, "
        f"{results['seconds']:.1f} s\nrun: {found.folder}",
        soft_wrap=True,
    )

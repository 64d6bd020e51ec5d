"""`ostrich doctor MODEL DATA`: is a network fed and evaluated right; can its robustness be believed?"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ostrich.cli import options as o

NAME = "doctor"

Surrogate = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="another network for the same classes: do its attacks transfer?"),
]
Minutes = Annotated[float, typer.Option(help="what has not begun by then is left out")]


@o.takes_model
def command(
    chosen: o.ModelOptions,
    data: o.DataArgument,
    surrogate: Surrogate = None,
    minutes: Minutes = 2.0,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    out: o.Out = None,
    skip_bad: o.SkipBad = False,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Look for faults that make a network's figures meaningless, and say how to repair them."""
    from dataclasses import asdict

    from ostrich.cli.session import opened
    from ostrich.diagnosis import ModelUnderTest, examine
    from ostrich.errors import InputError
    from ostrich.models import Classifier
    from ostrich.runtime.events import progress

    if not minutes > 0:
        raise InputError(f"--minutes is above 0; got {minutes}.")
    others: list[Classifier] = []

    def validate(classifier: Classifier) -> None:
        if surrogate is not None:
            others.append(_load_surrogate(surrogate, chosen.device, classifier))

    asked = {"surrogate": surrogate, "minutes": minutes}
    with opened("doctor", chosen, data, asked, limit, seed, skip_bad, out, force, validate) as session:
        images = session.samples.images().to(session.classifier.device)
        labels = session.samples.labels
        patient = ModelUnderTest(
            classifier=session.classifier,
            images=images,
            labels=None if labels is None else labels.to(images.device),
            surrogate=others[0] if others else None,
            seed=seed,
        )
        with progress("looking", 1) as advance:
            found = examine(patient, minutes=minutes, progress=advance)
        results = {
            "n": len(session.samples),
            "findings": [asdict(finding) for finding in found.findings],
            "checks": found.done,
            "skipped": found.skipped,
            "forwards": patient.forwards,
            "gradients": patient.gradients,
            "seconds": found.seconds,
        }
        session.run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        _print(results, session.run.folder)


def _load_surrogate(name: str, device: str, classifier: Any) -> Any:
    """Another network for the same images and classes. Raises InputError."""
    from ostrich.errors import InputError

    other = o.ModelOptions(model=name, device=device).load(classifier.size)
    shapes = [[c.channels, *(c.size or ())] for c in (other, classifier)]
    if shapes[0] != shapes[1]:
        takes = ["x".join(map(str, shape)) for shape in shapes]
        raise InputError(f"The surrogate {name} takes {takes[0]}, {classifier.name} {takes[1]}.")
    if other.num_classes != classifier.num_classes:
        raise InputError(
            f"The surrogate {name} has {other.num_classes} classes, {classifier.name} "
            f"{classifier.num_classes}."
        )
    return other


def _print(results: dict[str, Any], folder: o.Path) -> None:
    """A table of the findings, what was not looked at, and the cost."""
    from rich.table import Table
    from rich.text import Text

    from ostrich.cli.session import console

    findings = results["findings"]
    if findings:
        table = Table(show_lines=True, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for one in findings:
            said = Text.assemble((one["sentence"], "bold"), f"\n{one['evidence']}\n{one['fix']}")
            table.add_row(one["code"], said)
        console.print(table)
    checks = len(results["checks"])
    verdict = f"{len(findings)} fault{'s' if len(findings) != 1 else ''}" if findings else "no fault"
    console.print(f"{verdict} found by {checks} checks on {results['n']} images.", style="bold")
    reasons: dict[str, list[str]] = {}
    for one in results["skipped"]:
        reasons.setdefault(one["reason"], []).append(one["check"])
    for reason, names in reasons.items():
        console.print(f"not looked at: {', '.join(names)}. {reason}", soft_wrap=True)
    console.print(
        f"cost: {results['forwards']} forwards and {results['gradients']} gradients of single images, "
        f"{results['seconds']:.1f} s\nrun: {folder}",
        soft_wrap=True,
    )

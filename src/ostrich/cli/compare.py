"""`ostrich compare RUN RUN`: the figures of two runs side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from ostrich.cli import options as o

NAME = "compare"
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="a run directory or its run.json")]


Fail = Annotated[
    bool, typer.Option("--fail", help="end with 1 where the second is worse beyond the first's intervals")
]


def command(first: RunArgument, second: RunArgument, fail: Fail = False, as_json: o.Json = False) -> int:
    """Put two runs side by side; differences beyond the first one's interval are marked."""
    from ostrich.cli.session import GATE_WORDS, console, echo_json
    from ostrich.verbs.compare import compare

    found = compare(first, second)
    if as_json:
        echo_json(found.rows)
    else:
        names = (first, second, "difference")
        console.rows(("figure", *names, ""), found.table(), right=names)
        if found.remark and not fail:
            console.print(f"\n{found.remark}")
    if not fail:
        return 0
    if not as_json:
        console.print(f"\n{GATE_WORDS[found.gate['passed']]}. {found.gate['sentence']}", soft_wrap=True)
    return 0 if found.gate["passed"] else 1

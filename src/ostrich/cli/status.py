"""`ostrich status RUN`: how far a run is, while it computes and afterwards."""

from __future__ import annotations

from typing import Annotated

import typer

from ostrich.cli import options as o

NAME = "status"
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="a run directory or its run.json")]


def command(run: RunArgument, as_json: o.Json = False) -> None:
    """Say how far a run is: what is done of all, how fast, the time that is left, and who computes."""
    from ostrich.cli.session import console, echo_json
    from ostrich.verbs.status import status

    found = status(run)
    if as_json:
        echo_json(found.figures)
    else:
        for sentence in found.sentences:
            console.line(sentence)

"""`ostrich report RUN...`: the pages of crash tests anew, and one about many of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NAME = "report"
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="run directories, the oldest first")]
Page = Annotated[Path | None, typer.Option(help="the page about many [default: overview.html beside them]")]


def command(runs: Runs, out: Page = None) -> None:
    """Write the reports of crash tests anew; of many, one page that shows how their figures went."""
    from ostrich.cli.session import console
    from ostrich.verbs.report import report

    console.print(f"report: {report(runs, out=out)}", soft_wrap=True)

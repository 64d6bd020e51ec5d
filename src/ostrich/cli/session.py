"""What the computing commands have in common: model and data as typed, and figures as they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from ostrich.cli.options import DataOptions, ModelOptions
from ostrich.cli.terminal import console as console
from ostrich.data.dataset import Samples
from ostrich.data.spec import opened
from ostrich.errors import UnknownName
from ostrich.models import Classifier
from ostrich.runtime.files import json_line
from ostrich.runtime.runs import RUNS, check_writable
from ostrich.verbs.inputs import read_samples
from ostrich.verbs.outcome import Outcome

GATE_WORDS = {True: "passed", False: "FAILED", None: "NOT JUDGED"}


def read(
    options: ModelOptions,
    data: Sequence[str],
    limit: int | None,
    seed: int,
    read_as: DataOptions,
    out: Path | None,
) -> tuple[Classifier, Samples]:
    """Model and data as typed; a network without an input size takes the data's. Raises InputError."""
    check_writable(out or RUNS)
    dataset = opened(list(data), read_as)
    classifier = options.load(dataset.size)
    return classifier, read_samples(dataset, classifier, limit=limit, seed=seed)


@contextmanager
def computing(on: str) -> Iterator[None]:
    """Within it, what can be shared is computed on "local" or "ray". Raises UnknownName, MissingExtra."""
    if on == "local":
        yield
        return
    if on != "ray":
        raise UnknownName("place to compute", on, ("local", "ray"))
    import torch

    from ostrich.runtime.executors import computing_on
    from ostrich.runtime.executors.ray import RayTasks

    cluster = RayTasks(threads=torch.get_num_threads())  # as many as here: so results are the same
    with cluster.connected(), computing_on(cluster):
        yield


def echo_json(content: Any) -> None:
    """Content as a line of JSON; numbers that are not finite are null."""
    typer.echo(json_line(content))


def show(found: Outcome, as_json: bool) -> None:
    """An outcome's figures as one table and where the rest is; or as JSON."""
    if as_json:
        echo_json(found.figures)
    else:
        report(found.name.partition("-")[2], found.figures, found.folder)


def report(title: str, results: Mapping[str, Any], folder: Path) -> None:
    """Figures as one table, and where the rest is."""
    rows = [
        (f"{name} {part}" if part else name.replace("_", " "), _shown(number))
        for name, value in results.items()
        for part, number in (value.items() if isinstance(value, Mapping) else [("", value)])
    ]
    width = max((len(name) for name, _ in rows), default=0)
    console.line(title, italic=True)
    for name, value in rows:
        console.line(f"{name:<{width}}  {value}")
    if results.get("reason") and results.get("robust_accuracy") is not None:
        known = f"Robust accuracy is not known, at most {_shown(results['robust_accuracy'])}"
        console.line(f"{known}: {results['reason']}.", bold=True)
    console.line(f"run: {folder}")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

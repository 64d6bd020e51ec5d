"""What the computing commands have in common: model, data and run directory, opened in that order.

Nothing is written before the model is loaded and the data is read, so bad input leaves no folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import typer

from ostrich import data as datasets
from ostrich.cli.options import ModelOptions
from ostrich.cli.terminal import console as console
from ostrich.cli.terminal import typed
from ostrich.data.dataset import Samples
from ostrich.models import Classifier
from ostrich.runtime.events import say
from ostrich.runtime.runs import RUNS, Run, check_writable
from ostrich.verbs.inputs import read_samples
from ostrich.verbs.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Session:
    """A command's classifier, images and run directory."""

    classifier: Classifier
    samples: Samples
    run: Run


@contextmanager
def opened(
    name: str,
    options: ModelOptions,
    data: Sequence[str],
    asked: Mapping[str, Any],
    limit: int,
    seed: int,
    skip_bad: bool,
    out: Path | None,
    force: bool,
    validate: Callable[[Classifier], object] = lambda classifier: None,
    examine: Callable[[Samples], object] = lambda samples: None,
) -> Iterator[Session]:
    """Open model, data and run directory.

    `validate` refuses, by an InputError, what the classifier does not allow, and `examine` what the
    images do not; nothing is written then.
    """
    classifier, samples = read(options, data, limit, seed, skip_bad, out)
    validate(classifier)
    examine(samples)
    whole = {"data": list(data), "sha256": samples.sha256, "limit": limit, **asked}
    facts = samples.describe()
    with begun(name, options, classifier, whole, data=facts, seed=seed, out=out, force=force) as run:
        yield Session(classifier=classifier, samples=samples, run=run)


def begun(
    name: str,
    options: ModelOptions,
    classifier: Classifier,
    asked: Mapping[str, Any],
    *,
    data: Mapping[str, Any] | None,
    seed: int,
    out: Path | None,
    force: bool,
) -> AbstractContextManager[Run]:
    """Open the run directory alone, for a command that takes no data or makes its own."""
    whole = {"model": options.words(), "seed": seed, "device": str(classifier.device)}
    whole |= {"network": classifier.digest(), **asked}
    found = classifier.remarks()
    say(*(f"{what}: {sentence}" for what, sentence in found.items()))
    return kept(
        *(name, options.model, whole, classifier.device),
        data=data,
        seed=seed,
        out=out,
        force=force,
        network=found,
    )


@contextmanager
def kept(
    name: str,
    model: str,
    asked: Mapping[str, Any],
    device: torch.device,
    *,
    data: Mapping[str, Any] | None,
    seed: int,
    out: Path | None,
    force: bool,
    network: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """The run directory of a command on a classifier or generator named `model`.

    `data` describes it in run.json, and `network` what was found out about the network.
    """
    with Run.begin(f"{name}-{_plain(model)}", typed(), asked, out=out, force=force) as run:
        run.describe(seed=seed, device=device, data=data, network=network)
        yield run


def read(
    options: ModelOptions, data: Sequence[str], limit: int | None, seed: int, skip_bad: bool, out: Path | None
) -> tuple[Classifier, Samples]:
    """Model and data as typed; a network without an input size takes the data's. Raises InputError."""
    check_writable(out or RUNS)
    dataset = datasets.open_data(data)
    classifier = options.load(dataset.size)
    return classifier, read_samples(dataset, classifier, limit=limit, seed=seed, skip_bad=skip_bad)


def show(found: Outcome, as_json: bool) -> None:
    """An outcome's figures as one table and where the rest is; or as JSON."""
    if as_json:
        typer.echo(json.dumps(found.figures))
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


def _plain(model: str) -> str:
    """A model's name as part of a folder's name."""
    return "".join(c if c.isalnum() else "-" for c in Path(model).name if c not in "'\"")[:40].strip("-")

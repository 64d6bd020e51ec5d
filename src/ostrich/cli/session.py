"""What the computing commands have in common: model, data and run directory, opened in that order.

Nothing is written before the model is loaded and the data is read, so bad input leaves no folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from ostrich import data as datasets
from ostrich.cli.options import ModelOptions, typed
from ostrich.data.dataset import Samples
from ostrich.models import Classifier
from ostrich.runtime.progress import Progress, silent
from ostrich.runtime.runs import RUNS, Run, check_writable

console = Console(stderr=False, highlight=False, emoji=False)  # class:umbrella: is no picture


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
    check_writable(out or RUNS)
    dataset = datasets.open_data(data)
    classifier = options.load(dataset.size)
    samples = datasets.load(
        dataset,
        size=classifier.size,
        resize=classifier.resize,
        interpolation=classifier.interpolation,
        channels=classifier.channels,
        class_names=classifier.class_names,
        num_classes=classifier.num_classes,
        limit=limit,
        seed=seed,
        skip_bad=skip_bad,
    )
    if (
        classifier.class_names is None
        and dataset.class_names
        and len(dataset.class_names) == classifier.num_classes
    ):
        classifier.class_names = dataset.class_names
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
    say(f"{what}: {sentence}" for what, sentence in found.items())
    return kept(
        *(name, options.model, whole, classifier.device),
        data=data,
        seed=seed,
        out=out,
        force=force,
        network=found,
    )


def say(sentences: Iterable[str]) -> None:
    """What was found out about a network, on the screen, beside the results."""
    for sentence in sentences:
        Console(stderr=True, highlight=False).print(sentence, soft_wrap=True, markup=False)


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


@contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def report(title: str, results: Mapping[str, Any], folder: Path) -> None:
    """Figures as one table, and where the rest is."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    for name, value in results.items():
        if isinstance(value, Mapping):
            for part, number in value.items():
                table.add_row(f"{name} {part}", _shown(number))
        else:
            table.add_row(name.replace("_", " "), _shown(value))
    console.print(table)
    if results.get("reason") and results.get("robust_accuracy") is not None:
        known = f"Robust accuracy is not known, at most {_shown(results['robust_accuracy'])}"
        console.print(f"{known}: {results['reason']}.", style="bold", soft_wrap=True)
    console.print(f"run: {folder}")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(model: str) -> str:
    """A model's name as part of a folder's name."""
    return "".join(c if c.isalnum() else "-" for c in Path(model).name if c not in "'\"")[:40].strip("-")

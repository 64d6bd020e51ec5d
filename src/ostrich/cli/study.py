"""`ostrich study NAME`: a published experiment, rerun; with MODEL DATA on a network of yours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostrich.cli import options as o

if TYPE_CHECKING:
    from ostrich.studies.executors import Executor
    from ostrich.studies.schema import Spec, Study

NAME = "study"


@o.takes_model
def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="see `ostrich list studies`")],
    network: o.ModelOptions,
    model: Annotated[str | None, typer.Argument(metavar="[MODEL", help="of a study about a network")] = None,
    images: Annotated[list[str] | None, typer.Argument(metavar="DATA]", help="its images")] = None,
    scale: Annotated[str, typer.Option(help="smoke, cpu, gpu or paper")] = "cpu",
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="other training data, such as cifar10:PATH")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda [default: the scale's]")] = None,
    seeds: Annotated[int | None, typer.Option(help="how many [default: the scale's]")] = None,
    settings: o.Settings = None,
    executor: Annotated[
        str,
        typer.Option(help="inprocess, local (processes of one thread), ray, or auto: local but for smoke"),
    ] = "auto",
    workers: Annotated[int | None, typer.Option(help="of local, ray [default: one for each core]")] = None,
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Rerun a published experiment: report, figure, table, verdict. The same command resumes it."""
    from ostrich.cli.session import console
    from ostrich.models.loading import pick_device
    from ostrich.runtime.events import command as typed
    from ostrich.runtime.events import progress
    from ostrich.runtime.facts import versions
    from ostrich.runtime.runs import Run
    from ostrich.runtime.stopwatch import stopwatch
    from ostrich.studies import find, report
    from ostrich.studies.trials import run_trials

    study = find(name)
    spec = _changed(study, scale, settings or [], data=data, device=device, seeds=seeds)
    spec = _with_model(study, spec, network, images or [])
    _check(study, spec)
    asked = {"scale": scale, "spec": asdict(spec)}
    with _executor(executor, scale, workers) as runner:
        begun = Run.begin(f"study-{name}-{scale}", typed() or "", asked, out=out, force=force)
        with begun as run, stopwatch() as spent:
            about = None if study.takes_model else {"name": spec.data}
            run.describe(seed=0, device=pick_device(spec.device), data=about)
            with progress(f"{name}, {scale}", 1) as advance:
                trials = run_trials(study, spec, run.folder / "trials", runner, advance)
            findings = report.judged(study, spec, trials)
            facts = report.facts(run.command, asked, versions(), spent.seconds)
            report.write(run.folder, study, scale, trials, findings, facts)
            results = report.results(study, scale, spec, trials, findings)
            results["seconds"] = spent.seconds
            (run.update if trials.failed else run.finish)(results)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        console.print(f"{study.question}", style="bold", soft_wrap=True)
        console.print(f"{results['verdict'] or 'not judged'}: {results['because']}", soft_wrap=True)
        for one in trials.failed:
            console.print(f"failed: {json.dumps(one['trial'])}: {one['error']}", soft_wrap=True)
        console.print(f"report: {run.folder / 'report.md'}", soft_wrap=True)
    if trials.failed:
        raise typer.Exit(1)


def _changed(study: Study, scale: str, settings: Sequence[str], **given: Any) -> Spec:
    """The scale's settings with what --data, --device, --seeds and --set change."""
    from dataclasses import replace

    from ostrich.errors import InputError
    from ostrich.runtime.settings import pairs, read

    spec = study.spec(scale)
    changes = read(type(spec), pairs(settings), study.name)
    if given["data"] is not None and study.takes_model:
        raise InputError(f"{study.name} takes its images as an argument: MODEL DATA, not --data.")
    changes |= {name: value for name, value in given.items() if value is not None}
    return replace(spec, **changes)


def _with_model(study: Study, spec: Spec, network: o.ModelOptions, images: Sequence[str]) -> Spec:
    """The settings with the network and its images, for a study that is about one."""
    from dataclasses import replace

    from ostrich.errors import InputError
    from ostrich.studies.removal import Settings

    words = network.words()
    if not study.takes_model:
        if words != [""] or images:
            raise InputError(f"{study.name} trains its own networks: it takes no MODEL and no option of one.")
        return spec
    if not network.model or not images:
        raise InputError(f"{study.name} is about a network of yours: ostrich study {study.name} MODEL DATA.")
    assert isinstance(spec, Settings)
    return replace(spec, model=json.dumps(asdict(network), default=str), data=json.dumps(list(images)))


def _check(study: Study, spec: Spec) -> None:
    """Refuse bad input before a run directory is made. Raises InputError."""
    from ostrich.models.loading import pick_device
    from ostrich.studies import datasets, removal

    pick_device(spec.device)
    if study.takes_model:
        assert isinstance(spec, removal.Settings)
        removal.opened(spec, 0)
    elif spec.data != "none":
        datasets.check_data(spec.data)


@contextmanager
def _executor(name: str, scale: str, workers: int | None) -> Iterator[Executor]:
    """What runs the trials."""
    from ostrich.errors import UnknownName
    from ostrich.studies import executors

    if name == "auto":
        name = "inprocess" if scale == "smoke" else "local"
    if name == "inprocess":
        yield executors.InProcess()
    elif name == "local":
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with executors.subprocesses(count if workers is None else workers) as found:
            yield found
    elif name == "ray":
        from ostrich.studies.cluster import ray_tasks

        with ray_tasks(workers) as tasks:
            yield tasks
    else:
        raise UnknownName("executor", name, ("auto", "inprocess", "local", "ray"))

"""`ostrich.study`: a published experiment, rerun, with its verdict; an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ostrich.errors import InputError
from ostrich.models.loading import pick_device
from ostrich.models.options import ModelOptions
from ostrich.runtime import events
from ostrich.runtime.executors import Executor
from ostrich.runtime.executors import executor as executor_of
from ostrich.runtime.facts import versions
from ostrich.runtime.runs import Run
from ostrich.runtime.settings import changed
from ostrich.runtime.stopwatch import stopwatch
from ostrich.studies import datasets, find, report
from ostrich.studies.networks import NetworkSpec, opened, origin
from ostrich.studies.schema import FEWEST_SEEDS, Findings, Spec, Study
from ostrich.studies.stored import fingerprints, read_stored
from ostrich.studies.trials import Trials, run_trials
from ostrich.studies.worker import seconds
from ostrich.verbs.outcome import Kept, Where, begun


class StudyResult(Kept):
    """A study's verdict: `figures` as run.json has them, and `save(folder)`.

    `findings` are its tables and charts, None where trials failed and the rule could not be applied;
    `trials` what was done and what failed; `report` the page in Markdown.
    """

    def __init__(
        self, name: str, run: Run, figures: Mapping[str, Any], trials: Trials, findings: Findings | None
    ) -> None:
        picture = "figure.png" if findings is not None and findings.charts else None
        super().__init__(name, run, figures, picture, headline=("scale", "verdict", "seeds", "trials"))
        self.trials, self.findings = trials, findings

    @property
    def verdict(self) -> str | None:
        """Reproduced, direction only, or not reproduced; None where it could not be judged."""
        verdict: str | None = self.figures["verdict"]
        return verdict

    @property
    def because(self) -> str:
        """The reason for the verdict, in a sentence."""
        return str(self.figures["because"])

    @property
    def report(self) -> Path:
        """The page with question, rule, tables and how it was run."""
        return self.folder / "report.md"


def study(
    name: str,
    scale: str = "smoke",
    *,
    model: str | ModelOptions | None = None,
    data: str | Sequence[str] | None = None,
    device: str | None = None,
    seeds: int | None = None,
    executor: str | Executor = "auto",
    workers: int | None = None,
    rows: str | Path | None = None,
    out: Where = None,
    force: bool = False,
    **changes: Any,
) -> StudyResult:
    """Rerun a published experiment at a scale that fits the machine: smoke, cpu, hours, gpu or paper.

    Smoke, the default here (the command line's is cpu), only shows that everything runs; its verdict
    means nothing. `name` is one of `ostrich list studies`; `data` other training data (DATA), `seeds` how
    many, `device` where networks are trained, each by default the scale's; `changes` other values of its
    settings: steps=500, depths=(20, 56). A study about a network of yours takes `model` (MODEL) and its
    images as `data`. `executor` says where trials run: "inprocess", "local" (processes of one thread,
    `workers` at a time), "ray", or "auto": local but for smoke. `rows` is a file of trials that are done,
    of docs/studies/rows: they are not run again. Trials that failed are in `figures["failed"]`, and are
    tried again when the same is asked with the same `out`. `force` overwrites a finished run there.
    Raises UnknownName, InputError.
    """
    chosen = find(name)
    spec = as_spec(chosen, scale, model=model, data=data, device=device, seeds=seeds, changes=changes)
    return rerun(chosen, scale, spec, executor=executor, workers=workers, rows=rows, out=out, force=force)


def rerun(
    study: Study,
    scale: str,
    spec: Spec,
    *,
    executor: str | Executor = "auto",
    workers: int | None = None,
    rows: str | Path | None = None,
    out: Where = None,
    force: bool = False,
) -> StudyResult:
    """Run a study with these settings; see `study`."""
    if isinstance(executor, str):
        automatic = "inprocess" if scale == "smoke" else "local"
        executor = executor_of(automatic if executor == "auto" else executor, workers)
    stored = None if rows is None else read_stored(rows)
    if stored:
        fingerprints(study, spec, [])
    name, asked = f"study-{study.name}", {"scale": scale, "spec": asdict(spec)}
    about = None if study.takes_model else {"name": spec.data}
    where = pick_device(spec.device)
    begins = begun(name, asked, model=scale, device=where, data=about, seed=0, out=out, force=force)
    with begins as run, stopwatch() as spent:
        with events.progress(f"{study.name}, {scale}", 1, "trials") as advance:
            trials = run_trials(study, spec, run.folder / "trials", executor, advance, stored)
        findings = report.judged(study, spec, trials)
        trained = origin(spec)
        computed = sum(seconds(one.folder) for one in trials.done)
        facts = report.facts(run.command, asked, versions(), computed, trained)
        report.write(run.folder, study, scale, trials, findings, facts)
        results = report.results(study, scale, spec, trials, findings)
        results["seconds"] = spent.seconds
        results |= {} if trained is None else {"weights": trained}
        (run.update if trials.failed else run.finish)(results)
    return StudyResult(name, run, results, trials, findings)


def as_spec(
    study: Study,
    scale: str,
    *,
    model: str | ModelOptions | None,
    data: str | Sequence[str] | None,
    device: str | None,
    seeds: int | None,
    changes: Mapping[str, Any],
) -> Spec:
    """The scale's settings with what is changed; bad input is refused. Raises InputError, UnknownName."""
    spec = changed(study.spec(scale), changes, study.name)
    given = {"device": device, "seeds": seeds}
    spec = changed(spec, {k: v for k, v in given.items() if v is not None}, study.name)
    if spec.seeds < FEWEST_SEEDS:
        raise InputError(f"A study takes at least {FEWEST_SEEDS} seeds; got {spec.seeds}.")
    pick_device(spec.device)
    if study.takes_model:
        return _about(study, spec, model, data)
    if model is not None:
        raise InputError(f"{study.name} trains its own networks: it takes no MODEL and no option of one.")
    if data is not None:
        if not isinstance(data, str):
            raise InputError(f"{study.name} trains on DATA as text, for example cifar10:PATH; got {data!r}.")
        spec = changed(spec, {"data": data}, study.name)
    if spec.data != "none":
        datasets.check_data(spec.data)
    return spec


def _about(
    study: Study, spec: Spec, model: str | ModelOptions | None, data: str | Sequence[str] | None
) -> Spec:
    """The settings of a study about a network, with the network and its images as trials load them."""
    network = ModelOptions(model=model) if isinstance(model, str) else model
    if not data or network is None or (isinstance(network, ModelOptions) and not network.model):
        raise InputError(
            f"{study.name} is about a network of yours: ostrich study {study.name} MODEL DATA, in Python "
            "model= and data=."
        )
    words = [data] if isinstance(data, str) else data
    texts = isinstance(words, Sequence) and all(isinstance(word, str | Path) for word in words)
    if not isinstance(network, ModelOptions) or not texts:
        raise InputError(
            f"The trials of {study.name} load the network and its images by name, each in its own process: "
            f"give MODEL and DATA as text; got {type(network).__name__} and {type(data).__name__}."
        )
    named = {"model": json.dumps(asdict(network), default=str), "data": json.dumps([str(w) for w in words])}
    spec = changed(spec, named, study.name)
    assert isinstance(spec, NetworkSpec)
    opened(spec, 0)
    return spec

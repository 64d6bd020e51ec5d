"""`ostrich.check`: the crash test of a network, its report and gates; `demo` is that of the bundled one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ostrich.attacks.engine.evidence import check_keep
from ostrich.attacks.transfer import with_gradients_of
from ostrich.crashtest.advice import NEXT
from ostrich.crashtest.answer import Gate
from ostrich.crashtest.check import DEMO_PROBES, PROBES, chosen_probes, crash_test
from ostrich.crashtest.comparable import SWEPT, comparable
from ostrich.crashtest.context import Context
from ostrich.crashtest.gates import Floor, read_floor
from ostrich.crashtest.job_summary import job_summary
from ostrich.crashtest.junit import junit as junit_file
from ostrich.crashtest.report import write_report
from ostrich.crashtest.report.page import answers_of
from ostrich.errors import InputError
from ostrich.models.loading import load
from ostrich.runtime.files import write_bytes
from ostrich.runtime.runs import Run, check_file, read_run
from ostrich.verbs.inputs import Images, Model, as_classifier, as_samples, check_count, check_minutes
from ostrich.verbs.outcome import Kept, Where, begun_on, folder_of

DEMO_MODEL, DEMO_DATA, DEMO_IMAGES, DEMO_MINUTES = "zoo:toybox-resnet20", "toybox", 128, 2.0
MINUTES = 10.0  # of a check, where neither they nor images are said


class CheckResult(Kept):
    """What a crash test found: `report` is its page, `figures` what its run.json holds under `results`."""

    def __init__(self, name: str, run: Run, figures: Any) -> None:
        super().__init__(name, run, figures)

    def __repr__(self) -> str:
        gates = [gate["passed"] for gate in self.gates]
        asked = f" {gates.count(True)} of {len(gates)} gates passed." if gates else ""
        return f"<{self.name}: {self.figures['verdict']}{asked}>"

    @property
    def gates(self) -> list[Gate]:
        """What was asked for, and whether it is so: {kind, text, passed, sentence}; None: not known."""
        gates: list[Gate] = self.figures["gates"]
        return gates

    @property
    def passed(self) -> bool:
        """Whether every gate passed; one that could not be judged did not."""
        return all(gate["passed"] is True for gate in self.gates)

    @property
    def findings(self) -> list[dict[str, str]]:
        """The doctor's faults, {code, sentence, evidence, fix}; none where its probe did not run."""
        found: list[dict[str, str]] = self.figures["probes"].get("doctor", {}).get("findings", [])
        return found

    @property
    def report(self) -> Path:
        """The page: one HTML file that needs nothing but itself."""
        return self.folder / "index.html"


def check(
    model: Model,
    data: Images,
    *,
    minutes: float | None = None,
    images: int | None = None,
    only: str | Sequence[str] | None = None,
    fail_under: str | Iterable[str] = (),
    baseline: str | Path | CheckResult | None = None,
    junit: str | Path | None = None,
    summary: str | Path | None = None,
    surrogate: Model | None = None,
    limit: int | None = None,
    seed: int = 0,
    precision: str = "fast",
    keep: str = "all",
    out: Where = None,
    force: bool = False,
) -> CheckResult:
    """Crash-test a network: how does it fail, how badly, and the files that prove it.

    `model` is a classifier, a module, a function or a MODEL; `data` images (N, C, H, W) in [0, 1], a pair of
    them with labels (N,), a DataLoader, or DATA as on the command line. `limit` takes a seeded choice of
    them, class-balanced. Probes run in order of worth within the `minutes` (10 unless said), or those named
    in `only`. With `images` instead, every probe takes that many, however long it takes, and the same check
    gives the same results. Gates: `fail_under` are least robust accuracies, "linf:1/255=0.2", or under
    common corruptions of a severity, "corruption:3=0.5", or certified accuracies, lower bounds,
    "certified:linf:2/255=0.4"; `baseline` an earlier run, of which no figure may
    be worse. `junit` is a file for the gates as CI systems read it, `summary` one to which the figures are
    added in Markdown. `surrogate` is another network for the same classes, whose gradients attacks follow:
    success is judged on `model`, which may have none. `precision` is "fast" or "exact", of gradients only.
    `keep` says of which images the clean files lie in `images/`: "all", the network's "failures", or "none";
    those that the report shows are there in any case, and images.csv has a row of each.
    `seed` decides every random number, `force` overwrites a finished run in `out`.

    Returns a `CheckResult`: `gates`, `passed`, `findings`, `report`, `figures`, and `save(folder)`. With
    `out` it is written there from the beginning, and an interrupted one goes on. Raises InputError,
    UnknownName; what a probe met that is a fault of ours is raised when the report of all others is written.
    """
    return _checked(
        "check",
        model,
        data,
        minutes=MINUTES if minutes is None and images is None else minutes,
        images=images,
        only=only,
        fail_under=fail_under,
        baseline=baseline,
        junit=junit,
        summary=summary,
        surrogate=surrogate,
        limit=limit,
        seed=seed,
        precision=precision,
        keep=keep,
        out=out,
        force=force,
    )


def demo(*, seed: int = 0, device: str = "auto", out: Where = None, force: bool = False) -> CheckResult:
    """Crash-test the bundled network on bundled images. Raises InputError for a device that is not there."""
    return _checked(
        "demo",
        load(DEMO_MODEL, device=device),
        DEMO_DATA,
        minutes=DEMO_MINUTES,
        limit=DEMO_IMAGES,
        seed=seed,
        out=out,
        force=force,
    )


def _checked(
    name: str,
    model: Model,
    data: Images,
    *,
    minutes: float | None,
    limit: int | None,
    seed: int,
    out: Where,
    force: bool,
    images: int | None = None,
    only: str | Sequence[str] | None = None,
    fail_under: str | Iterable[str] = (),
    baseline: str | Path | CheckResult | None = None,
    junit: str | Path | None = None,
    summary: str | Path | None = None,
    surrogate: Model | None = None,
    precision: str = "fast",
    keep: str = "all",
) -> CheckResult:
    """A check or the demo. What cannot be used is refused before anything is loaded."""
    only = only if only is None or isinstance(only, str) else ",".join(only)
    probes = chosen_probes(only, DEMO_PROBES if name == "demo" else PROBES)
    if minutes is not None and images is not None:
        raise InputError("Give minutes, a time for all, or images, which take as long as they take.")
    if minutes is not None:
        check_minutes(minutes)
    check_count("images", images)
    limit = limit if images is None else images
    if precision not in ("fast", "exact"):
        raise InputError(f"precision is fast or exact; got {precision!r}.")
    check_keep(keep)
    fail_under = [fail_under] if isinstance(fail_under, str) else list(fail_under)
    floors = [read_floor(text) for text in fail_under]
    asked_for = [
        *(probes if only else ()),
        *(["bounds"] if any(_budgets(floors, "certified").values()) else ()),
    ]
    earlier = folder_of(baseline) if isinstance(baseline, CheckResult) else baseline
    asked = {
        "only": only,
        "minutes": minutes,
        **({} if images is None else {"images": images}),
        **({} if keep == "all" else {"keep": keep}),
        "precision": precision,
        "fail_under": fail_under,
        "baseline": None if earlier is None else str(earlier),
    }
    before = None if earlier is None else (str(earlier), read_run(earlier))
    if before is not None:
        comparable(before[1])  # refuses what is damaged
    for file in (junit, summary):
        if file is not None:
            check_file(Path(file))
    classifier = as_classifier(model)
    samples = as_samples(data, None, classifier, limit=limit, seed=seed)
    lent = None if surrogate is None else with_gradients_of(surrogate, classifier, samples)
    if lent is not None and lent.surrogate is not None:
        asked["surrogate"] = surrogate if isinstance(surrogate, str) else lent.surrogate.name
    with begun_on(name, asked, classifier, samples, seed=seed, out=out, force=force) as run:
        context = Context(
            classifier=classifier,
            samples=samples,
            folder=run.folder,
            model_words=list(classifier.words),
            data_words=list(samples.words),
            seed=seed,
            precision=precision,
            lent=lent,
            count=images,
            gates=fail_under,
            budgets=_budgets(floors, "robust"),
            certified=_budgets(floors, "certified"),
            asked_for=frozenset(asked_for),
        )
        results = crash_test(
            context,
            run,
            names=probes,
            minutes=minutes,
            floors=floors,
            baseline=before,
            keep=keep,
            then=NEXT if name == "demo" else None,
        )
        write_report(run.folder)
        if not context.faults:
            run.finish(results)
        if junit is not None:
            write_bytes(Path(junit), junit_file(results, answers_of(run.folder, results)))
        if summary is not None:
            _add(Path(summary), job_summary(results, results["summary"]))
        if context.faults:  # everything else is told; the same command asks again what failed
            raise context.faults[0]
    return CheckResult(name, run, results)


def _budgets(floors: Iterable[Floor], kind: str) -> dict[str, list[float]]:
    """The budgets that gates of one kind ask for, by norm."""
    return {norm: [one.eps for one in floors if one.kind == kind and one.norm == norm] for norm in SWEPT}


def _add(file: Path, text: str) -> None:
    """Add to a file of which other steps of a job may have written a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8", errors="replace") as open_file:
        open_file.write(text)

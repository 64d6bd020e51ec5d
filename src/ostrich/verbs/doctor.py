"""`ostrich.doctor`: is a network fed and evaluated right; can its robustness be believed?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ostrich.attacks.transfer import companion
from ostrich.diagnosis import Examination, Finding, ModelUnderTest, Remark, examine
from ostrich.diagnosis.checks import out_of_time
from ostrich.figures.words import several
from ostrich.runtime.events import progress
from ostrich.runtime.runs import Run
from ostrich.verbs.inputs import Images, Model, as_classifier, as_samples, check_minutes
from ostrich.verbs.outcome import Kept, Where, begun_on


class DoctorResult(Kept):
    """The faults that were found, `findings`; `figures` are what its run.json holds under `results`.

    `remarks` are worth knowing, and no faults; run.json has them where there are any.
    """

    def __init__(self, run: Run, model: ModelUnderTest, found: Examination, n: int) -> None:
        self.findings: list[Finding] = found.findings
        self.remarks: list[Remark] = found.remarks
        figures: dict[str, Any] = {
            "n": n,
            "findings": [asdict(finding) for finding in found.findings],
            "checks": found.done,
            "skipped": found.skipped,
            "preprocessing": model.tried,
            "forwards": model.forwards,
            "gradients": model.gradients,
            "seconds": found.seconds,
        }
        if found.remarks:
            figures["remarks"] = [asdict(remark) for remark in found.remarks]
        super().__init__("doctor", run, figures)

    def __repr__(self) -> str:
        codes = [finding.code for finding in self.findings]
        return f"<doctor: {self.verdict}{' ' if codes else ''}{', '.join(codes)}>"

    @property
    def verdict(self) -> str:
        """How many faults were found, by how many checks, and how many had no time."""
        late = out_of_time(self.figures["skipped"])
        count = len(self.findings)
        faults = several(count, "fault") if count else "no fault"
        checks, images = several(len(self.figures["checks"]), "check"), several(self.figures["n"], "image")
        done = f"{faults} found by {checks} on {images}"
        return f"{done}; {len(late)} had no time." if late else f"{done}."

    @property
    def passed(self) -> bool:
        """Whether checks were made, no fault was found, and none was left out for want of time."""
        figures = self.figures
        return bool(figures["checks"]) and not self.findings and not out_of_time(figures["skipped"])


def doctor(
    model: Model,
    data: Images,
    *,
    surrogate: Model | None = None,
    minutes: float = 2.0,
    limit: int | None = None,
    seed: int = 0,
    out: Where = None,
    force: bool = False,
) -> DoctorResult:
    """Look for faults that make a network's figures meaningless, and say how to repair them.

    `model` is a classifier, a module, a function or a MODEL; `data` images (N, C, H, W) in [0, 1], a pair of
    them with labels (N,), a DataLoader, or DATA as on the command line. `surrogate` is another network for
    the same classes: do its attacks transfer? A check that is not done after `minutes` is left out, and said.
    `limit` takes a seeded, class-balanced choice. `seed` decides every random number, `force` overwrites a
    finished run in `out`. The codes of the faults: `help(ostrich.diagnosis)`.

    Returns a `DoctorResult`: `findings`, `passed`, `figures`, and `save(folder)`. Raises InputError.
    """
    check_minutes(minutes)
    classifier = as_classifier(model)
    samples = as_samples(data, None, classifier, limit=limit, seed=seed)
    other = None if surrogate is None else companion(surrogate, classifier, "surrogate")
    named = surrogate if other is None or isinstance(surrogate, str) else other.name
    asked = {"surrogate": named, "minutes": minutes}
    with (
        begun_on("doctor", asked, classifier, samples, seed=seed, out=out, force=force) as run,
        progress("examining", 1, "checks") as advance,
    ):
        examined = ModelUnderTest(
            classifier=classifier,
            images=samples.images(),
            labels=samples.labels,
            surrogate=other,
            samples=samples,
            seed=seed,
        )
        found = examine(examined, minutes=minutes, progress=advance)
        result = DoctorResult(run, examined, found, len(samples))
        run.finish(result.figures)
    return result

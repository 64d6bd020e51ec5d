"""The pages under docs/studies and their index: `python docs/studies.py [RUN[=NAME] ...] [--again NAME ...]`.

Of each run of `ostrich study` the page is written: its report again, judged from its stored trials; nothing
is computed anew. NAME is the page's name where it is not the study's (a second run of it, on other
data). A page names the commit that wrote its rule, which has to be there first. Its rows are kept in
`studies/rows/NAME.json`, from which `--again NAME` judges it anew, by the rule as it is then.

A run that is not finished, or still going on, gets a page too: how far it came, the command that goes on, and
what the seeds that are whole show, without a verdict. Trials that another machine left in the same file, with
the same fingerprint, count as done; the command takes them up by `--rows`.

Then what is no result is brought up to date in every page: claim, source, differences, published numbers. A
page that was judged by a rule which has changed since says so at its head, with the rule as it is now. Last
come the index and `src/ostrich/studies/verdicts.json`, which `ostrich list studies` shows.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rules

from ostrich.figures.chart import write_charts
from ostrich.runtime.executors import Here
from ostrich.runtime.files import read_json, write_bytes, write_json, write_text
from ostrich.runtime.runs import read_run
from ostrich.studies import VERDICTS, find, report
from ostrich.studies.schema import Done, Spec, Study, Trial
from ostrich.studies.stored import Stored, fingerprints, read_stored, write_stored
from ostrich.studies.trials import Trials, run_trials
from ostrich.studies.worker import restored, seconds

PAGES = Path(__file__).parent / "studies"
ROWS = PAGES / "rows"
INDEX = "README.md"
EARLIER = "*Judged by an earlier rule*"  # how the note of such a page begins
HEAD = """# Studies

Published experiments, rerun; made by `python docs/studies.py` from run directories of `ostrich study NAME`.
Scale `cpu` is minutes on two cores, at most about an hour; scale `hours` may grow over days, and has no
verdict until it is whole.
`cifar10`, `cifar10-first1000` and `cifar` are CIFAR-10 without loss: its 50,000 training images, and the
first 1,000 of its test images. Where the data is `cifar10:cifar10-jpeg`, a JPEG copy, the figures are not
those of CIFAR-10. Networks and images of others: `bounded.py` and `cifar-cnn-a-images.npz` are the four CNN-A
networks of the alpha-beta-CROWN project and 200 test images of CIFAR-10; `resnet20-cifar10.th` is akamaster's
residual network (pytorch_resnet_cifar10); `squeezenet1_0-imagenet.safetensors` torchvision's weights of 1.0;
`imagenet-samples` holds one photograph of ImageNet for each of 78 classes; `network.safetensors` is what the
training that the page names writes. CPU hours are of all trials together, by the clock on shared machines.
Where a verdict is by an earlier rule, its page says which commit wrote that one, and what the rule is since.

| study | question | data | n | figure | published | here | verdict | CPU hours |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


class Nothing(Here):
    """An executor that computes nothing: what is not done is left."""

    def map(self, compute: Any, items: Iterable[Any], **_: Any) -> Generator[Any, None, None]:
        yield from ()


def main(runs: Sequence[str], again: Sequence[str]) -> None:
    """Write the pages of these runs and of these names, bring all up to date, and write the index."""
    for argument in runs:
        folder, _, name = argument.partition("=")
        run = read_run(folder)
        study = find(study_name(folder))
        spec = restored(study, run["asked"]["spec"])
        name = name or study.name
        trials = run_trials(study, spec, Path(folder) / "trials", Nothing())
        about = {key: run[key] for key in ("command", "asked", "versions")} | {"study": study.name}
        if "weights" in (run["results"] or {}):
            about["weights"] = run["results"]["weights"]
        for path in report.pictures(study, trials):
            write_bytes(PAGES / f"{name}-{path.name}", path.read_bytes())
        about["seconds"] = sum(seconds(one.folder) for one in trials.done)
        if study.rows_suffice:
            kept = merged(ROWS / f"{name}.json", study, spec, trials)
            about["seconds"] = sum(one.seconds for one in kept)
            trials = of_plan(study.trials(spec), kept)
            write_stored(ROWS / f"{name}.json", portable(about), kept)
        judged_page(name, study, trials, portable(about))
    for name in again:
        kept_file = ROWS / f"{name}.json"
        about = read_json(kept_file)
        study = find(about["study"])
        plan = study.trials(restored(study, about["asked"]["spec"]))
        judged_page(name, study, of_plan(plan, list(read_stored(kept_file).values())), about)
    for page in pages():
        write_text(page, refreshed(page.read_text(encoding="utf-8"), page.stem))
    told = [told_by(page) for page in pages()]
    write_json(VERDICTS, told)
    write_text(PAGES / INDEX, index(told))


def study_name(folder: str) -> str:
    """The study of a run, finished or not: its trials say it."""
    for file in sorted(Path(folder).glob("trials/*/trial.json")):
        name: str = read_json(file)["study"]
        return name
    raise SystemExit(f"{folder} has no trials of a study.")


def merged(file: Path, study: Study, spec: Spec, trials: Trials) -> list[Stored]:
    """The trials that are done here, and those of the file with a fingerprint of this plan, as planned."""
    plan = study.trials(spec)
    known = read_stored(file) if file.exists() else {}
    done = {json.dumps(one.trial, sort_keys=True): one for one in trials.done}
    found = []
    for trial, mark in zip(plan, fingerprints(study, spec, plan)):
        one = done.get(json.dumps(trial, sort_keys=True))
        if one is not None:
            found.append(Stored(fingerprint=mark, trial=trial, seconds=seconds(one.folder), rows=one.rows))
        elif mark in known:
            found.append(known[mark])
    return found


def of_plan(plan: Sequence[Trial], kept: Sequence[Stored]) -> Trials:
    """The trials of a plan that are kept, and those that are left."""
    known = {json.dumps(one.trial, sort_keys=True): one for one in kept}
    found = Trials()
    for trial in plan:
        one = known.get(json.dumps(trial, sort_keys=True))
        if one is None:
            found.failed.append({"trial": trial, "error": "not run", "folder": ""})
        else:
            found.done.append(Done(trial=one.trial, rows=one.rows, folder=ROWS))
    return found


def portable(about: dict[str, Any]) -> dict[str, Any]:
    """The same without the folders of the machine it ran on, and without where the run lies."""
    about = {**about, "command": re.sub(r" --(out|rows) \S+", "", about["command"])}
    words = json.loads(re.sub(r"(?<=[:@\"])/[^\"]*/", "", json.dumps(about["asked"])))
    told = {
        key: re.sub(r"(?<=[:=@ ])/\S*/", "", about[key]) for key in ("command", "weights") if key in about
    }
    return {**about, **told, "asked": words}


def judged_page(name: str, study: Study, trials: Trials, facts: dict[str, Any]) -> None:
    """The page of these trials, judged now, and its figure; where trials are left, of the whole seeds."""
    asked = facts["asked"]
    spec, unfinished = restored(study, asked["spec"]), ""
    if trials.failed:
        left = {one["trial"].get("seed") for one in trials.failed}
        whole = [seed for seed in range(spec.seeds) if seed not in left]
        count = len(trials.done) + len(trials.failed)
        seeds = "1 whole seed" if len(whole) == 1 else f"{len(whole)} whole seeds"
        unfinished = f"{len(trials.done)} of {count} trials are done, {seeds}; "
        unfinished += "there is no verdict before all are."
        if any("row" in one["trial"] for one in trials.failed):
            unfinished = f"{len(trials.done)} of {count} shares of rows are done; there is no verdict of the "
            unfinished += "whole before all are."
        findings = None
        if study.row_by_row and trials.done:
            findings = study.judge(spec, trials.done)
        elif whole and whole == list(range(len(whole))):
            chosen = replace(trials, done=[one for one in trials.done if one.trial.get("seed") in whole])
            findings = report.judged(study, replace(spec, seeds=len(whole)), chosen)
    else:
        findings = report.judged(study, spec, trials)
    if findings is not None:
        write_charts(PAGES / f"{name}.png", findings.charts)
    how = report.facts(facts["command"], asked, facts["versions"], facts["seconds"], facts.get("weights"))
    if unfinished:
        rows = f" --rows docs/studies/rows/{name}.json" if study.rows_suffice else ""
        how["goes on with"] = (
            f"`{facts['command']}{rows} --out RUN`, then `python docs/studies.py RUN={name}`"
        )
    text = report.page(
        study,
        asked["scale"],
        trials,
        findings,
        how,
        f"{name}.png",
        pictures_of(name, study),
        written(study, name),
        unfinished=unfinished,
    )
    write_text(PAGES / f"{name}.md", text)


def pictures_of(name: str, study: Study) -> list[tuple[str, str]]:
    """The pictures that lie beside a page, and what they show."""
    files = {f"{name}-{file}": words for file, words in study.pictures.items()}
    return [(file, words) for file, words in files.items() if (PAGES / file).exists()]


def written(study: Study, name: str) -> str:
    """When the rule of a page was written: which commit did, and whether its results were known by then."""
    commit = rules.wrote(rules.source(study.name))
    if commit is None:
        return report.BEFORE
    told = f"in commit {commit.commit} of {commit.day}"
    for results in (rules.shown(PAGES / f"{name}.md"), rules.stored(ROWS / f"{name}.json")):
        if results is not None and not rules.came_first(commit, results):
            known = f"commit {results.commit} of {results.day}"
            return f"changed {told}, when results of these settings were known, those of {known}"
    return f"{report.BEFORE}, {told}"


def pages() -> list[Path]:
    """All pages, without the index."""
    return sorted(path for path in PAGES.glob("*.md") if path.name != INDEX)


def study_of(text: str) -> Study:
    """The study of a page: its title begins with the name."""
    return find(text.removeprefix("# ").partition(":")[0])


def refreshed(text: str, name: str) -> str:
    """A page with today's claim, source, differences and published numbers; results and rule are left alone.

    A rule that stands as it was written says by which commit, and whether results were known by then.
    """
    study = study_of(text)
    title, *rest = [part for part in text.strip().split("\n\n") if not part.startswith(EARLIER)]
    figure = [part for part in rest if part.startswith("![") and part.endswith(f"]({name}.png)")]
    rest = [part for part in rest if part not in figure]
    replaced = {
        "*Claim.*": study.claim,
        "*Source.*": study.source,
        "*What is different here.*": study.differs,
    }
    for start, words in replaced.items():
        rest = [f"{start} {words}" if part.startswith(start) else part for part in rest]
    if "**Published**" in rest:
        at = rest.index("**Published**")
        rest[at : at + 2] = "\n".join(report.published_table(study)).strip().split("\n\n")
    rule = next(part for part in rest if part.startswith("*Rule, "))
    if rule.endswith(study.rule) and (when := written(study, name)) != report.BEFORE:
        rest[rest.index(rule)] = f"*Rule, {when}.* {study.rule}"
    head = [title, *figure] if rule.endswith(study.rule) else [title, _earlier(text, study), *figure]
    return "\n\n".join([*head, *rest]) + "\n"


def _earlier(text: str, study: Study) -> str:
    """The note at the head of a page whose rule is not the study's any more."""
    note = next((part for part in text.split("\n\n") if part.startswith(EARLIER)), None)
    if note is not None:
        known = note.partition(";")[0]
    else:
        commit = rules.before(rules.source(study.name))
        known = EARLIER + (f", that of commit {commit.commit} of {commit.day}" if commit else "")
        known += ", which stands below"
    return f"{known}; since then the rule is: {study.rule}"


def told_by(page: Path) -> dict[str, Any]:
    """What a page tells: study, verdict, scale, data, seeds, and its figures beside what is published."""
    text = page.read_text(encoding="utf-8")
    settings = rules.settings(text)
    verdict = next(line for line in text.splitlines() if line.startswith("**"))
    scale = re.search(r"at scale `(\w+)`", verdict)
    hours = re.search(r"^- CPU hours: ([\d.]+)", text, re.MULTILINE)
    whole = re.search(r"(\d+) whole seeds?", verdict)  # of a study that is not finished
    if not ({"data", "seeds"} <= settings.keys() and scale and hours):
        raise SystemExit(f"{page} does not say how it was run.")
    _, _, table = text.partition(f"**{report.COMPARED}**\n\n")
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return {
        "page": page.stem,
        "study": study_of(text).name,
        "scale": scale[1],
        "data": settings["data"].strip("[]\"'"),
        "n": int(whole[1] if whole else settings["seeds"]),
        "cpu_hours": float(hours[1]),
        "verdict": verdict.split("**")[1].lower(),
        "earlier_rule": EARLIER in text,
        "compared": [[_plain(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines],
    }


def _plain(cell: str) -> str:
    """The words of a table's cell."""
    return cell.strip().replace("\\|", "|")


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def index(told: Sequence[dict[str, Any]]) -> str:
    """README.md: every page with question, data, n, published and own figures, verdict and CPU hours."""
    lines = []
    for one in told:
        question = _cell(find(one["study"]).question)
        columns = ["<br>".join(map(_cell, column)) for column in zip(*one["compared"])] or ["-"] * 3
        cells = [f"[{one['page']}]({one['page']}.md)", question, one["data"], str(one["n"]), *columns]
        lines.append(f"| {' | '.join([*cells, verdict_of(one), format(one['cpu_hours'], '.2f')])} |")
    together = f"Together {sum(one['cpu_hours'] for one in told):.1f} CPU hours."
    return HEAD + "\n".join(lines) + f"\n\n{together}\n"


def verdict_of(told: dict[str, Any]) -> str:
    """The verdict, and whether it is by an earlier rule."""
    verdict: str = told["verdict"]
    return f"{verdict}, by an earlier rule" if told["earlier_rule"] else verdict


if __name__ == "__main__":
    given = sys.argv[1:]
    cut = given.index("--again") if "--again" in given else len(given)
    main(given[:cut], given[cut + 1 :])

"""The pages of the studies: which commit wrote a rule, and what a page says whose rule has changed since."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ostrich.cli.main import run
from ostrich.runtime.files import read_json, write_json
from ostrich.studies import STUDIES, VERDICTS, known_studies

DOCS = Path(__file__).parents[2] / "docs"
STUDY = """
MARGIN, OTHER = {margin}, 2
STUDY = Study(name="some", claim="{claim}", rule=f"Reproduced: by {{MARGIN:g}} points. {more}")
"""


@pytest.fixture
def rules(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    for name in ("rules", "studies"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import rules

    return rules


@pytest.fixture
def studies(rules):
    import studies

    return studies


class Repository:
    """A study's file under version control."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "some.py"
        self.git("init", "--quiet")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", *who, *words], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, margin: float = 1, claim: str = "", more: str = "") -> None:
        self.file.write_text(STUDY.format(margin=margin, claim=claim, more=more))

    def commit(self, **settings: object) -> str:
        self.write(**settings)  # type: ignore[arg-type]
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a step")
        return self.git("rev-parse", "--short", "HEAD")


def test_the_commit_that_last_changed_a_rule_is_found(rules, tmp_path):
    place = Repository(tmp_path)
    first = place.commit(margin=1)
    assert rules.wrote(place.file).commit == first
    assert rules.before(place.file) is None
    place.commit(margin=1, claim="other words, the same rule")
    assert rules.wrote(place.file).commit == first
    second = place.commit(margin=2, claim="the margin is part of the rule")
    place.git("mv", "some.py", "moved.py")
    place.git("commit", "--quiet", "--message", "moved")
    place.file = tmp_path / "moved.py"
    assert rules.wrote(place.file).commit == second
    assert rules.before(place.file).commit == first


def test_a_rule_has_to_be_committed_before_its_results(rules, tmp_path):
    place = Repository(tmp_path)
    first = place.commit()
    place.write(more="Direction only: a little.")
    with pytest.raises(SystemExit, match="not committed"):
        rules.wrote(place.file)
    assert rules.before(place.file).commit == first


def test_without_git_nothing_is_said(rules, tmp_path, monkeypatch):
    file = tmp_path / "some.py"
    file.write_text(STUDY.format(margin=1, claim="", more=""))
    assert rules.wrote(file) is None  # no repository
    Repository(tmp_path).commit()
    monkeypatch.setenv("PATH", "")
    assert rules.wrote(file) is None  # no git
    assert rules.before(file) is None


def test_a_shallow_clone_does_not_take_its_first_commit_for_the_one_that_wrote_the_rule(rules, tmp_path):
    (tmp_path / "whole").mkdir()
    place = Repository(tmp_path / "whole")
    place.commit()
    place.commit(claim="two")
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", f"file://{place.folder}", str(tmp_path / "cut")],
        check=True,
        capture_output=True,
    )
    assert rules.wrote(tmp_path / "cut/some.py") is None


def test_a_page_says_whether_its_rule_came_before_its_results(rules, studies, tmp_path, monkeypatch):
    place = Repository(tmp_path)
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    monkeypatch.setattr(rules, "source", lambda name: place.file)
    monkeypatch.setattr(studies, "ROWS", tmp_path)
    study = studies.find("gradients")
    first = place.commit(margin=1)
    rows = tmp_path / "some.json"
    rows.write_text('{"trials": [\n{"fingerprint": "a", "trial": {"seed": 0}},\n')
    assert rules.stored(rows) is None  # not committed
    assert studies.written(study, "some").startswith(f"written before the run, in commit {first} of ")
    results = place.commit(margin=1)
    assert rules.stored(rows).commit == results
    assert studies.written(study, "some").startswith(f"written before the run, in commit {first} of ")
    second = place.commit(margin=2)
    assert studies.written(study, "some").startswith(f"changed in commit {second} of ")
    assert f"were known, those of commit {results} of " in studies.written(study, "some")
    rows.write_text('{"trials": [\n{"fingerprint": "b", "trial": {"seed": 0}},\n')
    place.commit(margin=2)  # run again
    assert studies.written(study, "some").startswith(f"written before the run, in commit {second} of ")


def test_a_run_repeated_after_its_rule_was_changed_does_not_hide_that_its_results_were_known(
    rules, studies, tmp_path, monkeypatch
):
    place = Repository(tmp_path)
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    monkeypatch.setattr(rules, "source", lambda name: place.file)
    for name in ("ROWS", "PAGES"):
        monkeypatch.setattr(studies, name, tmp_path)
    study, page = studies.find("gradients"), tmp_path / "some.md"

    def tell(verdict: str, command: str, settings: str) -> None:
        page.write_text(f"**{verdict}**\n\n- command: `{command}`\n- settings: {settings}\n")

    tell("Unfinished", "ostrich study some a/net.pt --out b", "seeds=3, rates=[0.1, 1.0], data=digits")
    place.commit(margin=1)
    tell("Reproduced", "ostrich study some a/net.pt", "seeds=3, rates=[0.1, 1.0], data=toybox")
    place.commit(margin=1)
    tell("Not reproduced", "ostrich study some a/net.pt --out b", "seeds=3, rates=[0.1, 1.0], data=digits")
    results = place.commit(margin=1)
    second = place.commit(margin=2)
    # more seeds, a setting that was not there before, the file elsewhere: the same experiment
    tell("Reproduced", "ostrich study some net.pt", "seeds=9, rates=[0.1, 1.0], data=digits, more=1")
    place.commit(margin=2)
    assert studies.written(study, "some").startswith(f"changed in commit {second} of ")
    assert f"were known, those of commit {results} of " in studies.written(study, "some")
    tell("Reproduced", "ostrich study some net.pt", "seeds=9, rates=[0.1, 2.0], data=digits")
    assert studies.written(study, "some").startswith(f"written before the run, in commit {second} of ")
    tell("Reproduced", "ostrich study some other.pt", "seeds=9, rates=[0.1, 1.0], data=digits")
    assert studies.written(study, "some").startswith(f"written before the run, in commit {second} of ")


def test_every_study_has_a_rule_that_is_found_in_its_file(rules):
    from ostrich.studies import STUDIES

    assert all("eproduced" in rules.rule(rules.source(name).read_text()) for name in STUDIES)


PAGES = sorted(path for path in (DOCS / "studies").glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_leads_with_its_figure_and_says_where_its_rule_is_an_earlier_one(path, studies):
    text = path.read_text()
    study = studies.study_of(text)
    head, figure, _ = text.partition("![")
    assert head.splitlines()[0] == f"# {study.name}: {study.question}"
    own = next(part for part in text.split("\n\n") if part.startswith("*Rule, "))
    noted = own.endswith(study.rule) or (studies.EARLIER in head and study.rule in head)
    assert noted, "run docs/studies.py"
    assert study.claim in text
    (row,) = [r for r in (DOCS / "studies/README.md").read_text().splitlines() if f"({path.name})" in r]
    told = studies.told_by(path)
    assert row.endswith(f"| {studies.verdict_of(told)} | {told['cpu_hours']:.2f} |")
    assert ("by an earlier rule" in row) == (not own.endswith(study.rule))
    assert figure or told["verdict"] == "unfinished"
    assert told["compared"] or not figure, "published against ours"
    assert all(len(one) == 3 for one in told["compared"])


def test_the_index_and_what_the_command_lists_are_what_the_pages_tell(studies):
    told = [studies.told_by(page) for page in studies.pages()]
    assert len({one["study"] for one in told}) >= 14
    assert (DOCS / "studies/README.md").read_text() == studies.index(told)
    assert json.loads(VERDICTS.read_text()) == told
    rows = known_studies()
    assert [row["name"] for row in rows] == list(STUDIES)
    (batchnorm,) = [row for row in rows if row["name"] == "batchnorm"]
    assert [(one["page"], one["data"]) for one in batchnorm["results"]] == [("batchnorm", "digits")]


def test_the_list_of_studies_shows_data_n_and_figures(capsys):
    assert run(["list", "studies"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "toybox, n =" in said
    assert "here" in said
    assert run(["list", "studies", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(
        {"page", "n", "data", "verdict", "compared"} <= set(one) for row in rows for one in row["results"]
    )


def test_a_run_becomes_a_page_that_is_judged_again_from_its_rows(studies, rules, tmp_path, monkeypatch):
    for name, place in (("PAGES", "pages"), ("ROWS", "pages/rows"), ("VERDICTS", "verdicts.json")):
        monkeypatch.setattr(studies, name, tmp_path / place)
    monkeypatch.setattr(rules, "wrote", lambda path: rules.Wrote("abc1234", "2026-11-29"))
    folder = tmp_path / "run"
    words = ["--set", "depth=3", "--set", "units=8", "--set", "gains=1,1.1", "--seeds", "3"]
    assert run(["study", "gradients", "--scale", "smoke", *words, "--out", str(folder)]) == 0
    studies.main([f"{folder}=some"], [])
    page = tmp_path / "pages/some.md"
    text = page.read_text()
    assert "*Rule, written before the run, in commit abc1234 of 2026-11-29.*" in text
    assert text.split("\n\n")[1].startswith("![")
    (told,) = json.loads((tmp_path / "verdicts.json").read_text())
    assert (told["page"], told["study"], told["scale"], told["n"]) == ("some", "gradients", "smoke", 3)
    assert "[some](some.md)" in (tmp_path / "pages/README.md").read_text()
    page.write_text("gone")
    studies.main([], ["some"])
    assert page.read_text() == text


@pytest.fixture
def elsewhere(studies, rules, tmp_path, monkeypatch):
    """Pages that are written below `tmp_path`."""
    for name, place in (("PAGES", "pages"), ("ROWS", "pages/rows"), ("VERDICTS", "verdicts.json")):
        monkeypatch.setattr(studies, name, tmp_path / place)
    monkeypatch.setattr(rules, "wrote", lambda path: rules.Wrote("abc1234", "2026-11-29"))
    return studies


def results_of(folder: Path) -> list[Path]:
    """Of a run's trials, by seed."""
    return sorted(folder.glob("trials/*/result.json"), key=seed_of)


def seed_of(result: Path) -> int:
    return int(read_json(result.parent / "trial.json")["trial"]["seed"])


def begun_only(folder: Path) -> None:
    """A run as it is while it goes on."""
    write_json(folder / "run.json", {**read_json(folder / "run.json"), "finished": False, "results": None})


def test_a_study_that_is_not_finished_says_how_far_it_came_and_grows_on_other_machines(elsewhere, tmp_path):
    draw = np.random.default_rng(0)
    arrays = {
        f"{name}_{split}": draw.integers(0, 10 if name == "y" else 256, (count, *shape), dtype=np.uint8)
        for split, count in (("train", 300), ("test", 250))
        for name, shape in (("x", (8, 8)), ("y", ()))
    }
    np.savez(tmp_path / "d.npz", **arrays)
    command = ["study", "batchnorm-mnist", "--scale", "smoke", "--set", "steps=10", "--set", "rates=0.1,1"]
    here = [*command, "--data", f"npz:{tmp_path}/d.npz"]
    folder = tmp_path / "run"
    assert run([*here, "--seeds", "4", "--out", str(folder)]) == 0
    begun_only(folder)
    for path in results_of(folder)[8:]:  # four of a seed: the seeds 2 and 3 are left
        path.unlink()
    elsewhere.main([f"{folder}=some"], [])
    text, kept = (tmp_path / "pages/some.md").read_text(), tmp_path / "pages/rows/some.json"
    assert (
        "**Unfinished** at scale `smoke`. 8 of 16 trials are done, 2 whole seeds; there is no verdict" in text
    )
    assert "--rows docs/studies/rows/some.json --out RUN`, then `python docs/studies.py RUN=some`" in text
    assert "data=npz:d.npz" in text
    assert str(tmp_path) not in text + kept.read_text()
    assert "before all are. So far: " in text
    (told,) = json.loads((tmp_path / "verdicts.json").read_text())
    assert (told["verdict"], told["n"]) == ("unfinished", 2)

    (tmp_path / "d.npz").rename(tmp_path / "moved.npz")  # the same data at another place
    there, second = [*command, "--data", f"npz:{tmp_path}/moved.npz"], tmp_path / "second"
    assert run([*there, "--seeds", "3", "--rows", str(kept), "--out", str(second)]) == 0
    taken, first = results_of(second)[:8], results_of(folder)
    assert {read_json(p)["computation"]["seconds"] for p in taken} == {
        read_json(p)["computation"]["seconds"] for p in first
    }  # they were not run again
    assert json.loads(kept.read_text())["trials"][0]["rows"]["columns"][0] == "step"

    (tmp_path / "moved.npz").rename(tmp_path / "d.npz")
    first[0].unlink()  # the file knows it still
    elsewhere.main([f"{folder}=some"], [])
    assert "8 of 16 trials are done" in (tmp_path / "pages/some.md").read_text()


def test_a_command_names_no_folder_of_the_machine_it_ran_on(studies):
    command = (
        "ostrich study depth --scale hours --data cifar10:/some/where/cifar10 --out /some/where/run --seeds 3"
    )
    asked = {"scale": "hours", "spec": {"data": "cifar10:/some/where/cifar10", "rate": 0.1}}
    found = studies.portable({"command": command, "asked": asked})
    assert found["command"] == "ostrich study depth --scale hours --data cifar10:cifar10 --seeds 3"
    assert found["asked"] == {"scale": "hours", "spec": {"data": "cifar10:cifar10", "rate": 0.1}}


def test_what_is_whole_of_an_unfinished_study_shows_how_it_stands(elsewhere, tmp_path):
    folder = tmp_path / "run"
    small = ["train=64", "test=50", "depths=8,14", "width=0.25", "steps=2"]
    words = [word for one in small for word in ("--set", one)]
    assert run(["study", "depth", "--scale", "smoke", *words, "--out", str(folder)]) == 0
    begun_only(folder)
    page = tmp_path / "pages/some.md"
    for count, left in ((2, 1), (1, 4), (0, 4)):  # whole seeds, and trials taken away for it
        for result in results_of(folder)[-left:]:
            result.unlink()
        (tmp_path / "pages/rows/some.json").unlink(missing_ok=True)  # it would know them
        elsewhere.main([f"{folder}=some"], [])
        text = page.read_text()
        seeds = "seed" if count == 1 else "seeds"
        assert f"{count} whole {seeds}; there is no verdict before all are." in text
        assert ("So far: " in text) == ("![" in text) == bool(count)
        assert ("one value: no interval" in text) == (count == 1)
        assert (f"n = {count})" in text) == bool(count)
        assert "inf" not in text.partition("**Published**")[0]
        assert "Failed trials" not in text
        elsewhere.main([], ["some"])
        assert page.read_text() == text
    table = text.partition("**Trials so far, the last row of each**\n\n")[2].partition("\n\n")[0]
    assert table.startswith("| depth | kind | seed |")
    assert len(table.splitlines()) == 2 + 3


def test_a_page_shows_what_a_trial_left_as_pictures(elsewhere, tmp_path):
    folder, page = tmp_path / "run", tmp_path / "pages/some.md"
    words = ["--scale", "smoke", "--data", "digits", "--out", str(folder)]
    assert run(["study", "perceptron-gan-mnist", *words]) == 0
    report = (folder / "report.md").read_text()
    elsewhere.main([f"{folder}=some"], [])
    text = page.read_text()
    for name, words in elsewhere.find("perceptron-gan-mnist").pictures.items():
        (link,) = re.findall(rf"\]\((trials/\w+/{name})\)", report)
        assert f"![{words}](some-{name})\n\n{words}\n" in text
        assert (tmp_path / f"pages/some-{name}").read_bytes() == (folder / link).read_bytes()
    assert text.index("![") < text.index("some-samples.png") < text.index("*Claim.*")
    elsewhere.main([], ["some"])  # from the rows: the pictures are those that lie there
    assert page.read_text() == text


def test_a_page_is_judged_by_an_earlier_rule_until_it_is_judged_anew(studies):
    text = (DOCS / "studies/gradients.md").read_text()
    study = studies.study_of(text)
    assert studies.EARLIER not in text
    old = text.replace(study.rule, "Reproduced: always.")
    noted = studies.refreshed(old, "gradients")
    assert noted.index(studies.EARLIER) < noted.index("![")
    assert "since then the rule is: " + study.rule in noted
    assert "Reproduced: always." in noted  # the rule that judged it stands where it stood
    assert studies.refreshed(noted, "gradients") == noted
    assert studies.refreshed(noted.replace("Reproduced: always.", study.rule), "gradients") == text


def test_a_study_that_is_judged_row_by_row_shows_what_it_has(elsewhere, tmp_path):
    words = ["study", "breaking", "zoo:digits-cnn", "digits", "--scale", "smoke", "--set", "images=2"]
    folder = tmp_path / "run"
    assert run([*words, "--set", "attacks=fgsm,pgd", "--out", str(folder)]) == 0
    begun_only(folder)
    (left,) = [
        path
        for path in results_of(folder)
        if read_json(path.parent / "trial.json")["trial"] == {"row": "pgd", "seed": 2}
    ]
    left.unlink()
    elsewhere.main([f"{folder}=some"], [])
    text, kept = (tmp_path / "pages/some.md").read_text(), tmp_path / "pages/rows/some.json"
    assert "**Unfinished** at scale `smoke`. 5 of 6 shares of rows are done" in text
    assert "1 are not whole yet" in text
    assert "so far, 2 of 3 shares" in text
    assert len(read_json(kept)["trials"]) == 5
    (told,) = json.loads((tmp_path / "verdicts.json").read_text())
    assert told["verdict"] == "unfinished"
    assert [row[0].partition(":")[0] for row in told["compared"]] == ["fgsm", "pgd"]


def test_the_folders_of_the_machine_stay_out_of_a_page(studies):
    about = {
        "command": "ostrich study breaking arch:a /home/me/d --weights /home/me/w.pt "
        "--set also=zoo:b@/home/me/v.pt",
        "asked": {"spec": {"also": ["zoo:b@/home/me/v.pt"], "data": '["folder:/home/me/d"]'}},
        "weights": "trained on 9 images by `ostrich train a --data npz:/home/me/d.npz --seed 0`; 50.0% right",
    }
    found = studies.portable(about)
    assert "/home" not in json.dumps(found)
    assert found["command"].endswith("d --weights w.pt --set also=zoo:b@v.pt")
    assert found["asked"]["spec"] == {"also": ["zoo:b@v.pt"], "data": '["folder:d"]'}
    assert "`ostrich train a --data npz:d.npz --seed 0`" in found["weights"]

"""What a check leaves for CI systems: JUnit, a job's summary, exit codes; and `compare --fail`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml

from ostrich.cli.main import run
from ostrich.crashtest.answer import ProbeAnswer
from ostrich.crashtest.gates import WAS_EDITED
from ostrich.crashtest.job_summary import job_summary
from ostrich.crashtest.junit import junit
from ostrich.errors import InputError
from ostrich.runtime.files import write_json
from ostrich.verbs.compare import compare
from ostrich.verbs.report import report

ROOT = Path(__file__).parents[2]
CHECK = ["check", "zoo:digits-cnn", "digits", "--limit", "6", "--only", "clean,robustness", "--minutes", "30"]
HOSTILE = "a|b](javascript:alert(1)) <img src=x> `$\x07"


def results(*verdicts: bool | None) -> Any:
    """Results with a gate of each verdict."""
    return {
        "model": {"name": HOSTILE, "source": None, "parameters": 1, "num_classes": 2, "input": [3, 8, 8]},
        "verdict": "It is right on half.",
        "gates": [
            {"kind": "fail-under", "text": f"linf:{i}/255=0.5", "passed": passed, "sentence": HOSTILE}
            for i, passed in enumerate(verdicts)
        ],
        "not_run": [{"probe": "patch", "reason": "No time was left.", "command": None}],
        "next_commands": [{"text": HOSTILE, "command": "ostrich doctor MODEL DATA"}],
        "since": None,
        "probes": {},
        "seconds": 1.5,
    }


def test_junit_is_red_when_the_command_fails() -> None:
    probes = [
        ProbeAnswer(name="clean", title="Clean", status="done", sentence="Right.", seconds=0.5),
        ProbeAnswer(name="mesh", title="Mesh", status="skipped", reason=f"{HOSTILE} has no mesh."),
        ProbeAnswer(name="fit", title="Fit", status="failed", reason="Out of memory."),
    ]
    suites = JUnitXml.fromstring(junit(results(True, False, None), probes))
    (suite,) = suites
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (7, 1, 1, 3)
    found = {case.name: [type(one).__name__ for one in case.result] for case in suite}
    assert found["linf:0/255=0.5"] == []
    assert found["linf:1/255=0.5"] == ["Failure"]
    assert found["linf:2/255=0.5"] == ["Error"]
    assert found["mesh"] == found["fit"] == found["patch"] == ["Skipped"]
    (green,) = JUnitXml.fromstring(junit(results(True), probes))
    assert (green.failures, green.errors) == (0, 0)


def test_a_strangers_words_are_no_markup() -> None:
    line = {"name": HOSTILE, "value": 0.5, "low": None, "high": None, "n": 4, "measured_by": []}
    text = job_summary(results(False), [{**line, "verdict": "falls", "reason": None}])  # type: ignore[typeddict-item]
    assert "<img" not in text.replace("\\<img", "")
    assert "](" not in text.replace("\\](", "").replace("](javascript", "") or "\\]" in text
    for row in text.splitlines():
        if row.startswith("|"):
            cells = row.replace("\\|", "").count("|")
            assert cells in (4, 6), row


@pytest.mark.parametrize(("floor", "code"), [("linf:1/255=0.1", 0), ("linf:64/255=0.9", 1)])
def test_the_files_of_a_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floor: str, code: int) -> None:
    job = tmp_path / "job.md"
    job.write_text("An earlier step.\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(job))
    files = ["--junit", str(tmp_path / "new" / "junit.xml"), "--out", str(tmp_path / "run")]
    assert run([*CHECK, "--fail-under", floor, *files]) == code
    (suite,) = JUnitXml.fromfile(str(tmp_path / "new" / "junit.xml"))
    assert suite.failures == code
    assert {case.name for case in suite} == {floor, "clean", "robustness"}
    assert job.read_text().startswith("An earlier step.\n## Crash test of zoo:digits-cnn")
    assert ("**failed**" in job.read_text()) == bool(code)
    summary = tmp_path / "summary.md"
    assert run([*CHECK, "--summary", str(summary), "--out", str(tmp_path / "again")]) == 0
    assert "| clean accuracy |" in summary.read_text()
    assert job.read_text().count("## Crash test") == 1  # the option takes its place


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for option in ("--junit", "--summary"):
        for place in (tmp_path / "file" / "x", tmp_path):
            assert run([*CHECK, option, str(place), "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="is a folder"):
        report(ROOT / "tests" / "crashtest" / "run-of-0.1", out=tmp_path)


def stored(folder: Path, value: float, **more: Any) -> Path:
    """A check whose robust accuracy at linf 1/255 is `value` of 100 images."""
    folder.mkdir()
    robust = {"norm": "linf", "eps": 1 / 255, "robust_accuracy": value, "low": value - 0.1}
    robust |= {"high": value + 0.1, "bound": "upper", **more}
    content = {"results": {"robustness": [robust], "probes": {}}, "finished": True}
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def test_compare_fails_where_the_second_is_worse(tmp_path: Path) -> None:
    good, worse = stored(tmp_path / "good", 0.6), stored(tmp_path / "worse", 0.4)
    near = stored(tmp_path / "near", 0.55)
    unknown = stored(tmp_path / "unknown", 0.6, bound=None)
    for second, code in ((worse, 1), (near, 0), (unknown, 1)):
        assert run(["compare", str(good), str(second), "--fail"]) == code
        assert run(["compare", str(good), str(second)]) == 0
    assert run(["compare", str(worse), str(good), "--fail", "--json"]) == 0


def attacked(folder: Path, accuracy: float, eps: str = "0.1", **asked: Any) -> str:
    """An attack that left a share of 24 images."""
    results = {"n": 24, "clean_accuracy": 1.0, "robust_accuracy": accuracy, "distance": {"norm": "linf"}}
    return one_run(folder, results, {"attack": f"PGD(threat=Linf(eps={eps}), steps=40)", **asked})


def certified(folder: Path, accuracy: float, **settings: float) -> str:
    """Lower bounds on 24 images, by smoothing where they have a sigma."""
    results = {"n": 24, "clean_accuracy": 1.0, "certified_accuracy": accuracy, "norm": "l2", "eps": 0.25}
    results |= {"method": "smoothing" if settings else "linear"}
    return one_run(folder, results, {"settings": settings})


def one_run(folder: Path, results: dict[str, Any], asked: dict[str, Any]) -> str:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"results": results, "asked": asked, "finished": True}))
    return str(folder)


def test_two_attacks_are_compared_by_the_interval_of_their_images(tmp_path: Path) -> None:
    good, worse = attacked(tmp_path / "good", 0.75), attacked(tmp_path / "worse", 0.25)
    assert run(["compare", good, worse, "--fail"]) == 1
    assert run(["compare", worse, good, "--fail"]) == 0
    for seed in (0, 1):
        words = ["attack", "fgsm", "zoo:digits-cnn", "digits", "--limit", "8", "--set", "eps=8/255"]
        assert run([*words, "--seed", str(seed), "--out", str(tmp_path / f"fgsm{seed}")]) == 0
    first, second = (compare(tmp_path / name, tmp_path / "fgsm1") for name in ("fgsm0", "good"))
    assert (first.gate["passed"], second.gate["passed"]) == (True, None)
    assert "robust accuracy at linf 8/255" in [row["figure"] for row in first.rows]


def test_other_questions_are_not_compared(tmp_path: Path) -> None:
    goal = {"goal": "targeted", "target classes": "sha256:1"}
    runs = [
        attacked(tmp_path / "untargeted", 0.75),
        attacked(tmp_path / "larger", 0.25, "0.2"),
        attacked(tmp_path / "target", 0.75, target="ostrich"),
        attacked(tmp_path / "goal", 0.75, goal=goal),
        attacked(tmp_path / "unbounded", 0.0, attack="DDN(threat=Unbounded(norm='l2'))"),
        certified(tmp_path / "linear", 0.75),
        certified(tmp_path / "smoothed", 0.75, sigma=0.25),
        certified(tmp_path / "more", 0.75, sigma=0.5),
    ]
    for first in runs:
        for second in runs:
            found = compare(first, second)
            assert found.gate["passed"] is (True if first == second else None)
    assert compare(runs[5], certified(tmp_path / "less", 0.25)).gate["passed"] is False
    for first, second in ((runs[0], runs[1]), (runs[5], runs[6])):
        figures = [row["figure"] for row in compare(first, second).rows]
        assert [name for name in figures if "accuracy" in name] == ["clean accuracy"]


def test_what_is_not_known_is_shown_so(tmp_path: Path) -> None:
    known, unknown = stored(tmp_path / "known", 0.6), stored(tmp_path / "unknown", 0.9, bound=None)
    for first, second in ((known, unknown), (unknown, known)):
        (row,) = compare(first, second).table()
        assert row[-1] == "not known"


def test_a_baseline_that_lacks_figures_is_refused_before_the_check(tmp_path: Path) -> None:
    clean = {"clean": {"accuracy": 0.5}}
    edited = one_run(tmp_path / "edited", {"probes": clean, "robustness": []}, {})
    assert run([*CHECK, "--baseline", edited, "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()
    assert run(["compare", edited, edited]) == 2


def test_a_run_that_was_edited_is_judged_and_said_to_be(tmp_path: Path, capsys) -> None:
    files = [stored(tmp_path / name, 0.6) / "run.json" for name in ("run", "lowered")]
    for file in files:
        write_json(file, json.loads(file.read_text()))
    assert not compare(*files).remark
    files[1].write_text(files[1].read_text().replace("0.6", "0.1"))  # and its checksum is as it was
    for first, second, passed in ((files[0], files[1], False), (files[1], files[0], True)):
        found = compare(first, second)
        assert found.gate["passed"] is passed
        assert found.remark == WAS_EDITED
        assert found.gate["sentence"].endswith(WAS_EDITED)
        assert run(["compare", str(first), str(second)]) == 0
        assert WAS_EDITED in capsys.readouterr().out


def test_a_missing_run_is_the_callers_mistake(tmp_path: Path) -> None:
    assert run(["compare", str(tmp_path / "none"), str(tmp_path / "none"), "--fail"]) == 2
    with pytest.raises(InputError):
        report(tmp_path / "none")


@pytest.mark.parametrize(("floor", "code"), [("linf:1/255=0.1", 0), ("linf:64/255=0.9", 1)])
def test_the_action_ends_as_its_gates_do(tmp_path: Path, floor: str, code: int) -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (step,) = [step for step in action["runs"]["steps"] if step.get("id") == "check"]
    given = {"model": "zoo:digits-cnn", "data": "digits", "fail-under": f"\n{floor}\n", "images": "6"}
    given |= {"options": "--only\nclean,robustness\n", "out": "runs/out put"}
    inputs = {name: given.get(name, one.get("default")) for name, one in action["inputs"].items()}
    named = {
        name: value.removeprefix("${{ inputs.").removesuffix(" }}") for name, value in step["env"].items()
    }
    env = {name: inputs[source] for name, source in named.items()}
    env |= {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
    done = subprocess.run(shell, env={**os.environ, **env, "PATH": path}, cwd=tmp_path, check=False)
    assert done.returncode == code
    assert (tmp_path / "runs" / "out put" / "index.html").exists()
    (suite,) = JUnitXml.fromfile(str(tmp_path / "runs" / "out put.xml"))
    assert suite.failures == code
    said = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    files = {"report": "runs/out put/index.html", "junit": "runs/out put.xml"}
    assert said == {**files, "artifact": "runs-out put"}
    assert floor in (tmp_path / "summary.md").read_text()

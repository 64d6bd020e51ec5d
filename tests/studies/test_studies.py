"""Studies: the form, the trials that survive failures and kills, and every study at scale smoke."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ostrich.cli.main import run
from ostrich.errors import InputError, UnknownName
from ostrich.models import architectures
from ostrich.published import all_published
from ostrich.runtime.executors import Here
from ostrich.runtime.executors.local import WORKER, Processes
from ostrich.runtime.settings import pairs
from ostrich.statistics import deviation, interval, slope
from ostrich.studies import STUDIES, find, report, worker
from ostrich.studies.datasets import joined, open_splits, with_label_noise
from ostrich.studies.schema import SCALES, Findings, Spec, Study, crossed
from ostrich.studies.trials import key, run_trials
from ostrich.verbs.study import as_spec

VERDICTS = ("reproduced", "direction only", "not reproduced")
TRAINED = [name for name in STUDIES if not find(name).takes_model]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Every study -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_whole(name):
    study = find(name)
    assert study.question.endswith("?")
    assert all((study.claim, study.source, study.differs))
    for verdict in ("Reproduced:", "Direction only:"):
        assert verdict in study.rule
    assert "not reproduced" in study.rule.lower()
    assert {"smoke", "cpu"} <= set(study.specs) <= set(SCALES)
    assert all(number in all_published() for number in study.published)
    for spec in study.specs.values():
        assert spec.seeds >= 3
        trials = [json.dumps(trial, sort_keys=True) for trial in study.trials(spec)]
        assert len(set(trials)) == len(trials)
        restored = worker.restored(study, json.loads(json.dumps(_asdict(spec))))
        assert restored == spec


def _asdict(spec: Spec) -> dict:
    from dataclasses import asdict

    return asdict(spec)


@pytest.mark.parametrize("name", TRAINED)
def test_every_study_runs_at_scale_smoke(name, place):
    study = find(name)
    spec = study.spec("smoke")
    trials = run_trials(study, spec, place / "trials", Here())
    assert not trials.failed
    findings = study.judge(spec, trials.done)
    assert findings.verdict in VERDICTS
    report.write(place, study, "smoke", trials, findings, {"command": "none"})
    page = (place / "report.md").read_text()
    for words in (study.question, study.rule, findings.because, "verdict means nothing"):
        assert words in page
    assert "nan" not in page.split()
    with (place / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["seed"] for row in rows}) >= 3
    assert (place / "figure.png").stat().st_size > 5000


def test_the_same_smoke_twice_gives_the_same_rows(tmp_path):
    study = find("dropout")
    spec = replace(study.spec("smoke"), sizes=(60,))
    twice = []
    for folder in ("a", "b"):
        torch.rand(3)
        done = run_trials(study, spec, tmp_path / folder, Here()).done
        twice.append([one.rows for one in done])
    assert twice[0] == twice[1]


@pytest.mark.parametrize("name", STUDIES)
def test_the_pages_tell_the_rule_that_is_applied(name):
    pages = Path(__file__).parents[2] / "docs/studies"
    found = [path for path in pages.glob(f"{name}*.md") if path.read_text().startswith(f"# {name}: ")]
    assert found
    for path in found:
        text = path.read_text()
        assert find(name).rule in text
        pictured = f"({path.stem}.png)" in text
        assert pictured == path.with_suffix(".png").exists()
        assert pictured or "**Unfinished**" in text
        assert f"[{path.stem}]({path.name})" in (pages / "README.md").read_text()


# The command -------------------------------------------------------------------------------------


def test_the_command_leaves_report_figure_and_table(place):
    assert run(["study", "gradients", "--scale", "smoke", "--out", "out"]) == 0
    for name in ("report.md", "figure.png", "results.csv", "run.json"):
        assert (place / "out" / name).exists()
    content = json.loads((place / "out/run.json").read_text())
    assert content["finished"]
    assert content["results"]["verdict"] == "reproduced"
    assert content["results"]["seeds"] == 4
    assert content["results"]["failed"] == []
    assert run(["study", "gradients", "--scale", "smoke", "--out", "out"]) == 2  # finished: refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["depht"], "Did you mean depth"),
        (["depth", "--scale", "huge"], "scales smoke, cpu, hours, gpu, paper"),
        (["depth", "--seeds", "2"], "at least 3 seeds"),
        (["depth", "--set", "stepz=3"], "Did you mean steps"),
        (["depth", "--data", "toybix"], "toybix"),
        (["depth", "zoo:toybox-resnet20", "toybox"], "takes no MODEL"),
        (["removal"], "ostrich study removal MODEL DATA"),
        (["removal", "zoo:nothing", "toybox"], "zoo:nothing"),
        (["removal", "zoo:toybox-resnet20", "toybox", "--data", "digits"], "not --data"),
        (["depth", "--executor", "cloud"], "executor"),
        (["depth", "--data", "folder:."], "there is no train/"),
        (["depth", "--device", "gpu"], "auto, cpu or cuda"),
        (["depth", "--workers", "0"], "at least 1"),
        (["ensemble", "--set", "fair=1"], "fair lies between"),
    ],
)
def test_wrong_usage_is_answered_in_one_sentence(place, capsys, words, message):
    assert run(["study", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(place.iterdir())  # nothing was written


def test_lists_are_set_with_commas_between():
    def asked(*texts: str) -> Spec:
        return as_spec(
            find("depth"), "smoke", model=None, data=None, device=None, seeds=None, changes=pairs(texts)
        )

    assert asked("depths=8,20,56").depths == (8, 20, 56)
    assert asked("depths=8").depths == (8,)
    with pytest.raises(InputError, match="depths=8,,20: values with commas between"):
        asked("depths=8,,20")
    with pytest.raises(InputError, match="a whole number is expected"):
        asked("depths=8,deep")


def test_studies_are_listed(capsys):
    assert run(["list", "studies", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(STUDIES)


def test_removal_of_any_network(place, capsys):
    words = [
        "study",
        "removal",
        "zoo:toybox-resnet20",
        "toybox",
        "--scale",
        "smoke",
        "--out",
        "out",
        "--json",
    ]
    assert run([*words, "--set", "images=10"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["verdict"] in VERDICTS
    with (place / "out/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    blocks = {row["name"] for row in rows if row["part"] == "block"}
    # where the size changes a block cannot go: its output is not of its input's shape
    assert blocks == {"layer1.0", "layer1.1", "layer1.2", "layer2.1", "layer2.2", "layer3.1", "layer3.2"}
    assert {row["name"] for row in rows if row["part"] == "stage"} == {"layer1"}


def test_bounds_of_a_network(place, capsys):
    (place / "net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(192, 10))\n"
    )
    words = ["study", "bounds", "net.py:build", "digits", "--size", "8", "--scale", "smoke", "--json"]
    assert run([*words, "--out", "out", "--set", "network=cifar-cnn-a-mix", "--set", "images=20"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures["both"] == 0
    assert figures["verified"] <= figures["attacked"] <= figures["clean"]
    assert "| 48 |" in (place / "out/report.md").read_text()  # the published figure stands beside ours
    assert run([*words, "--out", "other", "--set", "network=resnet"]) == 2
    assert "cifar-cnn-a-adv" in capsys.readouterr().err


# Trials ------------------------------------------------------------------------------------------


@pytest.fixture
def study(monkeypatch) -> Study:
    """Four trials, the second of which fails for as long as the folder has no file `mended`."""

    def trial(spec: Spec, trial: dict, folder: Path) -> list[dict]:
        with (folder.parent.parent / "calls").open("a") as file:
            file.write(f"{trial['seed']} ")
        if trial["seed"] == 1 and not (folder.parent.parent / "mended").exists():
            raise ZeroDivisionError("inside the trial")
        return [{"value": trial["seed"] ** 2}]

    def judge(spec: Spec, done: list) -> Findings:
        assert len(done) == 4
        return Findings(verdict="reproduced", because="All is there.", tables=[], charts=[])

    made = Study(
        name="gradients",  # a name that the worker finds
        question="Does it go on?",
        claim="",
        source="",
        differs="",
        rule="",
        specs={"smoke": Spec(seeds=4)},
        trials=lambda spec: crossed(spec.seeds),
        run=trial,
        judge=judge,
    )
    monkeypatch.setattr(worker, "find", lambda name: made)
    return made


def test_a_failed_trial_does_not_lose_the_others_and_is_tried_again(study, tmp_path):
    spec = study.spec("smoke")

    def once():  # type: ignore[no-untyped-def]
        return run_trials(study, spec, tmp_path / "trials", Here())

    first = once()
    assert [one.trial["seed"] for one in first.done] == [0, 2, 3]
    assert first.failed[0]["trial"] == {"seed": 1}
    assert first.failed[0]["error"] == "ZeroDivisionError: inside the trial"
    assert report.judged(study, spec, first) is None
    report.write(tmp_path, study, "smoke", first, None, {})
    page = (tmp_path / "report.md").read_text()
    assert "Not judged" in page
    assert '{"seed": 1}' in page
    (tmp_path / "mended").touch()
    second = once()
    assert not second.failed
    assert (tmp_path / "calls").read_text() == "0 1 2 3 1 "  # what was done is not done again
    found = report.judged(study, spec, second)
    assert found is not None
    assert found.verdict == "reproduced"


def test_a_trials_key_is_its_spec_and_not_the_number_of_seeds():
    study = find("depth")
    spec = study.spec("smoke")
    trial = study.trials(spec)[0]
    known = key(study, spec, trial)
    assert key(study, replace(spec, seeds=9), trial) == known
    assert key(study, replace(spec, steps=4), trial) != known
    assert key(study, spec, {**trial, "seed": 7}) != known


def test_subprocesses_do_what_a_process_does_and_a_killed_worker_costs_one_trial(tmp_path):
    study = find("gradients")
    spec = replace(study.spec("smoke"), depth=3, gains=(1.0,), seeds=3)
    expected = run_trials(study, spec, tmp_path / "a", Here())
    killed: list[int] = []

    def watch(done: int, total: int) -> None:  # kill the worker that is at the second trial
        for process in Path("/proc").glob("[0-9]*") if done and not killed else ():
            if _parent(process) == os.getpid() and WORKER.encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
                killed.append(int(process.name))

    broken = run_trials(study, spec, tmp_path / "b", Processes(1), watch)
    assert len(killed) == 1
    assert len(broken.failed) == 1
    assert "ended with code" in broken.failed[0]["error"]
    mended = run_trials(study, spec, tmp_path / "b", Here())
    assert len(broken.done) == len(expected.done) - 1
    assert [one.rows for one in mended.done] == [one.rows for one in expected.done]


@pytest.mark.slow
def test_a_killed_study_goes_on_and_leaves_no_worker_behind(place):
    words = [sys.executable, "-m", "ostrich", "study", "objective", "--scale", "cpu", "--out", "out"]
    words += ["--workers", "1", "--seeds", "3", "--set", "steps=100000"]
    process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 60
        started: list[Path] = []
        while not started and time.monotonic() < deadline:
            time.sleep(0.05)
            started = [p for p in Path("/proc").glob("[0-9]*") if _parent(p) == process.pid]
        assert started
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 20
    while any(_alive(p) for p in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(p) for p in started)
    assert not json.loads((place / "out/run.json").read_text())["finished"]


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _alive(folder: Path) -> bool:
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Splits ------------------------------------------------------------------------------------------


def test_training_sets_are_nested_balanced_and_apart_from_the_test_set():
    small, large = (open_splits("digits", size=8, train=n, test=200, seed=3) for n in (50, 400))
    other = open_splits("digits", size=8, train=50, test=200, seed=4)

    def pictures(given, part):  # type: ignore[no-untyped-def]
        return {bytes(x.numpy().tobytes()) for x in getattr(given, part).tensor()}

    assert pictures(small, "train") <= pictures(large, "train")
    assert pictures(small, "train") != pictures(other, "train")
    assert torch.equal(small.test.tensor(), other.test.tensor())
    assert not pictures(large, "train") & pictures(large, "test")
    assert small.train.labels.bincount().tolist() == [5] * 10
    with pytest.raises(InputError, match="1597 images to train on; 5000"):
        open_splits("digits", size=8, train=5000, test=200, seed=0)
    with pytest.raises(UnknownName):
        open_splits("dogits", size=8, train=5, test=5, seed=0)


def test_a_folder_is_trained_on_one_part_and_tested_on_another(tmp_path):
    from PIL import Image

    for part, count in (("train", 6), ("val", 2)):
        for name, level in (("cat", 40), ("dog", 200)):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (12, 10), (level, i, 0)).save(tmp_path / part / name / f"{i}.png")
    given = open_splits(f"folder:{tmp_path}", size=8, train=8, test=4, seed=0)
    assert given.train.tensor().shape == (8, 3, 8, 8)
    assert given.train.labels.bincount().tolist() == [4, 4]
    assert len(given.test.labels) == 4
    assert given.class_names == ("cat", "dog")


def test_the_classes_of_both_parts_are_the_same_by_name(tmp_path):
    arrays = {"x_train": np.zeros((20, 9, 9), np.uint8), "y_train": np.arange(20) % 4}
    np.savez(tmp_path / "a.npz", **arrays, x_test=arrays["x_train"], y_test=np.arange(20) % 3 + 1)
    given = open_splits(f"npz:{tmp_path / 'a.npz'}", size=9, train=20, test=20, seed=0)
    assert given.train.class_names == given.test.class_names == ("0", "1", "2", "3")
    assert given.test.labels.tolist() == (np.arange(20) % 3 + 1).tolist()
    np.savez(tmp_path / "b.npz", **arrays, x_test=arrays["x_train"], y_test=np.arange(20) % 3 + 2)
    with pytest.raises(InputError, match=r"has classes that .* lacks: 4"):
        open_splits(f"npz:{tmp_path / 'b.npz'}", size=9, train=20, test=20, seed=0)


@pytest.mark.parametrize(("grey", "channels"), [(True, 1), (False, 3)])
def test_grey_images_have_one_channel_where_one_asks(tmp_path, grey, channels):
    draw = np.random.default_rng(0)
    names = {"train": 20, "test": 10}
    arrays = {f"x_{name}": draw.integers(0, 256, (n, 9, 9), np.uint8) for name, n in names.items()}
    labels = {f"y_{name}": np.arange(n) % 2 for name, n in names.items()}
    np.savez(tmp_path / "mnist.npz", **arrays, **labels)
    given = open_splits(f"npz:{tmp_path / 'mnist.npz'}", size=9, train=20, test=10, seed=0, grey=grey)
    assert given.train.tensor().shape == (20, channels, 9, 9)
    assert torch.equal(given.test.tensor()[:, 0], torch.from_numpy(arrays["x_test"]))


def test_label_noise_changes_so_many_labels_to_other_classes():
    given = open_splits("digits", size=8, train=200, test=50, seed=0)
    noisy = with_label_noise(given, 0.25, seed=1)
    assert int((noisy.train.labels != given.train.labels).sum()) == 50
    assert int(noisy.train.labels.max()) <= 9
    assert torch.equal(noisy.test.labels, given.test.labels)


def test_joined_and_chosen_classes_keep_names_and_images_together():
    given = open_splits("digits", size=8, train=100, test=50, seed=0)
    some = given.only([7, 2])
    assert some.class_names == ("7", "2")
    (images, labels), (own, numbers) = given.train.tensors(), some.train.tensors()
    assert torch.equal(own[numbers == 0], images[labels == 7])
    both = joined(given, some)
    assert len(both.class_names) == 12
    (images, labels), (every, numbers) = given.test.tensors(), both.test.tensors()
    assert torch.equal(every[numbers == 11], images[labels == 2])


# Figures that are known beforehand ---------------------------------------------------------------


def test_he_keeps_second_moments_and_xavier_halves_them():
    study = find("initialization")
    spec = replace(study.spec("smoke"), units=256, batch=8)
    rows = [{"seed": s, **row} for s in range(20) for row in _signal(spec, s)]
    from ostrich.studies.initialization import _ratios, _whole

    ratios = _ratios(rows, "he", "log2_signal")
    assert len(ratios) == 600
    assert abs(interval(ratios)[0] - 1) <= 0.02
    assert abs(interval(_whole(rows, "xavier", 30))[0] + 30) <= 1


def _signal(spec: Spec, seed: int) -> list[dict]:
    from ostrich.studies.initialization import signal as measure

    return [row for start in ("he", "xavier") for row in measure(spec, start, seed)]


def test_the_ablations_parameters_are_exact():
    from ostrich.studies.ablation import CUTS, full_size

    whole = full_size("none")
    assert whole == 60_965_224
    saved = {cut: whole - full_size(cut) for cut in CUTS[1:]}
    assert saved == {"7": 16_781_312, "67": 49_414_144, "34": 1_696_512, "3467": 51_110_656}


def test_the_published_exponent_of_data_size():
    from ostrich.studies.data_size import published_exponent

    assert published_exponent() == pytest.approx(-0.148, abs=0.003)  # log(.529/.695) / log(6) = -0.152


def test_intervals_of_means_and_slopes():
    values = [1.0, 2.0, 3.0, 4.0]
    mean, low, high = interval(values)
    assert mean == 2.5
    assert high - mean == pytest.approx(3.182446 * deviation(values) / 2, rel=1e-6)  # t of 3, 97.5 %
    assert low == pytest.approx(5 - high)
    assert interval([2.0])[1:] == (-float("inf"), float("inf"))
    x = [0.0, 1.0, 2.0, 3.0]
    assert slope(x, [1.0, 3.0, 5.0, 7.0]) == pytest.approx((2.0, 2.0, 2.0))
    found, low, high = slope(x, [1.0, 3.2, 4.8, 7.0])
    assert low < found < high
    assert found == pytest.approx(1.96)


def test_plain_networks_without_batch_norm_are_built_by_name():
    network, _, _ = architectures.build("plain20,norm=false")
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert network.conv1.bias is not None
    resnet, _, _ = architectures.build("resnet20")
    assert sum(p.numel() for p in resnet.parameters()) == 269_722


def test_monte_carlo_of_a_network_without_dropout_is_the_network():
    from ostrich.studies.dropout import monte_carlo
    from ostrich.studies.fitting import built, measured, recipe_for

    given = open_splits("digits", size=8, train=20, test=100, seed=0)
    recipe = recipe_for(given, steps=1, batch_size=20, seed=0)
    network = built("mlp,hidden=16", given, 0)
    found = monte_carlo(network, recipe, *given.test.tensors(), masks=(1, 3), seed=0)
    assert found[1] == found[3] == pytest.approx(measured(network, recipe, given)["test_error"])

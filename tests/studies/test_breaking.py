"""The study `breaking`: what is run for each row, in shares, and what decides a row's fingerprint."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.images import read_png
from ostrich.models.loading import load
from ostrich.runtime.executors import Here
from ostrich.studies import breaking_runs, find
from ostrich.studies.breaking_fitted import folds
from ostrich.studies.breaking_fooling import classes_of
from ostrich.studies.breaking_images import opened
from ostrich.studies.stored import Stored, fingerprints, read_stored, write_stored
from ostrich.studies.trials import run_trials
from ostrich.verbs.study import as_spec

NETWORK = "zoo:digits-cnn"
TINY = {
    "images": 2,
    "one_pixel_images": 1,
    "target": "3",
    "patch_target": "3",
    "lbfgs_constants": 2,
    "cw_constants": 1,
    "cw_iterations": 5,
    "fooling_population": 8,
    "fooling_generations": 3,
    "universal_epochs": 1,
    "patch_epochs": 1,
    "one_pixel_population": 8,
    "one_pixel_generations": 2,
}


def spec(**changes):
    given = {**TINY, **changes}
    return as_spec(
        find("breaking"), "smoke", model=NETWORK, data="digits", device=None, seeds=None, changes=given
    )


@pytest.mark.slow
def test_every_row_runs_and_every_claim_is_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["study", "breaking", NETWORK, "digits", "--scale", "smoke", "--out", "out", "--json"]
    words += [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    words += ["--set", f"attacks={','.join(breaking_runs.ROWS)}", "--set", f"also={NETWORK}"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == 3 * len(breaking_runs.ROWS)
    assert {f"{name}_n" for name in breaking_runs.ROWS} <= set(found["figures"])
    text = Path("out/report.md").read_text()
    assert "Universal: fitted on this network, judged on others" in text
    assert "Printed: the destruction rate" in text
    network = load(NETWORK)
    claims = 0
    for table in Path("out/trials").glob("*/files/images.csv"):
        with table.open() as file:
            rows = [row for row in csv.DictReader(file) if row["success"] == "true"]
        for row in rows:
            image = read_png(table.parent / row["adversarial_file"])
            said = int(network.predict(image[None]).argmax(1))
            assert said == int(row["adversarial_prediction"])
            claims += 1
    assert claims > 10


def test_shares_and_folds_are_disjoint_and_what_the_network_gets_right():
    own = opened(spec())
    shares = [own.share(seed, 30) for seed in range(3)]
    assert len({i for part in shares for i in part}) == 90
    assert all(bool(own.predictions[i] == own.labels[i]) for part in shares for i in part)
    assert own.share(0, 30) == shares[0]
    aside = [set(folds(own, seed)[1]) for seed in range(3)]
    assert sum(map(len, aside)) == len(set.union(*aside)) == len(own.samples)
    assert not aside[0] & set(folds(own, 0)[0])
    with pytest.raises(InputError, match=r"Share 9 has no image.*Give images="):
        own.share(9, len(own.right))
    assert classes_of(own, 16, 1) == list(range(10))


def test_the_classes_of_a_share_are_others_for_each_seed_where_there_are_many():
    own = opened(spec())
    many = replace(own, classifier=type("Many", (), {"num_classes": 1000})())
    found = [classes_of(many, 16, seed) for seed in range(3)]
    assert [len(part) for part in found] == [16, 16, 16]
    assert len({k for part in found for k in part}) == 48


def test_a_row_is_decided_by_its_own_settings_and_by_the_content_of_files(tmp_path):
    study = find("breaking")
    own = spec(attacks=("fgsm", "cw", "universal"), also=("zoo:digits-cnn",))

    def marks(one):
        plan = study.trials(one)
        return dict(zip((f"{t['row']}-{t['seed']}" for t in plan), fingerprints(study, one, plan)))

    before = marks(own)
    assert len(set(before.values())) == 9
    slower = marks(replace(own, cw_iterations=7))
    assert {name for name in before if slower[name] != before[name]} == {"cw-0", "cw-1", "cw-2"}
    alone = marks(replace(own, also=()))
    assert {name for name in before if alone[name] != before[name]} == {f"universal-{i}" for i in range(3)}
    assert marks(replace(own, attacks=("cw",)))["cw-1"] == before["cw-1"]
    assert not set(marks(replace(own, images=3)).values()) & {before["cw-0"], before["fgsm-0"]}

    files = []
    for name in "ab":
        (tmp_path / name).mkdir()
        torch.save({"w": torch.ones(1)}, tmp_path / name / "net.pt")
        files.append(tmp_path / name / "net.pt")
    words = [json.dumps({**json.loads(own.model), "weights": str(file)}) for file in files]
    same = [marks(replace(own, model=text)) for text in words]
    assert same[0] == same[1] != before
    also = [marks(replace(own, also=(f"arch:digits-cnn@{file}",))) for file in files]
    assert also[0] == also[1] != before
    torch.save({"w": torch.zeros(1)}, files[1])
    assert marks(replace(own, model=words[1])) != same[0]


def test_rows_of_a_users_network_are_taken_up_from_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["study", "breaking", NETWORK, "digits", "--scale", "smoke", "--set", "images=2", "--json"]
    words += ["--set", "attacks=fgsm,pgd"]
    assert run([*words, "--out", "first"]) == 0
    first = json.loads(capsys.readouterr().out)["figures"]
    study = find("breaking")
    asked = as_spec(
        study,
        "smoke",
        model=NETWORK,
        data="digits",
        device=None,
        seeds=None,
        changes={"images": 2, "attacks": ("fgsm", "pgd")},
    )
    plan = study.trials(asked)
    done = run_trials(study, asked, tmp_path / "again", Here()).done
    kept = [
        Stored(fingerprint=mark, trial=one.trial, seconds=77.0, rows=one.rows)
        for one, mark in zip(done, fingerprints(study, asked, plan))
    ]
    write_stored("rows.json", {"study": "breaking"}, kept)
    assert len(read_stored("rows.json")) == 6
    assert run([*words, "--rows", "rows.json", "--out", "second"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == first
    results = [json.loads(path.read_text()) for path in Path("second").glob("trials/*/result.json")]
    assert {one["computation"]["seconds"] for one in results} == {77.0}  # none was run again


def test_a_page_says_how_the_weights_were_trained_where_their_card_lies_beside_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = ["--set", "train_images=200", "--set", "epochs=1"]
    assert run(["train", "digits-cnn", *sets, "--out", "trained"]) == 0
    card = json.loads(Path("trained/card.json").read_text())
    words = ["study", "breaking", "arch:digits-cnn", "digits", "--mean", "0.305", "--std", "0.376"]
    words += ["--scale", "smoke", "--set", "images=1", "--set", "attacks=fgsm"]
    assert run([*words, "--weights", "trained/network.safetensors", "--out", "out"]) == 0
    told = (
        f"trained on 200 images by `{card['recipe']}`; {card['test_accuracy']:.1%} of 360 test images right"
    )
    assert f"- weights: {told}\n" in Path("out/report.md").read_text()
    assert json.loads(Path("out/run.json").read_text())["results"]["weights"] == told
    Path("moved.safetensors").write_bytes(Path("trained/network.safetensors").read_bytes())
    assert run([*words, "--weights", "moved.safetensors", "--out", "moved"]) == 0
    assert "- weights: " not in Path("moved/report.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "attacks=fgsm,pdg"], "Did you mean pgd"),
        (["--set", "images=0"], "images"),
        (["--set", "fooling_generations=0"], "fooling_generations"),
    ],
)
def test_wrong_settings_are_answered_in_a_sentence(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert run(["study", "breaking", NETWORK, "digits", "--scale", "smoke", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1

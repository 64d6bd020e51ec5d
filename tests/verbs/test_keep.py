"""--keep: which images of an attack or a check are files; images.csv has a row of each in any case."""

from __future__ import annotations

import csv
import json
from contextlib import chdir

import pytest

import ostrich
from ostrich.attacks.engine import evidence
from ostrich.cli.main import run
from ostrich.verbs.attack import input_specific

ATTACK = ["attack", "fgsm", "zoo:digits-cnn", "digits", "--limit", "60", "--set", "eps=0.06"]
FILES = ("clean_file", "adversarial_file")


def rows_of(folder):
    with (folder / "images.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def written(folder):
    return {str(path.relative_to(folder)) for path in folder.glob("images/**/*") if path.is_file()}


@pytest.fixture(scope="module")
def attacks(tmp_path_factory):
    """The same attack, kept in three ways."""
    place = tmp_path_factory.mktemp("keep")
    with chdir(place):
        for keep in evidence.KEEP:
            assert run([*ATTACK, "--keep", keep, "--out", keep]) == 0
    return {keep: place / keep for keep in evidence.KEEP}


@pytest.mark.parametrize("keep", evidence.KEEP)
def test_of_an_attack_the_files_that_are_named_are_there_and_no_others(attacks, keep):
    rows = rows_of(attacks[keep])
    assert {row[name] for row in rows for name in FILES} - {""} == written(attacks[keep])
    kept = [row["success"] == "true" for row in rows if row["adversarial_file"]]
    if keep == "all":
        assert len(kept) > sum(kept) > 0
        assert all(row["clean_file"] for row in rows)
    else:
        assert all(kept)
        count = sum(row["success"] == "true" for row in rows)
        assert (
            len(kept) == sum(bool(row["clean_file"]) for row in rows) == (count if keep == "failures" else 0)
        )


@pytest.mark.parametrize("keep", ["failures", "none"])
def test_all_else_is_as_it_is_where_all_are_kept(attacks, keep):
    def without_files(folder):
        return [{name: value for name, value in row.items() if name not in FILES} for row in rows_of(folder)]

    def figures(folder):
        found = json.loads((folder / "run.json").read_text())
        return {name: value for name, value in found["results"].items() if name != "seconds"}

    assert without_files(attacks[keep]) == without_files(attacks["all"])
    assert figures(attacks[keep]) == figures(attacks["all"])
    asked = {name: json.loads((attacks[name] / "run.json").read_text())["asked"] for name in ("all", keep)}
    assert asked[keep] == {**asked["all"], "keep": keep}


def test_a_run_goes_on_only_with_what_it_was_to_keep(attacks, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    content = json.loads((attacks["none"] / "run.json").read_text())
    content.pop("checksum")
    (out / "run.json").write_text(json.dumps({**content, "finished": False}))
    assert run([*ATTACK, "--keep", "failures", "--out", str(out)]) == 2
    assert "keep" in capsys.readouterr().err
    assert run([*ATTACK, "--keep", "none", "--out", str(out)]) == 0


def test_from_python_too_and_what_is_not_kept_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(input_specific, "HELD", 0)  # as of many images: they are read from their files
    given = {"eps": 0.06, "limit": 60}
    found = ostrich.attack("fgsm", "zoo:digits-cnn", "digits", keep="failures", out=tmp_path / "out", **given)
    success = found.success
    assert success.any()
    assert found.images[success].shape == (int(success.sum()), 1, 8, 8)
    with pytest.raises(ostrich.InputError, match="not kept"):
        found.images[~success]
    saved = ostrich.attack("fgsm", "zoo:digits-cnn", "digits", keep="failures", **given).save(
        tmp_path / "saved"
    )
    assert written(saved) == written(tmp_path / "out")


def test_without_files_a_success_is_asked_for_once_more(tmp_path, monkeypatch):
    asked = []
    again = evidence.refuse_lost_successes
    monkeypatch.setattr(
        evidence,
        "refuse_lost_successes",
        lambda *given: asked.append(int(given[1].success.sum())) or again(*given),
    )
    for keep in ("failures", "none"):
        asked.clear()
        found = ostrich.attack(
            "fgsm", "zoo:digits-cnn", "digits", eps=0.06, limit=60, keep=keep, out=tmp_path / keep
        )
        assert sum(asked) == (int(found.success.sum()) if keep == "none" else 0)


@pytest.mark.parametrize("keep", evidence.KEEP)
def test_of_a_check_the_report_has_what_it_shows(tmp_path, keep):
    words = ["check", "zoo:digits-cnn", "digits", "--images", "24", "--only", "clean,robustness"]
    out = tmp_path / keep
    assert run([*words, "--keep", keep, "--out", str(out)]) == 0
    rows = rows_of(out)
    assert len(rows) == 24
    assert {row["clean_file"] for row in rows} - {""} == written(out)
    results = json.loads((out / "run.json").read_text())["results"]
    shown = {one["clean_file"] for one in results["first_to_fall"]}
    assert shown
    assert shown <= written(out)
    answer = json.loads((out / "probes/robustness.json").read_text())
    fallen = {int(place) for one in answer["outcomes"] for place in one["broken"]}
    wrong = {place for place, row in enumerate(rows) if row["label"] != row["clean_prediction"]}
    expected = {"all": 24, "failures": len(fallen | wrong), "none": len(shown)}
    assert len(written(out)) == expected[keep]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["attack", "fgsm", "zoo:digits-cnn", "digits", "--keep", "1234"], "all, failures, none"),
        (["check", "zoo:digits-cnn", "digits", "--keep", "failure"], "Did you mean failures"),
        (["attack", "universal", "zoo:digits-cnn", "digits", "--keep", "none"], "universal is none"),
        (["attack", "fooling-ascent", "zoo:digits-cnn", "--keep", "none"], "fooling-ascent is none"),
    ],
)
def test_what_is_no_choice_is_refused(words, said, tmp_path, capsys):
    assert run([*words, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""Rows of finished trials in a file: what is read is what was written, and fingerprints decide."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.studies import find
from ostrich.studies.stored import Stored, content_of, fingerprints, read_stored, write_stored

ROWS = [{"step": 1, "loss": 0.1 + 0.2}, {"step": None, "best": "a"}, {}]


def test_what_is_read_is_what_was_written(tmp_path):
    one = Stored(fingerprint="ab", trial={"seed": 0, "rates": [0.1]}, seconds=1.5, rows=ROWS)
    write_stored(tmp_path / "rows.json", {"study": "some"}, [one, replace(one, fingerprint="cd", rows=[])])
    found = read_stored(tmp_path / "rows.json")
    assert found == {"ab": one, "cd": replace(one, fingerprint="cd", rows=[])}
    assert [list(row) for row in found["ab"].rows] == [list(row) for row in ROWS]
    assert len((tmp_path / "rows.json").read_text().splitlines()) < 8  # a line for each trial


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trials": [{}]}', '{"trials": 3}'])
def test_a_file_of_something_else_is_refused(text, tmp_path):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(InputError, match="holds no rows of a study"):
        read_stored(tmp_path / "rows.json")
    with pytest.raises(InputError, match="holds no rows"):
        read_stored(tmp_path / "missing.json")


def test_the_fingerprint_is_of_what_decides_the_rows(monkeypatch):
    study = find("batchnorm-mnist")
    spec = study.spec("smoke")
    plan = study.trials(spec)
    own = fingerprints(study, spec, plan)
    assert len(set(own)) == len(plan)
    more = replace(spec, seeds=5)
    assert fingerprints(study, more, study.trials(more))[: len(plan)] == own
    assert not set(fingerprints(study, replace(spec, steps=31), plan)) & set(own)
    monkeypatch.setattr("ostrich.studies.stored.deciding_versions", lambda: {"version of torch": "1"})
    assert not set(fingerprints(study, spec, plan)) & set(own)


def test_data_counts_by_its_content_wherever_it_lies(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "train").mkdir(parents=True)
        (tmp_path / name / "train/0.txt").write_text("same")
        (tmp_path / f"{name}.npz").write_bytes(b"same")
    a, b = tmp_path / "a", tmp_path / "b"
    assert content_of(f"npz:{a}.npz") == content_of(f"npz:{b}.npz")
    assert content_of(f"folder:{a}") == content_of(f"folder:{b}")
    assert str(tmp_path) not in content_of(f"folder:{a}")
    (b / "train/0.txt").write_text("another")
    (tmp_path / "b.npz").write_bytes(b"diff")
    assert content_of(f"npz:{a}.npz") != content_of(f"npz:{b}.npz")
    assert content_of(f"folder:{a}") != content_of(f"folder:{b}")
    assert content_of("digits") == "digits"


def test_a_study_that_is_judged_from_more_than_rows_takes_none_up(tmp_path, capsys):
    one = Stored(fingerprint="ab", trial={"seed": 0}, seconds=1.0, rows=[])
    write_stored(tmp_path / "rows.json", {"study": "ensemble"}, [one])
    words = ["--rows", str(tmp_path / "rows.json"), "--out", str(tmp_path / "out")]
    assert run(["study", "ensemble", "--scale", "smoke", *words]) == 2
    assert "is judged from more than its rows" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_network_that_a_setting_names_counts_by_its_weights(tmp_path):
    study = find("off-the-shelf-imagenet")
    spec = study.spec("smoke")
    for name, content in (("a", b"same"), ("b", b"same"), ("c", b"others")):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    marks = [
        fingerprints(study, replace(spec, network=f"arch:resnet20@{tmp_path}/{name}.safetensors"), [{}])
        for name in "abc"
    ]
    assert marks[0] == marks[1] != marks[2]

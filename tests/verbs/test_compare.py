"""`ostrich.compare`: runs as folders, files and results; its rows beside the command's."""

from __future__ import annotations

import csv
import json
import shutil

import nets
import pytest

import ostrich
from ostrich.cli.main import run


def stored(folder, value, low=0.0, high=1.0):
    """A run whose robust accuracy at linf 1/255 is `value`."""
    robust = {"norm": "linf", "eps": 1 / 255, "robust_accuracy": value, "low": low, "high": high}
    folder.mkdir()
    results = {"robustness": [robust], "n": 100, "distance": {"median": value / 2, "norm": "linf"}}
    (folder / "run.json").write_text(json.dumps({"results": results, "finished": True}))
    return folder


@pytest.fixture
def runs(tmp_path):
    return stored(tmp_path / "one", 0.5, 0.4, 0.6), stored(tmp_path / "two", 0.3)


def test_rows_are_those_of_the_command(runs, capsys):
    one, two = runs
    assert run(["compare", str(one), str(two), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = ostrich.compare(one, str(two / "run.json"))
    assert found.rows == rows
    robust, number, median = found.rows
    assert robust["figure"] == "robust accuracy at linf 1/255"
    assert robust["difference"] == pytest.approx(-0.2)
    assert robust["beyond"] is True  # 0.3 lies below 0.4
    known = {"figure": "n", "first": 100, "second": 100, "difference": 0, "beyond": None}
    assert number == {**known, **dict.fromkeys(("first_low", "first_high", "second_low", "second_high"))}
    assert (robust["first_low"], robust["first_high"]) == (0.4, 0.6)
    assert median["figure"] == "distance median"
    assert ostrich.compare(two, one).rows[0]["beyond"] is False  # 0.5 lies in [0, 1]
    assert repr(found) == "<compare: figures=3, beyond_the_interval=1>"
    assert "<td>beyond the interval</td>" in found._repr_html_()
    assert run(["compare", str(one), str(two)]) == 0
    assert "beyond" in capsys.readouterr().out


def test_what_verbs_return_is_compared_and_kept(tmp_path):
    one, two = (ostrich.attack("fgsm", "zoo:digits-cnn", "digits", limit=8, eps=eps) for eps in (0, 0.3))
    found = ostrich.compare(one, two)
    rows = {row["figure"]: row for row in found.rows}
    assert rows["success rate"]["first"] == one.figures["success_rate"]
    assert rows["success rate"]["second"] == two.figures["success_rate"]
    assert found.gate["passed"] is None  # the robust accuracy of another budget is another figure
    found.save(tmp_path / "out")
    with (tmp_path / "out/comparison.csv").open() as file:
        assert [row["figure"] for row in csv.DictReader(file)] == list(rows)
    with pytest.raises(ostrich.InputError, match="exists"):
        found.save(tmp_path / "out")
    found.save(tmp_path / "out", force=True)


def test_images_are_told_apart_in_memory_and_on_disk(tmp_path, capsys):
    model, images = nets.small(), nets.random_images(8)
    labels = nets.predictions(model, images)
    first, second = (
        ostrich.attack("fgsm", model, images[part], labels[part], eps=4 / 255)
        for part in (slice(4), slice(4, 8))
    )
    folders = [str(one.save(tmp_path / name)) for one, name in ((first, "first"), (second, "second"))]
    for ours, theirs in ((first, second), (first, folders[1]), folders):
        found = ostrich.compare(ours, theirs)
        assert found.remark == "The images are not the same ones."
        assert found.gate["sentence"].endswith("The images are not the same ones.")
        assert "not the same ones" in found._repr_html_()
    same = ostrich.compare(first, folders[0])
    assert not same.remark
    assert "not the same" not in same.gate["sentence"] + same._repr_html_()
    for theirs in folders:
        assert run(["compare", folders[0], theirs]) == 0
        assert ("not the same ones" in capsys.readouterr().out) == (theirs is folders[1])


def test_what_it_cannot_compare_is_refused(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/run.json").write_text(json.dumps({"results": None}))
    for second, message in (
        (tmp_path / "none", "There is no run at"),
        (tmp_path / "empty", "no figure in common"),
        (3, "A run is its folder, .* got int"),
    ):
        with pytest.raises(ostrich.InputError, match=message):
            ostrich.compare(runs[0], second)


def test_results_are_compared_as_they_were_returned_whatever_lies_in_their_folders(tmp_path):
    one, two = (
        ostrich.attack("fgsm", "zoo:digits-cnn", "digits", limit=8, eps=eps, seed=seed)
        for eps, seed in ((0, 0), (0.3, 1))
    )
    before = ostrich.compare(one, two)
    one.save(tmp_path / "mine")
    two.save(tmp_path / "mine", force=True)
    found = ostrich.compare(one, two)
    assert found.rows == before.rows
    assert found.gate == before.gate
    assert found.remark == before.remark
    rows = {row["figure"]: row for row in found.rows}
    assert rows["success rate"]["first"] != rows["success rate"]["second"]


def test_what_was_asked_of_a_result_is_known_where_its_folder_is_gone(tmp_path):
    given = {"method": "smoothing", "sigma": 0.25, "out": tmp_path / "out"}
    found = ostrich.certify("zoo:digits-cnn", "digits", limit=2, **given)
    before = ostrich.compare(found, tmp_path / "out")
    assert any(row["figure"].endswith("smoothed by 0.25") for row in before.rows)
    assert not before.remark
    shutil.rmtree(tmp_path / "out")
    assert ostrich.compare(found, found).rows == before.rows


def test_a_figure_that_is_not_finite_is_in_no_row_as_on_disk(tmp_path):
    found = ostrich.attack("fgsm", "zoo:digits-cnn", "digits", limit=2, eps=0)
    found.figures["odd"] = float("nan")
    held = ostrich.compare(found, found).rows
    folder = found.save(tmp_path / "out")
    assert held == ostrich.compare(found, found).rows == ostrich.compare(folder, folder).rows

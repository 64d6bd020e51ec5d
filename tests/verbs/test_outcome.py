"""What verbs return and save, where its folder is gone or another's by now."""

from __future__ import annotations

import pickle
import shutil

import nets
import pytest
import torch
from run_folders import contents

import ostrich
from ostrich.runtime import distributed
from ostrich.runtime.runs import Run, read_run

IMAGES = nets.random_images(4)
ANOTHER = "holds another run by now"


def explained(seed=0, **given):
    model = nets.small(seed=seed)
    return ostrich.explain("gradient", model, nets.random_images(3 + seed), unit="class:1", **given)


def sampled(seed=0, **given):
    return ostrich.generate.sample("zoo:toybox-conditional", 2, seed=seed, **given)  # of equal figures


def visualized(seed=0, **given):
    return ostrich.visualize(nets.small(seed=seed), unit=f"class:{seed}", steps=2, **given)


def sheet(seed=0, **given):
    return ostrich.explain("sheet", nets.small(), IMAGES, unit=f"class:{seed}", steps=2, top=1, **given)


def checked(seed=0, **given):
    model, images = nets.small(), nets.random_images(6)
    labels = (nets.predictions(model, images) + seed) % 5
    return ostrich.check(model, (images, labels), only="clean", minutes=2, **given)


IN_MEMORY = [explained, sampled, visualized, sheet]


@pytest.mark.parametrize("verb", IN_MEMORY)
def test_what_is_saved_is_written_where_it_is_not_there_any_more(verb, tmp_path):
    one, two, place = verb(0), verb(1), tmp_path / "out"
    assert one.save(place) == place
    before = contents(place)
    assert one.save(place) == place  # it is there
    shutil.rmtree(place)
    assert one.save(place) == place
    assert contents(place) == before
    two.save(place, force=True)
    with pytest.raises(ostrich.errors.RunExists):
        one.save(place)
    assert read_run(place)["asked"] == two.run.asked
    assert one.save(place, force=True) == place
    assert contents(place) == before
    assert one.folder == place
    assert one._is_there()
    assert not two._is_there()


@pytest.mark.parametrize("verb", IN_MEMORY)
def test_what_was_written_from_the_beginning_is_there(verb, tmp_path):
    found = verb(0, out=tmp_path / "out")
    before = contents(tmp_path / "out")
    assert found.save(tmp_path / "out") == tmp_path / "out"
    assert contents(tmp_path / "out") == before


def test_the_picture_is_its_own_whoever_took_its_folder(tmp_path):
    for verb in (explained, sheet):
        one, two = verb(0), verb(1)
        shown = one._repr_html_()
        one.save(tmp_path / verb.__name__)
        two.save(tmp_path / verb.__name__, force=True)
        assert one._repr_html_() == shown
        assert one._repr_html_() != two._repr_html_()
    one = checked(0, out=tmp_path / "check")
    checked(1, out=tmp_path / "check", force=True)
    assert "<img" not in one._repr_html_()


def test_what_lies_in_another_runs_folder_by_now_is_refused(tmp_path):
    one, two = checked(0, out=tmp_path / "out"), checked(1, out=tmp_path / "out", force=True)
    for ask in (
        lambda: one.save(tmp_path / "copy"),
        lambda: one.save(tmp_path / "out"),
        lambda: ostrich.report(one),
        lambda: checked(0, baseline=one),
    ):
        with pytest.raises(ostrich.InputError, match=ANOTHER):
            ask()
    assert not (tmp_path / "copy").exists()
    assert two.save(tmp_path / "out") == tmp_path / "out"
    assert read_run(two.save(tmp_path / "copy"))["results"] == read_run(tmp_path / "out")["results"]
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(ostrich.InputError, match=r"check .* is gone"):
        two.save(tmp_path / "again")


def test_maps_that_lie_in_files_are_not_read_from_another_runs(tmp_path):
    one = explained(0, out=tmp_path / "out")
    two = explained(1, out=tmp_path / "out", force=True)
    with pytest.raises(ostrich.InputError, match=ANOTHER):
        _ = one.maps
    before = contents(tmp_path / "out")
    for place in ("out", "copy"):
        with pytest.raises(ostrich.InputError, match=ANOTHER):
            one.save(tmp_path / place, force=True)
    assert contents(tmp_path / "out") == before  # nothing was overwritten before it was refused
    assert not (tmp_path / "copy").exists()
    assert torch.equal(two.maps, explained(1).maps)


def test_a_network_is_not_read_from_another_training(tmp_path):
    given = {"epochs": 1, "train_images": 20, "out": tmp_path / "out"}
    one = ostrich.train("digits-cnn", **given)
    two = ostrich.train("digits-cnn", **given, seed=1, force=True)
    with pytest.raises(ostrich.InputError, match=ANOTHER):
        _ = one.model
    assert two.model.class_names


def test_an_attack_of_many_images_is_not_copied_from_another(tmp_path, monkeypatch):
    monkeypatch.setattr("ostrich.verbs.attack.input_specific.HELD", 0)  # as of many images
    given = {"limit": 4, "out": tmp_path / "out"}
    one = ostrich.attack("fgsm", "zoo:digits-cnn", "digits", **given)
    ostrich.attack("fgsm", "zoo:digits-cnn", "digits", seed=1, force=True, **given)
    with pytest.raises(ostrich.InputError, match=ANOTHER):
        one.save(tmp_path / "copy")


def test_an_edited_run_is_not_its_own_and_the_first_process_tells(tmp_path, monkeypatch):
    with Run.begin("x", "ostrich x", {}, out=tmp_path / "out") as begun:
        begun.describe(seed=0, device=torch.device("cpu"), data=None)
        assert begun.is_there()
        begun.learn = dict
        begun.finish({"n": 1})
    assert begun.is_there()
    assert pickle.loads(pickle.dumps(begun)).is_there()
    assert begun.learn is None
    (tmp_path / "out/run.json").write_text((tmp_path / "out/run.json").read_text().replace("1", "2"))
    assert not begun.is_there()
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    assert begun.is_there()

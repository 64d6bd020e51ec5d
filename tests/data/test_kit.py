"""Every folder and table of the shared kit: read as its README says, or refused with the next step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ostrich
from ostrich.cli.main import run
from ostrich.data import load, open_data
from ostrich.data.training_data import open_split
from ostrich.errors import InputError

COLOURS = ("red", "green", "blue")
DEEP = ("deep red", "deep green", "deep blue")


@pytest.fixture(autouse=True)
def here(kit, monkeypatch):
    monkeypatch.chdir(kit)


def read(word: str, names: tuple[str, ...] = COLOURS, **options):
    """Samples at 16 pixels, and the share whose label is the channel with the largest mean."""
    samples = load(open_data(word, **options), size=(16, 16), class_names=names, num_classes=len(names))
    strongest = samples.images().mean((2, 3)).argmax(1)
    return samples, float((strongest == samples.labels).double().mean())


@pytest.mark.parametrize(
    ("word", "names", "count", "how"),
    [
        ("folder:named", COLOURS, 18, "by name"),
        ("folder:hyphens", DEEP, 18, "by name"),
        ("folder:splits:train", COLOURS, 9, "by name"),
        ("folder:splits:val", COLOURS, 9, "by name"),
        ("folder:splits:test", COLOURS, 9, "by name"),
        ("hf:splits", COLOURS, 9, "by name"),
        ("folder:nested", COLOURS, 6, "by name"),
        ("folder:macos", COLOURS, 6, "by name"),
        ("npz:arrays.npz", COLOURS, 18, "by number"),
        ("npz:arrays.npz:test", COLOURS, 18, "by number"),
        ("csv:table.csv", COLOURS, 18, "by name"),
        ("jsonl:metadata.jsonl", COLOURS, 18, "by number"),
    ],
)
def test_read_as_it_is_meant(word, names, count, how):
    samples, right = read(word, names)
    assert (len(samples), right) == (count, 1)
    assert how in samples.describe()["classes"]
    assert "unused" not in samples.describe()


def test_folders_called_by_numbers(shared):
    network = f"{shared / 'strangers/networks.py'}:twelve"
    found = ostrich.attack("fgsm", ostrich.load(network, size=16), "folder:numbers", eps=1 / 255)
    assert found.figures["clean_accuracy"] == 1
    assert found.figures["n"] == 12


def test_some_names_that_match(shared, capsys):
    with pytest.raises(InputError, match=r"2 of 3 classes .* do not: cyan"):
        read("folder:partly")
    Path("map.csv").write_text("folder,class\ncyan,blue\n")
    samples, right = read("folder:partly", class_map="map.csv")
    assert (len(samples), right) == (18, 1)
    assert samples.words == ("folder:partly", "--class-map", "map.csv")


def test_a_folder_of_splits_says_which():
    message = "folder:splits:train or folder:splits:val or folder:splits:test"
    with pytest.raises(InputError, match=message):
        open_data("folder:splits")
    with pytest.raises(InputError, match="no split 'val'"):
        open_data("folder:named:val")


def test_splits_are_no_classes_whatever_lies_beside_them(tmp_path):
    for folder in ("train/a", "val/a", "models", "logs/monday"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(InputError, match=r"splits, not classes: write \S+:train or \S+:val\."):
        open_data(f"folder:{tmp_path}")
    (tmp_path / "val").rename(tmp_path / "car")  # one folder alone may be a class: a train
    with pytest.raises(InputError, match="no class folders with images"):
        open_data(f"folder:{tmp_path}")


def test_training_takes_the_splits_of_a_folder():
    train, test = (open_split("folder:splits", split, (3, 16, 16)) for split in ("train", "test"))
    assert (len(train), len(test)) == (9, 9)
    assert train.sha256 == load(open_data("folder:splits:train"), size=(16, 16)).sha256
    assert test.sha256 == load(open_data("folder:splits:test"), size=(16, 16)).sha256
    held, kept = (open_split("folder:splits:train", split, (3, 16, 16)) for split in ("test", "train"))
    assert (len(held) + len(kept), len(kept) > len(held)) == (9, True)


def test_what_is_not_used_is_counted():
    samples, right = read("folder:kinds")
    assert right == 1
    assert sorted(Path(file).name for file in samples.files) == ["a.png"] * 3 + ["e.npy"] * 3
    assert samples.describe()["unused"].startswith("3 files were not used: 3 .heic")


@pytest.mark.parametrize(
    ("file", "told", "seen"), [("float.tiff", "255", "from {0} to {0}"), ("twelve.png", "4095", "{1}")]
)
def test_values_whose_white_is_told(file, told, seen):
    for folder, level in (("dark", 60), ("light", 200)):
        path = f"ranges/{folder}/{file}"
        for white in (told, float(told), "float=255,int=4095"):
            (image,) = load(open_data(path, range=white), size=(16, 16)).pixels
            assert abs(image.astype(int) - level).max() <= 1
        with pytest.raises(InputError, match=seen.format(level, level * 16)) as caught:
            load(open_data(path), size=(16, 16))
        assert f"--range {told}" in str(caught.value)
    samples = load(open_data("ranges/dark/float.tiff", range=4095), size=(16, 16))
    assert "nearly black" in samples.said()["range"]


@pytest.mark.parametrize("channels", [4, 11])
def test_arrays_of_many_channels(channels):
    dataset = open_data(f"folder:bands{channels}")
    samples = load(dataset, size=(16, 16), channels=channels, num_classes=channels)
    assert (
        samples.images().mean((2, 3)).argmax(1).tolist() == samples.labels.tolist() == list(range(channels))
    )
    with pytest.raises(InputError, match=f"takes {channels} channels"):
        load(open_data("folder:named"), size=(16, 16), channels=channels, num_classes=channels)


def test_through_a_command_it_is_said_and_written_down(shared, capsys, tmp_path):
    network = f"{shared / 'strangers/networks.py'}:colour"
    out = tmp_path / "out"
    command = ["attack", "fgsm", network, "folder:kinds", "--size", "16", "--classes", "classes.txt"]
    assert run([*command, "--out", str(out), "--skip-bad"]) == 0
    said = capsys.readouterr().err
    assert "classes: matched by name" in said
    assert "3 files were not used: 3 .heic" in said
    facts = json.loads((out / "run.json").read_text())
    assert facts["data"]["classes"] == "matched by name"
    assert "3 .heic" in facts["data"]["unused"]
    assert facts["asked"]["data"] == ["folder:kinds", "--skip-bad"]
    assert run([*command, "--out", str(out), "--force", "--range", "4095"]) == 0
    assert "--range changes nothing" in capsys.readouterr().err
    assert run(["attack", "fgsm", network, "folder:partly", *command[4:]]) == 2
    assert "cyan" in capsys.readouterr().err


def test_the_commands_of_a_report_keep_the_options(shared, tmp_path):
    model = ostrich.load(f"{shared / 'strangers/networks.py'}:colour", size=16, classes="classes.txt")
    Path("map.csv").write_text("folder,class\ncyan,blue\n")
    data = open_data("folder:partly", class_map="map.csv")
    found = ostrich.check(model, data, only="clean", out=tmp_path / "out")
    assert found.figures["clean_accuracy"] == 1
    asked = json.loads((tmp_path / "out/run.json").read_text())["asked"]["data"]
    assert asked == ["folder:partly", "--class-map", "map.csv"]


def test_pixels_are_those_of_the_files():
    samples, _ = read("folder:named")
    npz = load(open_data("npz:arrays.npz"), size=(16, 16), class_names=COLOURS)
    files = {tuple(one.ravel()) for one in samples.pixels}
    assert {tuple(one.ravel()) for one in npz.pixels} == files
    assert np.load("arrays.npz")["test_images"].shape == npz.pixels.shape

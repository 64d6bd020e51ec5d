"""Data specs, balanced choices, class matching, and loading at the network's size."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import ostrich
from ostrich.data import load, open_data, subset
from ostrich.errors import InputError, UnreadableImage


def picture(path, size=(20, 16), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    for k, name in enumerate(("cat", "dog")):
        for i in range(4):
            picture(tmp_path / name / f"{i}.png", seed=10 * k + i)
    return tmp_path


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 5))
def test_a_choice_is_balanced_seeded_and_nested(labels, limit, seed):
    chosen = subset(labels, len(labels), limit, seed)
    assert chosen == sorted(set(chosen)) == subset(labels, len(labels), limit, seed)
    assert len(chosen) == min(limit, len(labels))
    counts, total = Counter(labels[i] for i in chosen), Counter(labels)
    fullest = max(counts.values())
    assert all(counts[k] >= min(total[k], fullest - 1) for k in total)
    assert set(subset(labels, len(labels), max(1, limit // 2), seed)) <= set(chosen)


def test_a_limit_below_the_number_of_classes_draws_among_them():
    labels = list(range(50))
    draws = [subset(labels, 50, 10, seed) for seed in range(20)]
    assert len(set(map(tuple, draws))) > 1
    assert set().union(*draws) >= set(range(40, 50))


def test_class_folders(folder):
    data = open_data(f"folder:{folder}")
    samples = load(data, size=(16, 16), class_names=("bird", "dog", "cat"), num_classes=3)
    assert samples.pixels.shape == (8, 16, 16, 3)
    assert samples.labels.tolist() == [2] * 4 + [1] * 4
    assert samples.files[0] == "cat/0.png"
    assert load(data, size=(16, 16), num_classes=2, limit=4, seed=3).labels.tolist() == [0, 0, 1, 1]


def test_the_checksum_is_of_what_was_taken(folder):
    first = load(open_data(f"folder:{folder}"), size=(8, 8), num_classes=2)
    again = load(open_data(f"folder:{folder}"), size=(16, 16), num_classes=2)
    part = load(open_data(f"folder:{folder}"), size=(8, 8), num_classes=2, limit=3)
    assert first.sha256 == again.sha256 != part.sha256


def test_grey_networks_get_grey_images(folder):
    assert load(open_data(f"images:{folder / 'cat'}"), size=(8, 8), channels=1).pixels.shape == (4, 8, 8, 1)


def test_loading_stays_in_8_bits(folder):
    images = load(open_data(f"images:{folder / 'cat'}"), size=(8, 8)).images()
    assert torch.equal(images, ostrich.images.rounded(images))


def test_bad_files_are_named_or_skipped(folder):
    (folder / "cat" / "9.png").write_bytes(b"\x89PNG but not really")
    data = open_data(f"folder:{folder}")
    with pytest.raises(UnreadableImage, match=r"9\.png"):
        load(data, size=(8, 8), num_classes=2)
    samples = load(data, size=(8, 8), num_classes=2, skip_bad=True)
    assert samples.skipped == ("cat/9.png",)
    assert samples.describe()["skipped"] == ["cat/9.png"]
    assert len(samples) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder:/nowhere"], "no folder"),
        (["images:/nowhere"], "no folder"),
        (["nothing.jpg"], "no image file"),
        (["toybx"], "Did you mean toybox"),
        (["a.jpg", "b.jpg"], "no image file"),
        ([], "No data"),
    ],
)
def test_data_that_is_not_there(words, message):
    with pytest.raises(InputError, match=message):
        open_data(words)


def test_a_folder_without_a_prefix_is_told_how(folder):
    with pytest.raises(InputError, match="write folder:"):
        open_data(str(folder))
    with pytest.raises(InputError, match="no class folders"):
        open_data(f"folder:{folder / 'cat'}")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no image files"):
        open_data(f"images:{folder / 'empty'}")


def test_the_toybox():
    images, labels = ostrich.data.toybox("test", limit=20)
    assert images.shape == (20, 3, 64, 64)
    assert sorted(Counter(labels.tolist()).values()) == [2] * 10
    assert len(open_data("toybox")) == len(open_data("toybox:test")) == 512


def test_cifar10_from_class_folders(tmp_path):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            picture(tmp_path / split / name / "0.jpg", (32, 32))
    assert open_data(f"cifar10:{tmp_path}").name.endswith(":test")
    assert open_data(f"cifar10:{tmp_path}:train").files[0] == "cat/0.jpg"

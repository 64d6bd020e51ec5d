"""What is held out depends on the seed and on what the images show; nothing else moves them."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ostrich.attacks.fitted.held_out import hold_out_split
from ostrich.data import open_data
from ostrich.data.dataset import Samples
from ostrich.data.loading import load
from ostrich.data.split import by_content, hold_out, hold_out_share
from ostrich.errors import InputError

KEYS = st.lists(st.integers(0, 2**63 - 1), min_size=2, max_size=40, unique=True)
SEED = st.integers(0, 5)


def of(keys, rows):
    return {keys[row] for row in rows}


@st.composite
def labelled(draw):
    """Different keys, and a class for each."""
    keys = draw(KEYS)
    return keys, draw(st.lists(st.integers(0, 3), min_size=len(keys), max_size=len(keys)))


@settings(max_examples=60)
@given(labelled(), SEED, st.integers(0, 40), st.randoms(use_true_random=False))
def test_where_an_image_stands_does_not_matter(images, seed, count, random):
    keys, labels = images
    order = list(range(len(keys)))
    random.shuffle(order)
    moved, classes = [keys[i] for i in order], [labels[i] for i in order]
    assert [keys[i] for i in by_content(keys, labels, seed)] == [
        moved[i] for i in by_content(moved, classes, seed)
    ]
    assert of(keys, hold_out(keys, count, labels, seed=seed)[1]) == of(
        moved, hold_out(moved, count, classes, seed=seed)[1]
    )
    assert of(keys, hold_out_share(keys, 0.3, seed=seed)[1]) == of(
        moved, hold_out_share(moved, 0.3, seed=seed)[1]
    )


@settings(max_examples=60)
@given(labelled(), SEED, st.integers(1, 40), st.integers(1, 10))
def test_of_a_number_an_image_more_or_less_moves_one_at_most(images, seed, count, fewer):
    keys, labels = images
    few = max(1, len(keys) - fewer)
    before = of(keys, hold_out(keys[:few], count, labels[:few], seed=seed)[1])
    after = of(keys, hold_out(keys, count, labels, seed=seed)[1])
    assert len(before - after) <= len(keys) - few
    assert len(after & set(keys[:few]) - before) == 0


@settings(max_examples=60)
@given(KEYS, SEED, st.floats(0.05, 0.95), st.integers(1, 10))
def test_of_a_share_no_other_image_moves_one(keys, seed, share, fewer):
    few = keys[: max(2, len(keys) - fewer)]
    before, after = (hold_out_share(some, share, seed=seed) for some in (few, keys))
    crossed = of(few, before[1]) - of(keys, after[1]) | of(few, before[0]) - of(keys, after[0])
    # Of a side that would have been empty, its one image may go back.
    assert len(crossed) <= 1
    assert not crossed or min(map(len, before)) == 1
    assert min(map(len, before)) >= 1


@settings(max_examples=60)
@given(labelled(), SEED, st.integers(0, 40), st.integers(0, 40))
def test_a_smaller_part_lies_inside_a_larger_one(images, seed, a, b):
    keys, labels = images
    (_, small), (_, large) = (hold_out(keys, count, labels, seed=seed) for count in sorted((a, b)))
    assert set(small) <= set(large)
    (_, small), (_, large) = (hold_out_share(keys, part / 41, seed=seed) for part in sorted((a, b)))
    assert set(small) <= set(large)


@settings(max_examples=60)
@given(labelled(), SEED, st.integers(0, 40))
def test_classes_take_turns(images, seed, count):
    keys, labels = images
    rest, held = hold_out(keys, count, labels, seed=seed)
    assert sorted(rest + held) == list(range(len(keys)))
    assert len(held) == min(count, len(keys))
    there, total = Counter(labels[row] for row in held), Counter(labels)
    fullest = max(there.values(), default=0)
    assert all(there[k] >= min(total[k], fullest - 1) for k in total)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=2, max_size=40),
    SEED,
    st.integers(0, 40),
)
def test_the_same_image_is_on_one_side_whatever_its_class(images, seed, count):
    keys, labels = map(list, zip(*images, strict=True))
    for rest, held in (
        hold_out(keys, count, labels, seed=seed),
        hold_out_share(keys, count / 41, seed=seed),
    ):
        assert not of(keys, rest) & of(keys, held)
        assert sorted(rest + held) == list(range(len(keys)))


def test_a_share_is_kept_in_the_mean_and_seeds_differ():
    keys = [int(key) for key in np.random.default_rng(0).integers(0, 2**62, 20_000)]
    held = [set(hold_out_share(keys, 0.1, seed=seed)[1]) for seed in (0, 1)]
    for one in held:
        assert abs(len(one) - 2000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5
    assert abs(len(held[0] & held[1]) - 200) < 5 * 200**0.5  # independent: a hundredth is in both


def test_images_that_are_all_the_same_cannot_be_divided():
    with pytest.raises(InputError, match="4 images, but only 1 of them different"):
        hold_out_split([7, 7, 7, 7], None, None, 0)
    assert hold_out_share([7, 7], 0.1, seed=0) in (([0, 1], []), ([], [0, 1]))


def test_keys_are_of_the_content_and_follow_the_images(tmp_path):
    for i in range(6):
        Image.new("RGB", (9, 8), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    first = load(open_data(f"images:{tmp_path}"), size=(8, 8))
    (tmp_path / "0.png").rename(tmp_path / "z.png")
    shutil.copy(tmp_path / "3.png", tmp_path / "a.png")
    second = load(open_data(f"images:{tmp_path}"), size=(4, 4))
    assert len(set(first.keys)) == 6
    assert second.keys == (*first.keys[1:], first.keys[3], first.keys[0])
    assert second.take([5, 6]).keys == (first.keys[3], first.keys[0])
    pixels = first.pixels
    assert Samples.of_pixels(pixels, name="p").keys == Samples.of(first.images()).keys
    assert Samples.of(first.images().double(), torch.arange(6)).keys == Samples.of(first.images()).keys

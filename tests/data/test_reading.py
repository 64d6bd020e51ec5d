"""When files are opened: listed without it, chosen before it, decoded beside the computing."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ostrich
from ostrich.data import load, loading, looking, open_data, walking
from ostrich.data.sources import Decoded
from ostrich.errors import InputError, UnreadableImage
from ostrich.runtime.executors import Here, Unseen, computing_on
from ostrich.runtime.executors.sending import packed, unpacked

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8)


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The image files that are decoded at the first look."""
    files: list[str] = []
    original = looking.open_file

    def counted(path, *args):
        files.append(path)
        return original(path, *args)

    monkeypatch.setattr(looking, "open_file", counted)
    return files


@pytest.fixture
def folder(tmp_path):
    for i, one in enumerate(PIXELS):
        path = tmp_path / "ab"[i % 2] / "xyz"[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(path)
    return tmp_path


def test_only_what_is_chosen_is_opened(folder, opened):
    dataset = open_data(f"folder:{folder}")
    assert len(dataset) == 40
    assert not opened
    samples = load(dataset, size=(4, 4), limit=6, seed=1)
    assert [os.path.relpath(file, folder) for file in opened] == list(samples.files)
    assert sorted(samples.labels.tolist()) == [0] * 3 + [1] * 3


def test_of_more_than_is_kept_a_part_is_decoded_first(folder, opened, monkeypatch):
    whole = load(open_data(f"folder:{folder}"), size=(4, 4))
    assert whole.in_memory
    opened.clear()
    monkeypatch.setattr(loading, "MOST_KEPT", 100)
    monkeypatch.setattr(loading, "DECODED_FIRST", 5)
    samples = load(open_data(f"folder:{folder}"), size=(4, 4))
    assert len(opened) == 5
    assert not samples.in_memory
    assert (samples.sha256, samples.keys, samples.files) == (whole.sha256, whole.keys, whole.files)
    assert torch.equal(samples.images(), whole.images())
    opened.clear()
    load(open_data(f"folder:{folder}", skip_bad=True), size=(4, 4))
    assert len(opened) == 40  # to know which are left out


def test_a_damaged_one_that_is_met_late_is_named(folder, monkeypatch):
    (folder / "a/x/00.png").write_bytes(b"\x89PNG")
    (folder / "a/x/12.png").write_bytes(b"\x89PNG")
    monkeypatch.setattr(loading, "MOST_KEPT", 100)
    monkeypatch.setattr(loading, "DECODED_FIRST", 1)
    with pytest.raises(UnreadableImage, match=r"00\.png"):  # the first of those that are spread
        load(open_data(f"folder:{folder}"), size=(4, 4))
    (folder / "a/x/00.png").unlink()
    samples = load(open_data(f"folder:{folder}"), size=(4, 4))
    with pytest.raises(UnreadableImage, match=r"12\.png"):
        samples.images()
    assert load(open_data(f"folder:{folder}", skip_bad=True), size=(4, 4)).skipped == ("a/x/12.png",)


def test_many_are_looked_at_in_blocks_by_whoever_computes(folder, monkeypatch):
    """Also deep images: who looks at them tells which values it saw."""
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(folder / "b/y/deep.png")
    (folder / "a/x/00.png").write_bytes(b"\x89PNG")
    alone = load(open_data(f"folder:{folder}", skip_bad=True), size=(4, 4))
    monkeypatch.setattr(loading, "MOST_KEPT", 100)
    monkeypatch.setattr(looking, "BLOCK", 16)
    found = []
    for who in (Here(), Sent()):
        with computing_on(who):
            found.append(load(open_data(f"folder:{folder}", skip_bad=True), size=(4, 4)))
    blocks = [range(16), range(16, 32), range(32, 41)]  # of the 41 the first is skipped
    contents = [
        [Path(folder, f).read_bytes() for f in open_data(f"folder:{folder}").files][i.start : i.stop]
        for i in blocks
    ]
    digests = [hashlib.sha256(b"".join(c for c in some if c != b"\x89PNG")).digest() for some in contents]
    for samples in found:
        assert samples.sha256 == hashlib.sha256(b"".join(digests)).hexdigest()
        assert (samples.keys, samples.files, samples.skipped) == (alone.keys, alone.files, alone.skipped)
        assert torch.equal(samples.images(), alone.images())
    (folder / "a/x/00.png").unlink()
    monkeypatch.setattr(looking.Lying, "content", raising(Unseen("elsewhere")))
    assert load(open_data(f"folder:{folder}"), size=(4, 4)).keys == alone.keys


def test_values_that_another_process_saw_are_checked(folder, monkeypatch):
    for path in folder.rglob("*.png"):
        Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(path)
    monkeypatch.setattr(looking, "BLOCK", 16)
    with computing_on(Sent()), pytest.raises(InputError, match="they would be nearly black"):
        load(open_data(f"folder:{folder}"), size=(4, 4))


class Sent(Here):
    """Work, items and answers are sent, as to another process and back."""

    def map(self, compute, items, **named):
        for item in items:
            yield item, unpacked(packed(unpacked(packed(compute))(unpacked(packed(item)))))


def raising(error: Exception):
    """A function that raises it."""

    def raises(*args, **named):
        raise error

    return raises


def test_the_attack_of_many_large_images_is_that_of_few(folder, monkeypatch, tmp_path_factory):
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    network[2].weight.data = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    found = []
    for most in (10**6, 100):
        monkeypatch.setattr(loading, "MOST_KEPT", most)
        model = ostrich.load(network, size=4, classes=("a", "b"))
        out = tmp_path_factory.mktemp("run") / "out"
        run = ostrich.attack("pgd", model, f"folder:{folder}", out=out, eps=4 / 255)
        figures = {name: value for name, value in run.figures.items() if name != "seconds"}
        found.append((figures, torch.stack([run.images[i] for i in range(40)])))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


# Decoding ahead --------------------------------------------------------------------------------


def test_the_next_batch_is_decoded_while_this_one_is_worked_on():
    decoded: dict[int, str] = {}
    ahead = threading.Event()

    def decode(i: int) -> np.ndarray:
        decoded[i] = threading.current_thread().name
        if i == 7:
            ahead.set()
        return PIXELS[i]

    source = Decoded(decode, tuple(range(40)))
    assert (source.pixels(range(4)) == PIXELS[:4]).all()
    assert ahead.wait(30)
    assert all(decoded[i].startswith("decode") for i in range(4, 8))
    assert all(not decoded[i].startswith("decode") for i in range(4))


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_asked_for_in_any_order(seed):
    source = Decoded(lambda i: PIXELS[i], tuple(range(39, -1, -1)))
    draw = np.random.default_rng(seed)
    for _ in range(60):
        start, count = int(draw.integers(0, 40)), int(draw.integers(1, 9))
        for begin in range(start, min(40, start + 3 * count), count):
            rows = range(begin, min(40, begin + count))
            assert (source.pixels(rows) == PIXELS[::-1][rows.start : rows.stop]).all()
        rows = draw.integers(0, 40, 3).tolist()
        assert (source.pixels(rows) == PIXELS[::-1][rows]).all()
        assert (source.take(rows).pixels(range(3)) == PIXELS[::-1][rows]).all()


def test_an_error_ahead_is_raised_where_it_is_met():
    def decode(i: int) -> np.ndarray:
        if i == 5:
            raise UnreadableImage("five")
        return PIXELS[i]

    source = Decoded(decode, tuple(range(8)))
    assert (source.pixels(range(4)) == PIXELS[:4]).all()
    with pytest.raises(UnreadableImage, match="five"):
        source.pixels(range(4, 8))
    assert (source.pixels(range(4)) == PIXELS[:4]).all()
    assert (source.pixels(range(6, 8)) == PIXELS[6:8]).all()


# Listing ---------------------------------------------------------------------------------------


def test_what_a_computer_leaves_behind_is_no_data(folder):
    for name in (
        "__MACOSX/._a.png",
        ".git/a.png",
        "a/Thumbs.db",
        "a/.DS_Store",
        "b/desktop.ini",
        "b/@eaDir/a.png",
    ):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    dataset = open_data(f"folder:{folder}")
    assert (len(dataset), dataset.class_names, dict(dataset.unused)) == (40, ("a", "b"), {})


def test_what_is_not_used_is_counted_by_suffix(folder):
    for name in ("a/x/notes.TXT", "b/labels.json", "list.txt", "stray.png", "a/LICENSE"):
        (folder / name).write_bytes(b"")
    unused = walking.unused_sentence(open_data(f"folder:{folder}").unused)
    assert unused == (
        "5 files were not used: 2 .txt, 1 .json, 1 .png beside the class folders, 1 without a suffix"
    )
    unused = walking.unused_sentence(open_data(f"images:{folder / 'a/x'}").unused)
    assert unused == "1 file was not used: 1 .txt"
    (folder / "one.png").write_bytes((folder / "a/x/00.png").read_bytes())
    assert open_data(f"images:{folder}").unused[".png in folders below"] == 40
    with pytest.raises(InputError, match="For its class folders write folder:"):
        open_data(f"images:{folder / 'a'}")


def test_links_into_themselves_end(folder):
    os.symlink(folder, folder / "a/again")
    os.symlink(folder / "b", folder / "b/self")
    found = open_data(f"folder:{folder}")
    assert found.class_names == ("a", "b")
    assert len({os.path.realpath(folder / file) for file in found.files}) == 40


def test_a_link_to_nothing_is_a_file_that_cannot_be_read(folder):
    """As git-annex and DVC leave them; they were left out without a word."""
    os.symlink("nowhere.png", folder / "a/x/lost.png")
    with pytest.raises(UnreadableImage, match=r"no image file .*lost\.png"):
        load(open_data(f"folder:{folder}"), size=(4, 4))
    for data in (f"folder:{folder}", f"images:{folder / 'a/x'}"):
        assert len(load(open_data(data, skip_bad=True), size=(4, 4)).skipped) == 1


def test_an_existing_folder_wins_over_a_split(folder, tmp_path):
    (tmp_path / "odd:test/c").mkdir(parents=True)
    Image.fromarray(PIXELS[0]).save(tmp_path / "odd:test/c/0.png")
    assert open_data(f"folder:{tmp_path}/odd:test").class_names == ("c",)

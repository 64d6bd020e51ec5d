"""Data by address: what fsspec opens is read as folders and tar files are."""

from __future__ import annotations

import csv
import io
import tarfile
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

import ostrich
from ostrich.cli.main import run
from ostrich.data.elsewhere import in_order
from ostrich.data.loading import load
from ostrich.data.spec import open_data
from ostrich.data.stores import AT_ONCE
from ostrich.data.training_data import open_split
from ostrich.errors import InputError, MissingExtra, UnreadableImage

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(pixels).save(kept, format="PNG")
    return kept.getvalue()


def tar(numbers: range) -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as file:
        for i in numbers:
            for name, content in ((f"{i:03d}.png", png(PIXELS[i])), (f"{i:03d}.cls", str(i % 2).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    return kept.getvalue()


@pytest.fixture
def store():
    """Class folders, splits and shards in a store that lives in memory."""
    memory = fsspec.filesystem("memory")
    for i in range(6):
        memory.pipe(f"/bucket/photos/{'ab'[i % 2]}/{i}.png", png(PIXELS[i]))
        memory.pipe(f"/bucket/parts/{('train', 'test')[i // 3]}/{'ab'[i % 2]}/{i}.png", png(PIXELS[i]))
    memory.pipe("/bucket/photos/notes.txt", b"")
    memory.pipe("/bucket/photos/a/.hidden.png", b"")
    memory.pipe("/bucket/flat/one.png", png(PIXELS[0]))
    memory.pipe("/bucket/flat/below/two.png", png(PIXELS[1]))
    for number, rows in enumerate((range(4), range(4, 6))):
        memory.pipe(f"/bucket/shards/part-{number:03d}.tar", tar(rows))
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def test_class_folders_of_a_store_are_as_those_on_disk(store, tmp_path):
    for i in range(6):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(PIXELS[i]))
    (tmp_path / "photos/notes.txt").write_text("")
    far, near = open_data(f"folder:{store}/photos"), open_data(f"folder:{tmp_path / 'photos'}")
    assert (far.class_names, list(far.labels), dict(far.unused)) == (
        ("a", "b"),
        list(near.labels),
        {".txt": 1},
    )
    read = [load(one, size=(8, 8)) for one in (far, near)]
    assert torch.equal(read[0].images(), read[1].images())
    assert read[0].sha256 == read[1].sha256


def test_splits_and_flat_folders_of_a_store(store):
    assert len(open_data(f"folder:{store}/parts:train")) == 3
    with pytest.raises(InputError, match="parts:train or folder:"):
        open_data(f"folder:{store}/parts")
    with pytest.raises(InputError, match="no split 'val'"):
        open_data(f"folder:{store}/parts:val")
    fsspec.filesystem("memory").pipe("/bucket/parts/models/one.png", png(PIXELS[0]))
    with pytest.raises(InputError, match="parts:train or folder:"):
        open_data(f"folder:{store}/parts")
    train, test = (open_split(f"folder:{store}/parts", split, (3, 8, 8)) for split in ("train", "test"))
    assert {Path(file).parts[0] for file in (*train.files, *test.files)} == {"a", "b"}
    assert (len(train), len(test)) == (3, 3)
    flat = open_data(f"images:{store}/flat")
    assert len(flat) == 1
    assert dict(flat.unused) == {".png in folders below": 1}


@pytest.mark.parametrize("words", ["shards/part-{000..001}.tar", "shards/part-{000,001}.tar", "shards"])
def test_shards_are_one_data_set(store, words):
    data = open_data(f"webdataset:{store}/{words}")
    assert len(data) == 6
    assert list(data.labels) == [0, 1, 0, 1, 0, 1]
    assert torch.equal(
        load(data, size=(8, 8)).images(), torch.from_numpy(PIXELS).movedim(-1, 1).float() / 255
    )


def test_shards_on_disk(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(range(4)))
    (tmp_path / "b.tar").write_bytes(tar(range(4, 6)))
    for words in (str(tmp_path), f"{tmp_path}/{{a,b}}.tar"):
        assert len(open_data(f"webdataset:{words}")) == 6
    with pytest.raises(InputError, match="There is no file"):
        open_data(f"webdataset:{tmp_path}/{{a,c}}.tar")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no tar files"):
        open_data(f"webdataset:{tmp_path}/none")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("folder:memory://bucket/nowhere", "nowhere"),
        ("images:nosuch://bucket/photos", "nosuch"),
        ("webdataset:memory://bucket/none.tar", "none.tar"),
        ("folder:file:///no/such/place", "/no/such/place"),
    ],
)
def test_what_is_not_there_is_one_sentence(word, said, tmp_path, capsys):
    assert run(["attack", "fgsm", "zoo:digits-cnn", word, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert said in told[0]


def test_without_fsspec_the_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(MissingExtra, match=r"ostrich-vision\[stores\]"):
        open_data("folder:s3://bucket/photos")


def test_an_attack_on_images_of_a_store(tmp_path):
    """By the command, from an address; other processes open it for themselves."""
    samples = ostrich.data.load(ostrich.data.open_data("digits"), size=(8, 8), channels=1, limit=12)
    for i, (image, label) in enumerate(zip(samples.images(), samples.labels.tolist(), strict=True)):
        path = tmp_path / "digits" / str(label) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(path)
    rows = []
    for address in (str(tmp_path / "digits"), f"file://{tmp_path / 'digits'}"):
        out = tmp_path / f"out-{len(rows)}"
        assert run(["attack", "fgsm", "zoo:digits-cnn", f"folder:{address}", "--out", str(out)]) == 0
        rows.append(list(csv.DictReader((out / "images.csv").read_text().splitlines())))
    assert len(rows[0]) == 12
    for one, other in zip(*rows, strict=True):
        assert {**one, "file": ""} == {**other, "file": ""}
    assert Path(rows[1][0]["file"]).suffix == ".png"


class Slow:
    """A store's contents, and how many were fetched at the same time at most."""

    def __init__(self) -> None:
        self.lock, self.now, self.most, self.asked = threading.Lock(), 0, 0, []

    def __call__(self, i: int) -> bytes:
        with self.lock:
            self.asked.append(i)
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
        if i == 5:
            raise UnreadableImage("There is no fifth.")
        return bytes([i])


def test_contents_that_are_far_are_fetched_ahead_in_their_order():
    content, order = Slow(), [9, 2, 5, *range(20, 60)]
    with in_order(content, order, far=True) as content_of:
        found = []
        for i in order:
            try:
                found.append(content_of(i)[0])
            except UnreadableImage:
                found.append(None)
    assert found == [9, 2, None, *range(20, 60)]
    assert sorted(content.asked) == sorted(order)
    assert 4 <= content.most <= AT_ONCE
    with in_order(Slow(), order) as content_of:
        assert content_of(2) == b"\x02"


def test_a_picture_of_a_store_is_fetched_once(store, monkeypatch):
    fetched = []
    memory = type(fsspec.filesystem("memory"))
    fetch = memory.cat_file

    def counted(self, path, *span):
        fetched.append(path)
        return fetch(self, path, *span)

    monkeypatch.setattr(memory, "cat_file", counted)
    for data, most in ((f"folder:{store}/photos", 6), (f"webdataset:{store}/shards", 12)):
        fetched.clear()
        assert len(load(open_data(data), size=(8, 8))) == 6
        assert len(fetched) == most  # with the labels of a tar file

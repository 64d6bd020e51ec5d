"""Images of samples in another process: read there from their files, or sent."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from contextlib import chdir

import numpy as np
import pytest
import torch
from PIL import Image

from ostrich.data import loading
from ostrich.data.dataset import Samples
from ostrich.data.elsewhere import Lying
from ostrich.data.loading import load
from ostrich.data.sources import Decoded
from ostrich.data.spec import open_data
from ostrich.errors import UnreadableImage
from ostrich.images import rounded
from ostrich.runtime.executors import Unseen
from ostrich.runtime.executors.sending import packed, unpacked

COUNT, SIDE = 12, 20


def pixels(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (SIDE, SIDE + 3, 3), np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Class folders of PNGs, JPEGs and arrays, none of which stays in memory."""
    monkeypatch.setattr(loading, "MOST_KEPT", 0)
    for i in range(COUNT):
        place = tmp_path / "data" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        if i % 3 == 2:
            np.save(place / f"{i:02d}.npy", pixels(i))
        else:
            Image.fromarray(pixels(i)).save(place / f"{i:02d}.{'png' if i % 3 else 'jpg'}")
    return tmp_path / "data"


@pytest.fixture
def tar(folder):
    path = folder.parent / "data.tar"
    with tarfile.open(path, "w") as file:
        for i in range(COUNT):
            content = io.BytesIO()
            Image.fromarray(pixels(i)).save(content, "PNG")
            member = tarfile.TarInfo(f"{i:02d}.png")
            member.size = len(content.getvalue())
            file.addfile(member, io.BytesIO(content.getvalue()))
    return path


def local(samples: Samples, monkeypatch) -> None:
    """From now on nothing is decoded by the samples themselves."""
    assert isinstance(samples.source, Decoded)

    def refused(self, rows):
        raise AssertionError("decoded by who opened the data set")

    monkeypatch.setattr(Decoded, "pixels", refused)


@pytest.mark.parametrize("shape", [{"channels": 1}, {"resize": 14, "interpolation": "bicubic"}, {}])
@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_who_sees_the_files_reads_the_same_images(kind, shape, folder, tar, monkeypatch, tmp_path):
    with chdir(tmp_path):  # the paths are relative ones
        data = "folder:data" if kind == "folder" else "webdataset:data.tar"
        samples = load(open_data(data), size=(9, 10), **shape).take([0, 3, 4, 5, 7, 9, 10])
        whole = samples.images()
        local(samples, monkeypatch)
        sent = [packed(samples.part(rows)) for rows in (range(2, 6), range(7))]
        again = packed(unpacked(sent[1]))
    with chdir("/"):
        assert torch.equal(unpacked(sent[0]).images(), whole[2:6])
        assert torch.equal(unpacked(sent[1]).images(), whole)
        assert torch.equal(unpacked(again).images(), whole)


def test_what_is_sent_of_files_does_not_grow_with_the_images(folder):
    sizes = [
        len(pickle.dumps(load(open_data(f"folder:{folder}"), size=(side, side)).part(range(COUNT))))
        for side in (8, 256)
    ]
    assert sizes[1] < 1.01 * sizes[0] < 5000


@pytest.mark.parametrize("how", ["gone", "other"])
def test_a_file_that_is_gone_or_another_is_not_seen_and_its_image_is_sent(how, folder):
    samples = load(open_data(f"folder:{folder}"), size=(8, 8))
    whole = samples.images()
    part = samples.part(range(4))
    kept = packed(part.whole())
    path = os.path.join(folder, samples.files[2])
    if how == "gone":
        os.rename(path, f"{path}.away")
    else:
        Image.fromarray(pixels(99)).save(path, "PNG")
    with pytest.raises(Unseen, match=os.path.basename(path)):
        unpacked(packed(part)).images()
    assert torch.equal(unpacked(packed(samples.part(range(2)))).images(), whole[:2])
    assert torch.equal(unpacked(kept).images(), whole[:4])


def test_a_damaged_file_is_named_where_it_is_read(folder):
    (folder / "a/00.jpg").write_bytes(b"\xff\xd8")
    loading_first, loading.DECODED_FIRST = loading.DECODED_FIRST, 0
    try:
        samples = load(open_data(f"folder:{folder}"), size=(8, 8))
    finally:
        loading.DECODED_FIRST = loading_first
    with pytest.raises(UnreadableImage, match=r"00\.jpg"):
        unpacked(packed(samples.part(range(4)))).images()


def test_images_in_memory_are_sent_as_bytes_and_given_ones_as_they_are():
    some = torch.rand(30, 3, 16, 16)
    kept = Samples.of_pixels((some.movedim(1, -1) * 255).to(torch.uint8).numpy(), name="some")
    assert torch.equal(unpacked(packed(kept.part(range(5, 9)))).images(), kept.images(5, 9))
    assert len(packed(kept.part(range(20)))) < 2 * 20 * 3 * 16 * 16  # floats would be four times as many
    given = Samples.of(some.double())
    sent = unpacked(packed(given.part(range(5, 9)))).images()
    assert sent.dtype == torch.float64
    assert (sent - rounded(some[5:9].double())).abs().max() < 1e-6  # what lies on the grid keeps its bits


def test_a_part_of_a_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(200)))
    from ostrich.data.levels import Levels

    lying = Lying(str(tmp_path), ("file", "file"), ("a", "b"), Levels(), ((3, 4), (190, 10)))
    assert [lying.content(i) for i in (0, 1)] == [bytes(range(3, 7)), bytes(range(190, 200))]
    assert Lying(str(tmp_path), ("file",), ("a",), Levels()).content(0) == bytes(range(200))
    with pytest.raises(Unseen, match="none"):
        Lying(str(tmp_path), ("none",), ("a",), Levels()).content(0)

"""What is white in images of more than 8 bits, and files of every kind read as the values they hold."""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from ostrich.data import load, open_data
from ostrich.data.dataset import Samples
from ostrich.data.levels import Levels
from ostrich.data.pictures import open_array, open_image
from ostrich.errors import InputError, MissingExtra, UnreadableImage

DRAW = np.random.default_rng(0)


def sixteen_bit_png(path, values: np.ndarray) -> None:
    """(H, W, C) of 16 bits as a PNG, written here: Pillow writes none in colour."""
    height, width, channels = values.shape

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    kind = {1: 0, 3: 2, 4: 6}[channels]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@given(
    arrays.arrays(np.uint16, (3, 4, 1), elements=st.integers(0, 4095)),
    st.sampled_from([4095, 10_000, 65535]),
)
def test_values_become_their_share_of_white(values, white):
    found = Levels(white).to_bytes(values, "a")
    assert (abs(found - values.astype(float) / white * 255) <= 0.5).all()
    assert found.dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_of_twelve_bits(tmp_path, channels):
    values = DRAW.integers(0, 4096, (5, 6, channels))
    if channels == 4:
        values[..., 3] = 65535
    sixteen_bit_png(tmp_path / "a.png", values)
    picture = np.asarray(open_image(tmp_path / "a.png", Levels("65535" if channels == 4 else "4095")))
    white = 65535 if channels == 4 else 4095
    expected = values[..., :3] / white * 255
    assert (abs(picture - expected) <= 0.5).all()
    with pytest.raises(InputError, match=r"from \d+ to \d+ of 65535.*--range 4095.*--range 65535"):
        load(open_data(str(tmp_path / "a.png")), size=(5, 6))
    with pytest.raises(InputError, match="beyond --range 255"):
        open_image(tmp_path / "a.png", Levels(255))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_that_use_their_sixteen_bits_are_taken_as_they_are(tmp_path, channels):
    values = DRAW.integers(0, 65536, (5, 6, channels))
    sixteen_bit_png(tmp_path / "a.png", values)
    (found,) = load(open_data(str(tmp_path / "a.png")), size=(5, 6)).pixels
    assert (abs(found - values / 65535 * 255) < 1).all()
    # over all files: a dark one beside a bright one is no question
    sixteen_bit_png(tmp_path / "b.png", values // 100)
    assert len(load(open_data(f"images:{tmp_path}"), size=(5, 6))) == 2


def test_colour_tiffs_of_sixteen_bits(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = DRAW.integers(0, 4096, (5, 6, 3)).astype(np.uint16)
    for order in "<>":
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", byteorder=order)
        found = np.asarray(open_image(tmp_path / "a.tif", Levels(4095)))
        assert (abs(found - values / 4095 * 255) <= 0.5).all()


def test_arrays(tmp_path):
    for kind, white in ((np.uint16, 4095), (np.int32, 100_000), (np.float32, 255.0), (np.float16, 2.0)):
        values = (DRAW.random((4, 5, 6)) * min(white, 4000)).astype(kind)
        np.save(tmp_path / "a.npy", values)
        found = open_array(tmp_path / "a.npy", Levels(white))
        assert (abs(found - values.astype(float) / white * 255) <= 0.6).all()
    np.save(tmp_path / "a.npy", np.full((4, 4), True))
    assert np.asarray(open_array(tmp_path / "a.npy")).min() == 255


def test_the_range_that_is_proposed_is_the_least_that_fits():
    for high, proposed in ((255, 255), (256, 4095), (4096, 16383), (65535, 65535)):
        with pytest.raises(InputError, match=rf"--range {proposed},"):
            Levels().to_bytes(np.array([0, high]), "a")


def test_a_rounding_error_is_no_other_range():
    """Beyond 0 and 1, as of float32 after a normalisation that was taken back."""
    for told in (None, 1):
        assert Levels(told).to_bytes(np.array([-1e-7, 1 + 1e-7]), "a").tolist() == [0, 255]
    assert Levels(255).to_bytes(np.array([-1e-5, 255 + 2e-5]), "a").tolist() == [0, 255]
    for value in (-1e-5, 1 + 1e-5):
        with pytest.raises(InputError):
            Levels().to_bytes(np.array([value]), "a")
    images = torch.tensor([-1e-7, 0.5, 1 + 2e-7, 1]).view(1, 1, 2, 2)
    samples = Samples.of(images)
    assert samples.images().min() >= 0
    assert samples.images().max() == 1
    with pytest.raises(InputError, match=r"lie in \[0, 1\]"):
        Samples.of(images * 1.001)


def test_what_is_told_of_one_kind_holds_for_it_alone(tmp_path):
    levels = Levels("float=2, int=4095")
    assert levels.to_bytes(np.full((1,), 1.0), "a") == 128
    assert levels.to_bytes(np.full((1,), 4095), "a") == 255
    assert levels.remark() == (
        "floats up to 1, where 2 is white; whole numbers of more than 8 bits up to 4095, where 4095 is white"
    )
    levels = Levels("int=4095")
    assert levels.to_bytes(np.full((1,), 1.0), "a") == 255
    with pytest.raises(InputError, match=r"from -1 to -1.*without normalisation"):
        levels.to_bytes(np.full((1,), -1.0), "a")


def test_heic_needs_its_extra(tmp_path, monkeypatch):
    from ostrich.data import pictures

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    pictures.reads_heif.cache_clear()
    (tmp_path / "a.heic").write_bytes(b"")
    with pytest.raises(MissingExtra, match=r"ostrich-vision\[heif\]"):
        load(open_data(str(tmp_path / "a.heic")), size=(4, 4))
    pictures.reads_heif.cache_clear()


def test_heic_where_the_extra_is_there(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "a.heic")
    (found,) = load(open_data(f"images:{tmp_path}"), size=(16, 16)).pixels
    assert (abs(found.astype(int) - (200, 30, 30)) < 6).all()


def test_avif(tmp_path):
    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "a.avif")
    (found,) = load(open_data(f"images:{tmp_path}"), size=(16, 16)).pixels
    assert (abs(found.astype(int) - (200, 30, 30)) < 6).all()


@pytest.mark.filterwarnings("ignore")  # Pillow's own, of what it reads in spite of its damage
@pytest.mark.parametrize("suffix", ["avif", "blp", "jpg", "tif", "webp", "ico", "dds", "gif"])
def test_a_damaged_picture_of_any_format_is_named(tmp_path, suffix):
    """Decoders raise what they like: a damaged AVIF a RuntimeError, BLP a struct.error."""
    noise = Image.fromarray(DRAW.integers(0, 256, (64, 64, 3), np.uint8))
    noise.convert("P" if suffix in ("blp", "gif") else "RGB").save(tmp_path / f"a.{suffix}")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    unread = 0
    for cut in range(8, len(content), max(1, len(content) // 24)):
        for damaged in (content[:cut], content[:cut] + bytes(len(content) - cut)):
            try:
                open_image(f"a.{suffix}", content=damaged)
            except UnreadableImage:
                unread += 1
    assert unread


def test_a_range_that_is_not_known_is_no_damage(tmp_path):
    np.save(tmp_path / "a.npy", np.full((4, 4, 3), 9.0))
    with pytest.raises(InputError, match="--range 255") as caught:
        load(open_data(f"images:{tmp_path}", skip_bad=True), size=(4, 4))
    assert not isinstance(caught.value, UnreadableImage)

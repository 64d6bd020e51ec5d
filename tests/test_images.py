"""Reading, converting, fitting and writing images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ostrich import images
from ostrich.data.pictures import open_image
from ostrich.errors import InputError, UnreadableImage


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 10**6))
def test_what_is_written_is_what_was_rounded(height, width, channels, seed):
    import tempfile
    from pathlib import Path

    x = torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        images.write_png(path, x)
        assert torch.equal(images.read_png(path), images.rounded(x))
        assert [p.name for p in Path(folder).iterdir()] == ["x.png"]


def test_the_way_into_the_range_has_a_slope_at_both_ends():
    given = [-1.0, 0.0, 0.25, 1.0, 1.5, float("nan")]
    x = torch.tensor(given, dtype=torch.float64, requires_grad=True)
    found = images.into_range(x)
    assert found.tolist()[:-1] == [0.0, 0.0, 0.25, 1.0, 1.0]
    assert found[-1].isnan()
    assert torch.autograd.grad(found[:-1].sum(), x)[0].tolist()[:-1] == [0.0, 1.0, 1.0, 1.0, 0.0]


def save(path, mode: str, value) -> str:
    Image.new(mode, (6, 4), value).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("mode", "value", "suffix", "expected"),
    [
        ("RGB", (255, 0, 0), "png", (255, 0, 0)),
        ("L", 128, "png", (128, 128, 128)),
        ("LA", (0, 0), "png", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 0), "png", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), "png", (255, 0, 0)),
        ("P", 0, "png", (0, 0, 0)),
        ("1", 1, "png", (255, 255, 255)),
        ("CMYK", (0, 0, 0, 0), "tif", (255, 255, 255)),
        ("I;16", 65535, "png", (255, 255, 255)),
        ("I;16", 32768, "tif", (128, 128, 128)),
    ],
)
def test_every_kind_of_file_becomes_8_bit_rgb(tmp_path, mode, value, suffix, expected):
    picture = open_image(save(tmp_path / f"a.{suffix}", mode, value))
    assert picture.mode == "RGB"
    assert picture.size == (6, 4)
    assert picture.getpixel((2, 2)) == expected


def test_a_rotated_photograph_stands_upright(tmp_path):
    picture = Image.new("RGB", (8, 4))
    exif = picture.getexif()
    exif[274] = 6  # rotated by 90 degrees
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert open_image(tmp_path / "a.jpg").size == (4, 8)


def test_damaged_and_missing_files_are_named(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    picture.save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:700])
    (tmp_path / "text.png").write_text("not an image")
    for name in ("cut.jpg", "text.png", "none.png"):
        with pytest.raises(UnreadableImage, match=name):
            open_image(tmp_path / name)


@pytest.mark.parametrize("given_size", [(1, 1), (300, 100), (33, 500)])
@pytest.mark.parametrize("resize", [None, 40])
def test_fit_gives_the_size(given_size, resize):
    assert images.fit(Image.new("RGB", given_size), (32, 32), resize).size == (32, 32)
    assert images.fit(Image.new("RGB", given_size), (24, 32), resize).size == (32, 24)


def test_fit_equals_torchvision():
    from torchvision.transforms import v2

    rng = np.random.default_rng(0)
    for size in ((400, 301), (257, 640), (256, 256)):
        picture = Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8))
        theirs = v2.CenterCrop(224)(v2.Resize(256)(picture))
        assert np.array_equal(np.asarray(images.fit(picture, (224, 224), 256)), np.asarray(theirs))


def test_grid_lays_out_rows():
    sheet = images.grid(torch.stack([torch.full((1, 2, 2), v / 4) for v in range(4)]), columns=2, gap=1)
    assert sheet.shape == (1, 5, 5)
    assert sheet[0, 0, 0] == 0
    assert sheet[0, 4, 4] == 0.75
    assert sheet[0, 2, 2] == 1


def test_fingerprints_are_of_the_content():
    x = torch.rand(4, 3, 5, 5)
    marks = images.fingerprints(x)
    assert len(set(marks)) == 4
    assert images.fingerprints(x[[2, 0]].double()) == [marks[2], marks[0]]


def test_check_refuses_normalised_images():
    with pytest.raises(InputError, match="normalisation"):
        images.check_images(torch.randn(2, 3, 8, 8))

"""Images of other than one or three channels: from .npy to evidence, through every command.

The network answers with the strongest channel, so everything is known.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ostrich
from ostrich.cli.main import run
from ostrich.data import loading as datasets
from ostrich.data.files import class_folders
from ostrich.data.pictures import open_array
from ostrich.errors import InputError, UnreadableImage
from ostrich.images import image_name, numbered, read_png, to_bytes, visible, write_image
from ostrich.models.options import ModelOptions

NETWORK = """
import torch
from torch import nn

class Strongest(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv.weight.data = 30 * torch.eye(channels)[:, :, None, None]
    def forward(self, x):
        return self.conv(x).mean((2, 3))

def two():
    return Strongest(2)
def five():
    return Strongest(5)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK)
    for channels, name in ((2, "two"), (5, "five")):
        for k in range(channels):
            Path(name, f"band{k}").mkdir(parents=True)
            for turn in range(2):
                draw = np.random.default_rng([channels, k, turn])
                array = draw.integers(90, 110, (12, 12, channels))
                array[..., k] += 12 + turn
                np.save(f"{name}/band{k}/{turn}.npy", array.astype(np.uint8))
    Path("photos/a").mkdir(parents=True)
    Image.new("RGB", (12, 12), (1, 2, 3)).save("photos/a/0.png")
    return tmp_path


def loaded(name: str) -> ostrich.Classifier:
    return ModelOptions(model=f"net.py:{name}", size="12").load()


@pytest.mark.parametrize("name", ["two", "five"])
@pytest.mark.parametrize(
    "words",
    [
        ["attack", "pgd"],
        ["attack", "universal"],
        ["attack", "patch"],
        ["doctor"],
        ["explain", "gradient"],
        ["explain", "occlusion"],
        ["check", "--minutes", "0.3"],
    ],
)
def test_every_command_takes_any_number_of_channels(here, name, words, capsys):
    head, rest = words[:1] + [w for w in words[1:2] if not w.startswith("-")], []
    if words[1:] and words[1].startswith("-"):
        rest = words[1:]
    assert run([*head, f"net.py:{name}", f"folder:{name}", "--size", "12", "--out", "out", *rest]) == 0
    shown = "the mean of 2" if name == "two" else "the first three of 5"
    assert f"{shown} channels" in capsys.readouterr().err
    assert json.loads(Path("out/run.json").read_text())["finished"]


def test_evidence_has_every_channel(here):
    settings = ["--set", "eps=9/255", "--size", "12", "--out", "out"]
    assert run(["attack", "pgd", "net.py:five", "folder:five", *settings]) == 0
    rows = list(csv.DictReader(Path("out/images.csv").read_text(encoding="utf-8").splitlines()))
    model = loaded("five")
    assert len(rows) == 10
    assert {row["success"] for row in rows} == {"true"}
    for row in rows:
        broken = np.load(f"out/{row['adversarial_file']}")
        clean = np.load(f"out/{row['clean_file']}")
        assert (clean == np.load(f"five/{row['file']}")).all()
        assert abs(broken.astype(int) - clean).max() <= 9
        image = torch.from_numpy(broken).permute(2, 0, 1)[None] / 255
        assert int(model.predict(image).argmax()) == int(row["adversarial_prediction"]) != int(row["label"])


def test_other_channels_than_the_network_takes(here, capsys):
    assert run(["attack", "pgd", "net.py:five", "folder:photos", "--size", "12"]) == 2
    assert "takes 5 channels" in capsys.readouterr().err
    assert run(["attack", "pgd", "net.py:five", "folder:two", "--size", "12"]) == 2
    assert "takes 5 channels; 'band0/0.npy' has 2" in capsys.readouterr().err
    np.save("five/band0/0.npy", np.zeros((5, 12, 13), np.uint8))
    with pytest.raises(InputError, match=r"first axis has as many: an array is \(H, W, C\)"):
        datasets.load(class_folders("five"), size=(12, 12), channels=5)
    assert run(["attack", "printed", "net.py:two", "folder:two", "--size", "12"]) == 2
    assert "A print has 1 or 3 channels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4, 5), 200.0), "float64 from 200 to 200; bytes"),
        (np.full((4, 4, 5), 4095, np.uint16), "uint16 from 4095"),
    ],
)
def test_arrays_whose_white_is_not_known(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=message) as caught:
        open_array(tmp_path / "a.npy")
    assert not isinstance(caught.value, UnreadableImage)  # which --skip-bad would leave out


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4, 5), np.nan), "nan"),
        (np.full((4, 4), "a"), "<U1"),
        (np.zeros((2, 2, 2, 2), np.uint8), r"shape \(2, 2, 2, 2\)"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableImage, match=message):
        open_array(tmp_path / "a.npy")


def test_arrays_of_floats_and_of_colours(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (6, 7, 4))
    np.save(tmp_path / "floats.npy", levels / 255)
    assert (open_array(tmp_path / "floats.npy") == levels).all()
    np.save(tmp_path / "rgb.npy", levels[..., :3].astype(np.uint8))
    assert (np.asarray(open_array(tmp_path / "rgb.npy")) == levels[..., :3]).all()
    np.save(tmp_path / "grey.npy", levels[..., 0].astype(np.uint8))
    assert (np.asarray(open_array(tmp_path / "grey.npy")) == levels[..., :1]).all()
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UnreadableImage):
        open_array(tmp_path / "torn.npy")


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (90, b"("),  # which is never closed
        (10, b"{b'a': 1, 'c': 2}"),  # keys that cannot be sorted
        (10, b"{'descr': ',u1', "),  # a type that is no Python
        (51, b"'shape': (2" + b"0" * 14 + b",), }"),  # more than any memory holds
        (0, b"PK\3\4"),  # a zip file without its end
    ],
)
def test_a_damaged_array_is_an_unreadable_image(tmp_path, place, damage):
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 3), np.uint8))
    content = bytearray((tmp_path / "a.npy").read_bytes())
    content[place : place + len(damage)] = damage
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UnreadableImage, match="cannot be read as an array"):
        open_array(tmp_path / "a.npy")


def test_several_arrays_under_the_name_of_one(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.savez(file, a=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UnreadableImage, match=r"a.npy' is an .npz, which may hold several arrays"):
        open_array(tmp_path / "a.npy")


@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=4))
def test_an_array_with_any_damage_is_read_or_refused(changes):
    file = io.BytesIO()
    np.save(file, np.zeros((4, 4, 3), np.uint8))
    content = bytearray(file.getvalue())
    for place, byte in changes:
        content[place] = byte
    with contextlib.suppress(InputError), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # numpy's, of a header as Python 2 wrote it
        open_array("a.npy", content=bytes(content))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_files_and_what_is_visible(tmp_path, channels):
    image = torch.rand(channels, 5, 6, generator=torch.Generator().manual_seed(0))
    name = image_name("images/one", len(image))
    write_image(tmp_path / name, image)
    if channels in (1, 3):
        assert (to_bytes(read_png(tmp_path / name)) == to_bytes(image)).all()
    else:
        assert (np.load(tmp_path / name) == to_bytes(image)).all()
    expected = {1: image, 2: image.mean(0, keepdim=True), 3: image, 4: image[:3]}[channels]
    assert torch.equal(visible(image), expected)


def test_names_of_many_files_are_told_by_their_thousand():
    assert numbered("images", 7, 999) == "images/00007"
    assert numbered("maps", 12345, 50_000) == "maps/012/12345"

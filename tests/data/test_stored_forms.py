"""Forms of DATA that others store: tar files, Hugging Face's folders, torchvision's sets."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from twelve import LABELS, NAMES, PIXELS, gives_them_back, png

from ostrich.data import load, open_data
from ostrich.data.training_data import open_split
from ostrich.errors import InputError, MissingExtra, UnknownName

TENS = (0, 2, 10)  # which are sorted by value, and otherwise as text

# Tar files -------------------------------------------------------------------------------------


def tar(path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as written:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            written.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("ending", "label"),
    [
        ("cls", str),
        ("cls", lambda k: NAMES[k] + "\n"),
        ("cls", lambda k: f"{TENS[k]}.0"),
        ("json", lambda k: json.dumps({"label": int(k), "more": []})),
        ("json", lambda k: json.dumps({"class": NAMES[k]})),
    ],
)
def test_webdataset(here, ending, label):
    files = {}
    for i, one in enumerate(PIXELS):
        files[f"./a/{i:02d}.png"] = png(one)
        files[f"./a/{i:02d}.{ending}"] = label(LABELS[i]).encode()
    tar("shard.tar", files | {"__MACOSX/._0.png": b"", "README.md": b"", "notes": b"", "a/00.xmp": b""})
    samples = gives_them_back("webdataset:shard.tar")
    assert samples.describe()["unused"] == "3 files were not used: 1 .md, 1 .xmp, 1 without a suffix"


def test_tar_files_that_cannot_be_read(here):
    tar("shard.tar", {"0.png": png(PIXELS[0]), "1.png": png(PIXELS[1]), "1.cls": b"1"})
    with pytest.raises(InputError, match="for 1 of 2 images"):
        open_data("webdataset:shard.tar")
    tar("shard.tar", {"0.png": png(PIXELS[0]), "0.cls": b"\xff"})
    with pytest.raises(InputError, match=r"0.cls holds no label"):
        open_data("webdataset:shard.tar")
    tar("shard.tar", {"0.txt": b"1"})
    with pytest.raises(InputError, match="holds no images"):
        open_data("webdataset:shard.tar")
    (here / "shard.tar.gz").write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(InputError, match="gunzip"):
        open_data("webdataset:shard.tar.gz")
    with pytest.raises(InputError, match="no file"):
        open_data("webdataset:none.tar")
    (here / "a.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"write webdataset:a.tar"):
        open_data("a.tar")


# Hugging Face ----------------------------------------------------------------------------------

FEATURES = {
    "image": {"_type": "Image"},
    "label": {"_type": "ClassLabel", "names": list(NAMES)},
}


def table(rows, described: bool, label="label", form=int, names=NAMES):
    arrow = pytest.importorskip("pyarrow")
    images = [{"bytes": png(PIXELS[i]), "path": f"{i}.png"} for i in rows]
    found = arrow.table({"image": images, label: [form(LABELS[i]) for i in rows]})
    if described:
        features = {"image": FEATURES["image"], label: FEATURES["label"] | {"names": list(names)}}
        facts = json.dumps({"info": {"features": features}})
        found = found.replace_schema_metadata({"huggingface": facts})
    return found


@pytest.mark.parametrize("described", [True, False])
def test_parquet(here, described):
    parquet = pytest.importorskip("pyarrow.parquet")
    (here / "set/data").mkdir(parents=True)
    parquet.write_table(table(range(7), described), "set/data/test-00000-of-00002.parquet", row_group_size=3)
    parquet.write_table(table(range(7, 12), described), "set/data/test-00001-of-00002.parquet")
    parquet.write_table(table(range(2), described), "set/data/train-00000-of-00001.parquet")
    gives_them_back("hf:set")
    gives_them_back("hf:set:test")
    assert len(open_data("hf:set:train")) == 2
    assert (open_data("hf:set").class_names == NAMES) == described
    with pytest.raises(InputError, match=r"no split 'val'. There is test, train"):
        open_data("hf:set:val")


def test_labels_of_parquet_that_are_texts_of_floats(here):
    parquet = pytest.importorskip("pyarrow.parquet")
    (here / "set").mkdir()
    parquet.write_table(table(range(12), False, form=lambda k: f"{TENS[k]}.0"), "set/test.parquet")
    gives_them_back("hf:set")


@pytest.mark.parametrize("other", [{"names": ("x", "y", "z")}, {"label": "fine_label"}])
@pytest.mark.parametrize("inside", ["{}/test-00000-of-00001.parquet", "{}/test/0000.parquet"])
def test_configurations_of_a_folder_are_not_merged(here, other, inside):
    """Those of one data set of the hub: each its own folder, columns and classes."""
    parquet = pytest.importorskip("pyarrow.parquet")
    for config, facts in (("plain", {}), ("more", other)):
        file = here / "set" / inside.format(config)
        file.parent.mkdir(parents=True)
        parquet.write_table(table(range(12), True, **facts), file)
    for word in ("hf:set", "hf:set:test"):
        with pytest.raises(InputError, match=r"name one of its folders, hf:set/more, hf:set/plain\.$"):
            open_data(word)
    gives_them_back("hf:set/plain")
    assert open_data("hf:set/more").class_names == other.get("names", NAMES)


def test_tables_of_several_kinds_in_one_folder_are_not_merged(here):
    parquet = pytest.importorskip("pyarrow.parquet")
    (here / "set").mkdir()
    for name, described in (("test-a", True), ("test-b", False)):
        parquet.write_table(table(range(12), described), f"set/{name}.parquet")
    with pytest.raises(InputError, match=r"test-a.parquet, test-b.parquet need a folder each"):
        open_data("hf:set")


def write_arrow(path, rows) -> None:
    with pytest.importorskip("pyarrow.ipc").new_stream(str(path), rows.schema) as writer:
        writer.write_table(rows)


def test_arrow(here):
    pytest.importorskip("pyarrow")
    (here / "saved/test").mkdir(parents=True)
    write_arrow("saved/test/data-00000-of-00001.arrow", table(range(12), True))
    (here / "saved/dataset_dict.json").write_text('{"splits": ["test"]}')
    gives_them_back("hf:saved")


@pytest.mark.parametrize("saved", [True, False])  # by save_to_disk; else as `datasets` keeps it in a cache
def test_rows_that_a_cache_holds_again_are_not_counted_twice(here, saved):
    pytest.importorskip("pyarrow")
    (here / "set").mkdir()
    for name in ("data-00000-of-00001", "cache-0123456789abcdef", "cache-fedcba9876543210_00000_of_00002"):
        write_arrow(f"set/{name}.arrow", table(range(12), True))
    if saved:
        write_arrow("set/tmp1234.arrow", table(range(12), True))
        (here / "set/state.json").write_text(
            json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
        )
    found = gives_them_back("hf:set").describe()
    count = 3 if saved else 2
    assert found["unused"] == f"{count} files were not used: {count} .arrow of a cache"


def test_a_table_that_a_saved_set_names_has_to_be_there(here):
    pytest.importorskip("pyarrow")
    (here / "set").mkdir()
    write_arrow("set/data-00000-of-00002.arrow", table(range(7), True))
    files = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
    (here / "set/state.json").write_text(json.dumps({"_data_files": files}))
    with pytest.raises(InputError, match=r"state.json' names data-00001-of-00002.arrow, not there"):
        open_data("hf:set")


@pytest.mark.parametrize("inside", ["{}.parquet", "data/{}-00000-of-00001.parquet", "{}/data.arrow"])
@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_training_takes_the_splits_of_tables(here, inside, held_out):
    parquet = pytest.importorskip("pyarrow.parquet")
    for split, rows in (("train", range(8)), (held_out, range(8, 12))):
        path = here / "set" / inside.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        write = write_arrow if path.suffix == ".arrow" else lambda path, rows: parquet.write_table(rows, path)
        write(path, table(rows, True))
    train, test = (open_split("hf:set", split, (3, 8, 8)) for split in ("train", "test"))
    assert (train.pixels == PIXELS[:8]).all()
    assert (test.pixels == PIXELS[8:]).all()


@pytest.mark.parametrize("metadata", [True, False])
def test_training_takes_the_splits_of_folders_of_images(here, metadata):
    for split, rows in (("train", range(8)), ("test", range(8, 12))):
        for i in rows:
            path = here / "set" / split / ("" if metadata else NAMES[LABELS[i]]) / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(PIXELS[i]))
        if metadata:
            text = "file_name,label\n" + "".join(f"{i:02d}.png,{LABELS[i]}\n" for i in rows)
            (here / "set" / split / "metadata.csv").write_text(text)
    found = [open_split("hf:set", split, (3, 8, 8)) for split in ("train", "test")]
    numbers = [sorted(int(file[-6:-4]) for file in one.files) for one in found]
    assert numbers == [list(range(8)), list(range(8, 12))]


@pytest.mark.parametrize("split", ["", "test/"])
def test_images_beside_metadata(here, split):
    (here / "set").mkdir()
    (here / "set" / split).mkdir(exist_ok=True)
    (here / "files").rename(here / "set" / split / "pictures")
    with open(f"set/{split}metadata.csv", "w") as file:
        file.write("file_name,label\n" + "".join(f"pictures/{i:02d}.png,{k}\n" for i, k in enumerate(LABELS)))
    gives_them_back("hf:set")


def test_folders_of_hugging_face_that_cannot_be_read(here, monkeypatch):
    with pytest.raises(InputError, match="huggingface-cli download org/name"):
        open_data("hf:org/name")
    (here / "set").mkdir()
    (here / "set/test.parquet").write_bytes(b"PAR1")
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="cannot be read as a table"):
        open_data("hf:set")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"ostrich-vision\[hf\]"):
        open_data("hf:set")


# torchvision -----------------------------------------------------------------------------------


def test_torchvision_reads_mnist(shared, tmp_path):
    import zipfile

    with zipfile.ZipFile(shared / "data/mnist.zip") as stored:
        stored.extractall(tmp_path, [name for name in stored.namelist() if "t10k" in name])
    labels = np.frombuffer((tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").read_bytes()[8:], np.uint8)
    pixels = np.frombuffer((tmp_path / "MNIST/raw/t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    for name in ("MNIST/raw/train-labels-idx1-ubyte", "MNIST/raw/train-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(b"")  # torchvision wants them there, and reads the split alone
    dataset = open_data(f"torchvision:MNIST:{tmp_path}")
    samples = load(dataset, size=(28, 28), channels=1, class_names=tuple("0123456789"), limit=50)
    assert len(dataset) == 10_000
    assert samples.labels.tolist() == labels[list(samples.index)].tolist()
    assert (samples.pixels[..., 0] == pixels.reshape(-1, 28, 28)[list(samples.index)]).all()


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10"])
def test_what_torchvision_has_not_stored(tmp_path, name):
    for split in ("", ":train"):
        with pytest.raises(InputError, match=rf"torchvision.datasets.{name}\(.*download=True"):
            open_data(f"torchvision:{name}:{tmp_path}{split}")
    with pytest.raises(InputError, match="needs the folder"):
        open_data(f"torchvision:{name}")


def test_cifar100_as_torchvision_keeps_it(tmp_path, monkeypatch):
    from torchvision import datasets

    from ostrich.data import torchvision_sets

    class Kept(datasets.VisionDataset):
        def __init__(self, root, train):
            self.data, self.targets, self.classes = PIXELS, LABELS.tolist(), list(NAMES)

    monkeypatch.setattr(torchvision_sets.datasets, "CIFAR100", Kept)
    gives_them_back(f"torchvision:CIFAR100:{tmp_path}")
    with pytest.raises(UnknownName, match="CIFAR100"):
        open_data(f"torchvision:CIFAR1000:{tmp_path}")

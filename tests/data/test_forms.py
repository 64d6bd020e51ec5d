"""Forms of DATA: tables, arrays, functions, tar files, Hugging Face's folders, torchvision's sets.

Each is written here from the same twelve pictures, and has to give them back.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

import ostrich
from ostrich.data import load, open_data
from ostrich.errors import InputError, MissingExtra, UnknownName, UnreadableImage

NAMES = ("ant", "bee", "cat")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
LABELS = np.arange(12) % 3


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    for i, one in enumerate(PIXELS):
        (tmp_path / f"files/{i:02d}.png").write_bytes(png(one))
    return tmp_path


def gives_them_back(word: str, labelled: bool = True, channels: int = 3, names=NAMES) -> ostrich.data.Samples:
    samples = load(open_data(word), size=(8, 8), channels=channels, class_names=names, num_classes=len(names))
    assert (samples.pixels == PIXELS).all()
    if labelled:
        assert samples.labels.tolist() == LABELS.tolist()
    else:
        assert samples.labels is None
    assert samples.words == (word,)
    part = load(open_data(word), size=(8, 8), class_names=names, num_classes=len(names), limit=3, seed=1)
    assert all((one == PIXELS[i]).all() for one, i in zip(part.pixels, part.index))
    assert not labelled or sorted(part.labels.tolist()) == [0, 1, 2]
    return samples


# Tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [("path", "label"), ("file_name", "class"), ("Filename", "Label")])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(here, columns, delimiter):
    for labels in (LABELS, [NAMES[k] for k in LABELS]):
        with open("t.csv", "w", newline="", encoding="utf-8-sig") as file:
            rows = csv.writer(file, delimiter=delimiter)
            rows.writerow([*columns, "more"])
            rows.writerows([f"files/{i:02d}.png", label, "x"] for i, label in enumerate(labels))
        gives_them_back("csv:t.csv")


def test_jsonl(here):
    (here / "below").mkdir()
    with open("below/t.jsonl", "w") as file:
        for i, label in enumerate(LABELS):
            file.write(json.dumps({"path": str(here / f"files/{i:02d}.png"), "class": int(label)}) + "\n\n")
    gives_them_back("jsonl:below/t.jsonl")


def test_a_table_without_labels_and_with_splits(here):
    with open("t.csv", "w") as file:
        file.write("file,split\n" + "".join(f"files/{i:02d}.png,{'test' * (i < 4)}\n" for i in range(12)))
    gives_them_back("csv:t.csv", labelled=False)
    assert len(open_data("csv:t.csv:test")) == 4
    with pytest.raises(InputError, match="no rows: no column `split` says 'val'"):
        open_data("csv:t.csv:val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("a,b\n1,2\n", "columns a, b; the image files stand in one called path"),
        ("path,label\na.png,\n", "row 1: its label is ''"),
        ("path,label\n,1\n", "row 1: its path is ''"),
        ('path,label\n"a.png,1\n', "no CSV table"),
    ],
)
def test_tables_that_cannot_be_read(here, text, message):
    (here / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        open_data("csv:t.csv")


def test_lines_that_are_no_objects_and_files_that_are_not_there(here):
    (here / "t.jsonl").write_text('{"path": "a.png", "label": 0}\n[1]\n')
    with pytest.raises(InputError, match="line 2: an object"):
        open_data("jsonl:t.jsonl")
    (here / "t.jsonl").write_text('{"path": "a.png", "label": true}\n')
    with pytest.raises(InputError, match="row 1: its label is True"):
        open_data("jsonl:t.jsonl")
    (here / "t.jsonl").write_text('{"path": "a.png", "label": 0}\n')
    with pytest.raises(UnreadableImage, match="no image file"):
        load(open_data("jsonl:t.jsonl"), size=(8, 8))
    with pytest.raises(InputError, match="cannot be read"):
        open_data("csv:none.csv")


# Arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("npz:a.npz", ("images", "labels")),
        ("npz:a.npz", ("x_test", "y_test")),
        ("npz:a.npz:test", ("x_test", "y_test")),
        ("npz:a.npz:val", ("val_images", "val_labels")),
        ("npz:a.npz:train", ("train_images", "train_labels")),
        ("npz:a.npz", ("arr_0", "arr_1")),
    ],
)
def test_npz(here, word, keys):
    forms = [LABELS, LABELS[:, None], np.eye(3)[LABELS], LABELS.astype(float), np.array(NAMES)[LABELS]]
    for labels in forms:
        np.savez("a.npz", **dict(zip(keys, (PIXELS, labels))))
        gives_them_back(word)
    np.savez("a.npz", **{keys[0]: PIXELS.transpose(0, 3, 1, 2) / 255})
    gives_them_back(word, labelled=False)


def test_npz_that_cannot_be_read(here):
    np.savez("a.npz", images=np.array([{}], object), labels=LABELS)
    with pytest.raises(InputError, match="without pickles"):
        open_data("npz:a.npz")
    np.savez("a.npz", pictures=PIXELS)
    with pytest.raises(InputError, match="holds pictures; npz:FILE reads"):
        open_data("npz:a.npz")
    np.savez("a.npz", images=PIXELS, labels=LABELS[:5])
    with pytest.raises(InputError, match="for each of 12 images"):
        open_data("npz:a.npz")
    np.savez("a.npz", images=PIXELS[0, 0], labels=LABELS)
    with pytest.raises(InputError, match="got shape"):
        open_data("npz:a.npz")
    (here / "a.npz").write_bytes(b"nothing")
    for word in ("npz:a.npz", "npz:b.npz"):
        with pytest.raises(InputError):
            open_data(word)


# Functions -------------------------------------------------------------------------------------

FUNCTIONS = """
import numpy as np, torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

pixels, labels = np.load("pixels.npy"), np.arange(12) % 3
read = []

class Mine(Dataset):
    def __init__(self, form):
        self.form = form
    def __len__(self):
        return len(pixels)
    def __getitem__(self, i):
        read.append(i)
        if not 0 <= i < 12:
            raise IndexError(i)
        label = ["ant", "bee", "cat"][labels[i]] if self.form == "names" else torch.tensor(labels[i])
        if self.form == "dict":
            return {"image": pixels[i], "label": label}
        if self.form == "pictures":
            return Image.fromarray(pixels[i]), int(labels[i])
        return torch.from_numpy(pixels[i]).permute(2, 0, 1) / 255, label

class WithTargets(Mine):
    def __init__(self):
        super().__init__("tensors")
        self.targets, self.classes = labels.tolist(), ["ant", "bee", "cat"]

class Stream(IterableDataset):
    def __iter__(self):
        return iter(Mine("pictures")[i] for i in range(12))

def tensors(): return Mine("tensors")
def names(): return Mine("names")
def mappings(): return Mine("dict")
def pictures(): return Mine("pictures")
def targets(): return WithTargets()
def subset(): return Subset(Subset(WithTargets(), list(range(11, -1, -1))), list(range(11, -1, -1)))
def stream(): return Stream()
def arrays(): return pixels, labels
def both(): return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255, torch.from_numpy(labels)
def pairs(): return TensorDataset(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels))
def unlabelled(): return pixels
def normalised(): return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.2, labels
def loader(): return DataLoader(Mine("tensors"))
def nothing(): return None
def fails(): raise OSError("disk is gone")
def empty(): return Subset(Mine("tensors"), [])
"""


@pytest.fixture
def functions(here):
    np.save("pixels.npy", PIXELS)
    (here / "mine.py").write_text(FUNCTIONS)


@pytest.mark.parametrize(
    "name",
    ["tensors", "names", "mappings", "pictures", "targets", "subset", "stream", "arrays", "both", "pairs"],
)
def test_functions(functions, name):
    gives_them_back(f"mine.py:{name}")


def test_a_function_without_labels_and_one_that_is_read_when_needed(functions):
    gives_them_back("mine.py:unlabelled", labelled=False)
    import sys

    dataset = open_data("mine.py:targets")
    read = sys.modules["_ostrich_user_mine"].read
    assert read == [0]  # to see what an item is
    load(dataset, size=(8, 8), limit=3)
    assert len(set(read)) <= 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("normalised", "without normalisation"),
        ("loader", "return its dataset"),
        ("nothing", "returns NoneType; it returns a torch Dataset"),
        ("fails", "OSError: disk is gone"),
        ("empty", "no first item|is empty"),
        ("pixels", "is no function"),
        ("nome", "Did you mean"),
    ],
)
def test_functions_that_cannot_be_used(functions, name, message):
    with pytest.raises(InputError, match=message):
        load(open_data(f"mine.py:{name}"), size=(8, 8))


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


def table(rows, described: bool):
    arrow = pytest.importorskip("pyarrow")
    images = [{"bytes": png(PIXELS[i]), "path": f"{i}.png"} for i in rows]
    found = arrow.table({"image": images, "label": [int(LABELS[i]) for i in rows]})
    if described:
        facts = json.dumps({"info": {"features": FEATURES}})
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


def test_arrow(here):
    stream = pytest.importorskip("pyarrow.ipc")
    (here / "saved/test").mkdir(parents=True)
    rows = table(range(12), True)
    with stream.new_stream("saved/test/data-00000-of-00001.arrow", rows.schema) as writer:
        writer.write_table(rows)
    (here / "saved/dataset_dict.json").write_text('{"splits": ["test"]}')
    gives_them_back("hf:saved")


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


# What all of them have in common ---------------------------------------------------------------


def test_options_that_do_not_belong_are_refused(here):
    with pytest.raises(InputError, match="--range belongs to files"):
        open_data("digits", range=255)
    (here / "map.csv").write_text("a,1\n")
    with pytest.raises(InputError, match="has no labels"):
        open_data("images:files", class_map="map.csv")
    with pytest.raises(InputError, match="splits train and test"):
        open_data("digits:val")
    for white in ("-1", "0", "white", "half=3", "inf", "1,,2"):
        with pytest.raises(InputError, match="a number above 0"):
            open_data("images:files", range=white)


def test_the_words_of_a_data_set_open_it_again(here):
    (here / "map.csv").write_text("0,bee\n")
    np.savez("a.npz", images=PIXELS.astype(np.uint16) * 16, labels=LABELS)
    first = open_data("npz:a.npz", range=4080, class_map="map.csv", skip_bad=True)
    assert first.words == ("npz:a.npz", "--skip-bad", "--range", "4080", "--class-map", "map.csv")
    again = open_data(first.words)
    assert (again.words, again.class_map, again.skip_bad) == (first.words, {"0": "bee"}, True)
    pixels = [load(one, size=(8, 8), class_names=NAMES).pixels for one in (first, again)]
    assert (pixels[0] == pixels[1]).all()
    for words in (["npz:a.npz", "--size", "3"], ["npz:a.npz", "--range"]):
        with pytest.raises(InputError, match="no option of DATA, or has no value"):
            open_data(words)


def test_a_data_set_is_data_for_every_verb(here):
    np.savez("a.npz", images=PIXELS.astype(np.uint16) * 16, labels=LABELS)
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    data = open_data("npz:a.npz", range=4080)
    model = ostrich.load(network, size=8, classes=NAMES)
    found = ostrich.attack("fgsm", model, data, eps=0.1)
    right = (PIXELS.mean((1, 2)).argmax(1) == LABELS).mean()
    assert found.figures["clean_accuracy"] == pytest.approx(right)
    assert ostrich.explain("gradient", model, data).maps.shape[0] == 12
    assert ostrich.doctor(model, data).figures["n"] == 12

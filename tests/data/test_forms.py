"""Forms of DATA: tables, arrays and functions give back the same twelve pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset
from twelve import LABELS, NAMES, PIXELS, gives_them_back

import ostrich
from ostrich.data import load, open_data
from ostrich.data.functions import ASKED, as_dataset
from ostrich.data.levels import Levels
from ostrich.data.training_data import open_split
from ostrich.errors import InputError, UnreadableImage
from ostrich.runtime.python_file import module_name

# Tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns", [("path", "label"), ("file_name", "class"), ("Filename", "Label"), ("image", "target")]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(here, columns, delimiter):
    for labels in (LABELS, [NAMES[k] for k in LABELS]):
        with open("t.csv", "w", newline="", encoding="utf-8-sig") as file:
            rows = csv.writer(file, delimiter=delimiter)
            rows.writerow([*columns, "more"])
            rows.writerows([f"files/{i:02d}.png", label, "x"] for i, label in enumerate(labels))
        gives_them_back("csv:t.csv")


@pytest.mark.parametrize("form", ["{:.1f}", "{}.", "{:.3f}"])
def test_numbers_that_are_written_as_floats(here, form):
    """As pandas writes a column of integers that has gaps: 10 comes after 2. Some may be integers."""
    values = [0, 2, 10] * 4
    texts = [form.format(value) if i else str(value) for i, value in enumerate(values)]
    (here / "t.csv").write_text(
        "path,label\n" + "".join(f"files/{i:02d}.png,{text}\n" for i, text in enumerate(texts))
    )
    dataset = open_data("csv:t.csv")
    assert dataset.class_names == ("0", "2", "10")
    assert load(dataset, size=(8, 8), num_classes=11).labels.tolist() == values
    np.savez("a.npz", images=PIXELS, labels=np.array(texts))
    assert open_data("npz:a.npz").class_names == ("0", "2", "10")


@pytest.mark.parametrize("names", [("1.0", "2.5", "10.0"), ("1.0", "final", "2.0"), ("1.0", "-1.0", "2")])
def test_names_that_look_like_floats_beside_others_are_names(here, names):
    rows = "".join(f"files/{i:02d}.png,{name}\n" for i, name in enumerate(names))
    (here / "t.csv").write_text(f"path,label\n{rows}")
    assert open_data("csv:t.csv").class_names == tuple(sorted(names))


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


@pytest.mark.parametrize("held_out", ["test", "validation"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_training_takes_the_splits_of_a_table(here, kind, held_out):
    names = [("train", held_out, "unused")[i % 3] for i in range(12)]
    rows = [{"file": f"files/{i:02d}.png", "label": i % 2, "split": name} for i, name in enumerate(names)]
    lines = [",".join(map(str, row.values())) for row in rows] if kind == "csv" else map(json.dumps, rows)
    (here / f"t.{kind}").write_text("\n".join([*(["file,label,split"] * (kind == "csv")), *lines]))
    train, test = (open_split(f"{kind}:t.{kind}", split, (3, 8, 8)) for split in ("train", "test"))
    assert train.files == tuple(f"files/{i:02d}.png" for i in (0, 3, 6, 9))
    assert test.files == tuple(f"files/{i:02d}.png" for i in (1, 4, 7, 10))
    alone = open_data(f"{kind}:t.{kind}")
    assert tuple(alone.files) == test.files
    assert alone.name == f"{kind}:t.{kind}:{'val' if held_out == 'validation' else 'test'}"


def test_a_table_of_one_split_is_divided_where_it_is_to_train_on(here):
    rows = "".join(f"files/{i:02d}.png,{i % 2},{{}}\n" for i in range(12))
    (here / "t.csv").write_text("file,label,split\n" + rows.replace("{}", "train"))
    parts = [open_split("csv:t.csv", split, (3, 8, 8)).files for split in ("train", "test")]
    assert sorted(sum(parts, ())) == [f"files/{i:02d}.png" for i in range(12)]
    (here / "t.csv").write_text("file,label,split\n" + rows.replace("{}", "test"))
    with pytest.raises(InputError, match=r"no split to train on. There is test: csv:t.csv:test is divided"):
        open_split("csv:t.csv", "train", (3, 8, 8))
    assert open_split("csv:t.csv:test", "train", (3, 8, 8)).files == parts[0]


def test_labels_in_a_column_of_another_name_are_not_left_out_in_silence(here):
    (here / "t.csv").write_text("file,kind,split\nfiles/00.png,1,test\n")
    found = load(open_data("csv:t.csv"), size=(8, 8), channels=3)
    assert found.labels is None
    assert found.remarks["labels"] == "none: no column is called label or class (there are kind)"


def test_rows_that_lack_a_label_are_named(here):
    """Where it was the first, all labels were left out in silence."""
    rows = [{"path": "files/00.png"}, {"path": "files/01.png", "label": "a"}]
    (here / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match="row 1: its label is None"):
        open_data("jsonl:t.jsonl")


def test_separators_of_lines_inside_of_a_value_end_no_row(here):
    names = ["a\u2028b", "a\u2028b", "c\x0bd"]
    rows = [{"path": f"files/{i:02d}.png", "label": name} for i, name in enumerate(names)]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (here / "t.jsonl").write_text(lines, "utf-8", newline="")
    (here / "t.csv").write_text(
        "path,label,note\n" + "".join(f'{row["path"]},{row["label"]},"1\n2"\n' for row in rows), "utf-8"
    )
    for word in ("jsonl:t.jsonl", "csv:t.csv"):
        assert open_data(word).class_names == ("a\u2028b", "c\x0bd")


def test_the_separators_of_another_system(here):
    (here / "t.csv").write_text(
        "path,label\n" + "".join(f"files\\{i:02d}.png,{label}\n" for i, label in enumerate(LABELS))
    )
    gives_them_back("csv:t.csv")
    (here / "a\\b.png").write_bytes((here / "files/00.png").read_bytes())  # a name that has one is that name
    (here / "t.csv").write_text("path\na\\b.png\n")
    assert len(load(open_data("csv:t.csv"), size=(8, 8), channels=3)) == 1


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


def test_a_name_with_a_nul_byte_is_that_of_no_file(here):
    (here / "t.csv").write_bytes(b"path,label\nfiles/00.png,0\nfiles/0\0.png,1\n")
    with pytest.raises(UnreadableImage, match="There is no image file"):
        load(open_data("csv:t.csv"), size=(8, 8))
    assert load(open_data("csv:t.csv", skip_bad=True), size=(8, 8)).skipped == ("files/0\0.png",)


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
import sys
from types import SimpleNamespace

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

class Long(WithTargets):
    # more than are asked for their labels
    def __init__(self):
        super().__init__()
        self.targets = self.targets * 10
    def __len__(self):
        return 120
    def __getitem__(self, i):
        return super().__getitem__(i % 12)[0], self.targets[i]

class Relabelled(WithTargets):
    # its items are right, and say otherwise than `targets`, for one class alone
    def __init__(self):
        super().__init__()
        self.targets = [0 if k == 2 else k for k in self.targets]

class Columns(WithTargets):
    # `targets` of another form
    def __init__(self, targets):
        super().__init__()
        self.targets = targets

class Stream(IterableDataset):
    def __iter__(self):
        return iter(Mine("pictures")[i] for i in range(12))

class Transformed(WithTargets):
    # as torchvision's sets with a target_transform, of their own or of their `transforms`
    def __init__(self, owner):
        super().__init__()
        self.transforms = SimpleNamespace(target_transform=None)
        self.target_transform = None
        (self if owner == "self" else self.transforms).target_transform = lambda k: (k + 1) % 3
        self.targets = [(k - 1) % 3 for k in self.targets]
    def __getitem__(self, i):
        change = self.target_transform or self.transforms.target_transform
        return super().__getitem__(i)[0], change(self.targets[i])

class Damaged(Mine):
    # without `targets`, so that its labels are those of the items
    def __init__(self, damaged):
        super().__init__("tensors")
        self.damaged = damaged
    def __getitem__(self, i):
        if i in self.damaged:
            raise OSError(f"image file {i} is truncated")
        return super().__getitem__(i)

class BrokenStream(IterableDataset):
    def __iter__(self):
        yield pixels[0], 0
        raise OSError("the stream ends here")

def tensors(): return Mine("tensors")
def names(): return Mine("names")
def mappings(): return Mine("dict")
def pictures(): return Mine("pictures")
def targets(): return WithTargets()
def long(): return Long()
def relabelled(): return Relabelled()
def relabelled_part(): return Subset(Relabelled(), range(12))
def column(): return Columns(labels[:, None])
def one_hot(): return Columns(torch.eye(3)[labels])
def subset(): return Subset(Subset(WithTargets(), list(range(11, -1, -1))), list(range(11, -1, -1)))
def stream(): return Stream()
def arrays(): return pixels, labels
def both(): return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255, torch.from_numpy(labels)
def pairs(): return TensorDataset(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels))
def unlabelled(): return pixels
def normalised(): return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.2, labels
def loader(): return DataLoader(Mine("tensors"))
def nothing(): return None
def transformed(): return Transformed("self")
def transforms(): return Subset(Transformed("transforms"), range(12))
def damaged(): return Damaged({0, 4})
def all_damaged(): return Damaged(range(12))
def broken_stream(): return BrokenStream()
def exits(): sys.exit("no such option")
def fails(): raise OSError("disk is gone")
def empty(): return Subset(Mine("tensors"), [])
"""


class Items(Dataset):
    """What is given, item by item."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


@pytest.fixture
def functions(here):
    np.save("pixels.npy", PIXELS)
    (here / "mine.py").write_text(FUNCTIONS)


@pytest.mark.parametrize(
    "name",
    [
        *("tensors", "names", "mappings", "pictures", "targets", "subset", "transformed", "transforms"),
        *("relabelled", "relabelled_part", "column", "one_hot"),
        *("stream", "arrays", "both", "pairs"),
    ],
)
def test_functions(functions, name):
    gives_them_back(f"mine.py:{name}")


def test_a_function_without_labels_and_one_that_is_read_when_needed(functions):
    gives_them_back("mine.py:unlabelled", labelled=False)
    import sys

    dataset = open_data("mine.py:long")
    read = sys.modules[module_name(Path("mine.py"))].read
    assert len(read) == 1 + ASKED  # to see what an item is, and whether its label is that of `targets`
    load(dataset, size=(8, 8), limit=3)
    assert len(read) <= 1 + ASKED + 2 * 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("normalised", "without normalisation"),
        ("loader", "return its dataset"),
        ("nothing", "returns NoneType; it returns a torch Dataset"),
        ("fails", r"mine.py:fails fails when called without arguments: OSError\('disk is gone'\)"),
        ("exits", r"it ends the program \(SystemExit: no such option\)"),
        ("broken_stream", "the IterableDataset fails: .*ends here"),
        ("all_damaged", "Item 0 of mine.py:all_damaged cannot be read: .* 0 is truncated"),
        ("empty", "is empty"),
        ("pixels", "is no function"),
        ("nome", "Did you mean"),
    ],
)
def test_functions_that_cannot_be_used(functions, name, message):
    with pytest.raises(InputError, match=message):
        load(open_data(f"mine.py:{name}"), size=(8, 8))


def test_items_that_cannot_be_read_are_named_or_left_out(functions):
    with pytest.raises(
        UnreadableImage, match=r"Item 0 of mine.py:damaged cannot be read: .*file 0 is truncated"
    ):
        load(open_data("mine.py:damaged"), size=(8, 8))
    samples = load(open_data("mine.py:damaged", skip_bad=True), size=(8, 8), class_names=NAMES)
    left = [i for i in range(12) if i not in (0, 4)]
    assert samples.skipped == ("00000", "00004")
    assert samples.labels.tolist() == LABELS[left].tolist()
    assert (samples.pixels == PIXELS[left]).all()


def test_deep_pictures_of_items_are_asked_for_their_white():
    """As files are: they became nearly black."""
    grey = (np.arange(64).reshape(8, 8) * 64).astype(np.uint16)  # 12 bits
    for values, white in ((grey, 4095), (grey.astype(np.int32), 4095), (grey.astype(np.float32) / 16, 255)):
        items = Items([(Image.fromarray(values), 0)])
        with pytest.raises(InputError, match=f"--range {white}"):
            load(as_dataset("mine", items, Levels()), size=(8, 8))
        (found,) = load(as_dataset("mine", items, Levels(white)), size=(8, 8)).pixels
        assert (abs(found[..., 0] - values / white * 255) <= 0.5).all()
    items = Items([(Image.fromarray(grey * 16), 0)])
    (found,) = load(as_dataset("mine", items, Levels()), size=(8, 8)).pixels
    assert (abs(found[..., 0] - grey * 16.0 / 65535 * 255) <= 0.5).all()


IMAGES = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ((IMAGES.requires_grad_(), LABELS), "012"),
        ((IMAGES, torch.eye(3)[LABELS].requires_grad_()), "012"),
        ((IMAGES, np.array([*"abc"], dtype=object)[LABELS]), "abc"),
        ((IMAGES, np.array(["\u00e4", "b", "c"])[LABELS]), "bc\u00e4"),
        ((IMAGES, np.array([word.encode() for word in ("\u00e4", "b", "c")])[LABELS]), "bc\u00e4"),
        ((IMAGES, np.array(LABELS) > 1), "01"),
        ([(image, torch.eye(3, requires_grad=True)[k]) for image, k in zip(IMAGES, LABELS)], "012"),
        ([(image, bool(k > 1)) for image, k in zip(IMAGES, LABELS)], "01"),
    ],
)
def test_labels_and_images_of_any_type(given, names):
    found = as_dataset("mine", Items(given) if isinstance(given, list) else given, Levels())
    assert found.class_names == tuple(names)
    assert (load(found, size=(8, 8)).pixels == PIXELS).all()


def test_a_type_that_numpy_lacks():
    coarse = IMAGES.detach().bfloat16()
    found = load(as_dataset("mine", (coarse, LABELS), Levels()), size=(8, 8)).pixels
    assert (abs(found - coarse.float().permute(0, 2, 3, 1).numpy() * 255) <= 0.5).all()
    for labels in ([[0], [1, 2], *[[0]] * 10], np.array([b"\xe4"] * 12), [None] * 12):
        with pytest.raises(InputError, match="mine: labels are one number or name for each"):
            as_dataset("mine", (coarse, labels), Levels())
    with pytest.raises(InputError, match="is no array"):
        as_dataset("mine", coarse.float().to_sparse(), Levels())
    boxes = Items([(image, 1) for image in coarse.float()])
    boxes.targets = [[1], [1, 2], *[[0]] * 10]
    assert as_dataset("mine", boxes, Levels()).class_names == ("1",)


def test_a_set_whose_labels_are_transformed_has_not_the_names_of_its_classes(functions):
    assert open_data("mine.py:targets").class_names == NAMES
    assert open_data("mine.py:column").class_names == NAMES
    assert open_data("mine.py:transformed").class_names == ("0", "1", "2")
    assert open_data("mine.py:relabelled").class_names == ("0", "1", "2")


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


def test_arrays_with_splits_train_on_the_one_and_test_on_the_other(here):
    arrays = {"x_train": PIXELS, "y_train": np.arange(len(PIXELS)) % 2}
    np.savez("both.npz", **arrays, x_test=PIXELS[:2], y_test=[0, 1])
    found = {split: open_split("npz:both.npz", split, (3, 8, 8)) for split in ("train", "test")}
    assert [len(found[split]) for split in ("train", "test")] == [len(PIXELS), 2]
